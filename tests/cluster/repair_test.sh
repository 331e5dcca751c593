#!/bin/bash
# Goal: what is lost or damaged on one target is made again from the others, by itself, and never
# reaches a reader. Method: a target is wiped, a chunkserver stays away, every copy of a file's chunks
# is damaged in turn; a load that checks everything runs where it can. Of damaged records: repair_records_test.
# Run: long
. "$(dirname "$0")/lib.sh"
export CATENA_MASTER_CONF=${CATENA_MASTER_CONF-$'[recovery]\nreplace_after = 2s'}
cluster_up -n 4 -c 3
wait_whole 30
target_of() { status '.servers[] | select(.name == $name) | .targets[].id' --arg name "$1"; }
wipe() { # NAME: a new disk in place of the old
	rm -rf "$D/data/$1"
	"$CATENA_BUILD/catena-chunkserver" --config "$D/conf/$1.conf" --init >/dev/null || die "init of $1"
}
partitions_of_target() { status '[.servers[].targets[] | select(.id == $id) | .partitions // 0] | add // 0' --argjson id "$1"; }

step "a file of $((mib = ${BIG_MIB:-48})) MiB"
pattern() { head -c "${mib}M" /dev/zero | openssl enc -aes-128-ctr -pass pass:r -nosalt -pbkdf2; }
pattern >"$M/big" && sync "$M/big" || die "writing"
pattern | sha256sum >"$T/big.sum" || die "the reference"
load_start --rate 10 --size 32

step "a target is wiped"
old=$(target_of chunkserver-2)
lc stop chunkserver-2 || die "stop"
wipe chunkserver-2
lc start chunkserver-2 || die "start"
wait_whole 90
[ "$(partitions_of_target "$old")" = 0 ] || die "the target that is gone is still in $(partitions_of_target "$old") chains"
load_phase "wiped" 4000 write fsync read create

step "a chunkserver stays away"
lc stop chunkserver-4 || die "stop"
wait_until 60 "chunkserver-4 is replaced" has_none chunkserver-4
wait_whole 90
load_phase "three are left" 4000 write fsync read create
lc start chunkserver-4 || die "start"
wait_until 60 "chunkserver-4 gets its share" has_some chunkserver-4
wait_whole 90
load_phase "four again" 4000 write fsync read create
load_stop
down_and_compare 3

# Chunks of the big file are larger than all others. In each MiB of a copy a few bytes are overwritten.
damage_copies() { # WHICH of each chunk's copies
	local key number=0 copies copy at
	for key in $(find "$D"/data/*/chunks -type f -size +9M -printf '%f\n' | sort -u); do
		mapfile -t copies < <(find "$D"/data/*/chunks -name "$key" | sort)
		[ ${#copies[@]} -eq 3 ] || die "$key is on ${#copies[@]} targets"
		copy=${copies[$(((number + $1) % 3))]}
		for ((at = 0; at < $(stat -c %s "$copy"); at += 1048576)); do
			printf DAMAGED | dd of="$copy" bs=1 seek=$((at + RANDOM * 8)) conv=notrunc status=none || die "damaging"
		done
		number=$((number + 1))
	done
	echo "damaged one copy of $number chunks"
	[ $number -ge $((mib / 16 - 1)) ] || die "too few chunks found"
}
read_big() {
	remount
	echo 3 >/proc/sys/vm/drop_caches
	sha256sum <"$M/big" | cmp - "$T/big.sum" || die "the file differs"
}
for copy in ${COPIES:-0 1 2}; do
	step "copy $copy of every chunk is damaged"
	lc up || die "up"
	wait_whole 60
	damage_copies "$copy"
	for _ in 1 2 3; do read_big; done
	sleep 2
	wait_whole 60
	down_and_compare 3
done
