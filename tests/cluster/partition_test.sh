#!/bin/bash
# Goal: cables break between servers, in both directions or in one: programs see no error, wait no longer
# than it takes to find out, and all is whole afterwards. Method: partition.sh; packets between two
# servers vanish, or between one and all others. What mounts do not reach is in partition_mount_test.
# Run: long
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/partition.sh"

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

step "a chunkserver and all others"
for node in $nodes; do [ $node = chunkserver-3 ] || net_cut chunkserver-3 $node; done
during "chunkserver-3 | all" "$seconds" 4000 write fsync read create

step "the end"
load_stop
down_and_compare 3
