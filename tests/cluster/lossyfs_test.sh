#!/bin/bash
# Goal: a power cut of lossyfs (the disk under power_cut_test) loses nothing that was synced, and of
# everything else something in some cuts and nothing in others; a rename is whole in all. Method: the
# same small files, cut with many seeds, each outcome counted.
set -u
T=$(mktemp -d "${TMPDIR:-/var/tmp}/lossyfs.XXXXXX") || exit 1
F=$T/mnt lossyfs=$CATENA_BUILD/tests/lossyfs/lossyfs
cleanup() { local status=$?; umount "$F" 2>/dev/null; rm -rf --one-file-system "$T"; exit $status; }
trap cleanup EXIT
die() { echo "FAILED: $*"; exit 1; }
mkdir "$F" "$T/backing"
"$lossyfs" mount "$F" "$T/backing" --sync-ms 0 2>"$T/err" || { cat "$T/err"; echo "FUSE is not possible here"; exit 77; }

declare -A seen
saw() { seen[$1]=$((${seen[$1]:-0} + 1)); }
old=$(head -c 40000 /dev/zero | tr '\0' o | sha256sum) new=$(head -c 40000 /dev/zero | tr '\0' n | sha256sum)
prepare() {
	rm -rf "$F"/* && mkdir "$F/d" "$F/e" || die "prepare"
	for f in synced replaced truncated overwritten direct; do
		head -c 40000 /dev/zero | tr '\0' o >"$F/d/$f" || die "write $f"
	done
	echo moved >"$F/d/from"
	echo gone >"$F/d/gone"
	sync "$F"/d/* "$F" "$F/d" "$F/e" || die "sync"
}
change() {
	head -c 40000 /dev/zero | tr '\0' n | dd of="$F/d/overwritten" conv=notrunc bs=4000 status=none || die "overwrite"
	head -c 40960 /dev/zero | tr '\0' n | dd of="$F/d/direct" conv=notrunc bs=4096 oflag=direct iflag=fullblock status=none || die "direct"
	head -c 4096 /dev/zero | tr '\0' n | dd of="$F/d/synced" conv=notrunc bs=4096 seek=1 oflag=dsync status=none || die "dsync"
	truncate -s 5000 "$F/d/truncated" || die "change"
	mv "$F/d/from" "$F/e/to" && rm "$F/d/gone" && echo made >"$F/e/made" && mkdir "$F/e/dir" || die "change"
	echo file >"$F/d/fsynced" && sync "$F/d/fsynced" || die "fsync without its directory"
	head -c 40000 /dev/zero | tr '\0' n >"$F/d/new" && sync "$F/d/new" && mv "$F/d/new" "$F/d/replaced" || die "replace"
}
look() {
	case $(sha256sum <"$F/d/overwritten") in "$old") saw data-lost ;; "$new") saw data-kept ;; *) saw data-parts ;; esac
	grep -q o "$F/d/direct" && saw direct-lost || saw direct-kept
	[ "$(tail -c +4097 "$F/d/synced" | head -c 4096 | tr -d n | wc -c)" = 0 ] && [ "$(head -c 4096 "$F/d/synced" | tr -d o | wc -c)" = 0 ] &&
		[ "$(stat -c %s "$F/d/synced")" = 40000 ] || die "a write with O_DSYNC is lost, or its neighbours"
	case $(stat -c %s "$F/d/truncated") in 5000) saw truncate-kept ;; 40000) saw truncate-lost; [ "$(sha256sum <"$F/d/truncated")" = "$old" ] || die "half a truncation" ;; *) die "size" ;; esac
	if [ -e "$F/d/from" ]; then
		[ ! -e "$F/e/to" ] || die "a rename is half done"
		saw rename-lost
	else
		[ "$(cat "$F/e/to")" = moved ] || die "a rename has lost the file"
		saw rename-kept
	fi
	[ -e "$F/d/gone" ] && saw unlink-lost || saw unlink-kept
	[ -e "$F/e/made" ] && saw create-kept || saw create-lost
	[ -e "$F/e/dir" ] && saw mkdir-kept || saw mkdir-lost
	[ -e "$F/d/fsynced" ] && saw entry-kept || saw entry-lost
	[ ! -e "$F/d/fsynced" ] || [ "$(cat "$F/d/fsynced")" = file ] || die "fsynced data is lost"
	case $(sha256sum <"$F/d/replaced") in "$old") saw replace-lost ;; "$new") saw replace-kept ;; *) die "synced data is lost" ;; esac
}
for seed in $(seq "${SEEDS:-30}"); do
	prepare
	change
	"$lossyfs" cut "$F" "$seed" || die "cut"
	look
done
for what in data direct truncate rename unlink create mkdir entry replace; do
	echo "$what: ${seen[$what-lost]:-0} lost, ${seen[$what-kept]:-0} kept"
	[ "${seen[$what-lost]:-0}" -gt 0 ] && [ "${seen[$what-kept]:-0}" -gt 0 ] || die "$what is always the same"
done
[ "${seen[data-parts]:-0}" -gt 0 ] || die "data is lost whole only"

# A tree of a real program's: nothing that was synced last may be missing.
prepare
mkdir "$F/tree" && sync "$F"
for i in $(seq 40); do
	echo "$i" >"$F/tree/tmp" && sync "$F/tree/tmp" && mv "$F/tree/tmp" "$F/tree/current" && sync "$F/tree" || die "replace"
	"$lossyfs" cut "$F" "$i" || die "cut"
	[ "$(cat "$F/tree/current")" = "$i" ] || die "cut $i: $(cat "$F/tree/current")"
done
umount "$F" && "$lossyfs" mount "$F" "$T/backing" --lie || die "mount"
echo x >"$F/x"; sync "$F/x" "$F"
for seed in $(seq 20); do "$lossyfs" cut "$F" "$seed"; [ -e "$F/x" ] || break; done
[ ! -e "$F/x" ] || die "a lying disk loses nothing"
