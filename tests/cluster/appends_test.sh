#!/bin/bash
# Goal: what is appended to one file by several programs and mounts is there whole, once, and in each
# writer's order; whoever follows the file reads nothing else. Method: tests/fault/records.
. "$(dirname "$0")/lib.sh"
records=$CATENA_BUILD/tests/fault/records
seconds=${CATENA_APPEND_SECONDS:-2}
cluster_up -n 3 -c 3
# Programs that run beside each other: wait for all, and fail when one does.
programs=()
run() { "$@" & programs+=($!); }
wait_all() {
	local p
	for p in "${programs[@]}"; do wait "$p" || die "a program failed: $(cat "$T"/*.out)"; done
	programs=()
}
step "one mount: appends beside truncations"
for how in open ftruncate truncate; do
	: >"$M/cut"
	run "$records" append "$M/cut" a "$seconds" >"$T/a.out"
	run "$records" truncate "$M/cut" "$seconds" "$how" >"$T/cut.out"
	wait_all
	cat "$T/cut.out"
done
step "one mount: appends of several programs, and one that follows"
: >"$M/one"
for w in a b c; do run "$records" append "$M/one" $w "$seconds" 5000 >"$T/$w.out"; done
run "$records" follow "$M/one" $((seconds + 1)) "$T/followed" >"$T/f.out"
wait_all
"$records" check "$M/one" "a:$(cat "$T/a.out")" "b:$(cat "$T/b.out")" "c:$(cat "$T/c.out")" || die "one mount"
cmp "$T/followed" "$M/one" || die "what was followed is something else"
lc mount other || die "second mount"
O=$D/other
step "two mounts: one appends, the other follows"
: >"$M/two"
run "$records" append "$M/two" a "$seconds" 5000 >"$T/a.out"
for m in "$M" "$O"; do run "$records" follow "$m/two" $((seconds + 1)) "$T/followed.$(basename "$m")" >"$T/f.$(basename "$m").out"; done
wait_all
for m in "$M" "$O"; do
	"$records" check "$m/two" "a:$(cat "$T/a.out")" || die "$m"
	cmp "$T/followed.$(basename "$m")" "$m/two" || die "what was followed on $m is something else"
done
step "two mounts: several programs of each append, and one on each follows"
: >"$M/both"
for w in a b; do
	run "$records" append "$M/both" "m$w" "$seconds" 5000 >"$T/m$w.out"
	run "$records" append "$O/both" "o$w" "$seconds" 5000 >"$T/o$w.out"
done
for m in "$M" "$O"; do run "$records" follow "$m/both" $((seconds + 1)) "$T/followed.$(basename "$m")" >"$T/f.$(basename "$m").out"; done
wait_all
for m in "$M" "$O"; do
	"$records" check "$m/both" "ma:$(cat "$T/ma.out")" "mb:$(cat "$T/mb.out")" "oa:$(cat "$T/oa.out")" "ob:$(cat "$T/ob.out")" || die "$m"
	cmp "$T/followed.$(basename "$m")" "$m/both" || die "what was followed on $m is something else"
done
# After a while something happens to the second mount; what it had acknowledged stays, once.
beside() { # NAME COMMAND...
	local file=$M/$1 other=$O/$1
	: >"$file"
	for w in a b; do
		run "$records" append "$file" "m$w" $((seconds + 8)) 300 >"$T/m$w.out"
		run "$records" append "$other" "o$w" $((seconds + 8)) 300 >"$T/o$w.out" 2>"$T/o$w.err"
	done
	sleep 2
	"${@:2}"
	wait_all
	"$records" check "$file" "ma:$(cat "$T/ma.out")" "mb:$(cat "$T/mb.out")" "oa:$(cat "$T/oa.out")" "ob:$(cat "$T/ob.out")" || die "$1"
	grep -q + "$T/ma.out" "$T/mb.out" && die "the first mount's appends ended with an error"
	cat "$T"/o?.err
}
stopped() { lc freeze mount-other; sleep 6; lc thaw mount-other; }
step "a mount is stopped for longer than its lease"
beside stopped stopped
lc umount other; lc mount other || die "mounting again"
step "a mount is killed"
beside killed lc kill mount-other
lc start mount-other || die "mounting again"
"$records" check "$O/killed" "ma:$(cat "$T/ma.out")" "ob:$(cat "$T/ob.out")" || die "the killed mount, again"
