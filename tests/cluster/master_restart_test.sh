#!/bin/bash
# Goal: the master dies at any moment and comes back: no error, no name lost or doubled, metadata waits
# little longer than it was away, and data of open files goes on meanwhile. Method: SIGKILL and start
# at random moments under a load that checks everything. ROUNDS (5), SEED. Limits are for a machine without
# other work (CATENA_STALL_MS, see lib.sh).
. "$(dirname "$0")/lib.sh"
RANDOM=${SEED:-$$}
cluster_up -n 3 -c 3
wait_whole 30
load_start --rate 10 --size 32
load_for 2 "undisturbed"
milliseconds() { date +%s%3N; }
nap() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }
slept=0
for round in $(seq "${ROUNDS:-5}"); do
	nap $((RANDOM % 1000))
	from=$(milliseconds)
	lc kill master || die "kill"
	nap $((RANDOM % 900))
	lc start master || die "start"
	away=$(($(milliseconds) - from))
	sleep 3
	step "round $round: the master was away for $away ms"
	load_phase "round $round" $((away + 1000)) create stat rename unlink list dirsync fsync
	# Of what needs no master, nothing may be noticed.
	[ "$away" -ge 1000 ] || load_check "round $round" 300 write read
	slept=$((slept + away))
done
step "away for $slept ms altogether"
wait_whole 60
load_stop
step "after mounting again"
remount
"$CATENA_BUILD/tests/fault/load" verify "$M/load" "$T/load.ledger" || die "data lost"
[ -z "$(find "$M/load" -mindepth 1 ! -name 'data.*')" ] || { find "$M/load"; die "names are left that were removed"; }
down_and_compare 3
