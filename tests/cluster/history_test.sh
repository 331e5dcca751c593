#!/bin/bash
# Goal: what was synced on one mount holds for all, whatever happens to mounts, servers and cables: nothing
# acknowledged is undone, and nothing old is served. There is one order of all links, renames, unlinks and
# look-ups of both mounts in which every answer is right; a read gives what was written last, or is being
# written. And nobody hangs.
# Method: programs on two mounts log what they did and were told (tests/fault/history), while mounts are
# killed, stopped for longer than their lease and cut off, servers killed, stopped and cut off; the log is
# judged by tests/fault/linearizable. ROUNDS, SEED, SECONDS_EACH: for long runs.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
rounds=${ROUNDS:-2} seed=${SEED:-$((RANDOM * 32768 + RANDOM))} seconds=${SECONDS_EACH:-20}
end_programs() { (net_heal); }
extra_cleanup() { net_down; }
nodes="master chunkserver-1 chunkserver-2 chunkserver-3 mount-mnt mount-other"
RANDOM=$((seed % 32768))
step "network (SEED=$seed)"
net_up $nodes
cluster_up -n 3 -c 3
wait_whole 30
lc mount other || die "second mount"
O=$D/other

cut_off() { for node in $nodes; do [ "$node" = "$1" ] || net_cut "$1" "$node"; done; }
one_of() { local list=("$@"); echo "${list[RANDOM % $#]}"; }
trouble() { # one, begun and ended
	local mount server
	mount=$(one_of mount-mnt mount-other) server=chunkserver-$((RANDOM % 3 + 1))
	case $(one_of kill_mount freeze_mount cut_mount cut_master kill_server freeze_server cut_server restart_master) in
	kill_mount) echo "$mount is killed"; lc kill "$mount"; sleep $((RANDOM % 7)); lc start "$mount" || die "start $mount" ;;
	freeze_mount) echo "$mount is stopped"; lc freeze "$mount"; sleep $((RANDOM % 5 + 4)); lc thaw "$mount" ;;
	cut_mount) echo "$mount is cut off"; cut_off "$mount"; sleep $((RANDOM % 5 + 4)); net_heal ;;
	cut_master) echo "$mount is cut off from the master"; net_cut "$mount" master; sleep $((RANDOM % 5 + 4)); net_heal ;;
	kill_server) echo "$server is killed"; lc kill "$server"; sleep $((RANDOM % 4)); lc start "$server" || die "start $server" ;;
	freeze_server) echo "$server is stopped"; lc freeze "$server"; sleep $((RANDOM % 4 + 1)); lc thaw "$server" ;;
	cut_server) echo "$server is cut off"; cut_off "$server"; sleep $((RANDOM % 4 + 1)); net_heal ;;
	restart_master) echo "the master is killed"; lc kill master; sleep $((RANDOM % 2)); lc start master || die "start master" ;;
	esac
}
for round in $(seq "$rounds"); do
	step "round $round"
	mkdir "$M/h$round" || die "mkdir"
	sync "$M"
	until [ -d "$O/h$round" ]; do sleep 0.1; done
	"$CATENA_BUILD/tests/fault/history" "$T/log" "$((seed + round))" "$seconds" 3 "$M/h$round" "$O/h$round" 2>"$T/err" &
	programs=$!
	end=$((SECONDS + seconds - 2))
	while sleep $((RANDOM % 3 + 1)); [ $SECONDS -lt $end ]; do trouble; done
	for _ in $(seq 600); do kill -0 "$programs" 2>/dev/null || break; sleep 0.1; done
	if kill -0 "$programs" 2>/dev/null; then
		ps -o pid,stat,wchan:30,args --ppid "$programs"
		die "programs hang a minute after the end"
	fi
	wait "$programs" || { cat "$T/err"; die "programs"; }
	"$CATENA_BUILD/tests/fault/linearizable" "$T/log" || {
		[ -z "${KEEP:-}" ] || cp "$T/log" "$KEEP"
		die "round $round of SEED=$seed"
	}
	cp "$T/log" "$T/good"
	rm "$T/log"
done
step "the judge does not believe everything"
awk '$1 == "B" && $5 == "r" { read[$2 " " $3] = 1 }
	$1 == "E" && $5 == 0 && read[$2 " " $3] && !done { $6 = 12345; done = 1 } { print }' "$T/good" >"$T/false"
! "$CATENA_BUILD/tests/fault/linearizable" "$T/false" >/dev/null || die "a value that nobody wrote was believed"
wait_whole 60
