#!/bin/bash
# Goal: every chunk is on three targets, the same on each; removed files free their chunks. Method:
# files of all kinds are written, overwritten, punched, truncated; the cluster is stopped; the
# chunks of each target are listed and checked offline, and the lists compared.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
step "writing"
mkdir "$M/a" "$M/local" "$T/local"
for i in $(seq 200); do head -c $((i * 37)) /dev/urandom >"$M/a/$i" || die "write"; done
head -c 50000000 /dev/urandom >"$M/large" || die "write"
"$CATENA_BUILD/tests/posix/random_ops" "$T/local" "$M/local" --seed 11 --ops 1200 || die "random operations"
fallocate -p -o 1000000 -l 20000000 "$M/large" || die "punch"
truncate -s 45000000 "$M/large" || die "truncate"
step "comparing"
down_and_compare 3
[ "$(wc -l <"$T/chunks")" -ge 609 ] || die "only $(wc -l <"$T/chunks") copies"
step "removal"
lc up || die "up"
rm -r "$M"/* || die "rm"
down_and_compare 3
[ ! -s "$T/chunks" ] || { head "$T/chunks"; die "chunks of removed files are still there"; }
