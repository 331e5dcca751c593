#!/bin/bash
# Goal: every process can be restarted, one at a time, while programs work: no error, and no stall
# above half a second when it is a chunkserver. Method: SIGTERM and start of each chunkserver and of the
# master under a load that checks everything; the mount last, with its programs ended.
# Limits are for a machine without other work (CATENA_STALL_MS, see lib.sh).
. "$(dirname "$0")/lib.sh"
cluster_up -n 4 -c 3
wait_whole 30
load_start --rate 15
load_for 2 "undisturbed"
for n in 1 2 3 4; do
	step "chunkserver-$n"
	lc stop "chunkserver-$n" || die "stop"
	load_for 1 "chunkserver-$n stopped" 500 write fsync read create
	lc start "chunkserver-$n" || die "start"
	wait_whole 60
	load_phase "chunkserver-$n started" 500 write fsync read create
done
step "the master"
from=$(date +%s%3N)
lc stop master && lc start master || die "master"
away=$(($(date +%s%3N) - from))
wait_whole 60
load_phase "the master was away for $away ms" $((away + 1000)) create rename dirsync fsync
load_check "the master was away for $away ms" 500 write read
load_stop
step "the mount"
lc stop mount-mnt && lc start mount-mnt || die "mount"
"$CATENA_BUILD/tests/fault/load" verify "$M/load" "$T/load.ledger" || die "data lost"
load_start --rate 15
sleep 1
load_stop
down_and_compare 3
