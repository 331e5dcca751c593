#!/bin/bash
# Goal: programs hardly notice what happens to servers: no operation takes longer than half a second when a
# chunkserver dies, is stopped or comes back, 0.3 s when the master is away and is not needed, and little longer
# than it is away when it is. Method: each of these once, under a load that checks everything. What is seen once only
# may be another machine's work on the same hardware: a stall counts when it comes in two rounds.
# Run: alone; half a second without progress is too long here. rolling, failover and master_restart do the same
# more often.
. "$(dirname "$0")/lib.sh"
cluster_up -n 4 -c 3
wait_whole 30
load_start --rate 20 --size 64
load_for 2 "undisturbed"
round() {
	local from away
	: >"$T/stalled"
	step "chunkserver-1 is killed"
	lc kill chunkserver-1 || die "kill"
	load_for 2 "killed" 500 write fsync read
	lc start chunkserver-1 || die "start"
	wait_whole 60
	load_phase "back" 500 write fsync read
	step "chunkserver-2 is stopped"
	lc stop chunkserver-2 || die "stop"
	load_for 1 "stopped" 500 write fsync read create
	lc start chunkserver-2 || die "start"
	wait_whole 60
	load_phase "started" 500 write fsync read create
	step "the master is killed"
	from=$(date +%s%3N)
	lc kill master || die "kill"
	sleep 0.3
	lc start master || die "start"
	away=$(($(date +%s%3N) - from))
	load_for 2 "the master was away for $away ms" $((away + 1000)) create stat rename unlink list dirsync fsync
	# Longer, and leases of chunkservers run out.
	[ "$away" -ge 1000 ] || load_check "the master was away for $away ms" 300 write read
	[ ! -s "$T/stalled" ]
}
round || { wait_whole 60; round; } || die "too long without progress, twice"
load_stop
