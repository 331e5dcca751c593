#!/bin/bash
# Goal: one command makes a cluster that keeps files. Method: write, list, mount anew, read, remove;
# then the whole comes down and leaves nothing.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
step "files"
mkdir "$M/d" || die "mkdir"
echo hello >"$M/d/small" || die "small file"
head -c 5000000 /dev/urandom >"$T/random"
cp "$T/random" "$M/d/large" || die "large file"
ln -s small "$M/d/link" && ln "$M/d/small" "$M/d/hard" || die "links"
[ "$(cat "$M/d/link")" = hello ] || die "symlink"
cmp "$T/random" "$M/d/large" || die "large file differs"
remount
step "after mounting again"
[ "$(cat "$M/d/hard")" = hello ] || die "small file after remount"
cmp "$T/random" "$M/d/large" || die "large file differs after remount"
[ "$(ls "$M/d" | wc -l)" -eq 4 ] || die "listing"
lc status || die "status"
rm -r "$M/d" || die "rm"
[ -z "$(ls -A "$M")" ] || die "not empty"
step "the kernel reads ahead, whichever comes first, the mount's answer to it or the setting"
for i in 1 2 3 4 5 6 7 8; do
	ahead=/sys/class/bdi/$(mountpoint -d "$M")/read_ahead_kb
	[ ! -e "$ahead" ] || [ "$(cat "$ahead")" -eq 2048 ] || die "mount $i: $(cat "$ahead") KiB"
	remount
done
step "down"
pids=$(cat "$D"/run/*.pid)
lc down || die "down"
for p in $pids; do # one may go, or be nobody's child any more, while it is looked at
	! grep -q "^State:[[:space:]]*[A-WYa-wy-z]" "/proc/$p/status" 2>/dev/null || die "process $p is still there"
done
! grep -q " $D/" /proc/self/mounts || die "still mounted"
lc up && lc down || die "up and down once more"
