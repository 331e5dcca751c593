#!/bin/bash
# Goal: what is appended to one file by several programs and mounts is there whole, once, and in each
# writer's order; whoever follows the file reads nothing else. Method: tests/fault/records.
. "$(dirname "$0")/lib.sh"
records=$CATENA_BUILD/tests/fault/records
seconds=${CATENA_APPEND_SECONDS:-4}
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
