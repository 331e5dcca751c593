#!/bin/bash
# Goal: the mount behaves as a local filesystem. Method: every check of tests/posix/semantics.c and
# inodes.c on a local directory (so that a check which is wrong itself shows) and on the mount; then
# file handles, what another mount removes, and read-only for a while. Of random operations:
# posix_random_test.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
posix=$CATENA_BUILD/tests/posix
mkdir "$T/local" "$M/mount"
step "semantics"
for program in semantics inodes; do
	"$posix/$program" "$T/local" || die "a check fails on the local filesystem"
	"$posix/$program" "$M/mount" || die "$program"
done
step "file handles"
mkdir "$M/handles"
handles() { # take|open|gone MOUNT
	"$posix/handles" "$1" "$2/handles" <"$T/handles" || die "handles: $1 on $2"
}
"$posix/handles" take "$M/handles" >"$T/handles" || die "handles are not given"
handles open "$M"
remount
handles open "$M"
lc mount other || die "second mount"
handles open "$D/other"
step "names removed and replaced by another mount"
"$posix/inodes" "$M/mount" --other "$D/other/mount" || die "inodes with two mounts"
rm -r "$M"/handles/*
handles gone "$M"
lc umount other && lc mount other || die "cannot mount again"
handles gone "$D/other"
lc umount other || die "umount"
step "read-only, and back"
echo kept >"$M/kept"
access=$(stat -c %X.%x "$M/kept")
"$CATENA_BUILD/mount.catena" - "$M" -o remount,ro || die "remount,ro"
! echo more 2>/dev/null >>"$M/kept" || die "written to a read-only mount"
sleep 0.5 # until the mount knows
[ "$(cat "$M/kept")" = kept ] && [ "$(stat -c %X.%x "$M/kept")" = "$access" ] || die "a read has changed the time of access"
"$CATENA_BUILD/mount.catena" - "$M" -o remount,rw || die "remount,rw"
echo more >>"$M/kept" || die "not writable again"
flags() { awk -v at="$M" '$2 == at { print $4 }' /proc/self/mounts | cut -d, -f1-2; }
"$CATENA_BUILD/mount.catena" - "$M" -o rw,relatime,remount,noexec || die "remount,noexec"
[ "$(flags)" = rw,noexec ] || die "remounted noexec, it is $(flags)"
"$CATENA_BUILD/mount.catena" - "$M" -o rw,relatime,remount || die "what mount -o remount,exec calls"
[ "$(flags)" = rw,relatime ] || die "remounted exec, it is $(flags)"
! "$CATENA_BUILD/mount.catena" - "$M" -o remount,ro 7>>"$M/kept" 2>"$T/busy" || die "read-only with a file open for writing"
need busy "$T/busy"
dd if=/dev/urandom of="$T/large" bs=1M count=64 2>/dev/null
cp "$T/large" "$M/large"
"$CATENA_BUILD/mount.catena" - "$M" -o remount,ro || die "remount,ro"
lc kill mount-mnt
lc start mount-mnt || die "mounting again"
cmp "$T/large" "$M/large" && [ "$(wc -l <"$M/kept")" -eq 2 ] || die "not everything was written before it was read-only"
