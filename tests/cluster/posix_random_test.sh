#!/bin/bash
# Goal: the mount behaves as a local filesystem, whatever comes after what. Method: a seeded stream of random
# operations on a local directory and on the mount, side by side; then both are compared once more after
# mounting again. SEEDS, OPS: others, more of them.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
posix=$CATENA_BUILD/tests/posix
mkdir "$T/local2" "$M/mount2"
for seed in ${SEEDS:-1 2 $(date +%s)}; do
	step "random operations, seed $seed"
	rm -rf "$T/local2"/* "$M/mount2"/*
	"$posix/random_ops" "$T/local2" "$M/mount2" --seed "$seed" --ops "${OPS:-2500}" || die "random operations"
done
step "the same after mounting again"
remount
diff -r "$T/local2" "$M/mount2" || die "trees differ after mounting again"
