#!/bin/bash
# Goal: holes are holes: du and stat count what is there, on every mount; shrinking, punching, seeking
# in and removing a huge file costs what is in it; cp and tar copy holes as holes and lose no data, not
# even what was stored in a mapped page and has not been written back.
# Method: files of up to 1 TiB that are nearly empty, with a time limit on each step; coreutils and tar.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
kib() { du -k "$1" | cut -f 1; }
within() { # SECONDS COMMAND...: generous, for busy machines; by the size of the hole it would be minutes
	timeout "$1" "${@:2}" || die "'${*:2}' failed or took more than $1 s"
}
step "what is there counts, holes do not"
truncate -s 1T "$M/huge"
[ "$(kib "$M/huge")" -eq 0 ] || die "an empty hole of 1 TiB counts as $(kib "$M/huge") KiB"
for at in 0 5000 700000 1048575; do
	head -c 1M /dev/urandom | dd of="$M/huge" bs=1M seek="$at" conv=notrunc,fsync status=none || die "writing at $at MiB"
done
[ "$(kib "$M/huge")" -eq 4096 ] || die "4 MiB in a hole count as $(kib "$M/huge") KiB"
lc mount other || die "second mount"
O=$D/other
[ "$(kib "$O/huge")" -eq 4096 ] || die "on the second mount: $(kib "$O/huge") KiB"
head -c 1M /dev/urandom | dd of="$O/huge" bs=1M seek=300000 conv=notrunc,fsync status=none
[ "$(kib "$M/huge")" -eq 5120 ] || die "written on the second mount, on the first: $(kib "$M/huge") KiB"
step "punch, seek, copy, shrink, remove"
within 30 fallocate -p -o 4M -l 900000M "$M/huge"
[ "$(kib "$M/huge")" -eq 2048 ] || die "after punching: $(kib "$M/huge") KiB"
within 60 cp --sparse=auto "$O/huge" "$M/copy"
[ "$(kib "$M/copy")" -eq 2048 ] || die "the copy has $(kib "$M/copy") KiB"
for at in 0 1048575; do
	cmp <(dd if="$M/huge" bs=1M skip="$at" count=1 status=none) \
		<(dd if="$M/copy" bs=1M skip="$at" count=1 status=none) || die "the copy differs at $at MiB"
done
within 30 truncate -s 3M "$M/copy"
truncate -s 1T "$M/copy"
[ "$(kib "$M/copy")" -eq 1024 ] || die "shrunk and grown: $(kib "$M/copy") KiB"
[ "$(dd if="$M/copy" bs=1M skip=1048575 count=1 status=none | tr -d '\0' | wc -c)" -eq 0 ] || die "cut-off bytes came back"
within 30 rm "$M/huge"
step "stored in a mapped page"
for mode in auto always; do
	truncate -s 1M "$M/mapped.$mode"
	"$CATENA_BUILD/tests/posix/mapped_hole" "$M/mapped.$mode" "$M/copy.$mode" cp --sparse=$mode || die "cp --sparse=$mode"
done
step "tar"
truncate -s 200M "$M/t" && echo data | dd of="$M/t" bs=1 seek=100000000 conv=notrunc status=none
tar -C "$M" -cSf "$T/t.tar" t || die "tar"
[ "$(stat -c %s "$T/t.tar")" -lt 1000000 ] || die "tar stored the holes"
mkdir "$M/x" && tar -C "$M/x" -xSf "$T/t.tar" && cmp "$M/t" "$M/x/t" || die "tar lost something"
[ "$(kib "$M/x/t")" -le 8 ] || die "untarred: $(kib "$M/x/t") KiB"
step "chains that do not answer do not keep a look waiting"
for i in 1 2 3; do lc freeze chunkserver-$i || die "freeze"; done
touch "$M/x/t" # so that what is known does not count any more
within 15 stat "$O/x/t" >/dev/null
for i in 1 2 3; do lc thaw chunkserver-$i || die "thaw"; done
lc umount other || die "umount"
