#!/bin/bash
# Goal: an old copy of a disk that is the last to have some chains' data is refused, and it alone: the
# chains of the disk beside it go on, nobody reads old data, and nothing is lost when the right disk
# is put back. Method: two chunkservers of two targets, two copies; one chunkserver is killed, and a
# target of the other goes back in time.
. "$(dirname "$0")/lib.sh"
cluster_up -n 2 -c 2 -t 2
wait_whole 30
files=48
write_files() { # TEXT
	local n
	for n in $(seq $files); do
		printf '%s %s\n' "$1" "$n" >"$M/file$n" && sync "$M/file$n" || die "writing file$n"
	done
}
# How many of them can be read within some seconds; none may have something else in it.
readable() { # TEXT SECONDS
	local n count=0 text
	remount
	for n in $(seq $files); do
		{ timeout -s KILL "$2" cat "$M/file$n" >"$T/read.$n" 2>/dev/null || rm -f "$T/read.$n"; } &
	done
	wait
	for n in $(seq $files); do
		[ -e "$T/read.$n" ] || continue
		text=$(cat "$T/read.$n")
		[ "$text" = "$1 $n" ] || die "file$n has '$text'"
		count=$((count + 1))
	done
	echo "$count"
}
dir=$(target_dirs chunkserver-2 | head -n 1)
write_files old
lc stop chunkserver-2 || die "stop"
cp -a "$dir" "$T/image" || die "copy"
lc start chunkserver-2 || die "start"
wait_whole 60

step "a disk goes back in time"
lc kill chunkserver-1 || die "kill"
write_files new
lc kill chunkserver-2 || die "kill"
mv "$dir" "$T/right" && mv "$T/image" "$dir" || die "exchange"
lc start chunkserver-2 || die "start"
wait_until 30 "the old copy is refused" has_line 'master refuses a target' "$D/log/chunkserver-2.log"
is_told() { catena status >"$T/status" && has_line 'WARNING .*older copy' "$T/status"; }
wait_until 30 "the status tells of the old copy" is_told
count=$(readable new 5) || die "$count"
echo "$count of $files files can be read"
[ "$count" -ge $((files / 8)) ] || die "the disk beside it does not go on"
[ "$count" -le $((files - files / 8)) ] || die "the old disk is used"

step "the right one is put back"
lc stop chunkserver-2 || die "stop"
rm -rf "$dir" && mv "$T/right" "$dir" || die "exchange"
lc start chunkserver-2 && lc start chunkserver-1 || die "start"
wait_whole 60
count=$(readable new 60) || die "$count"
[ "$count" = $files ] || die "$count of $files files are there"
down_and_compare 2
