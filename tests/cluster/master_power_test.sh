#!/bin/bash
# Goal: a power cut of the master's machine takes nothing of what a sole mount was answered while it lives,
# fsync or not: names and data are as the programs left them, and nobody hears an error. Method: the
# master's disk is on lossyfs; programs make, rename, link and remove names, and set modes and times, and
# are answered; the master is killed at once and its disk cut; when it is back, the directory that the mount
# shows is the one that it showed before, also to a second mount. Again and again.
# And when the mount dies with the machine, a file that a rename has replaced is the old one or the new one: the
# chunks of the old one stay until the log has the rename for good. A file that was cut has its old size and all
# of its bytes, or the new size: what is behind the cut goes when the log has that for good.
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
	for i in $(seq 27 3 48); do echo "content $i again" >"$dir/file$i" || return 1; done
	chmod 600 "$dir/file18" && touch -d @1000000000 "$dir/file21" && mkdir "$dir/empty" && rmdir "$dir/empty" &&
		ln -s file24 "$dir/symlink" || return 1
	[ "$1" -eq 1 ] || rm -r "$M/d$(($1 - 1))"
}
shown() { # MOUNT: all that can be seen, but the time of reading
	(cd "$1" && find . -printf '%p %i %y %m %n %s %T@ %l\n' | sort && find . -type f -print0 | sort -z | xargs -0 -r md5sum)
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
grep -hE "(is|are) lost|lost with" "$D/log/mount-mnt.log" && die "the mount says that something is lost"
lc mount second || die "second mount"
shown "$D/second" >"$T/second" || die "the directory cannot be read"
diff "$T/before" "$T/second" >"$T/diff" || { head -20 "$T/diff"; die "another mount shows another directory"; }
lc umount second || die "umount"

step "the mount dies with the master: a replaced file is the old or the new one"
for round in $(seq "$rounds"); do
	head -c 300000 /dev/urandom >"$M/file" && head -c 300000 /dev/urandom >"$M/new" && sync "$M/file" "$M/new" "$M" ||
		die "writing"
	old=$(md5sum <"$M/file") new=$(md5sum <"$M/new")
	sleep 1.5
	mv "$M/new" "$M/file"
	sleep "0.$((RANDOM % 5 + 2))" # so long the log may wait, and the chunkservers do not
	power_off master mount-mnt
	lc start master && lc mount mnt || die "start"
	is=$(md5sum <"$M/file") || die "the replaced file cannot be read"
	case $is in
	"$old") [ "$(md5sum <"$M/new")" = "$new" ] || die "the old file is there, and the new one is not"; echo old ;;
	"$new") [ ! -e "$M/new" ] || die "the new file is there twice"; echo new ;;
	*) die "the file is neither the old nor the new one (round $round, SEED=$power_seed)" ;;
	esac
done

step "the mount dies with the master: a file that was cut is whole, or cut"
for round in $(seq $(((rounds + 1) / 2))); do
	head -c 300000 /dev/urandom >"$M/cut" && sync "$M/cut" "$M" || die "writing"
	old=$(md5sum <"$M/cut") new=$(head -c 100000 "$M/cut" | md5sum)
	sleep 1.5
	truncate -s 100000 "$M/cut" || die "truncate"
	sleep "0.$((RANDOM % 5 + 2))"
	power_off master mount-mnt
	lc start master && lc mount mnt || die "start"
	is=$(md5sum <"$M/cut") || die "the file that was cut cannot be read"
	[ "$is" = "$old" ] || [ "$is" = "$new" ] ||
		die "the file has $(stat -c %s "$M/cut") bytes, and others than were written (round $round, SEED=$power_seed)"
	[ "$is" = "$old" ] && echo whole || echo cut
done
