#!/bin/bash
# Goal: cables break, in both directions or in one, between any two machines: programs see no error,
# wait no longer than it takes to find out, and all is whole afterwards. Method: every process in a
# network namespace of its own; a load that checks everything while packets between two of them
# vanish. CUT_SECONDS: how long each time.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
end_programs() { (net_heal); } # or what has to be written cannot be
extra_cleanup() { net_down; }
seconds=${CUT_SECONDS:-5}
nodes="master chunkserver-1 chunkserver-2 chunkserver-3 chunkserver-4 mount-mnt"
step "network"
net_up $nodes
cluster_up -n 4 -c 3
wait_whole 30
load_start --rate 20 --size 64

# during WHAT SECONDS MS [OPERATION...]: after the cut; heals it, and waits until all is well.
during() {
	sleep "$2"
	load_phase "$1" "$3" "${@:4}"
	net_heal
	wait_whole 60
	load_phase "$1, healed" "$3" write fsync read create
}
sleep 2
load_phase "undisturbed"

step "member and member"
net_cut chunkserver-1 chunkserver-2
during "chunkserver-1 | chunkserver-2" "$seconds" 4000 write fsync read
net_drop chunkserver-2 chunkserver-3
during "chunkserver-2 -> chunkserver-3" "$seconds" 4000 write fsync read
net_drop chunkserver-3 chunkserver-2
during "chunkserver-3 -> chunkserver-2" "$seconds" 4000 write fsync read

step "chunkserver and master"
net_cut chunkserver-1 master
during "chunkserver-1 | master" "$seconds" 4000 write fsync read create
net_drop chunkserver-3 master
during "chunkserver-3 -> master" "$seconds" 4000 write fsync read create
net_drop master chunkserver-4
during "master -> chunkserver-4" "$seconds" 4000 write fsync read create

# A mount that alone does not reach a server: how long it waits depends on what the master makes of
# its complaint, and how soon TCP tries again; what counts is that it goes on, without an error.
step "mount and chunkserver"
net_cut mount-mnt chunkserver-2
during "mount | chunkserver-2" "$seconds" $((seconds * 2000 + 2000)) read
net_drop mount-mnt chunkserver-1
during "mount -> chunkserver-1" "$seconds" $((seconds * 2000 + 2000)) read
net_drop chunkserver-4 mount-mnt
during "chunkserver-4 -> mount" "$seconds" $((seconds * 2000 + 2000)) read

step "mount and master, for less than the lease"
net_cut mount-mnt master
during "mount | master" 2 4000 read

step "a chunkserver and all others"
for node in $nodes; do [ $node = chunkserver-3 ] || net_cut chunkserver-3 $node; done
during "chunkserver-3 | all" "$seconds" 4000 write fsync read create

step "the end"
load_stop
down_and_compare 3
