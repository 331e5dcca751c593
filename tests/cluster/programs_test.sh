#!/bin/bash
# Goal: people's own programs run on the mount, and everything is still there after SIGKILL of every
# process. Method: cp, diff, git, compiling this project; then all processes are killed at once, started
# again, and all is checked again. What writes much data is in programs_data_test. COMPILE: what is compiled before
# and after, instead of a program each.
# Run: long
. "$(dirname "$0")/lib.sh"
cluster_up -n 3 -c 3

copy_trees() {
	step "cp -a of trees"
	cp -a /usr/include "$M/include" || die "cp -a /usr/include"
	cp -a /usr/lib/gcc "$M/gcc" || die "cp -a /usr/lib/gcc"
}
check_trees() {
	step "diff -r"
	diff -r --no-dereference /usr/include "$M/include" || die "/usr/include differs"
	diff -r --no-dereference /usr/lib/gcc "$M/gcc" || die "/usr/lib/gcc differs"
}
git_here() { git -C "$M/src" -c user.name=t -c user.email=t@example.org -c gc.auto=0 -c core.fsync=all "$@"; }
make_git() {
	step "git"
	mkdir "$M/src"
	(cd "$CATENA_SOURCE" && git ls-files -z | tar --null -cf - -T -) | tar xf - -C "$M/src" || die "untar"
	git_here init -q && git_here add . && git_here commit -qm all || die "git commit"
	check_git
}
check_git() {
	git_here fsck --strict || die "git fsck"
	[ -z "$(git_here status --porcelain)" ] || die "git status is not clean"
}
compile() { # PROGRAM
	step "compile inside the mount"
	make -s -C "$M/src" BUILD="$M/src/build" OPT="-O0 -g" -j2 "${COMPILE:-$M/src/build/$1}" >"$T/make.out" 2>&1 ||
		{ tail -n 30 "$T/make.out"; die "make"; }
	"$M/src/build/$1" --help >/dev/null 2>&1 || [ $? -le 64 ] || die "the program built does not run"
}

copy_trees
check_trees
make_git
compile catena-master
step "SIGKILL of every process"
sync "$M"/* 2>/dev/null
kill_all
lc up || die "up after SIGKILL"
check_trees
check_git
[ -x "$M/src/build/catena-master" ] || die "the program built before is gone"
rm -r "$M/src/build" || die "removing what was built"
compile mount.catena
rm -rf "$M/include" "$M/gcc" "$M/src" || die "rm -rf"
