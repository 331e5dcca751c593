#!/bin/bash
# Goal: a full disk reaches the application as ENOSPC, corrupts nothing, lets files be deleted, and
# everything works again with the space back; for the targets and for the master's store. Method:
# targets and master on small tmpfs file systems that are filled.
. "$(dirname "$0")/lib.sh"
fill() { # NAME: writes 1 MiB files until one fails; the error must be ENOSPC
	local i=0
	mkdir -p "$M/$1"
	while [ $i -lt 400 ]; do
		i=$((i + 1))
		head -c 1048576 /dev/zero | openssl enc -aes-128-ctr -pass "pass:$i" -nosalt -pbkdf2 2>/dev/null >"$T/piece"
		if ! dd if="$T/piece" of="$M/$1/$i" bs=64k conv=fsync 2>"$T/dd.err"; then
			grep -q 'No space left' "$T/dd.err" || { cat "$T/dd.err"; die "the error is not ENOSPC"; }
			rm -f "$M/$1/$i"
			echo "full after $((i - 1)) MiB"
			return 0
		fi
		sha256sum <"$T/piece" >"$T/sum.$1.$i"
	done
	die "wrote 400 MiB to a small disk"
}
check() {
	local f
	for f in "$T"/sum."$1".*; do
		sha256sum <"$M/$1/${f##*.}" | cmp -s - "$f" || die "$1/${f##*.} differs"
	done
}
makes_room() { head -c 20000000 /dev/zero >"$M/again" 2>/dev/null && sync "$M/again" 2>/dev/null; }
makes_directory() { mkdir "$1" 2>/dev/null; }
umount_all() { for n in "$D"/data/*; do umount -l "$n" 2>/dev/null; done; }
extra_cleanup() { umount_all; }
mkdir -p "$D/data"
for n in 1 2 3; do mkdir "$D/data/chunkserver-$n" && mount -t tmpfs -o size=$((64 + 16 * n))m tmpfs "$D/data/chunkserver-$n" || { echo "cannot mount tmpfs"; exit 77; }; done
mkdir "$D/data/master" && mount -t tmpfs -o size=48m tmpfs "$D/data/master" || exit 77
cluster_up -n 3 -c 3
echo before >"$M/before"
step "fill the targets"
fill one
check one
[ "$(cat "$M/before")" = before ] || die "before"
step "delete while full"
rm -r "$M/one" || die "deleting on a full disk"
rm -f "$T"/sum.one.*
step "space is back"
wait_until 60 "there is space after the deletion" makes_room
[ "$(stat -c %s "$M/again")" = 20000000 ] || die "no space after deletion"
rm "$M/again" && sync "$M" || die "rm"
step "fill again, then kill everything"
wait_removed 60
fill two
kill_all
lc up || die "up on full disks"
check two
rm -r "$M/two" || die "deleting after restart"
step "fill the master's disk"
mkdir "$M/meta"
long=$(printf 'n%.0s' $(seq 200))
full=''
for i in $(seq 60); do
	mkdir "$M/meta/$i" 2>"$T/err" || { full=1; break; }
	(cd "$M/meta/$i" && for j in $(seq 1000); do : >"$long$j" || exit 1; done) 2>"$T/err" || { full=1; break; }
	setfattr -n user.big -v "$(head -c 20000 /dev/zero | tr '\0' v)" "$M/meta/$i" 2>"$T/err" || { full=1; break; }
	# What else fills a disk: someone else's file on it.
	[ "$i" -ne 3 ] || {
		head -c 200m /dev/zero >"$D/data/master/ballast" 2>/dev/null
		wait_until 30 "the master sees that its disk is full" has_line 'space is low' "$D/log/master.log"
	}
done
[ -n "$full" ] || die "the master's disk never got full"
grep -q 'No space left' "$T/err" || { cat "$T/err"; die "the error is not ENOSPC"; }
kill -0 "$(pid master)" || die "the master died"
[ "$(cat "$M/before")" = before ] || die "reading with a full master"
step "delete while the master's disk is full"
rm -r "$M/meta/2" || die "deleting on the master's full disk"
[ ! -e "$M/meta/2" ] && [ -f "$D/data/master/ballast" ] || die "what was deleted is there"
rm -f "$D/data/master/ballast"
wait_until 60 "the master has space again" makes_directory "$M/after"
rm -r "$M/meta" || die "rm -r meta"
step "and after a restart"
kill_all
lc up || die "up"
[ "$(cat "$M/before")" = before ] && [ -d "$M/after" ] || die "after restart"
