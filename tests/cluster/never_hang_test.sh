#!/bin/bash
# Goal: a mount never hangs for good. Method: servers are frozen while programs read and write; each
# program must end soon after a signal, umount must work, a killed mount must be mountable again,
# and a soft mount gives EIO.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
head -c 8000000 /dev/urandom >"$M/file"
sync "$M/file"
ended() { # PID SECONDS
	local tries=$(($2 * 20))
	while kill -0 "$1" 2>/dev/null; do [ $((tries -= 1)) -gt 0 ] || return 1; sleep 0.05; done
}
interrupted() { # COMMAND...: SIGINT after a while must end it within 3 s
	"$@" >/dev/null 2>&1 &
	local p=$!
	sleep 1.5
	kill -0 $p 2>/dev/null || { wait $p; return 0; }
	kill -KILL $p
	ended $p 4 || die "'$*' cannot be killed"
}
step "chunkservers frozen"
remount
for n in 1 2 3; do lc freeze chunkserver-$n; done
interrupted cat "$M/file"
interrupted dd if=/dev/zero of="$M/new" bs=1M count=4 conv=fsync
for n in 1 2 3; do lc thaw chunkserver-$n; done
timeout 30 cat "$M/file" >/dev/null || die "reading after the thaw"
step "master frozen"
remount
lc freeze master
interrupted ls "$M/nosuch"
interrupted touch "$M/another"
lc thaw master
timeout 30 ls "$M" >/dev/null || die "listing after the thaw"
step "a signal that a program handles does not disturb its reads"
timeout 60 bash -c 'trap : ALRM; for i in $(seq 20); do kill -ALRM $$; head -c 4000000 "$1" | cksum >/dev/null || exit 1; done' - "$M/file" || die "reads were disturbed"
step "umount with dead servers"
echo dirty >"$M/dirty"
for n in 1 2 3; do lc kill chunkserver-$n; done
lc kill master
started=$SECONDS
lc down || die "down with dead servers"
[ $((SECONDS - started)) -le 60 ] || die "down took $((SECONDS - started)) s"
lc up || die "up"
step "a mount with nothing to save does not wait for a dead master"
sync "$M/dirty" "$M"
sleep 2
mount_pid=$(pid mount-mnt)
lc kill master
started=$SECONDS
! "$CATENA_BUILD/mount.catena" - "$M" -o remount,ro 2>"$T/err" || die "read-only without the master's word"
[ $((SECONDS - started)) -le 15 ] || die "that took $((SECONDS - started)) s"
need "the master is away" "$T/err"
umount "$M" || die "umount with a dead master"
ended "$mount_pid" 10 || die "it still waits for the dead master"
grep -q "could be saved" <(tail -n 2 "$D/log/mount-mnt.log") && die "it says that it could not save what it had saved"
lc up || die "up"
step "a killed mount can be unmounted and mounted again"
lc kill mount-mnt
! ls "$M" >/dev/null 2>&1 || die "the mount of a killed process still answers"
umount "$M" || die "umount of a dead mount"
lc start mount-mnt || die "mounting again"
cat "$M/file" >/dev/null || die "reading"
step "SIGTERM writes everything first"
head -c 20000000 /dev/urandom >"$T/r"
cp "$T/r" "$M/r"
lc stop mount-mnt || die "stop"
lc start mount-mnt || die "start"
cmp "$T/r" "$M/r" || die "data lost by SIGTERM"
step "umount while busy is refused and harmless"
exec 6>"$M/busy"
! umount "$M" 2>/dev/null || die "unmounted a busy mount"
echo text >&6
exec 6>&-
[ "$(cat "$M/busy")" = text ] || die "busy"
step "a soft mount gives EIO"
CATENA_MOUNT_OPTIONS=soft,timeout=2s lc mount soft || die "soft mount"
for n in 1 2 3; do lc freeze chunkserver-$n; done
started=$SECONDS
cat "$D/soft/file" >/dev/null 2>"$T/err" && die "read from frozen chunkservers"
grep -qi 'input/output' "$T/err" || { cat "$T/err"; die "not EIO"; }
[ $((SECONDS - started)) -le 12 ] || die "EIO took $((SECONDS - started)) s"
for n in 1 2 3; do lc thaw chunkserver-$n; done
lc umount soft || die "umount soft"
