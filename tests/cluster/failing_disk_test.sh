#!/bin/bash
# Goal: one target's disk gets full, another's fails while it is in use: programs see neither, as long
# as the others have room. Method: four chunkservers with three copies on small file systems; somebody
# else's file fills one; the kernel makes another read-only, as after an I/O error.
. "$(dirname "$0")/lib.sh"
export CATENA_MASTER_CONF=${CATENA_MASTER_CONF-$'[recovery]\nreplace_after = 2s'}
extra_cleanup() { for n in 1 2 3 4; do umount -l "$D/data/chunkserver-$n" 2>/dev/null; done; }
rests() { # SECONDS: no chain changes
	local end=$((SECONDS + $1)) before
	before=$(status .map_version)
	while [ $SECONDS -lt $end ]; do
		[ "$(status .map_version)" = "$before" ] || return 1
		sleep 0.2
	done
}
mkdir -p "$D/data"
for n in 1 2 4; do
	mkdir "$D/data/chunkserver-$n" && mount -t tmpfs -o size=400m tmpfs "$D/data/chunkserver-$n" || { echo "cannot mount tmpfs"; exit 77; }
done
truncate -s 400M "$T/disk" && mkfs.ext4 -q -m 0 "$T/disk" && mkdir "$D/data/chunkserver-3" &&
	mount -o loop "$T/disk" "$D/data/chunkserver-3" || { echo "cannot mount a file"; exit 77; }
rmdir "$D/data/chunkserver-3/lost+found"
cluster_up -n 4 -c 3
wait_whole 30
load_start --rate 15 --size 96
load_for 2 "undisturbed"

step "somebody fills the disk of chunkserver-1"
head -c 400M /dev/zero >"$D/data/chunkserver-1/ballast" 2>/dev/null
i=0
while [ $i -lt 100 ]; do # more than would fit with the load, if nothing moved
	i=$((i + 1))
	head -c 1048576 /dev/urandom >"$T/piece"
	dd if="$T/piece" of="$M/more.$i" bs=64k conv=fsync status=none || die "writing after $i MiB: three others have room"
done
wait_whole 90
# What was driven out does not come back, to be driven out again.
wait_until 60 "nothing moves any more" rests 5
load_phase "a full disk" 4000 write fsync read create
[ "$(status '.servers[] | select(.name == "chunkserver-1") | .online')" = true ] || die "chunkserver-1 is not there any more"
step "and it has space again"
rm -f "$D/data/chunkserver-1/ballast" "$M"/more.*
wait_until 60 "chunkserver-1 gets its share" has_some chunkserver-1
wait_whole 90
load_phase "space again" 4000 write fsync read create

step "the disk of chunkserver-3 fails"
mount -o remount,abort "$D/data/chunkserver-3" || die "cannot make it fail"
wait_until 60 "chunkserver-3 is replaced" has_none chunkserver-3
wait_whole 90
load_phase "a failed disk" 4000 write fsync read create
kill -0 "$(pid chunkserver-3)" || die "chunkserver-3 died of it"
step "and is replaced"
lc stop chunkserver-3 || die "stop"
# Another file: a mount namespace that somebody made meanwhile may still have the old one mounted.
umount "$D/data/chunkserver-3" && truncate -s 400M "$T/new_disk" && mkfs.ext4 -q -m 0 "$T/new_disk" &&
	mount -o loop "$T/new_disk" "$D/data/chunkserver-3" || die "a new disk"
rmdir "$D/data/chunkserver-3/lost+found"
"$CATENA_BUILD/catena-chunkserver" --config "$D/conf/chunkserver-3.conf" --init >/dev/null || die "init"
lc start chunkserver-3 || die "start"
wait_until 60 "the new disk gets its share" has_some chunkserver-3
wait_whole 90
load_phase "a new disk" 4000 write fsync read create
load_stop
down_and_compare 3
