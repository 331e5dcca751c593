# lib.sh - sourced by every cluster test: a cluster in a directory of its own, ended whatever happens.
#
#   cluster_up [localcluster options]   starts it; $D is its directory, $M its first mount
#   lc COMMAND ...                      tools/localcluster on it
#   step TEXT                           says what comes (and how long the last took)
#   die TEXT                            fails the test, with the ends of the cluster's logs
#   wait_until SECONDS TEXT COMMAND...  until the command succeeds; TEXT says what was waited for
#   wait_whole SECONDS                  until every chain has all its copies, and nothing moves
#   compare_copies COPIES [NAME...]     offline: every chunk on so many targets, equal on all
#   down_and_compare COPIES [NAME...]   the same when all is whole, and down for that
#   end_programs, extra_cleanup         a test's own, if any: before the mount goes, and after
#   load_start, load_phase, load_stop   tests/fault/load on the mount, see below
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
wait_until() { # SECONDS TEXT COMMAND...
	local end=$((SECONDS + $1))
	until "${@:3}"; do
		[ $SECONDS -lt $end ] || die "$2: not within $1 s"
		sleep 0.1
	done
}
has_line() { grep -q -- "$1" "$2"; } # PATTERN FILE
exists() { [ -e "$1" ]; }
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

# --- chains ------------------------------------------------------------------------------------
# The command of DIR/hosts that brings a program to where PROCESS is.
at_host() { # PROCESS COMMAND...
	local prefix=()
	read -ra prefix <<<"$(sed -n "s/^$1[[:space:]]\{1,\}[^[:space:]]*//p" "$D/hosts" 2>/dev/null)"
	${prefix[@]+"${prefix[@]}"} "${@:2}"
}
catena() { # WORDS...: the tool, as administrator
	at_host master timeout 10 "$CATENA_BUILD/tools/catena" "$@" --master "$(sed -n 's/^listen = //p' "$D/conf/master.conf")" \
		-o "ca=$D/ca/ca.crt,cert=$D/ca/admin.crt,key=$D/ca/admin.key"
}
# status FILTER [jq options]: what a jq filter says about the status.
status() { catena status --json 2>"$T/status.err" | jq -r "${@:2}" "$1"; }
# Every chain has all its copies, and no member beyond them (a move that is under way).
whole_filter='
	([.pools[] | .partitions * .copies] | add) as $members |
	[.servers[].targets[] | select(.partitions != null) | .partitions] as $has |
	all(.pools[]; .whole == .partitions and .placed == .partitions) and
	(($has | length) == 0 or ($has | add) == $members)'
is_whole() { [ "$(status "$whole_filter")" = true ]; }
wait_whole() { # SECONDS: whole for a whole second
	local end=$(($(date +%s%3N) + $1 * 1000)) began=$(date +%s%3N) since='' now
	while now=$(date +%s%3N); [ "$now" -lt "$end" ]; do
		if is_whole; then
			[ -n "$since" ] || since=$now
			if [ $((now - since)) -ge 1000 ]; then
				echo "whole after $((since - began)) ms"
				return
			fi
		else
			since=''
		fi
		sleep 0.2
	done
	catena status
	die "not whole after $1 s"
}
# How many partitions a server's targets have.
partitions_at() { status '[.servers[] | select(.name == $name) | .targets[].partitions // 0] | add // 0' --arg name "$1"; }
has_none() { [ "$(partitions_at "$1")" = 0 ]; }
has_some() { [ "$(partitions_at "$1")" -gt 0 ] 2>/dev/null; }
server_names() { basename -a -s .conf "$D"/conf/chunkserver-*.conf; }
target_dirs() { sed -n 's/^path = //p' "$D/conf/$1.conf"; }
# Lists the chunks of every target of NAME... (all chunkservers) offline, and compares: a chunk is on
# exactly COPIES targets, with the same version, length and content. $T/chunks gets the lists.
compare_copies() { # COPIES [NAME...]
	local name dir bad=''
	: >"$T/chunks"
	for name in $([ $# -gt 1 ] && echo "${@:2}" || server_names); do
		for dir in $(target_dirs "$name"); do
			"$CATENA_BUILD/tools/catena-chunks" "$dir" >"$T/chunks.one" 2>"$T/chunks.err" || {
				grep BAD "$T/chunks.one"; cat "$T/chunks.err"; bad="$bad ${dir#"$D/data/"}"; }
			sed "s|\$| ${dir#"$D/data/"}|" "$T/chunks.one" >>"$T/chunks"
		done
	done
	[ -z "$bad" ] || die "bad chunks on$bad"
	sort -k1,1n -k2,2n -k3,3 -k4,4n "$T/chunks" | awk -v copies="$1" '
		function done() {
			if (n == 0) return
			if (n != copies || differ) { bad++; if (bad <= 10) printf "%s: %d copies%s\n%s", key, n, differ ? " that differ" : "", lines }
			chunks++
		}
		{
			k = $1 " " $2 " " $3 " " $4; value = $6 " " $7 " " $8
			if (k != key) { done(); key = k; first = value; n = 0; differ = 0; lines = "" }
			n++; lines = lines "    " $0 "\n"
			if (value != first) differ = 1
		}
		END { done(); print chunks + 0 " chunks, " bad + 0 " not as they should be"; exit bad != 0 }' ||
		die "the copies are not equal, or not $1"
}
wait_removed() { # SECONDS: no chunks of removed files wait for their removal
	for _ in $(seq $(($1 * 5))); do
		[ "$(status .removal_queue)" != 0 ] || return 0
		sleep 0.2
	done
	die "$(status .removal_queue) removals are left after $1 s"
}
# A target that has left a chain removes what it has of it by and by.
wait_purged() { # SECONDS COPIES: no chunk of a file of its own is on more targets
	for _ in $(seq $(($1 * 5))); do
		[ -n "$(find "$D"/data/*/ -path '*/chunks/*' -type f -printf '%f\n' | sort | uniq -c | awk -v n="$2" '$1 > n')" ] || return 0
		sleep 0.2
	done
	echo "some chunks are on more than $2 targets after $1 s" # compare_copies says which
}
down_and_compare() { # COPIES [NAME...]: and fails if the load stalled
	local name
	wait_whole 60
	wait_removed 60
	wait_purged 60 "$1"
	for name in "$D"/run/mount-*.pid; do
		[ ! -e "$name" ] || { name=$(basename "$name" .pid) && lc umount "${name#mount-}" || die "umount"; }
	done
	# While the chunkservers end, one after the other, a master would have the first replaced.
	lc stop master && lc down || die "down"
	compare_copies "$@"
	[ ! -s "$T/stalled" ] || { cat "$T/stalled"; die "too long without progress"; }
}

# --- load --------------------------------------------------------------------------------------
#   load_start [options of load run]    starts it at $M/load; returns when it writes
#   load_phase TEXT [MS OPERATION...]   ends a phase: reports the longest operations since the last
#                                       one; these operations must have gone on, none longer than MS: else
#                                       down_and_compare fails
#   load_for SECONDS TEXT ...           the same when the load has gone on for so long: what is measured
#   load_check TEXT MS OPERATION...     the same once more of the same phase
#   load_stop                           ends it; it must have seen nothing wrong
# CATENA_STALL_MS: what is allowed at least, for machines with other work.
load_pid=''
load_acks() { grep -c ^ack "$T/load.ledger"; }
load_start() {
	local before
	mkdir -p "$M/load" || die "mkdir"
	: >>"$T/load.ledger"
	before=$(load_acks)
	"$CATENA_BUILD/tests/fault/load" run "$M/load" "$T/load.ledger" "$@" >"$T/load.out" 2>"$T/load.err" &
	load_pid=$!
	for _ in $(seq 300); do
		[ "$(load_acks)" -le $((before + 20)) ] || return 0
		load_alive
		sleep 0.1
	done
	die "the load does not get going"
}
# Writes all of the load's data once, as fast as it goes, and ends.
load_fill() { # MIB FILES
	load_start --size "$1" --files "$2" --only writer --no-verify
	while [ "$(load_acks)" -lt "$1" ]; do load_alive; sleep 0.1; done
	load_stop
}
load_alive() {
	kill -0 "$load_pid" 2>/dev/null || { cat "$T/load.out" "$T/load.err"; die "the load has ended"; }
	[ ! -s "$T/load.err" ] || { cat "$T/load.err"; die "the load saw an error"; }
}
load_report() { # leaves the lines of a phase in $T/phase
	local before tries=1000
	before=$(grep -c ^phase "$T/load.out")
	kill -USR1 "$load_pid"
	until [ "$(grep -c ^phase "$T/load.out")" -gt "$before" ]; do
		[ $((tries -= 1)) -gt 0 ] || die "the load does not report"
		load_alive
		sleep 0.02
	done
	awk '{ lines = lines $0 "\n" } /^phase/ { last = lines; lines = "" } END { printf "%s", last }' "$T/load.out" >"$T/phase"
}
load_phase() {
	load_alive
	load_report
	echo "$1: $(awk '/ longest_ms / { printf "%s %s/%s ms, ", $1, $5, $7 } /^phase/ { printf "%s MiB in %s s", $6, $4 }' "$T/phase") (longest/p99)"
	[ $# -le 2 ] || load_check "$@"
}
load_for() { # SECONDS, as load_phase
	sleep "$1"
	load_phase "${@:2}"
}
load_check() {
	local what=$1 allowed=$2 op missing='' end
	[ "$allowed" -ge "${CATENA_STALL_MS:-0}" ] || allowed=$CATENA_STALL_MS
	shift 2
	for op; do
		load_measured "$op" longest_ms "$allowed" || load_stalled
		load_measured "$op" count 0 && missing+=" $op"
	done
	# A phase may end within an operation, and the same thread's other operations wait behind it:
	# whether they go on is seen a little later.
	end=$(($(date +%s%3N) + allowed))
	for op in $missing; do
		while load_measured "$op" count 0; do
			[ "$(date +%s%3N)" -lt $end ] || { load_stalled && break; }
			sleep 0.1
			load_alive
			load_report
			load_measured "$op" longest_ms "$allowed" || { load_stalled && break; }
		done
	done
}
# Is what the phase measured of the operation at most LIMIT?
load_measured() { # OPERATION count|longest_ms LIMIT
	awk -v op="$1" -v what="$2" -v limit="$3" '
		$1 == op { for (i = 2; i < NF; i += 2) if ($i == what) value = $(i + 1) }
		END { exit value == "" || value > limit + 0 }' "$T/phase"
}
load_stalled() { # of load_check
	echo "STALLED: $what: $(grep "^$op " "$T/phase"), allowed $allowed ms" | tee -a "$T/stalled"
}
load_rate() { awk '/^phase/ { printf "%d\n", $6 * 100 / $4 }' "$T/phase"; } # of the last phase, MiB per 100 s
load_stop() {
	local code
	kill -TERM "$load_pid" 2>/dev/null
	wait "$load_pid"
	code=$?
	load_pid=''
	tail -n 1 "$T/load.out"
	[ "$code" -eq 0 ] && [ ! -s "$T/load.err" ] || { cat "$T/load.err"; die "the load saw something wrong (exit status $code)"; }
}

keep_logs() { # where tests/run says
	[ -z "${CATENA_KEEP:-}" ] || { mkdir -p "$CATENA_KEEP" && cp -r "$D/log" "$D/conf" "$CATENA_KEEP/"; } 2>/dev/null
}
cleanup() {
	local status=$?
	trap - EXIT INT TERM
	cd /
	[ -z "$load_pid" ] || kill -KILL "$load_pid" 2>/dev/null
	if declare -F end_programs >/dev/null; then end_programs; fi
	lc down >"$T/down.out" 2>&1 || { cat "$T/down.out"; status=1; }
	# Whatever was done to it, the master's store is sound. A test that damages it says so.
	if [ "$status" -eq 0 ] && [ -d "$D/data/master/store" ] && [ -z "${store_is_damaged:-}" ]; then
		# Copies that are missing are warnings: servers end before the master.
		timeout 60 "$CATENA_BUILD/tools/fsck.catena" --offline --json "$D/data/master" >"$T/fsck.json" 2>"$T/fsck.err"
		jq -e '.everything_seen and .error + .loss == 0' "$T/fsck.json" >/dev/null || { cat "$T/fsck.json" "$T/fsck.err"; echo "FAILED: the master's store is not sound"; status=1; }
	fi
	# An error that is none says nothing to who reads the log.
	grep -H 'error="Success"' "$D"/log/*.log && status=1
	if command -v extra_cleanup >/dev/null; then extra_cleanup; fi
	case $status in 0|77) ;; *) keep_logs ;; esac
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
