# netns.sh - sourced after lib.sh: each process of the cluster in a network namespace of its own, on a
# bridge in one more. Nothing of this machine's network is touched: the namespaces have no names and
# end with the processes that hold them.
#
#   net_up NODE...     before cluster_up: NODE is master, chunkserver-N, mount-mnt ...
#   net_drop A B       what A sends to B vanishes without a word
#   net_cut A B        both ways
#   net_heal           everything arrives again
#   net_down           for extra_cleanup
#
# A packet vanishes because A's (permanent) neighbour entry of B names an address that nobody has:
# this needs no packet filter, and senders see silence, as with a broken cable.
declare -A net_holder=() net_number=()
net_nobody=02:00:00:00:ff:ff

net_in() { nsenter --net="/proc/${net_holder[$1]}/ns/net" "${@:2}"; } # NODE COMMAND...
net_address() { echo "10.0.0.${net_number[$1]}"; }
net_mac() { printf '02:00:00:00:00:%02x' "${net_number[$1]}"; }

net_hold() { # NODE: a process in a new namespace, that ends with this one
	local own
	own=$(readlink /proc/self/ns/net)
	setsid setpriv --pdeathsig KILL unshare --net sleep 1000000 &
	net_holder[$1]=$!
	disown
	for _ in $(seq 200); do
		[ "$(readlink "/proc/${net_holder[$1]}/ns/net")" = "$own" ] || return 0
		sleep 0.01
	done
	echo "network namespaces are not possible here"
	exit 77
}

net_aim() { # A B ADDRESS: A sends what is for B there
	net_in "$1" ip neigh replace "$(net_address "$2")" lladdr "$3" dev eth0 nud permanent || die "neighbour of $1"
}

# Nobody listens there: a refusal comes from there, silence from nowhere.
net_reaches() { # A B
	local answer
	answer=$(net_in "$1" timeout 2 bash -c "exec 3<>/dev/tcp/$(net_address "$2")/1" 2>&1)
	[[ $answer == *refused* ]]
}

net_up() {
	local node other number=0
	mkdir -p "$D"
	net_hold bridge
	net_in bridge ip link add bridge type bridge || { echo "needs bridges"; exit 77; }
	net_in bridge ip link set bridge up
	for node in "$@"; do
		net_number[$node]=$((number += 1))
		net_hold "$node"
		net_in bridge ip link add "port-$number" type veth peer name eth0 address "$(net_mac "$node")" \
			netns "${net_holder[$node]}" || { echo "needs veth"; exit 77; }
		net_in bridge ip link set "port-$number" master bridge up || die "bridge"
		net_in "$node" ip link set lo up && net_in "$node" ip addr add "$(net_address "$node")/24" dev eth0 &&
			net_in "$node" ip link set eth0 up || die "address of $node"
		echo "$node $(net_address "$node") nsenter --net=/proc/${net_holder[$node]}/ns/net" >>"$D/hosts"
	done
	net_heal
	for node in "$@"; do
		for other in "$@"; do
			net_reaches "$node" "$other" || die "$node does not reach $other"
		done
	done
}

net_drop() { net_aim "$1" "$2" "$net_nobody"; }
net_cut() { net_drop "$1" "$2"; net_drop "$2" "$1"; }
net_heal() {
	local node other
	for node in "${!net_number[@]}"; do
		for other in "${!net_number[@]}"; do
			[ "$node" = "$other" ] || net_aim "$node" "$other" "$(net_mac "$other")"
		done
	done
}
net_down() { [ ${#net_holder[@]} -eq 0 ] || kill -KILL "${net_holder[@]}" 2>/dev/null; }
