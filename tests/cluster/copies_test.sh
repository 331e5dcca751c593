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
compare_targets() {
	local n
	for n in 1 2 3; do
		list_chunks "chunkserver-$n" >"$T/chunks.$n" || { grep BAD "$T/chunks.$n"; die "chunkserver-$n has bad chunks"; }
	done
	cmp "$T/chunks.1" "$T/chunks.2" || { diff "$T/chunks.1" "$T/chunks.2" | head; die "copies 1 and 2 differ"; }
	cmp "$T/chunks.1" "$T/chunks.3" || { diff "$T/chunks.1" "$T/chunks.3" | head; die "copies 1 and 3 differ"; }
}
step "comparing"
lc down || die "down"
compare_targets
[ "$(wc -l <"$T/chunks.1")" -ge 203 ] || die "only $(wc -l <"$T/chunks.1") chunks"
step "removal"
lc up || die "up"
rm -r "$M"/* || die "rm"
for _ in $(seq 100); do
	left=$("$CATENA_BUILD/tools/catena" status --json --master "$(sed -n 's/^listen = //p' "$D/conf/master.conf")" \
		-o "ca=$D/ca/ca.crt,cert=$D/ca/admin.crt,key=$D/ca/admin.key" | sed -n 's/.*"removal_queue": *\([0-9]*\).*/\1/p')
	[ "$left" != 0 ] || break
	sleep 0.2
done
[ "$left" = 0 ] || die "removal queue still has $left entries after 20 s"
lc down || die "down"
compare_targets
[ ! -s "$T/chunks.1" ] || { head "$T/chunks.1"; die "chunks of removed files are still there"; }
