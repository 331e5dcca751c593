#!/bin/bash
# Goal: a power cut of the master's machine takes nothing of what a sole mount was answered while it lives,
# fsync or not: names and data are as the programs left them, and nobody hears an error. Method: the
# master's disk is on lossyfs; programs make, rename, link and remove names, and set modes and times, and
# are answered; the master is killed at once and its disk cut; when it is back, the directory that the mount
# shows is the one that it showed before, also to a second mount. Again and again.
#   ROUNDS=N SEED=S    more of them, others
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lossy.sh"
rounds=${ROUNDS:-5}
extra_cleanup() { lossy_down; }

change() { # ROUND: what a program does, and all of it is answered
	local dir=$M/d$1
	mkdir "$dir" "$dir/sub" || return 1
	for i in $(seq 60); do
		echo "content $i" >"$dir/file$i" || return 1
	done
	for i in $(seq 1 3 60); do mv "$dir/file$i" "$dir/sub/moved$i" || return 1; done
	for i in $(seq 2 3 60); do rm "$dir/file$i" || return 1; done
	for i in 3 6 9; do ln "$dir/file$i" "$dir/link$i" || return 1; done
	mv "$dir/file12" "$dir/file15" || return 1
	chmod 600 "$dir/file18" && touch -d @1000000000 "$dir/file21" && mkdir "$dir/empty" && rmdir "$dir/empty" &&
		ln -s file24 "$dir/symlink" || return 1
	[ "$1" -eq 1 ] || rm -r "$M/d$(($1 - 1))"
}
shown() { # MOUNT: all that can be seen, but the time of reading
	(cd "$1" && find . -printf '%p %y %m %n %s %T@ %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 -r md5sum)
}

lossy_up master
cluster_up -n 3 -c 3
M=$D/mnt
for round in $(seq "$rounds"); do
	change "$round" || die "a program failed in round $round"
	shown "$M" >"$T/before" || die "the directory cannot be read"
	power_off master
	lc start master || die "the master does not start"
	shown "$M" >"$T/after" || die "the directory cannot be read (round $round)"
	diff "$T/before" "$T/after" >"$T/diff" || { head -20 "$T/diff"; die "the mount shows another directory after the power cut (round $round, SEED=$power_seed)"; }
	sync "$M" || die "sync says that something is lost (round $round)"
done
grep -h "lost" "$D/log/mnt.log" && die "the mount says that something is lost"
lc mount second || die "second mount"
shown "$D/second" >"$T/second" || die "the directory cannot be read"
diff "$T/before" "$T/second" >"$T/diff" || { head -20 "$T/diff"; die "another mount shows another directory"; }
lc umount second || die "umount"
