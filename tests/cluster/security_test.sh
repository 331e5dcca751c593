#!/bin/bash
# Goal: TLS only: no port accepts plain text, an older TLS, a client without a certificate, or one of
# another CA, or an expired one; roles bind; garbage does no harm; keys are private. Method: openssl
# s_client and raw bytes against every listening port of the cluster while a writer works.
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
ca=$CATENA_SOURCE/tools/catena-ca
"$ca" init "$T/other" >/dev/null 2>&1 && "$ca" issue "$T/other" client stranger "$T/stranger" >/dev/null 2>&1 || die "other CA"
"$ca" issue "$D/ca" client late "$T/late" --expired >/dev/null 2>&1 || die "expired certificate"
servers="master chunkserver-1 chunkserver-2 chunkserver-3"
addresses() { for s in $servers; do sed -n 's/^listen = //p' "$D/conf/$s.conf"; done; }

step "every listening port of the cluster is known"
for s in $servers; do
	want=$(sed -n 's/^listen = .*://p' "$D/conf/$s.conf")
	have=$(ss -Hltnp | grep "pid=$(pid "$s")," | sed 's/.*:\([0-9]*\) .*/\1/' | awk '{print $1}' | sort -u | tr '\n' ' ')
	[ "$have" = "$want " ] || { ss -ltnp | grep "pid=$(pid "$s"),"; die "$s listens on '$have', not only on $want"; }
done
! ss -Hltnp | grep -q "pid=$(pid mount-mnt)," || die "the mount listens"

answer() { # ADDRESS s_client-options: what comes after a good handshake and one read
	timeout 5 openssl s_client -connect "$1" -CAfile "$D/ca/ca.crt" -verify_return_error -alpn h2 "${@:2}" </dev/null 2>&1
}
# With TLS 1.3 the refusal of the client's certificate comes after the handshake: wait for it.
refused() {
	local out
	out=$(timeout 5 openssl s_client -connect "$1" -CAfile "$D/ca/ca.crt" -alpn h2 "${@:2}" 2>&1 < <(exec sleep 5 2>/dev/null))
	grep -qiE 'alert|errno|unexpected eof|handshake failure|closed|wrong version|unsupported protocol|no protocols available' <<<"$out" || { echo "$out" | tail -n 15; return 1; }
}
check_port() { # ADDRESS
	local a=$1 out bytes got
	out=$(answer "$a" -cert "$D/ca/client.crt" -key "$D/ca/client.key")
	grep -q 'TLSv1.3' <<<"$out" && grep -q 'Verify return code: 0' <<<"$out" || { echo "$out"; die "no TLS 1.3 with a good certificate"; }
	refused "$a" || die "accepted a client without a certificate"
	refused "$a" -cert "$T/stranger.crt" -key "$T/stranger.key" || die "accepted a certificate of another CA"
	refused "$a" -cert "$T/late.crt" -key "$T/late.key" || die "accepted an expired certificate"
	refused "$a" -tls1_2 -cert "$D/ca/client.crt" -key "$D/ca/client.key" || die "accepted TLS 1.2"
	for bytes in 'GET / HTTP/1.0\r\n\r\n' 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0' 'CTN1\1\1\0\0\0\0\0\0' '\x16\x03\x01\xff\xff\xff\xff\xff'; do
		got=$( (printf "$bytes"; sleep 0.3) | timeout 5 bash -c "exec 3<>/dev/tcp/${a%:*}/${a##*:}; cat >&3 & timeout 1 head -c 200 <&3 | tr -d '\0'" 2>/dev/null)
		! grep -q 'HTTP/\|CTN1' <<<"$got" || die "answered plain text: $got"
	done
	head -c 100000 /dev/urandom | timeout 5 bash -c "cat >/dev/tcp/${a%:*}/${a##*:}" 2>/dev/null
	# A good certificate, and garbage inside TLS.
	(head -c 5000 /dev/urandom; sleep 0.3) | timeout 5 openssl s_client -quiet -connect "$a" -CAfile "$D/ca/ca.crt" \
		-cert "$D/ca/client.crt" -key "$D/ca/client.key" >/dev/null 2>&1
	return 0
}
step "ports"
checks=()
for a in $(addresses); do
	check_port "$a" >"$T/port.${#checks[@]}" 2>&1 &
	checks+=($!)
done
for n in "${!checks[@]}"; do
	wait "${checks[n]}" || { cat "$T/port.$n"; die "port $n"; }
done
step "a mount with a wrong certificate says so"
mkdir "$T/m"
try_mount() { timeout 30 "$CATENA_BUILD/mount.catena" "$(sed -n 's/^listen = //p' "$D/conf/master.conf")" "$T/m" -o "$1" >"$T/mount.out" 2>&1; }
expect_refusal() { # OPTIONS WORDS
	try_mount "$1" && die "mounted with $1"
	grep -qiE "$2" "$T/mount.out" || { cat "$T/mount.out"; die "no clear message (wanted: $2)"; }
	[ "$(wc -l <"$T/mount.out")" -le 3 ] || { cat "$T/mount.out"; die "more than a few lines"; }
}
expect_refusal "ca=$D/ca/ca.crt,cert=$T/late.crt,key=$T/late.key" expired
expect_refusal "ca=$D/ca/ca.crt,cert=$T/stranger.crt,key=$T/stranger.key" 'not signed|CA|verif'
expect_refusal "ca=$D/ca/ca.crt,cert=$D/ca/chunkserver-1.crt,key=$D/ca/chunkserver-1.key" role
expect_refusal "ca=$D/ca/ca.crt,cert=$D/ca/client.crt" key
expect_refusal "ca=$T/other/ca.crt,cert=$T/stranger.crt,key=$T/stranger.key" 'certificate|verif|refused|master|unreachable'
cp "$D/ca/client.key" "$T/open.key" && chmod 644 "$T/open.key"
expect_refusal "ca=$D/ca/ca.crt,cert=$D/ca/client.crt,key=$T/open.key" 'key.*(0600|chmod 600)'
step "a tool with a client's certificate says what it takes"
! timeout 20 "$CATENA_BUILD/tools/catena" drain chunkserver-1 --master "$(sed -n 's/^listen = //p' "$D/conf/master.conf")" \
	-o "ca=$D/ca/ca.crt,cert=$D/ca/client.crt,key=$D/ca/client.key" >"$T/drain.out" 2>&1 || die "a client may drain"
need 'certificate of the role admin' "$T/drain.out"
step "keys are private"
for k in $(find "$D" -name '*.key'); do [ "$(stat -c %a "$k")" = 600 ] || die "$k has mode $(stat -c %a "$k")"; done
step "the cluster still works, nobody died"
for s in $servers mount-mnt; do kill -0 "$(pid "$s")" 2>/dev/null || die "$s died"; done
echo works >"$M/x" && sync "$M/x" && [ "$(cat "$M/x")" = works ] || die "the mount does not work"
need 'certificate' "$D/log/chunkserver-1.log"
