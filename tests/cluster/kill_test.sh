#!/bin/bash
# Goal: SIGKILL of any one or all processes at any moment loses nothing that fsync acknowledged, and
# leaves a cluster that starts; waiting programs go on by themselves when the process is back.
# Method: a writer notes every acknowledged record outside the mount while processes are killed and
# started; then every record is checked. The mount itself is killed too.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
acked=$CATENA_BUILD/tests/fault/acked_writes
writer=''
mkdir "$M/w"
start_writer() { "$acked" write "$M/w" "$T/ledger" >"$T/writer.out" 2>&1 & writer=$!; }
stop_writer() { kill -TERM "$writer" 2>/dev/null; wait "$writer" 2>/dev/null; writer=''; }
verify() { "$acked" verify "$M/w" "$T/ledger" || die "acknowledged data lost after $1"; }
nap() { sleep "0.$((RANDOM % 8 + 1))"; }

for round in $(seq "${ROUNDS:-2}"); do
	for name in chunkserver-1 chunkserver-2 chunkserver-3 master; do
		step "round $round: $name"
		start_writer
		nap
		lc kill $name || die "kill $name"
		nap
		lc start $name || die "start $name"
		sleep 1
		kill -0 "$writer" 2>/dev/null || { cat "$T/writer.out"; die "the writer saw an error while $name was killed"; }
		before=$(wc -l <"$T/ledger")
		for _ in $(seq 50); do [ "$(wc -l <"$T/ledger")" -gt $((before + 10)) ] && break; sleep 0.2; done
		[ "$(wc -l <"$T/ledger")" -gt $((before + 10)) ] || die "the writer does not go on after $name is back"
		stop_writer
		verify "$name"
	done
	step "round $round: the mount"
	start_writer
	nap
	lc kill mount-mnt || die "kill mount"
	wait "$writer"; writer=''
	lc start mount-mnt || die "start mount"
	verify "the mount"
	step "round $round: all chunkservers at once"
	start_writer
	nap
	kill -KILL "$(pid chunkserver-1)" "$(pid chunkserver-2)" "$(pid chunkserver-3)"
	sleep 0.2
	lc up || die "up"
	sleep 1
	kill -0 "$writer" 2>/dev/null || { cat "$T/writer.out"; die "the writer saw an error"; }
	stop_writer
	verify "all chunkservers"
	step "round $round: everything at once"
	start_writer
	nap
	kill -KILL $(cat "$D"/run/*.pid)
	wait "$writer"; writer=''
	sleep 0.2
	lc up || die "up after everything was killed"
	verify "everything"
done
step "copies are equal"
down_and_compare 3
