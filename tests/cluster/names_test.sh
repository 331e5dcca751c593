#!/bin/bash
# Goal: names that were answered before the master had them are there in the end, whatever happens
# in between: a second mount that comes, a master that is killed or stands still; and fsync of a
# directory keeps them even when everything is killed. Method: files are made, moved and removed as
# fast as a shell can; the listing must be what that leaves, on every mount.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3

# Leaves of every three: one as it was made, one moved, none of the third.
burst() { # DIR FROM TO
	local i
	for ((i = $2; i < $3; i++)); do
		: >"$1/n$i" || return 1
		case $((i % 3)) in
		1) mv "$1/n$i" "$1/m$i" || return 1 ;;
		2) rm "$1/n$i" || return 1 ;;
		esac
	done
}
expected() { # FROM TO
	local i
	for ((i = $1; i < $2; i++)); do
		case $((i % 3)) in 0) echo "n$i" ;; 1) echo "m$i" ;; esac
	done | LC_ALL=C sort
}
same() { # DIR FROM TO WHAT
	find "$1" -mindepth 1 -printf '%f\n' | LC_ALL=C sort >"$T/names"
	expected "$2" "$3" | cmp -s - "$T/names" || { expected "$2" "$3" | diff - "$T/names" | head -n 20; die "$4"; }
}

step "a second mount comes in the middle"
mkdir "$M/two"
burst "$M/two" 0 1500 &
running=$!
wait_until 30 "names are made" exists "$M/two/n99"
lc mount other || die "second mount"
O=$D/other
wait "$running" || die "an operation failed while a second mount came"
same "$M/two" 0 1500 "names differ on the first mount"
same "$O/two" 0 1500 "names differ on the second mount"
burst "$O/two" 1500 1600 || die "the second mount"
same "$M/two" 0 1600 "the first mount does not see the second's names"
lc umount other || die "umount"

step "the master is killed in the middle"
mkdir "$M/killed"
burst "$M/killed" 0 1500 &
running=$!
wait_until 30 "names are made" exists "$M/killed/n99"
lc kill master || die "kill"
sleep 0.5
lc start master || die "start"
wait "$running" || die "an operation failed while the master was away"
same "$M/killed" 0 1500 "names differ after the master was killed"

step "the master stands still in the middle"
mkdir "$M/frozen"
burst "$M/frozen" 0 1500 &
running=$!
wait_until 30 "names are made" exists "$M/frozen/n99"
lc freeze master || die "freeze"
sleep 6 # longer than the lease
lc thaw master || die "thaw"
wait "$running" || die "an operation failed while the master stood still"
same "$M/frozen" 0 1500 "names differ after the master stood still"

step "what fsync of the directory kept is there after everything was killed"
mkdir "$M/synced"
burst "$M/synced" 0 300 || die "burst"
sync "$M/synced" || die "fsync of the directory"
burst "$M/synced" 300 330
kill -KILL $(cat "$D"/run/*.pid)
sleep 0.2
lc up || die "up"
find "$M/synced" -mindepth 1 -printf '%f\n' | LC_ALL=C sort >"$T/names"
expected 0 300 | comm -23 - "$T/names" >"$T/lost"
[ ! -s "$T/lost" ] || { head "$T/lost"; die "names that were synced are lost"; }
for dir in two killed frozen; do rm -r "$M/$dir" || die "rm -r $dir"; done
