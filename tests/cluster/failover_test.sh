#!/bin/bash
# Goal: chunkservers die, stand still and come back, and programs hardly notice; in the end all copies
# are there and equal. Method: four chunkservers, three copies; a load that checks everything and fio
# with verification run while each chunkserver in turn is killed, one is frozen, and two are killed at
# once. KILLS: which are killed in turn. Limits are for a machine without other work (CATENA_STALL_MS, see lib.sh).
. "$(dirname "$0")/lib.sh"
cluster_up -n 4 -c 3
fio_loop() { # until $T/fio.stop is there
	mkdir -p "$M/fio"
	while [ ! -e "$T/fio.stop" ]; do
		fio --name=v --directory="$M/fio" --size=24m --rw=randwrite --bsrange=4k-256k --verify=crc32c --verify_fatal=1 \
			--verify_state_save=0 --ioengine=psync --fallocate=none --fsync=32 --rate=8m --output="$T/fio.out" || return 1
		echo round >>"$T/fio.rounds"
	done
}
end_programs() { [ -z "$fio" ] || kill -KILL -- "-$fio" 2>/dev/null; } # with its children
fio=''
wait_whole 30
load_start --rate 20 --only writer,reader --size 64
set -m
fio_loop &
fio=$!
set +m
load_for 2 "undisturbed"

for n in ${KILLS:-1 2 3 4}; do
	step "chunkserver-$n is killed"
	lc kill "chunkserver-$n" || die "kill"
	load_for 2 "chunkserver-$n killed" 500 write fsync read
	lc start "chunkserver-$n" || die "start"
	wait_whole 60
	load_phase "chunkserver-$n back" 500 write fsync read
done

step "chunkserver-2 stands still"
lc freeze chunkserver-2 || die "freeze"
load_for 8 "chunkserver-2 frozen" 4000 write fsync read
lc thaw chunkserver-2 || die "thaw"
wait_whole 60
load_phase "chunkserver-2 thawed" 500 write fsync read

step "two of four are killed"
lc kill chunkserver-3 && lc kill chunkserver-4 || die "kill"
load_for 3 "two killed" 1000 write fsync read
lc start chunkserver-3 && lc start chunkserver-4 || die "start"
wait_whole 60
load_phase "two back" 500 write fsync read

step "the end"
touch "$T/fio.stop"
wait "$fio" || { tail -n 30 "$T/fio.out"; die "fio"; }
fio=''
echo "fio: $(wc -l <"$T/fio.rounds") rounds verified"
load_stop
down_and_compare 3
