#!/bin/bash
# Goal: whatever loses its power, and when, nothing that fsync (of a file, of a directory) or O_DSYNC
# has acknowledged is lost, nothing appears that was never written, the cluster comes back by itself,
# and all copies are equal. Method: every disk is on lossyfs, which forgets what was not synced; programs on
# two mounts write, append, truncate, create, rename and unlink, and keep a ledger outside; everything,
# all servers under mounts that live on, some chunkservers or the master are killed and their disks
# cut, and the ledgers compared with what both mounts then show.
#   ROUNDS=N SEED=S    more of them, others
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lossy.sh"
load=$CATENA_BUILD/tests/fault/power_load
servers=(chunkserver-1 chunkserver-2 chunkserver-3)
mounts=(mnt second)
rounds=${ROUNDS:-6}
RANDOM=$((power_seed % 32768))
echo "SEED=$power_seed"
workers=() number=0 errors=0
end_programs() { [ ${#workers[@]} -eq 0 ] || kill -KILL "${workers[@]}" 2>/dev/null; }
extra_cleanup() { lossy_down; }
nap() { sleep "$(awk -v r=$RANDOM -v a="$1" -v b="$2" 'BEGIN { print a + (b - a) * r / 32768 }')"; }

begin_load() { # two on each mount; each round has directories and ledgers of its own
	workers=() ids=()
	for mount in "${mounts[@]}" "${mounts[@]}"; do
		number=$((number + 1))
		ids+=("$number")
		"$load" run "$D/$mount" "$T/ledger.$number" "$number" $((power_seed * 1000 + number)) 2>"$T/load.$number" &
		workers+=($!)
	done
	for id in "${ids[@]}"; do
		for _ in $(seq 100); do
			[ "$(grep -cE '^(file|names|shared|range)' <(cat "$T/ledger.$id" 2>/dev/null))" -lt 3 ] || break
			sleep 0.1
		done
		[ -s "$T/ledger.$id" ] || { cat "$T/load.$id"; die "worker $id does not begin"; }
	done
}
end_load() { # a program may see an error of a mount that lost its session, not more than that
	local status
	kill -TERM "${workers[@]}" 2>/dev/null
	for worker in "${workers[@]}"; do
		wait "$worker"
		status=$?
		case $status in 0) ;; 2) errors=$((errors + 1)) ;; *) die "a program ended with $status" ;; esac
	done
	workers=()
}
verify() {
	local id bad='' mount
	for mount in "${mounts[@]}"; do
		for id in "$@"; do
			timeout 120 "$load" verify "$D/$mount" "$T/ledger.$id" >"$T/verified" || { bad=1; echo "seen by $mount:"; cat "$T/verified" "$T/load.$id"; }
			[ "$mount" != mnt ] || acknowledged=$((acknowledged + $(sed -n 's/.*: \([0-9]*\) acknowledged.*/\1/p' "$T/verified")))
		done
	done
	[ -z "$bad" ] || { [ -z "${KEEP:-}" ] || { echo "kept: $T"; sleep "$KEEP"; }; die "something acknowledged is lost (round $round: $what, SEED=$power_seed)"; }
}
victims() { # what is cut in this round
	local shuffled
	mapfile -t shuffled < <(printf '%s\n' "${servers[@]}" | shuf --random-source=<(yes $RANDOM))
	case $(((round - 1 + ${FIRST:-0}) % 6)) in
	0) cut=(master "${servers[@]}" mount-mnt mount-second) ;;
	1) cut=(master "${servers[@]}") ;; # the mounts live on, and hear of lost names and data
	2) cut=("${shuffled[0]}") ;; # the others have all
	3) cut=(master) # the servers have the data, or those that stay
		[ $((RANDOM % 2)) -eq 0 ] || cut+=("${shuffled[0]}") ;;
	4) cut=("${servers[@]}") ;; # the mounts live on, and hear of lost data
	5) cut=("${shuffled[@]:0:2}" mount-second) ;;
	esac
	what=${cut[*]}
}
start() {
	local node
	for node in "$@"; do lc start "$node" || die "$node does not start"; done
}

lossy_up master "${servers[@]}"
cluster_up -n 3 -c 3
lc mount second || die "second mount"

step "fsync does not confirm what the master has lost before it"
mkdir "$M/names" && sync "$M" "$M/names" || die "mkdir"
told=0
for i in $(seq 40); do
	[ "$i" -le 4 ] || [ "$told" -eq 0 ] || break
	echo "$i" >"$M/names/a$i" && sync "$M/names/a$i" "$M/names" || die "write"
	mv "$M/names/a$i" "$M/names/b$i" || die "rename"
	power_off master
	start master
	if sync "$M/names" 2>/dev/null; then
		[ "$(cat "$D/second/names/b$i")" = "$i" ] || die "fsync of a directory has confirmed a rename that was lost (SEED=$power_seed)"
	else
		told=$((told + 1))
		[ "$(cat "$D/second/names/a$i" 2>/dev/null || cat "$D/second/names/b$i")" = "$i" ] || die "a synced file is lost (SEED=$power_seed)"
		sync "$M/names" || die "the loss is told again"
	fi
done
echo "$told of $((i - 1)) lost, and told"
[ "$told" -gt 0 ] || die "nothing was ever lost, this has shown nothing"

step "fsync does not confirm data that all copies have lost before it"
block() { head -c 4096 /dev/zero | tr '\0' "$1"; }
mkfifo "$T/go" || die "mkfifo"
told=0
for i in $(seq 40); do
	[ "$i" -le 4 ] || [ "$told" -eq 0 ] || break
	file=data.$i
	head -c 16384 /dev/zero | tr '\0' o >"$M/names/$file" && sync "$M/names/$file" || die "write"
	(block n; read -r <"$T/go"; block m) |
		dd of="$M/names/$file" bs=4096 count=2 iflag=fullblock oflag=direct conv=notrunc,fsync 2>"$T/dd" &
	writer=$!
	# The first block is with all copies; the second one comes when they have lost their power.
	for _ in $(seq 100); do [ "$(head -c 1 "$D/second/names/$file")" != n ] || break; sleep 0.05; done
	power_off "${servers[@]}"
	start "${servers[@]}"
	echo go >"$T/go"
	if wait "$writer"; then
		cmp -s <(block n; block m) <(head -c 8192 "$D/second/names/$file") || die "fsync has confirmed data that was lost (SEED=$power_seed)"
	else
		told=$((told + 1))
		[ "$(head -c 8192 "$D/second/names/$file" | tr -d 'onm' | wc -c)" = 0 ] || die "other bytes than were written"
	fi
done
echo "$told of $((i - 1)) lost, and told"
[ "$told" -gt 0 ] || die "nothing was ever lost, this has shown nothing"
acknowledged=0 old=()
for round in $(seq "$rounds"); do
	victims
	step "round $round: $what (SEED=$power_seed, $acknowledged acknowledged, $errors errors)"
	begin_load
	nap 0.3 2.5
	power_off "${cut[@]}"
	nap 0 1
	start "${cut[@]}"
	nap 0.2 1.5
	end_load
	verify "${ids[@]}" "${old[@]}"
	wait_whole 90 >"$T/whole" || { cat "$T/whole"; exit 1; }
	# Some of what is older goes on being looked at, the rest is removed while the next cut comes.
	[ ${#old[@]} -eq 0 ] || rm -r "${old[@]/#/$M/w}" || die "rm"
	old=("${ids[@]}")
	if [ $((round % ${COMPARE:-12})) -eq 0 ] && [ "$round" -lt "$rounds" ]; then
		down_and_compare 3
		lc up && lc mount second || die "up"
	fi
done
end_programs
verify "${old[@]}"
step "copies are equal ($acknowledged acknowledged, $errors programs saw an error)"
down_and_compare 3
