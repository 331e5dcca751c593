# lib.sh - sourced by every cluster test: a cluster in a directory of its own, ended whatever happens.
#
#   cluster_up [localcluster options]   starts it; $D is its directory, $M its first mount
#   lc COMMAND ...                      tools/localcluster on it
#   step TEXT                           says what comes (and how long the last took)
#   die TEXT                            fails the test, with the ends of the cluster's logs
set -u
set -o pipefail
: "${CATENA_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${CATENA_BUILD:=$CATENA_SOURCE/build}"
export CATENA_SOURCE CATENA_BUILD
T=$(mktemp -d "${TMPDIR:-/var/tmp}/cluster.XXXXXX") || exit 1
D=$T/c
M=$D/mnt
step_started=$SECONDS

[ "$(id -u)" -eq 0 ] || { echo "needs root to mount"; exit 77; }
[ -e /dev/fuse ] || { echo "needs /dev/fuse"; exit 77; }

lc() { "$CATENA_SOURCE/tools/localcluster" "$1" -d "$D" "${@:2}"; }
cluster_up() { lc up "$@" || die "the cluster did not start"; }
step() {
	echo "--- $* (t=$((SECONDS - step_started)) s)"
}
logs() {
	local log
	for log in "$D"/log/*.log; do
		[ -s "$log" ] && [ "${log##*/}" != ca.log ] || continue
		echo "=== ${log##*/}"
		tail -n "${1:-12}" "$log"
	done
}
die() {
	echo "FAILED: $*"
	logs
	exit 1
}
need() { # FILE is not as expected: the expected line, then the file
	grep -q -- "$1" "$2" || { cat "$2"; die "expected '$1' in ${2##*/}"; }
}
pid() { cat "$D/run/$1.pid"; }
kill_all() {
	local name
	for name in "$D"/run/*.pid; do
		name=$(basename "$name" .pid)
		lc kill "$name" || die "cannot kill $name"
	done
}
remount() { lc umount mnt && lc mount mnt || die "cannot mount again"; }
# All targets' chunks, offline: the cluster must be down.
list_chunks() { "$CATENA_BUILD/tools/catena-chunks" "$D/data/$1"; }

cleanup() {
	local status=$?
	trap - EXIT INT TERM
	cd /
	lc down >"$T/down.out" 2>&1 || { cat "$T/down.out"; status=1; }
	if command -v extra_cleanup >/dev/null; then extra_cleanup; fi
	if grep -q " $T/" /proc/self/mounts; then
		echo "FAILED: mounts left behind:"; grep " $T/" /proc/self/mounts
		awk -v t="$T/" 'index($2, t) == 1 { print $2 }' /proc/self/mounts | tac | xargs -r -n 1 umount -l
		status=1
	fi
	rm -rf --one-file-system "$T"
	exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM
