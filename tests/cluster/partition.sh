# partition.sh - sourced after lib.sh: a cluster whose cables can be cut, under a load that checks everything.
#
#   during WHAT SECONDS MS [OPERATION...]   after a cut: it lasts so long, and these operations go on, none
#                                           longer than MS; then it is mended, and all is well again
#
# CUT_SECONDS: how long each time, as $seconds. $nodes are all processes.
. "$(dirname "$0")/netns.sh"
end_programs() { (net_heal); } # or what has to be written cannot be
extra_cleanup() { net_down; }
seconds=${CUT_SECONDS:-5}
nodes="master chunkserver-1 chunkserver-2 chunkserver-3 chunkserver-4 mount-mnt"
step "network"
net_up $nodes
cluster_up -n 4 -c 3
wait_whole 30
load_start --rate 10 --size 32

# What began within the cut has waited for all of it: on a busy machine that is longer than asked for.
during() {
	local began longer
	began=$(date +%s%3N)
	load_for "$2" "$1" "$3" "${@:4}"
	net_heal
	longer=$(($(date +%s%3N) - began - $2 * 1000))
	wait_whole 60
	CATENA_STALL_MS=$((${CATENA_STALL_MS:-0} + longer)) load_phase "$1, healed" $(($3 + longer)) write fsync read create
}
load_for 2 "undisturbed"
