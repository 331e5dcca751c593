#!/bin/bash
# Goal: a target whose records are damaged is made again from the others, or refused, and never leads:
# what was synced stays. Method: files of a target's RocksDB are overwritten, while the others go on, after
# all were killed, and while all are down.
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
	[ $number -gt 0 ] || die "there is nothing to damage"
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
	remount
	echo 3 >/proc/sys/vm/drop_caches
	(cd "$M" && sha256sum --quiet -c "$T/recent.$1") || die "files differ"
}
start_damaged() {
	CATENA_START_SECONDS=5 lc start chunkserver-3 >"$T/start.out" 2>&1 && echo "its chunkserver starts" && return
	echo "its chunkserver does not start: $(tail -n 1 "$T/start.out")"
	return 1
}
is_gone() { [ "$(status '.servers[] | select(.name == "chunkserver-3") | .online')" = false ]; }
is_broken() { [ "$(status "$whole_filter")" = false ]; }
has_many() { [ "$(grep -c -- "$1" "$2")" -gt "$3" ]; } # PATTERN FILE MANY: more lines than that
# The witness of chunkserver-3 tells its damage by the last mark noted there. A mark that is noted now may
# have been made before the last write, but the one after it was not. Marks are made when something is flushed.
mark_follows() {
	head -c 100 /dev/urandom >"$M/flushed" && sync "$M/flushed" || die "writing"
	cksum <"$D/data/chunkserver-3/synced" >>"$T/marks"
	[ "$(sort -u "$T/marks" | wc -l)" -ge 3 ]
}
wait_marked() {
	: >"$T/marks"
	wait_until 60 "chunkserver-3 notes what was flushed" mark_follows
}
# The master has put a target that is damaged behind the others, or one that did not start is missed.
damage_is_known() {
	has_many "$known" "$D/log/chunkserver-3.log" "$known_before" ||
		{ ! kill -0 "$(pid chunkserver-3 2>/dev/null)" 2>/dev/null && is_broken; }
}
is_refused() { catena status >"$T/status" && has_line 'WARNING .*records that it had flushed are missing; it was refused' "$T/status"; }
is_decided() { is_refused || damage_is_known; }
serves() { catena status >"$T/status" && ! has_line 'WARNING .*does not serve yet' "$T/status"; }
new_disk() {
	lc stop chunkserver-3
	wipe chunkserver-3
	lc start chunkserver-3 || die "start"
	wait_until 60 "the new disk gets its share" has_some chunkserver-3
	wait_whole 90
	check_recent "$1"
}
step "tables, for they are written when a log is replayed"
write_recent none
lc down || die "down"
lc up || die "up"
wait_whole 60
for kind in '*.sst' '*.log'; do
	step "records ($kind) are damaged while the others go on"
	write_recent one
	lc stop chunkserver-3 || die "stop"
	wait_until 60 "chunkserver-3 is missed" is_gone
	damage_records chunkserver-3 "$kind"
	starts=1
	start_damaged || starts=0
	wait_whole 90
	check_recent one
	# What is damaged in a table may be met later only, and then the target is down for good.
	[ $starts = 1 ] && [ "$kind" = '*.log' ] || { step "with a new disk" && new_disk one; }
	rm -r "$M/recent.one" || die "rm"
done
known='damage is known to the master'
start_all_damaged() {
	local name
	known_before=$(grep -c "$known" "$D/log/chunkserver-3.log")
	damage_records chunkserver-3 '*.log'
	for name in master chunkserver-1 chunkserver-2 chunkserver-4; do lc start $name || die "start $name"; done
	start_damaged
	grep -q 'target is damaged: records that were flushed are missing' "$D/log/chunkserver-3.log" ||
		die "the damage was not noticed"
}
step "records are damaged after all were killed"
write_recent two
wait_marked
lc kill master || die "kill" # first, or it sees the others go one by one
kill_all
start_all_damaged
lc start mount-mnt || die "mount"
wait_until 60 "the damage is known" damage_is_known
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
wait_until 60 "the master has taken chunkserver-3, or refused it" is_decided
if is_refused; then
	grep 'it was refused' "$T/status"
	# A master that has just started waits for the target that was refused, too ([recovery] hear_wait).
	wait_until 60 "the master serves" serves
	catena chain accept-data-loss all "$(target_of chunkserver-1)" --accept-data-loss || die "accept-data-loss"
fi
lc start mount-mnt || die "mount"
wait_whole 90
check_recent three
down_and_compare 3
