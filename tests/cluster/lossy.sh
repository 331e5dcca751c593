# lossy.sh - sourced after lib.sh: every disk of the cluster is one whose power can be cut.
#
#   lossy_up NODE...   before cluster_up: NODE is master, chunkserver-N; $D/data/NODE is on lossyfs
#   power_off NODE...  SIGKILL to all at once (mount-NAME too); then their disks lose what was not
#                      synced, by $power_seed, which goes on; each has booted anew
#   LOSSY_OPTIONS      of lossyfs mount
#
# Chunkservers run in a mount namespace where the kernel's boot id is a file of ours.
declare -A boot_holder=()
lossyfs=$CATENA_BUILD/tests/lossyfs/lossyfs
power_seed=${SEED:-$RANDOM$RANDOM}

boot_anew() { cat /proc/sys/kernel/random/uuid >"$T/boot/$1"; }

# A new namespace has copies of all mounts, and a copy keeps a filesystem alive that is unmounted elsewhere: those of
# Catena, which are other tests', are let go of.
boot_namespace='while read -r _ at type _; do
		[ "$type" != fuse.catena ] || umount -l "$at"
	done </proc/self/mounts
	mount --bind "$0" /proc/sys/kernel/random/boot_id && exec sleep 1000000'

boot_hold() { # NODE: a namespace that ends with this process
	local own
	own=$(readlink /proc/self/ns/mnt)
	boot_anew "$1"
	setsid setpriv --pdeathsig KILL unshare --mount sh -c "$boot_namespace" "$T/boot/$1" &
	boot_holder[$1]=$!
	disown
	for _ in $(seq 200); do
		if [ "$(readlink "/proc/${boot_holder[$1]}/ns/mnt" 2>/dev/null)" != "$own" ] &&
			nsenter --mount="/proc/${boot_holder[$1]}/ns/mnt" cat /proc/sys/kernel/random/boot_id 2>/dev/null | cmp -s - "$T/boot/$1"; then
			return
		fi
		sleep 0.01
	done
	echo "mount namespaces are not possible here"
	exit 77
}

lossy_up() {
	local node
	mkdir -p "$T/boot" "$T/backing" "$D/data"
	for node in "$@"; do
		mkdir -p "$D/data/$node"
		"$lossyfs" mount "$D/data/$node" "$T/backing" ${LOSSY_OPTIONS:-} || die "lossyfs"
	done
	for node in "$@"; do
		[ "$node" != master ] || continue
		boot_hold "$node"
		echo "$node 127.0.0.1 nsenter --mount=/proc/${boot_holder[$node]}/ns/mnt" >>"$D/hosts"
	done
}

power_off() {
	local node pids=()
	for node in "$@"; do pids+=("$(pid "$node")"); done
	kill -KILL "${pids[@]}"
	for node in "${pids[@]}"; do
		while [ -d "/proc/$node" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$node/status" 2>/dev/null; do sleep 0.01; done
	done
	for node in "$@"; do
		[ -d "$D/data/$node" ] || continue
		"$lossyfs" cut "$D/data/$node" $((power_seed += 1)) || die "cut of $node"
		[ ! -e "$T/boot/$node" ] || boot_anew "$node"
	done
}

lossy_down() { # for extra_cleanup
	local node
	[ ${#boot_holder[@]} -eq 0 ] || kill -KILL "${boot_holder[@]}" 2>/dev/null
	for node in "$D"/data/*; do
		! mountpoint -q "$node" || umount "$node" || umount -l "$node"
	done
}
