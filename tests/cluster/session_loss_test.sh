#!/bin/bash
# Goal: a mount that stood still, or whose machine slept, does nothing any more that somebody else's
# work has overtaken, and says so; when nobody else came it has lost nothing; and it can be taken away
# whatever is gone. Method: a mount is stopped for longer than its lease, with and without another one
# that comes meanwhile; its clock is told that the machine has slept; all servers die.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
wait_whole 30
A=$M B=$D/b
mkfifo "$T/go"
# Few: of many the mount sends what fills its requests at once.
bytes=$(head -c 1000 /dev/zero | tr '\0' A)
say() { # WHAT COMMAND...
	local error
	if error=$("${@:2}" 2>&1); then echo "$1 ok"; else echo "$1 ${error##*: }"; fi
}
synced() { dd if=/dev/null count=0 conv=notrunc,fsync status=none >&"$1"; } # DESCRIPTOR
put() { printf %s "$2" >&"$1"; }
# By descriptors that it keeps. Shortly before the write and until the stop none is closed, by a child, or by the
# shell for a redirection: a close sends, soon after, what was written.
program() {
	exec 3</dev/null 4</dev/null 6<"$A" || exit 1
	mv "$A/src" "$A/dst" && rm "$A/gone" || exit 1
	exec 5<>"$A/data" || exit 1 # 5 is the next that is free: nothing is duplicated
	{
		printf %s "$bytes" && kill -STOP "$1" # what these have answered is not sent
		read -rt 300 _ <>"$T/go" # with an end, should the test fail meanwhile
	} >&5
	say data synced 5
	say dir synced 6
	say write put 5 A
	say again synced 5
	exec 5>&-
	say reopened dd if=<(printf Z) of="$A/data" bs=1 seek=16000 conv=notrunc,fsync status=none
}
prepare() {
	# A new file: of one that is often flushed after a write, the next write is sent at once.
	rm -f "$A/dst" "$A/data"
	head -c 20480 /dev/zero | tr '\0' o >"$A/data"
	echo source >"$A/src"; echo gone >"$A/gone"
	sync "$A/data" "$A/src" "$A/gone" "$A"
	ls -l "$A" >/dev/null
	sleep 1
}
sleeps() { # the program begins, and the mount is stopped
	program "$(pid mount-mnt)" >"$T/said" 2>&1 &
	program=$!
	for _ in $(seq 100); do
		[[ $(cat "/proc/$(pid mount-mnt)/stat") != *") T "* ]] || return 0
		sleep 0.1
	done
	cat "$T/said"; die "the program does not get so far"
}
in_touch() { grep -qE "session resumed|a new one begins|sole client: caching" <(tail -n "+$logged" "$D/log/mount-mnt.log"); }
wakes() {
	logged=$(($(wc -l <"$D/log/mount-mnt.log") + 1))
	lc thaw mount-mnt || die "thaw"
	wait_until 30 "the mount has found its master again" in_touch
	echo >"$T/go"
	wait $program || { cat "$T/said"; die "the program failed"; }
	cat "$T/said"
}
lost="Input/output error"
said() { grep -q "^$1 $2\$" "$T/said" || die "expected '$1 $2'"; }

step "stopped for longer than the lease, and nobody came: nothing is lost"
prepare
sleeps
sleep 6
wakes
said data ok; said dir ok; said again ok; said reopened ok
[ "$(cat "$A/dst")" = source ] && [ ! -e "$A/src" ] && [ ! -e "$A/gone" ] || die "names were lost"
[ "$(tr -dc A <"$A/data" | wc -c)" -eq 1001 ] || die "data was lost"

step "another mount came meanwhile: what was not sent is lost, and told"
for try in 1 2 3 4 5; do
	prepare
	sleeps
	lc mount b || die "a second mount"
	grep -q A "$B/data" || break
	[ "$try" -lt 5 ] || die "the mount sends what was just written"
	wakes # the write was half a second before the stop
	lc umount b || die "umount of the second"
done
head -c 20480 /dev/zero | tr '\0' B | dd of="$B/data" conv=notrunc,fsync bs=20480 2>/dev/null
echo by-b >"$B/gone.new"; sync "$B/gone.new"; mv "$B/gone.new" "$B/gone"; sync "$B/gone" "$B"
had_src=$(ls "$B/src" 2>/dev/null)
wakes
said data "$lost"; said write "$lost"; said again "$lost"; said reopened ok
[ -z "$had_src" ] || said dir "$lost"
sleep 1
[ "$(cat "$B/gone")" = by-b ] || die "an old unlink was executed: $(cat "$B/gone")"
[ -z "$had_src" ] || [ "$(cat "$B/src")" = source ] || die "an old rename was executed"
[ "$(tr -dc B <"$B/data" | wc -c)" -eq 20479 ] || die "old data was written over newer"
[ "$(tr -dc Z <"$B/data" | wc -c)" -eq 1 ] || die "the mount does not go on"
cmp "$A/data" "$B/data" || die "the mounts differ"
grep -q 'lost with the session path="/data"' "$D/log/mount-mnt.log" || die "the path is not in the log"
lc umount b || die "umount of the second"

step "the machine sleeps: the lease has ended when it wakes"
lc umount mnt || die "umount"
# Preloaded: the machine has slept for as many ns as the file $CATENA_SLEPT says; only boot time shows it.
cat >"$T/boot_clock.c" <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS 1000000000u

static volatile const uint64_t *slept;

__attribute__((constructor)) static void init(void)
{
	const char *path = getenv("CATENA_SLEPT");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*slept), PROT_READ, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED)
		slept = map;
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, out);
	uint64_t ns;

	if (rc != 0 || clock != CLOCK_BOOTTIME || slept == NULL)
		return rc;
	ns = (uint64_t)out->tv_sec * NS + (uint64_t)out->tv_nsec + *slept;
	out->tv_sec = (time_t)(ns / NS);
	out->tv_nsec = (long)(ns % NS);
	return 0;
}
C
if ${CC:-cc} -shared -fPIC -O1 -o "$T/boot_clock.so" "$T/boot_clock.c" 2>"$T/cc.err"; then
	head -c 8 /dev/zero >"$T/slept"
	LD_PRELOAD=$T/boot_clock.so CATENA_SLEPT=$T/slept lc mount mnt || die "mount"
	echo cached >"$A/cached"; sync "$A/cached"
	mkdir "$A/dir"; ls -l "$A" "$A/dir" >/dev/null; touch "$A/dir/one"
	sleep 1.5
	lc freeze master
	timeout 5 stat "$A/cached" >/dev/null && timeout 5 mkdir "$A/dir/two" || die "the lease should still last"
	printf '\0\344\013\124\2\0\0\0' | dd of="$T/slept" conv=notrunc 2>/dev/null # 10 s
	sleep 1.2 # what the kernel was allowed to keep before
	! timeout -s KILL 0.7 stat "$A/cached" >/dev/null 2>&1 || die "attributes were served without a lease"
	! timeout -s KILL 0.7 mkdir "$A/dir/three" 2>/dev/null || die "a name was given without a lease"
	lc thaw master
	[ "$(timeout 20 cat "$A/cached")" = cached ] || die "reading after the master is back"
	[ -e "$A/dir/two" ] || die "a name was lost though nobody came"
else
	echo "no compiler: skipped"
	lc mount mnt || die "mount"
fi

step "umount does not wait for what is gone"
for n in 1 2 3; do lc kill chunkserver-$n; done
lc kill master
sleep 6
started=$SECONDS
timeout -s KILL 30 umount "$M" || die "umount"
[ $((SECONDS - started)) -le 10 ] || die "umount took $((SECONDS - started)) s"
