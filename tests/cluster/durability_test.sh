#!/bin/bash
# Goal: fsync returns only after every copy's disk and the master's log are flushed. Method: strace
# watches the three chunkservers and the master while one file is written and fsynced; between the
# call of fsync and its return, each of the four must have begun and ended a successful fdatasync
# or fsync. And when a disk's sync fails (injected by strace), fsync must not say success as long as
# that disk's target is in the chain.
. "$(dirname "$0")/lib.sh"
command -v strace >/dev/null || { echo "needs strace"; exit 77; }
cluster_up -n 3 -c 3
servers="master chunkserver-1 chunkserver-2 chunkserver-3"
tracers=()
# strace says "attached" before it has stopped the threads, and what one of them does until then is not seen. So
# all calls are traced, and a thread is known to be watched by the call that it goes on with.
watched() { # NAME: all its threads
	local task
	for task in "/proc/$(pid "$1")/task"/*; do
		grep -q "^${task##*/} " "$T/trace.$1" || return
	done
}
trace() { # NAME [more strace options]
	strace -f -ttt -T -s 0 "${@:2}" -o "$T/trace.$1" -p "$(pid "$1")" 2>"$T/strace.$1.err" &
	tracers+=($!)
	for _ in $(seq 1200); do
		grep -q attached "$T/strace.$1.err" 2>/dev/null && watched "$1" && return
		kill -0 "${tracers[-1]}" 2>/dev/null || { cat "$T/strace.$1.err"; echo "strace cannot attach here"; exit 77; }
		sleep 0.05
	done
	die "strace does not come to all threads of $1"
}
untrace() { kill -INT "${tracers[@]}" 2>/dev/null; wait "${tracers[@]}" 2>/dev/null; tracers=(); }

cat >"$T/one.c" <<'C'
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return (double)t.tv_sec + (double)t.tv_nsec / 1e9; }
int main(int argc, char **argv)
{
	size_t size = strtoul(argv[2], NULL, 10);
	int flags = argc > 3 && strcmp(argv[3], "osync") == 0 ? O_SYNC : 0;
	char *data = malloc(size);
	int fd = open(argv[1], O_WRONLY | O_CREAT | flags, 0644);
	if (fd < 0) return 2;
	memset(data, 'x', size);
	double a = now();
	if (write(fd, data, size) != (ssize_t)size) { perror("write"); return 3; }
	if (!flags) { a = now(); if (fsync(fd) != 0) { perror("fsync"); return 4; } }
	printf("%.6f %.6f\n", a, now());
	return 0;
}
C
gcc -O1 -o "$T/one" "$T/one.c" || die "compiling"

# A sync that began at or after $2 and ended by $3, successfully, in trace file $1.
synced_between() {
	awk -v from="$2" -v to="$3" '
		!/ (<\.\.\. )?(fsync|fdatasync|sync_file_range)[( ]/ { next }
		/resumed>/ { t = $2; if (match($0, /= 0 <[0-9.]+>/)) { d = substr($0, RSTART + 5, RLENGTH - 6); if (t - d + 0.0005 >= from && t <= to + 0.0005) ok = 1 } next }
		/= 0 </ { t = $2; match($0, /<[0-9.]+>/); d = substr($0, RSTART + 1, RLENGTH - 2); if (t + 0.0005 >= from && t + d <= to + 0.0005) ok = 1 }
		END { exit !ok }' "$1"
}
check_sync() { # SIZE [osync]
	step "fsync of $1 bytes $*"
	for s in $servers; do trace "$s"; done
	times=$("$T/one" "$M/f.$*" "$@") || die "write and fsync"
	untrace
	read -r from to <<<"$times"
	for s in $servers; do
		synced_between "$T/trace.$s" "$from" "$to" || { grep sync "$T/trace.$s"; die "fsync returned ($from .. $to) and $s had not synced its disk"; }
	done
}
check_sync 4096
check_sync 3000000
check_sync 100 osync

step "a disk whose sync fails"
trace chunkserver-3 -e inject=fsync,fdatasync:error=EIO
timeout 6 "$T/one" "$M/failing" 4096 >"$T/one.out" 2>&1
result=$?
untrace
[ "$result" -ne 0 ] || ! is_whole || die "fsync said success although the disk of chunkserver-3 failed to sync"
grep -qi 'sync' "$D/log/chunkserver-3.log" || die "chunkserver-3 says nothing of its disk"
step "after a restart of that server all is well"
lc kill chunkserver-3 && lc start chunkserver-3 || die "restart"
timeout 60 "$T/one" "$M/after" 4096 >/dev/null || die "fsync after the restart"
wait_whole 60
