#!/bin/bash
# Goal: what is lost or damaged on one target is made again from the others, by itself, and never
# reaches a reader. Method: a target is wiped, a chunkserver stays away, every copy of a file's chunks
# is damaged in turn, then a target's records; a load that checks everything runs where it can.
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
sleep 3
wait_whole 90
load_phase "three are left" 4000 write fsync read create
lc start chunkserver-4 || die "start"
sleep 2
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

# RocksDB has checksums of its own: with a damaged table it does not open. But a log is replayed only
# up to the first record that is damaged, and what came behind it must not be taken for never written:
# neither when the others went on without this target, nor when all start together.
damage_records() { # NAME PATTERN
	local file size number=0
	for file in "$D/data/$1/db"/$2; do
		[ -e "$file" ] || continue
		size=$(tr -d '\0' <"$file" | wc -c) # logs end in zeros
		[ "$size" -ge 200 ] || continue
		printf DAMAGED | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc status=none || die "damaging"
		number=$((number + 1))
	done
	echo "damaged $number files: $2"
}
write_recent() {
	local i
	mkdir "$M/recent.$1"
	for i in $(seq 150); do head -c 3000 /dev/urandom >"$M/recent.$1/$i" || die "writing"; done
	head -c 20M /dev/urandom >"$M/recent.$1/large" || die "writing"
	sync "$M/recent.$1"/* || die "fsync"
	(cd "$M" && sha256sum "recent.$1"/*) >"$T/recent.$1"
}
check_recent() {
	read_big
	(cd "$M" && sha256sum --quiet -c "$T/recent.$1") || die "files differ"
}
start_damaged() {
	CATENA_START_SECONDS=5 lc start chunkserver-3 >"$T/start.out" 2>&1 && echo "its chunkserver starts" && return
	echo "its chunkserver does not start: $(tail -n 1 "$T/start.out")"
	return 1
}
new_disk() {
	lc stop chunkserver-3
	wipe chunkserver-3
	lc start chunkserver-3 || die "start"
	sleep 3
	wait_whole 90
	check_recent "$1"
}
lc up || die "up"
wait_whole 60
for kind in '*.sst' '*.log'; do
	step "records ($kind) are damaged while the others go on"
	write_recent one
	lc stop chunkserver-3 || die "stop"
	damage_records chunkserver-3 "$kind"
	starts=1
	start_damaged || starts=0
	sleep 3
	wait_whole 90
	check_recent one
	[ $starts = 1 ] || { step "with a new disk" && new_disk one; }
	rm -r "$M/recent.one" || die "rm"
done
start_all_damaged() {
	local name
	damage_records chunkserver-3 '*.log'
	for name in master chunkserver-1 chunkserver-2 chunkserver-4; do lc start $name || die "start $name"; done
	start_damaged
	grep -q 'target is damaged: records that were synced are missing' "$D/log/chunkserver-3.log" ||
		die "the damage was not noticed"
}
step "records are damaged after all were killed"
write_recent two
sleep 2 # what was synced is noted behind the syncs
lc kill master || die "kill" # first, or it sees the others go one by one
kill_all
start_all_damaged
lc start mount-mnt || die "mount"
sleep 3
wait_whole 90
check_recent two
step "with a new disk"
new_disk two
# Who leaves last is the last that has everything, as far as anybody knows; so with such a disk somebody
# has to say that the others, which left before, may go on.
step "records are damaged while all are down"
write_recent three
lc down || die "down"
start_all_damaged
sleep 5
catena status >"$T/status"
if grep 'WARNING .*records that it had synced are missing; it was refused' "$T/status"; then
	# A master that has just started waits for the target that was refused, too ([recovery] hear_wait).
	for _ in $(seq 75); do
		catena status >"$T/status"
		grep -q 'WARNING .*does not serve yet' "$T/status" || break
		sleep 0.2
	done
	catena chain accept-data-loss all "$(target_of chunkserver-1)" --accept-data-loss || die "accept-data-loss"
fi
lc start mount-mnt || die "mount"
wait_whole 90
check_recent three
down_and_compare 3
