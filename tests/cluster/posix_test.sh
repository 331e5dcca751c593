#!/bin/bash
# Goal: the mount behaves as a local filesystem. Method: every check of tests/posix/semantics.c on a
# local directory (so that a check which is wrong itself shows) and on the mount; then a seeded
# stream of random operations on both, side by side.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
mkdir "$T/local" "$M/mount" "$T/local2" "$M/mount2"
step "semantics"
"$CATENA_BUILD/tests/posix/semantics" "$T/local" || die "a check fails on the local filesystem"
"$CATENA_BUILD/tests/posix/semantics" "$M/mount" || die "semantics"
for seed in ${SEEDS:-1 2 $(date +%s)}; do
	step "random operations, seed $seed"
	rm -rf "$T/local2"/* "$M/mount2"/*
	"$CATENA_BUILD/tests/posix/random_ops" "$T/local2" "$M/mount2" --seed "$seed" --ops "${OPS:-2500}" || die "random operations"
done
step "the same after mounting again"
remount
diff -r "$T/local2" "$M/mount2" || die "trees differ after mounting again"
