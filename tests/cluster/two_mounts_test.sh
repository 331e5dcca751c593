#!/bin/bash
# Goal: what one mount has closed, another that opens sees (close-to-open), names and attributes at
# once; and when only one mount is left it is quick again. Method: two and three mounts take turns.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
for i in $(seq 50); do echo "one $i" >"$M/f$i"; done
ls -l "$M" >/dev/null
step "a second mount sees everything"
lc mount other || die "second mount"
O=$D/other
for i in $(seq 50); do [ "$(cat "$O/f$i")" = "one $i" ] || die "f$i on the second mount"; done
step "taking turns"
for i in $(seq 60); do
	echo "a $i" >"$M/turn"; [ "$(cat "$O/turn")" = "a $i" ] || die "turn a $i: $(cat "$O/turn")"
	echo "b $i longer" >"$O/turn"; [ "$(cat "$M/turn")" = "b $i longer" ] || die "turn b $i: $(cat "$M/turn")"
	mv "$M/turn" "$M/turn.$i"; [ -e "$O/turn.$i" ] && [ ! -e "$O/turn" ] || die "rename $i not seen"
	rm "$O/turn.$i"; [ ! -e "$M/turn.$i" ] || die "unlink $i not seen"
done
step "large files"
head -c 30000000 /dev/urandom >"$T/r"
cp "$T/r" "$M/r"; cmp "$T/r" "$O/r" || die "large file"
printf XYZ | dd of="$O/r" bs=1 seek=20000000 conv=notrunc 2>/dev/null
printf XYZ | dd of="$T/r" bs=1 seek=20000000 conv=notrunc 2>/dev/null
cmp "$T/r" "$M/r" || die "large file after a change"
step "appends of both"
for i in $(seq 50); do echo "m$i" >>"$M/log"; echo "o$i" >>"$O/log"; done
[ "$(wc -l <"$M/log")" -eq 100 ] && [ "$(sort -u "$O/log" | wc -l)" -eq 100 ] || die "appends were lost"
step "privileges given by one are taken by a write of the other"
append_as_nobody() { # the way here may be forbidden to others
	(cd "$1" && setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'echo more >>p') || die "append as nobody"
}
echo one >"$M/p" && chown 65534:65534 "$M/p"
for i in 1 2 3; do
	# The second has known meanwhile that there are none.
	append_as_nobody "$O"
	chmod 6775 "$M/p"
	setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 "$M/p" || die "setfattr"
	append_as_nobody "$O"
	for d in "$O" "$M"; do
		[ "$(stat -c %a "$d/p")" = 775 ] || die "mode $(stat -c %a "$d/p") on $d"
		! getfattr -n security.capability "$d/p" 2>/dev/null || die "capabilities were kept"
	done
done
step "unlinked while open elsewhere"
exec 5<"$O/r"
rm "$M/r"
sleep 1
cmp "$T/r" - <&5 || die "the open file is gone"
exec 5<&-
step "a mount that is killed does not stop the other for long"
lc kill mount-other
started=$SECONDS
echo alone >"$M/alone" && [ "$(cat "$M/alone")" = alone ] || die "alone"
[ $((SECONDS - started)) -le 15 ] || die "waited $((SECONDS - started)) s"
lc start mount-other || die "mounting again"
[ "$(cat "$O/alone")" = alone ] || die "alone on the other"
lc umount other || die "umount"
