#!/bin/bash
# Goal: the order in which a mount's own background work acts is never seen: no late size undoes a
# truncation, no late time one that was set, no version is known before its data, and no name before
# the data that it publishes. Method: programs race that work for some seconds each, on one mount and
# on two; a mount is killed just after a rename. RACE_SECONDS (4): how long each.
. "$(dirname "$0")/lib.sh"
seconds=${RACE_SECONDS:-4}
cluster_up -n 3 -c 3
races() { "$CATENA_BUILD/tests/cluster/races" "$@" || die "races $1"; }
step "one mount: truncations and times"
races truncate "$M" "$seconds"
races times "$M" "$M" "$seconds"
step "a mount that dies after a rename or a link leaves the old file or the whole new one"
head -c 100000 /dev/zero | tr '\0' old >"$T/old"
head -c 150000 /dev/urandom >"$T/new"
for i in 1 3 6; do
	cp "$T/old" "$M/file" && sync "$M/file" || die "old"
	# Something else is written, and other names go on behind it.
	dd if=/dev/urandom of="$M/other" bs=1M count=8 2>/dev/null
	cp "$T/new" "$M/file.new" && cp "$T/new" "$M/linked.new" || die "new"
	ln "$M/linked.new" "$M/linked" && mv -f "$M/other" "$M/other.moved" && mv -f "$M/file.new" "$M/file" &&
		mkdir "$M/after$i" || die "rename"
	sleep "0.0$((i * 15))"
	lc kill mount-mnt && umount -l "$M"
	lc start mount-mnt || die "mounting again"
	cmp -s "$T/new" "$M/file" || cmp -s "$T/old" "$M/file" || die "neither old nor new: $(stat -c %s "$M/file") bytes"
	[ ! -e "$M/linked" ] || cmp "$T/new" "$M/linked" || die "a link to less than the file"
	[ ! -e "$M/after$i" ] || cmp "$T/new" "$M/file" || die "a name that came after the rename is there before it"
	rm -f "$M/linked" "$M/linked.new" "$M/file.new"
done
step "a second mount"
lc mount other || die "second mount"
O=$D/other
races cut "$M" "$O" "$seconds"
races pages "$M" "$O" "$seconds"
races times "$M" "$O" "$seconds"
