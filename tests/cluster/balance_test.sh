#!/bin/bash
# Goal: a new chunkserver gets its fair share, one that is to go is emptied, and programs go on
# meanwhile. Method: four chunkservers with data; a fifth is added under a load that checks everything,
# which may lose less than half its rate (compared on a machine without other work: CATENA_STALL_MS is not set);
# then the second is drained and stopped. DATA_GIB (0.6), BALANCE_SECONDS: how long a move of everything may take.
# Run: long
. "$(dirname "$0")/lib.sh"
mib=$(awk -v gib="${DATA_GIB:-0.6}" 'BEGIN { printf "%d", gib * 1000 }')
seconds=${BALANCE_SECONDS:-$((60 + mib / 10))}
files=$((mib < 1000 ? mib : 1000))
cluster_up -n 4 -c 3
wait_whole 30
step "$mib MiB in $files files"
load_fill "$mib" "$files"

target_of() { status '.servers[] | select(.name == $name) | .targets[].id' --arg name "$1"; }
partitions_of() { status '.servers[] | select(.name == $name) | .targets[].partitions' --arg name "$1"; }
# All targets here are of one size: fair is the same for each.
is_balanced() { # CHUNKSERVERS
	[ "$(status '(([.pools[] | .partitions * .copies] | add) / $n) as $fair |
		[.servers[].targets[].partitions // 0] | map(select(. != 0)) |
		length == $n and all(. >= $fair * 0.9 and . <= $fair * 1.1)' --argjson n "$1")" = true ]
}
wait_for() { # SECONDS WHAT COMMAND...
	local end=$((SECONDS + $1))
	until "${@:3}"; do
		[ $SECONDS -lt $end ] || { catena status; status '.servers[] | {name, targets}' -c; die "$2: not within $1 s"; }
		load_alive
		sleep 0.3
	done
}
show_share() { # the data directories' bytes: each within 20 % of the mean, or fail
	local name
	for name in "$@"; do
		echo "$name $(partitions_of "$name") $(du -s -B1 "$D/data/$name/chunks" | cut -f1)"
	done | awk '{ name[NR] = $1; n[NR] = $2; bytes[NR] = $3; sum += $3 }
		END { for (i = 1; i <= NR; i++) { share = bytes[i] * NR / sum; printf "%s: %d partitions, %d MiB, %.2f of its share\n", name[i], n[i], bytes[i] / 1048576, share
			if (share < 0.8 || share > 1.2) bad = 1 } exit bad }' || die "bytes are not spread evenly"
}

step "a fifth chunkserver"
load_start
load_for 5 "before"
before=$(load_rate)
new=$(lc add) || die "add"
wait_for "$seconds" "balance" is_balanced 5
wait_whole "$seconds"
load_phase "while partitions moved" 4000 write fsync read create
during=$(load_rate)
echo "written before $((before / 100)) MiB/s, meanwhile $((during / 100)) MiB/s"
[ -n "${CATENA_STALL_MS:-}" ] || [ $((during * 2)) -ge "$before" ] || die "the writer lost more than half its rate"
show_share chunkserver-1 chunkserver-2 chunkserver-3 chunkserver-4 "$new"

step "chunkserver-2 is drained"
catena drain "$(target_of chunkserver-2)" || die "drain"
is_empty() { [ "$(partitions_of chunkserver-2)" = 0 ]; }
has_no_chunks() { [ -z "$(find "$D/data/chunkserver-2/chunks" -type f -print -quit)" ]; }
wait_for "$seconds" "drain" is_empty
wait_whole "$seconds"
load_phase "while it was drained" 4000 write fsync read create
wait_for 60 "removal of its chunks" has_no_chunks
step "and stopped"
lc stop chunkserver-2 || die "stop"
[ -z "$(list_chunks chunkserver-2)" ] || { list_chunks chunkserver-2 | head; die "it still has chunks"; }
sleep 1
wait_whole 30
load_phase "without it" 500 write fsync read create
load_stop
down_and_compare 3
