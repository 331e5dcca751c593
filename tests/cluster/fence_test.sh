#!/bin/bash
# Goal: a mount that has lost its right to act does not act: while it is cut off or stopped for longer
# than its lease, another one comes in, renames, writes and syncs; when the first is back nothing that
# it had answered or sent takes effect over that, wherever it was on its way, and it goes on to work.
# Method: every process in a network namespace of its own; the first mount overwrites the very files
# all the time, through the cache and past it. CUT_SECONDS: how long it is away.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
end_programs() { (net_heal); end_writers; }
extra_cleanup() { net_down; }
seconds=${CUT_SECONDS:-6}
files=12
nodes="master chunkserver-1 chunkserver-2 chunkserver-3 chunkserver-4 mount-mnt mount-b"
writers=()

# Overwrites all files again and again, until there is an error, or $T/stop: what it had begun then
# may end, but it begins nothing in a new session of the mount. A write that waits meanwhile, because
# the kernel asks for the file's capabilities first, may go on in the new session, and is right then:
# what has succeeded so late is in $T/late. COMMAND follows each write.
writer() { # COMMAND...
	local i
	while [ ! -e "$T/stop" ]; do
		for i in $(seq 0 $((files - 1))); do
			{ [ -e "$T/stop" ] || overwrite_one "$i"; } 1<>"$M/d/f$i" || return
			"$@" "$M/d/f$i" || return
		done
	done
}
overwrite_one() { # NUMBER, on stdout
	block AAAA || return
	[ ! -e "$T/stop" ] || echo "$1" >>"$T/late"
}
writers_start() {
	rm -f "$T/stop" "$T/late"
	writer true 2>/dev/null &
	writers+=($!)
	writer sync 2>/dev/null &
	writers+=($!)
}
end_writers() { # those that wait go on when the mount is back
	local i
	touch "$T/stop"
	for i in $(seq 100); do
		[ -n "$(jobs -rp)" ] || break
		sleep 0.1
	done
	[ ${#writers[@]} = 0 ] || kill -KILL "${writers[@]}" 2>/dev/null
	writers=()
}
block() { printf "$1%.0s" {1..1024}; } # of 4 letters
prepare() {
	local i
	for i in $(seq 0 $((files - 1))); do block "old " >"$M/d/f$i"; done
	for i in gone src dst; do echo "old $i" >"$M/$i"; done
	sync -f "$M" || die "sync"
	# After a loss the mount answers nothing early for a while (EARLY_ANSWER_PAUSE_NS).
	while [ "$(date +%s%3N)" -lt $((lost_at + 5500)) ]; do sleep 0.1; done
	wait_until 30 "the mount is alone again" is_alone
	ls -l "$M" >/dev/null
}
is_alone() { # again, after each of the former rounds
	[ "$(grep -c "sole client: caching" "$D/log/mount-mnt.log")" -ge "$round" ] && answers_early
}
answers_early() { # also while the master does not answer
	local answered=1
	kill -STOP "$(pid master)"
	timeout -s KILL 0.5 mkdir "$M/early" 2>/dev/null && answered=0
	kill -CONT "$(pid master)"
	rmdir "$M/early" 2>/dev/null
	return $answered
}
answered_early() { # by the first mount, and to be undone
	timeout 3 rm "$M/gone" && timeout 3 mv "$M/src" "$M/dst" && timeout 3 mkdir "$M/dir.$round"
}
enter() { # the second mount is let in
	local begun
	begun=$(date +%s%N)
	lc mount b || die "the second mount was not let in"
	printf '\tlet in after %d ms\n' $((($(date +%s%N) - begun) / 1000000))
	touch "$T/stop"
}
overwrite() { # what the second one does, and syncs
	local i
	for i in $(seq 0 $((files - 1))); do
		block BBBB | dd of="$B/d/f$i" bs=4096 conv=notrunc,fsync status=none || die "write of f$i"
	done
	for i in gone dst; do
		echo "new $i" >"$B/$i.new" && sync "$B/$i.new" && mv "$B/$i.new" "$B/$i" || die "replace $i"
	done
	sync "$B" || die "sync"
}
check() { # MOUNT
	local i name
	for i in $(seq 0 $((files - 1))); do
		! grep -qx "$i" "$T/late" 2>/dev/null || continue
		cmp -s <(block BBBB) "$1/d/f$i" || die "f$i on $1 is $(head -c 4 "$1/d/f$i") and not what was synced"
	done
	for name in gone dst; do
		[ "$(cat "$1/$name")" = "new $name" ] || die "$name on $1 is $(cat "$1/$name")"
	done
	[ "$(cat "$1/src")" = "old src" ] || die "src on $1 is $(cat "$1/src")"
	[ ! -e "$1/dir.$round" ] || die "dir.$round on $1"
}
# The first mount is back, and knows that its session is over.
returned() {
	local i
	for i in $(seq 300); do
		grep -q "a new one begins" <(tail -n "+$logged" "$D/log/mount-mnt.log") && { lost_at=$(date +%s%3N); return; }
		sleep 0.1
	done
	die "the first mount has no new session"
}
finish() {
	returned
	check "$B"
	end_writers
	sleep 1
	check "$B"
	for i in $(seq 50); do
		echo "back $round" 2>/dev/null >"$M/back" && break
		sleep 0.2
	done
	[ "$(cat "$B/back")" = "back $round" ] || die "the first mount does not work again"
	check "$M"
	lc umount b || die "umount"
}
begin() { # WHAT
	round=$((round + 1))
	step "$1"
	prepare
	logged=$(($(wc -l <"$D/log/mount-mnt.log") + 1))
	writers_start
	sleep 0.3
}
away() { # until the time is over, counted from the cut
	local left=$((seconds * 1000 - ($(date +%s%N) - cut_at) / 1000000))
	[ $left -le 0 ] || sleep "$((left / 1000)).$(printf %03d $((left % 1000)))"
}
cut_now() { # A B...: from each of the others; what the lease hangs on last, since cutting takes its time
	local a=$1 b
	for b in "${@:2}"; do net_cut "$a" "$b"; done
	cut_at=$(date +%s%N)
}

# Cuts, and has the mount answer some commands early, which is right after the cut or not at all: on a
# machine with much other work the lease may be over before they are asked for.
cut_and_answer() { # A B...
	local try
	for try in 1 2 3; do
		cut_now "$@"
		answered_early && return
		net_heal
		timeout 60 ls "$M" >/dev/null || die "the mount does not go on after try $try"
		rmdir "$M/dir.$round" 2>/dev/null
		prepare
	done
	die "nothing is answered early"
}

B=$D/b
round=0 lost_at=0
net_up $nodes
cluster_up -n 4 -c 3
wait_whole 30
mkdir "$M/d" || die "mkdir" # its writers do not hold the lock of the other names' directory

begin "the mount and all others"
cut_and_answer mount-mnt chunkserver-1 chunkserver-2 chunkserver-3 chunkserver-4 mount-b master
enter
overwrite
check "$B"
away
net_heal
finish

# It still reaches all chunkservers: what it writes arrives there, and may not count.
begin "the mount and the master"
cut_and_answer mount-mnt master
enter
overwrite
check "$B"
away
check "$B"
net_heal
finish

begin "the mount and a chunkserver, from the master"
cut_and_answer master chunkserver-1 mount-mnt
enter
overwrite
check "$B"
away
check "$B"
net_heal
finish

begin "the mount is stopped" # what it has answered may have been sent just before
kill -STOP "$(pid mount-mnt)"
cut_at=$(date +%s%N)
enter
overwrite
check "$B"
away
kill -CONT "$(pid mount-mnt)"
finish

# It is not known yet whether nothing is left of the session when the master dies.
begin "the master dies in the middle"
cut_and_answer mount-mnt chunkserver-3 chunkserver-4 master
sleep $((seconds - 3))
kill -STOP "$(pid chunkserver-2)"
lines=$(wc -l <"$D/log/master.log")
(lc mount b) &
mounting=$!
for _ in $(seq 200); do
	tail -n "+$((lines + 1))" "$D/log/master.log" | grep -q "session fenced" && break
	sleep 0.05
done
lc kill master || die "kill"
tail -n "+$((lines + 1))" "$D/log/master.log" | grep -q "session fenced" || die "the session was not fenced"
lc start master || die "start"
kill -CONT "$(pid chunkserver-2)"
wait $mounting || die "the second mount was not let in"
touch "$T/stop"
overwrite
check "$B"
net_heal
finish

step "the end"
end_writers
down_and_compare 3
