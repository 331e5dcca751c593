#!/bin/bash
# Goal: the mount behaves as a local filesystem. Method: every check of tests/posix/semantics.c and
# inodes.c on a local directory (so that a check which is wrong itself shows) and on the mount; then
# a seeded stream of random operations on both, side by side; then file handles, and what another
# mount removes.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
posix=$CATENA_BUILD/tests/posix
mkdir "$T/local" "$M/mount" "$T/local2" "$M/mount2"
step "semantics"
for program in semantics inodes; do
	"$posix/$program" "$T/local" || die "a check fails on the local filesystem"
	"$posix/$program" "$M/mount" || die "$program"
done
for seed in ${SEEDS:-1 2 $(date +%s)}; do
	step "random operations, seed $seed"
	rm -rf "$T/local2"/* "$M/mount2"/*
	"$posix/random_ops" "$T/local2" "$M/mount2" --seed "$seed" --ops "${OPS:-2500}" || die "random operations"
done
step "the same after mounting again"
remount
diff -r "$T/local2" "$M/mount2" || die "trees differ after mounting again"
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
