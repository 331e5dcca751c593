#!/bin/bash
# Goal: a master that keeps its log can be killed at any moment, and catena-replay comes to what the
# master came to, by itself and in batches; a command that is another is found, damage is told.
# Method: SIGKILL and start at random moments under the load of one mount, which answers ahead of the
# master, and then of two, with segments so small that several end; the log is looked at while the master
# runs, too. ROUNDS (4), SEED; GAP: seconds from one kill to the next; KEEP: MiB that are kept (1).
. "$(dirname "$0")/lib.sh"
RANDOM=${SEED:-$$}
export CATENA_MASTER_OPTIONS="--keep-log ${KEEP:-1}"
L=$D/data/master/log
replay() { # STATUS WORDS...
	local status=0
	timeout 1200 "$CATENA_BUILD/tools/catena-replay" --work "$T/work" "${@:2}" >"$T/replay.out" 2>&1 || status=$?
	[ $status -eq "$1" ] || { tail -n 40 "$T/replay.out"; ls -l "$L"; die "catena-replay ${*:2}: exit status $status, not $1"; }
	grep -v "^[0-9]" "$T/replay.out" | tail -n 20
}
names() { # DIRECTORY END: until there is the file END
	perl -e '
		my ($d, $end) = @ARGV;
		for (my $i = 0; !-e $end; $i++) {
			mkdir "$d/d$i" or die "mkdir d$i: $!\n";
			open(my $f, ">", "$d/d$i/f") or die "open d$i/f: $!\n";
			close $f;
			link "$d/d$i/f", "$d/d$i/g" or die "link d$i/g: $!\n";
			rename "$d/d$i/f", "$d/d$i/h" or die "rename d$i/f: $!\n";
			unlink "$d/d$i/g" or die "unlink d$i/g: $!\n";
			next if $i % 3;
			unlink "$d/d$i/h" or die "unlink d$i/h: $!\n";
			rmdir "$d/d$i" or die "rmdir d$i: $!\n";
		}' "$1" "$2"
}
kill_rounds() { # COUNT
	for round in $(seq "$1"); do
		if [ -n "${GAP:-}" ]; then sleep "$GAP"; else sleep "$((RANDOM % 4)).$((RANDOM % 10))"; fi
		lc kill master || die "kill"
		lc start master || die "start"
		step "round $round: $(find "$L" -name '*.entries' | wc -l) segments"
	done
}
end_names() { # PID END
	touch "$2"
	wait "$1" || die "a mount saw an error"
}
cluster_up -n 3 -c 3
wait_whole 30
wait_until 60 "the first checkpoint" exists "$L/00000001.store"
rounds=${ROUNDS:-4}
load_start --rate 10 --size 32
step "one mount"
mkdir "$M/alone" || die "mkdir"
names "$M/alone" "$T/end_alone" &
names_pid=$!
kill_rounds $((rounds / 2))
end_names "$names_pid" "$T/end_alone"
step "two mounts"
lc mount other || die "second mount"
names "$D/other" "$T/end" &
names_pid=$!
kill_rounds $((rounds - rounds / 2))
step "while the master runs"
load_for 3 "after the last round"
# While it is copied, the oldest part may be removed.
until cp -r "$L" "$T/live" 2>/dev/null; do rm -rf "$T/live"; done
replay 0 "$T/live"
checkpoints() { [ "$(find "$L" -maxdepth 1 -name '*.store' | wc -l)" -ge "$1" ]; }
# More MiB are in fewer segments, and one checkpoint may be all.
[ -n "${KEEP:-}" ] || wait_until 120 "a second checkpoint" checkpoints 2
end_names "$names_pid" "$T/end"
load_stop
lc stop master || die "stop"
step "all of it: $(find "$L" -name '*.entries' | wc -l) segments, $(find "$L" -maxdepth 1 -name '*.store' | wc -l) checkpoints, $(du -s --apparent-size -B1K "$L" | cut -f1) KiB"
replay 0 "$L"
need "are equal, and so are the records of [$([ -n "${KEEP:-}" ] && echo 0-9 || echo 1-9)]" "$T/replay.out"
step "in batches, and printed"
replay 0 --batch 64 --print "$L"
need "request{session=" "$T/replay.out"
step "a command that is another is found"
cp -r "$L" "$T/other"
last=$(find "$T/other" -name '*.entries' -size +8k | sort | tail -n 1)
entry=$("$CATENA_BUILD/tests/cluster/kept_change" "$last") || die "there is no create to be changed"
replay 1 "$T/other"
need "^$entry differs:" "$T/replay.out"
step "damage is told"
cp -r "$L" "$T/damaged"
last=$(find "$T/damaged" -name '*.entries' -size +8k | sort | tail -n 1)
printf '\377\376\375' | dd of="$last" bs=1 seek=4000 conv=notrunc 2>/dev/null
replay 2 "$T/damaged"
need "is damaged at" "$T/replay.out"
step "what was given is as it was"
replay 0 "$L"
lc start master || die "start"
