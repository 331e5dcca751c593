#!/bin/bash
# Goal: what databases and large files ask for is done right on the mount, and everything is still there
# after SIGKILL of every process. Method: sqlite3, fio with verification, a file of 2.25 GiB with data in its
# end only (BIG_MIB: how much); then all processes are killed at once, started again, and all is checked again.
# Run: long
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3
big=${BIG_MIB:-640} before=1664 # MiB; the data lies on both sides of 2 GiB

make_sqlite() {
	step "sqlite3"
	local i
	{
		echo "pragma journal_mode=delete; create table t(id integer primary key, text text, number real);"
		for i in $(seq 0 99); do
			echo "begin; with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000)"
			echo "insert into t(text, number) select 'row ' || (i + $i * 1000), i * 0.5 from n; commit;"
		done
	} | sqlite3 "$M/test.db" >/dev/null || die "sqlite3"
	check_sqlite
}
check_sqlite() {
	[ "$(sqlite3 "$M/test.db" 'pragma integrity_check; select count(*) from t;' | tr '\n' ' ')" = "ok 100000 " ] ||
		die "sqlite integrity"
}
fio_here() {
	fio --name=v --directory="$M" --size=96m --rw=randwrite --bsrange=512-256k --bs_unaligned=1 --verify=crc32c \
		--verify_fatal=1 --verify_state_save=0 --ioengine=psync --randseed=7 --fallocate=none --fsync=64 --output="$T/fio.out" "$@" ||
		{ tail -n 40 "$T/fio.out"; die "fio verify"; }
}
pattern() { head -c "${big}M" /dev/zero | openssl enc -aes-128-ctr -pass pass:x -nosalt -pbkdf2; }
big_file() {
	step "$big MiB behind a hole of $before MiB"
	pattern | dd of="$M/big" bs=1M seek=$before iflag=fullblock status=none || die "writing"
	pattern | sha256sum >"$T/big.sum" || die "the reference"
	sync "$M/big"
	check_big
}
check_big() {
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(stat -c %s "$M/big")" -eq $(((before + big) << 20)) ] || die "the big file has $(stat -c %s "$M/big") bytes"
	tail -c "${big}M" "$M/big" | sha256sum | cmp - "$T/big.sum" || die "the big file differs"
}

make_sqlite
step "fio verify"
fio_here --do_verify=1
sha256sum "$M"/v.* >"$T/fio.sum" || die "the sum of what fio wrote"
big_file
step "SIGKILL of every process"
sync "$M"/* 2>/dev/null
kill_all
lc up || die "up after SIGKILL"
check_sqlite
step "what fio wrote, and fio verify once more"
sha256sum --quiet -c "$T/fio.sum" || die "what fio wrote differs"
fio_here --do_verify=1
check_big
rm -f "$M"/v.* "$M/big" || die "rm"
