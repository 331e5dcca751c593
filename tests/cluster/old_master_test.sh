#!/bin/bash
# Goal: a master whose directory is an older copy, a copy that was started elsewhere, or a new one, gets
# no say over the targets; what was synced since stays what it is. An administrator can have the
# older one accepted: then it goes on without anything old taking the place of what is newer, and
# says what is lost. Method: three chunkservers, three copies; one of them dies before files are
# written anew, and the master's directory goes back in time.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
wait_whole 30
files=12
write_files() { # TEXT: in place, so that the files keep their numbers
	local n
	for n in $(seq $files); do
		printf '%s %s\n' "$1" "$n" 1<>"$M/file$n" && sync "$M/file$n" || die "writing file$n"
	done
}
expect_files() { # TEXT
	local n text
	for n in $(seq $files); do
		text=$(timeout -s KILL 20 cat "$M/file$n") || die "file$n cannot be read"
		[ "$text" = "$1 $n" ] || die "file$n has '$text'"
	done
}
put_back() { # DIRECTORY: what the master starts with
	lc kill master || die "kill"
	rm -rf "$D/data/master" && cp -a "$1" "$D/data/master" || die "copy"
	lc start master || die "start"
}
says_it_serves_nobody() { catena status >"$T/status" 2>&1; has_line 'WARNING .*serves nobody' "$T/status"; }
refused() { wait_until 30 "the master says that it serves nobody" says_it_serves_nobody; }
accept() { # OPTIONS...: into $T/accepted
	"$CATENA_BUILD/catena-master" --config "$D/conf/master.conf" --accept-older-store "$@" \
		>"$T/accepted" 2>"$T/accept.err"
}
write_files old
lc kill master || die "kill"
cp -a "$D/data/master" "$T/older" || die "copy"
lc start master || die "start"
wait_whole 30
lc kill chunkserver-1 || die "kill"
write_files new
echo made since >"$M/since" && sync "$M/since" || die "writing since"
lc umount mnt || die "umount"

step "the directory is an older copy"
put_back "$T/older"
lc start chunkserver-1 || die "start"
refused
need 'serves nobody from now on' "$D/log/master.log"
wait_until 30 "chunkserver-2 is refused" has_line 'master refuses this chunkserver' "$D/log/chunkserver-2.log"

step "it is accepted"
lc kill master || die "kill"
accept || {
	cat "$T/accept.err" >&2
	die "not accepted"
}
cat "$T/accepted"
need 'The store is accepted' "$T/accepted"
need 'chains: .*, [1-9][0-9]* taken over' "$T/accepted"
accept && need "nothing is to be accepted" "$T/accepted"
lc start master || die "start"
wait_whole 60
lc mount mnt || die "mount"
expect_files new
[ ! -e "$M/since" ] || die "a name that this store has never had"
write_files fit
remount
expect_files fit

lc umount mnt || die "umount"

step "two masters on copies of one directory"
lc kill master || die "kill"
cp -a "$D/data/master" "$T/twin" || die "copy"
lc start master || die "start"
wait_whole 30
put_back "$T/twin"
refused
need 'another copy of its store' "$T/status"

step "a new one with the same certificates"
lc kill master || die "kill"
rm -rf "$D/data/master"
"$CATENA_BUILD/catena-master" --config "$D/conf/master.conf" --init || die "init"
lc start master || die "start"
wait_until 30 "chunkserver-2 is refused" has_line 'another cluster of this name' "$D/log/chunkserver-2.log"
sleep 7 # what is refused comes again every 3 s, and neither changes anything nor is logged again
catena status >"$T/status" || die "status"
! grep -q '^chunkserver-' "$T/status" || die "it has taken the old targets"
need 'WARNING .*chunkserver-2.* refused: .*another cluster of this name' "$T/status"
[ "$(grep -c 'master refuses .*another cluster' "$D/log/chunkserver-2.log")" -eq 1 ] || die "the log repeats it"
[ "$(grep -c 'refused name=chunkserver-2 .*another cluster' "$D/log/master.log")" -eq 1 ] || die "the log repeats it"
lc down || die "down"
compare_copies 3
