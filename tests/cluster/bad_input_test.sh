#!/bin/bash
# Goal: wrong configuration and wrong directories give one clear message and the right exit status,
# and do no harm. Method: each mistake once, beside a running cluster.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
echo keep >"$M/keep"
expect() { # STATUS-PATTERN WORDS COMMAND...
	local status
	timeout 30 "${@:3}" >"$T/out" 2>&1
	status=$?
	[[ $status =~ ^($1)$ ]] || { cat "$T/out"; die "exit status $status, wanted $1: ${*:3}"; }
	grep -qiE -- "$2" "$T/out" || { cat "$T/out"; die "no clear message (wanted: $2): ${*:3}"; }
	[ "$(grep -c . "$T/out")" -le 8 ] || { cat "$T/out"; die "too many lines: ${*:3}"; }
}
master=$CATENA_BUILD/catena-master chunkserver=$CATENA_BUILD/catena-chunkserver mount=$CATENA_BUILD/mount.catena
change() { sed "$2" "$D/conf/$1.conf" >"$T/changed.conf"; }
tls="ca=$D/ca/ca.crt,cert=$D/ca/client.crt,key=$D/ca/client.key"
at=$(sed -n 's/^listen = //p' "$D/conf/master.conf")

step "configuration"
expect '[1-9][0-9]*' 'nosuch.conf' "$master" --config "$T/nosuch.conf"
change master 's/^listen/listne/'; expect '[1-9][0-9]*' 'changed.conf.*listne' "$master" --config "$T/changed.conf"
change chunkserver-1 's/^master = .*/master = /'; expect '[1-9][0-9]*' 'master' "$chunkserver" --config "$T/changed.conf"
change master 's/^copies = .*/copies = 99/'; expect '[1-9][0-9]*' 'copies.*99' "$master" --config "$T/changed.conf"
change chunkserver-1 's/^\[target\]/[tarhet]/'; expect '[1-9][0-9]*' 'tarhet' "$chunkserver" --config "$T/changed.conf"
for any in 0.0.0.0 0 '[::]' '[::ffff:0.0.0.0]' '*'; do
	change chunkserver-1 "s/^listen = .*/listen = $any:0/"
	expect '[1-9][0-9]*' 'changed.conf.*advertise' "$chunkserver" --config "$T/changed.conf"
	change chunkserver-1 "s/^listen = .*/listen = 127.0.0.1:0\nadvertise = $any:7401/"
	expect '[1-9][0-9]*' 'changed.conf.*advertise' "$chunkserver" --config "$T/changed.conf"
done
change chunkserver-1 "s/^listen = .*/listen = 127.0.0.1:0\nadvertise = localhost/"
expect '[1-9][0-9]*' 'advertise.*host:port' "$chunkserver" --config "$T/changed.conf"
expect '[1-9][0-9]*' 'usage|--nonsense' "$master" --nonsense
expect '[1-9][0-9]*' 'usage|--nonsense' "$chunkserver" --nonsense

step "data directories"
expect '[1-9][0-9]*' 'in use|another process|locked' "$master" --config "$D/conf/master.conf"
expect '[1-9][0-9]*' 'in use|another process|locked' "$chunkserver" --config "$D/conf/chunkserver-1.conf"
change master "s|^data = .*|data = $T/empty|; s/^listen = .*/listen = 127.0.0.1:0/"; mkdir "$T/empty"
expect '[1-9][0-9]*' 'init' "$master" --config "$T/changed.conf"
change chunkserver-1 "s|^path = .*|path = $T/empty|; s/^listen = .*/listen = 127.0.0.1:0/"
expect '[1-9][0-9]*' 'init' "$chunkserver" --config "$T/changed.conf"
expect '[1-9][0-9]*' 'already' "$master" --config "$D/conf/master.conf" --init
expect '[1-9][0-9]*' 'already' "$chunkserver" --config "$D/conf/chunkserver-1.conf" --init

step "a disk is added to a configuration"
change chunkserver-3 "s|^path = .*|&\npath = $T/added # the new disk|"
before=$(sha256sum <"$D/data/chunkserver-3/identity")
expect 0 "left as it is.*chunkserver-3" "$chunkserver" --config "$T/changed.conf" --init
grep -q "made target $T/added of" "$T/out" && [ -e "$T/added/identity" ] || { cat "$T/out"; die "no target at $T/added"; }
[ "$before" = "$(sha256sum <"$D/data/chunkserver-3/identity")" ] || die "the old target is another one"
expect '[1-9][0-9]*' 'already' "$chunkserver" --config "$T/changed.conf" --init
lc stop chunkserver-3 && cp "$T/changed.conf" "$D/conf/chunkserver-3.conf" && lc start chunkserver-3 || die "restart"
for _ in $(seq 100); do
	[ "$(status '.servers[] | select(.name == "chunkserver-3") | .targets | length')" != 2 ] || break
	sleep 0.1
done
[ "$(status '.servers[] | select(.name == "chunkserver-3") | .targets | length')" = 2 ] || { status .; die "the disk is not there"; }

step "ports"
change master "s|^data = .*|data = $T/m2|"
sed "s/^listen = .*/listen = 127.0.0.1:0/" "$T/changed.conf" >"$T/init.conf"
"$master" --config "$T/init.conf" --init >/dev/null 2>&1 || die "init"
expect '[1-9][0-9]*' "${at##*:}.*(in use|occupied)|(in use|occupied).*${at##*:}" "$master" --config "$T/changed.conf"
change chunkserver-1 "s|^path = .*|path = $T/t2|"
"$chunkserver" --config "$T/changed.conf" --init >/dev/null 2>&1 || die "init"
expect '[1-9][0-9]*' 'in use|occupied' "$chunkserver" --config "$T/changed.conf"

step "a target of another cluster"
D2=$T/c2
"$CATENA_SOURCE/tools/localcluster" up -d "$D2" -n 1 -c 1 || die "second cluster"
extra_cleanup() { "$CATENA_SOURCE/tools/localcluster" down -d "$D2" >/dev/null 2>&1; }
"$CATENA_SOURCE/tools/localcluster" stop -d "$D2" chunkserver-1
change chunkserver-1 "s|^path = .*|path = $D2/data/chunkserver-1|; s/^listen = .*/listen = 127.0.0.1:0/"
expect '[1-9][0-9]*' 'another cluster|other cluster|belongs to' "$chunkserver" --config "$T/changed.conf"
extra_cleanup

step "a disk of another cluster is not made a target"
sed "s|^path = .*|path = $D2/data/chunkserver-1\npath = $T/never|" "$D/conf/chunkserver-2.conf" >"$T/changed.conf"
expect '[1-9][0-9]*' 'another cluster' "$chunkserver" --config "$T/changed.conf" --init

step "mounting"
expect '[1-9][0-9]*' 'not a directory' "$mount" "$at" "$M/keep" -o "$tls"
expect '[1-9][0-9]*' 'nosuch' "$mount" "$at" "$T/nosuch" -o "$tls"
expect '[1-9][0-9]*' 'usage|--help' "$mount"
mkdir "$T/mp"
expect '[1-9][0-9]*' 'nonsense' "$mount" "$at" "$T/mp" -o "$tls,nonsense=1"
expect '[1-9][0-9]*' 'master|unreachable|connect' "$mount" 127.0.0.1:1 "$T/mp" -o "$tls"
expect '[1-9][0-9]*' 'already mounted|is mounted|busy' "$mount" "$at" "$M" -o "$tls"

step "nothing was lost"
[ "$(cat "$M/keep")" = keep ] || die "keep"
for s in master chunkserver-1 chunkserver-2 chunkserver-3 mount-mnt; do kill -0 "$(pid "$s")" 2>/dev/null || die "$s died"; done
