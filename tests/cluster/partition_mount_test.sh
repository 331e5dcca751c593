#!/bin/bash
# Goal: cables break between a mount and one of the servers, in both directions or in one: programs see no
# error, and all is whole afterwards. Method: partition.sh; packets between the two vanish.
# Run: long
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/partition.sh"

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

step "the end"
load_stop
down_and_compare 3
