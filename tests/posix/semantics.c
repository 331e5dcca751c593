/* semantics - what POSIX and Linux promise of a filesystem, one check each, in a directory.
 *
 *   semantics DIR [CHECK]...
 *
 * Every check prints its name when it fails. Exit status: 0 all good, 1 failures, 64 usage. Run on
 * a local filesystem first: a check that fails there is wrong itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "tests/posix/checks.h"

static bool holds(int fd, off_t at, const char *text)
{
	char have[256];
	size_t n = strlen(text);

	return pread(fd, have, n, at) == (ssize_t)n && memcmp(have, text, n) == 0;
}

static void unlinked_file_lives_until_the_last_close(void)
{
	struct stat st;
	int fd = make("a", "hello");

	CHECK(fd >= 0);
	CHECK(unlink("a") == 0);
	FAILS(stat("a", &st), ENOENT);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 5);
	CHECK(holds(fd, 0, "hello"));
	CHECK(pwrite(fd, "world", 5, 100000) == 5 && fsync(fd) == 0);
	CHECK(holds(fd, 100000, "world"));
	CHECK(ftruncate(fd, 3) == 0 && fstat(fd, &st) == 0 && st.st_size == 3);
	CHECK(close(fd) == 0);
}

static void rename_replaces_and_keeps_the_open_victim(void)
{
	int a = make("a", "new"), b = make("b", "old");
	struct stat st;

	CHECK(a >= 0 && b >= 0);
	CHECK(rename("a", "b") == 0);
	FAILS(stat("a", &st), ENOENT);
	CHECK(fstat(b, &st) == 0 && st.st_nlink == 0 && holds(b, 0, "old"));
	int c = open("b", O_RDONLY);
	CHECK(c >= 0 && holds(c, 0, "new"));
	close(a);
	close(b);
	close(c);
	CHECK(unlink("b") == 0);
}

static void rename_flags_do_what_they_say(void)
{
	int a = make("a", "A"), b = make("b", "B");

	CHECK(a >= 0 && b >= 0);
	FAILS(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), EEXIST);
	CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
	close(a);
	close(b);
	a = open("a", O_RDONLY);
	CHECK(a >= 0 && holds(a, 0, "B"));
	close(a);
	CHECK(unlink("a") == 0 && unlink("b") == 0);
}

static void directories_refuse_what_they_must(void)
{
	struct stat st;

	CHECK(mkdir("d", 0755) == 0 && mkdir("d/e", 0755) == 0);
	FAILS(mkdir("d", 0755), EEXIST);
	FAILS(rmdir("d"), ENOTEMPTY);
	FAILS(unlink("d"), EISDIR);
	FAILS(rename("d", "d/e/f"), EINVAL);
	CHECK(stat("d", &st) == 0 && st.st_nlink == 3);
	CHECK(rename("d/e", "e") == 0 && stat("d", &st) == 0 && st.st_nlink == 2);
	FAILS(link("d", "d2"), EPERM);
	int fd = make("f", "x");
	CHECK(fd >= 0);
	close(fd);
	FAILS(rename("f", "d"), EISDIR);
	FAILS(rename("d", "f"), ENOTDIR);
	FAILS(mkdir("f/x", 0755), ENOTDIR);
	CHECK(rename("d", "e") == 0);
	CHECK(unlink("f") == 0 && rmdir("e") == 0);
}

static void names_are_bounded(void)
{
	char name[300];
	int fd;

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	fd = make(name, NULL);
	CHECK(fd >= 0);
	close(fd);
	CHECK(unlink(name) == 0);
	name[255] = 'n';
	name[256] = 0;
	FAILS(open(name, O_CREAT | O_RDWR, 0644), ENAMETOOLONG);
}

static void hard_links_share_everything(void)
{
	struct stat st;
	int fd = make("a", "one");

	CHECK(fd >= 0);
	CHECK(link("a", "b") == 0);
	FAILS(link("a", "b"), EEXIST);
	CHECK(stat("b", &st) == 0 && st.st_nlink == 2);
	CHECK(pwrite(fd, "two", 3, 0) == 3);
	close(fd);
	fd = open("b", O_RDONLY);
	CHECK(fd >= 0 && holds(fd, 0, "two"));
	close(fd);
	CHECK(unlink("a") == 0 && stat("b", &st) == 0 && st.st_nlink == 1);
	CHECK(unlink("b") == 0);
}

static void symlinks_keep_their_text(void)
{
	char text[5000], back[5000];
	struct stat st;

	memset(text, 's', sizeof(text));
	text[4000] = 0;
	CHECK(symlink(text, "l") == 0);
	CHECK(readlink("l", back, sizeof(back)) == 4000 && memcmp(text, back, 4000) == 0);
	CHECK(lstat("l", &st) == 0 && S_ISLNK(st.st_mode) && st.st_size == 4000);
	CHECK(unlink("l") == 0);
	CHECK(symlink("nowhere", "l") == 0);
	FAILS(stat("l", &st), ENOENT);
	CHECK(unlink("l") == 0);
}

static void special_files_can_be_made(void)
{
	struct stat st;

	CHECK(mkfifo("p", 0600) == 0 && stat("p", &st) == 0 && S_ISFIFO(st.st_mode));
	CHECK(mknod("c", S_IFCHR | 0600, makedev(1, 3)) == 0 && stat("c", &st) == 0 &&
	      S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
	CHECK(unlink("p") == 0 && unlink("c") == 0);
}

static void appends_go_to_the_end(void)
{
	int a = open("a", O_WRONLY | O_CREAT | O_APPEND, 0644), b = open("a", O_RDWR | O_APPEND);

	CHECK(a >= 0 && b >= 0);
	CHECK(write(a, "one", 3) == 3 && write(b, "two", 3) == 3 && write(a, "three", 5) == 5);
	CHECK(holds(b, 0, "onetwothree"));
	close(a);
	close(b);
	CHECK(unlink("a") == 0);
}

static void *append_lines(void *arg)
{
	int fd = open("log", O_WRONLY | O_APPEND);
	char line[32];

	for (int i = 0; fd >= 0 && i < 200; i++) {
		snprintf(line, sizeof(line), "%c%09d\n", *(char *)arg, i);
		if (write(fd, line, 11) != 11)
			break;
	}
	close(fd);
	return NULL;
}

static void concurrent_appends_lose_nothing(void)
{
	pthread_t threads[4];
	struct stat st;
	char line[11];
	int counts[4] = {0}, fd = make("log", NULL);

	CHECK(fd >= 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, append_lines, &"abcd"[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(fstat(fd, &st) == 0 && st.st_size == 4 * 200 * 11);
	for (int i = 0; i < 800; i++) {
		CHECK(pread(fd, line, 11, i * 11) == 11 && line[10] == '\n' && line[0] >= 'a' &&
		      line[0] <= 'd');
		CHECK(atoi(line + 1) == counts[line[0] - 'a']++);
	}
	close(fd);
	CHECK(unlink("log") == 0);
}

static void truncation_leaves_no_old_bytes(void)
{
	char zeros[8192] = {0}, have[8192], data[8192];
	int fd = make("a", NULL);

	memset(data, 'x', sizeof(data));
	CHECK(fd >= 0);
	for (off_t at = 0; at < 34 << 20; at += 1 << 20)
		CHECK(pwrite(fd, data, sizeof(data), at) == sizeof(data));
	CHECK(fsync(fd) == 0);
	CHECK(ftruncate(fd, 5000) == 0 && ftruncate(fd, 40 << 20) == 0);
	CHECK(pread(fd, have, 5000, 0) == 5000 && memcmp(have, data, 5000) == 0);
	CHECK(pread(fd, have, 8192, 5000) == 8192 && memcmp(have, zeros, 8192) == 0);
	for (off_t at = 1 << 20; at < 34 << 20; at += 1 << 20)
		CHECK(pread(fd, have, 8192, at) == 8192 && memcmp(have, zeros, 8192) == 0);
	CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, 8192) == 0);
	CHECK(pread(fd, have, 8192, 0) == 8192 && memcmp(have, zeros, 8192) == 0);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void open_with_truncation_empties(void)
{
	struct stat st;
	int fd = make("a", "something");

	CHECK(fd >= 0 && close(fd) == 0);
	fd = open("a", O_RDWR | O_TRUNC);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0);
	CHECK(pwrite(fd, "z", 1, 3) == 1);
	char have[4];
	CHECK(pread(fd, have, 4, 0) == 4 && memcmp(have, "\0\0\0z", 4) == 0);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void holes_are_found_and_punched(void)
{
	char data[65536], have[65536], zeros[65536] = {0};
	struct stat st;
	int fd = make("a", NULL);

	memset(data, 'd', sizeof(data));
	CHECK(fd >= 0);
	CHECK(pwrite(fd, data, sizeof(data), 20 << 20) == sizeof(data));
	CHECK(lseek(fd, 0, SEEK_DATA) == 20 << 20);
	CHECK(lseek(fd, 0, SEEK_HOLE) == 0);
	CHECK(lseek(fd, 20 << 20, SEEK_HOLE) == (20 << 20) + 65536);
	FAILS(lseek(fd, (20 << 20) + 65536, SEEK_DATA), ENXIO);
	FAILS(lseek(fd, 64 << 20, SEEK_HOLE), ENXIO);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (20 << 20) + 4096, 8192) ==
	      0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (20 << 20) + 65536);
	CHECK(pread(fd, have, 8192, (20 << 20) + 4096) == 8192 && memcmp(have, zeros, 8192) == 0);
	CHECK(pread(fd, have, 4096, 20 << 20) == 4096 && memcmp(have, data, 4096) == 0);
	CHECK(lseek(fd, 20 << 20, SEEK_HOLE) == (20 << 20) + 4096);
	CHECK(fallocate(fd, FALLOC_FL_ZERO_RANGE, (20 << 20) + 60000, 20000) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (20 << 20) + 80000);
	CHECK(pread(fd, have, 20000, (20 << 20) + 60000) == 20000 &&
	      memcmp(have, zeros, 20000) == 0);
	CHECK(fallocate(fd, 0, 0, 21 << 20) == 0 && fstat(fd, &st) == 0 && st.st_size == 21 << 20);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void mapped_files_are_files(void)
{
	struct stat st;
	int fd = make("a", NULL);
	char *map;

	CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	for (int i = 0; i < 1 << 20; i += 4096)
		map[i] = (char)(i >> 12);
	CHECK(msync(map, 1 << 20, MS_SYNC) == 0);
	CHECK(munmap(map, 1 << 20) == 0 && close(fd) == 0);
	fd = open("a", O_RDONLY);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 1 << 20);
	for (int i = 0; i < 1 << 20; i += 4096) {
		char c;
		CHECK(pread(fd, &c, 1, i) == 1 && c == (char)(i >> 12));
	}
	map = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED && map[8192] == 2);
	munmap(map, 1 << 20);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void direct_io_works(void)
{
	void *data = NULL;
	int fd = open("a", O_RDWR | O_CREAT | O_DIRECT, 0644);

	CHECK(fd >= 0 && posix_memalign(&data, 4096, 1 << 20) == 0);
	memset(data, 'q', 1 << 20);
	CHECK(pwrite(fd, data, 1 << 20, 0) == 1 << 20 && pwrite(fd, data, 4096, 3 << 20) == 4096);
	memset(data, 0, 1 << 20);
	CHECK(pread(fd, data, 1 << 20, 0) == 1 << 20 && ((char *)data)[777777] == 'q');
	CHECK(pread(fd, data, 4096, 3 << 20) == 4096 && ((char *)data)[4095] == 'q');
	free(data);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void synchronous_files_work(void)
{
	int fd = open("a", O_WRONLY | O_CREAT | O_SYNC, 0644), d;

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 && fdatasync(fd) == 0);
	close(fd);
	d = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(d >= 0 && fsync(d) == 0 && syncfs(d) == 0);
	close(d);
	CHECK(unlink("a") == 0);
}

static void xattrs_are_kept(void)
{
	char value[256], big[60000];
	int fd = make("a", NULL);

	CHECK(fd >= 0);
	close(fd);
	FAILS((int)getxattr("a", "user.x", value, sizeof(value)), ENODATA);
	CHECK(setxattr("a", "user.x", "one", 3, XATTR_CREATE) == 0);
	FAILS(setxattr("a", "user.x", "two", 3, XATTR_CREATE), EEXIST);
	FAILS(setxattr("a", "user.y", "two", 3, XATTR_REPLACE), ENODATA);
	CHECK(setxattr("a", "user.x", "four", 4, XATTR_REPLACE) == 0);
	CHECK(getxattr("a", "user.x", NULL, 0) == 4);
	FAILS((int)getxattr("a", "user.x", value, 2), ERANGE);
	CHECK(getxattr("a", "user.x", value, sizeof(value)) == 4 && memcmp(value, "four", 4) == 0);
	CHECK(setxattr("a", "trusted.t", "", 0, 0) == 0);
	ssize_t n = listxattr("a", value, sizeof(value));
	CHECK(n == 7 + 10 && (strcmp(value, "user.x") == 0 || strcmp(value, "trusted.t") == 0));
	CHECK(removexattr("a", "user.x") == 0);
	FAILS(removexattr("a", "user.x"), ENODATA);
	(void)big;
	CHECK(unlink("a") == 0);
}

static void times_and_modes_are_kept(void)
{
	struct timespec times[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
				    {.tv_sec = -5, .tv_nsec = 7}};
	struct stat st, st2;
	int fd = make("a", "x");

	CHECK(fd >= 0 && futimens(fd, times) == 0 && fstat(fd, &st) == 0);
	CHECK(st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
	CHECK(st.st_mtim.tv_sec == -5 && st.st_mtim.tv_nsec == 7);
	CHECK(fchmod(fd, 04751) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 04751);
	CHECK(fchown(fd, 1234, 4321) == 0 && fstat(fd, &st) == 0 && st.st_uid == 1234 &&
	      st.st_gid == 4321);
	CHECK((st.st_mode & 04000) == 0);
	usleep(20000);
	CHECK(write(fd, "y", 1) == 1 && fstat(fd, &st2) == 0);
	CHECK(st2.st_mtim.tv_sec > 1000000000);
	close(fd);
	CHECK(stat("a", &st) == 0 && st.st_mtim.tv_sec == st2.st_mtim.tv_sec &&
	      st.st_mtim.tv_nsec == st2.st_mtim.tv_nsec);
	CHECK(unlink("a") == 0);
}

/* ---- setuid, setgid and capabilities go when the file is written to ---- */

#define WRITER 65534

static unsigned mode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_mode & 07777 : ~0u;
}

static bool writes(int fd)
{
	return write(fd, "y", 1) == 1;
}
static bool writes_directly(int fd)
{
	static _Alignas(4096) char block[4096];
	int direct = open("a", O_WRONLY | O_DIRECT);
	bool ok = direct >= 0 && pwrite(direct, block, sizeof(block), 0) == sizeof(block);

	(void)fd;
	close(direct);
	return ok;
}
static bool truncates(int fd)
{
	return ftruncate(fd, 1) == 0;
}
static bool opens_with_truncation(int fd)
{
	int other = open("a", O_WRONLY | O_TRUNC);

	(void)fd;
	return other >= 0 && close(other) == 0;
}
static bool allocates(int fd)
{
	return fallocate(fd, 0, 0, 100000) == 0;
}
static bool punches(int fd)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
}

/* Does it as @uid, in a child; its fd sees the mode afterwards, too. */
static bool does(bool (*what)(int fd), uid_t uid, int fd, unsigned mode)
{
	int status;

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		if (uid != 0 && (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0))
			_exit(3);
		_exit(!what(fd) ? 2 : mode_of(fd) != mode);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0 && mode_of(fd) == mode;
}

static void writing_takes_the_set_bits_away(void)
{
	static bool (*const ways[])(int) = {writes,    writes_directly, truncates,
					    allocates, punches,         opens_with_truncation};
	int fd = make("a", "0123456789");

	CHECK(fd >= 0 && fchown(fd, WRITER, WRITER) == 0 && pwrite(fd, "x", 1, 200000) == 1);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		/* Who has CAP_FSETID keeps them. */
		CHECK(fchmod(fd, 06775) == 0 && does(ways[i], 0, fd, 06775));
		CHECK(does(ways[i], WRITER, fd, 0775));
		CHECK(does(ways[i], WRITER, fd, 0775));
		/* Without the group's right to execute, setgid means something else. */
		CHECK(fchmod(fd, 06765) == 0 && does(ways[i], WRITER, fd, 02765));
		CHECK(fchmod(fd, 02711) == 0 && does(ways[i], WRITER, fd, 0711));
	}
	CHECK(fchmod(fd, 06775) == 0 && fchown(fd, WRITER, 0) == 0 && mode_of(fd) == 0775);
	CHECK(fchmod(fd, 02765) == 0 && fchown(fd, 0, WRITER) == 0 && mode_of(fd) == 02765);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void writing_takes_capabilities_away(void)
{
	/* Version 2 (linux/capability.h), CAP_NET_RAW allowed and in force. */
	static const unsigned char capable[20] = {1, 0, 0, 2, 0, 32};
	unsigned char value[32];
	int fd = make("a", "x");

	CHECK(fd >= 0 && fchown(fd, WRITER, WRITER) == 0);
	for (int i = 0; i < 2; i++) {
		/* It has none now, and the kernel may know that. */
		CHECK(does(writes, i == 0 ? 0 : WRITER, fd, 0644));
		CHECK(fsetxattr(fd, "security.capability", capable, sizeof(capable), 0) == 0);
		CHECK(fgetxattr(fd, "security.capability", value, sizeof(value)) ==
		      sizeof(capable));
		CHECK(does(writes, i == 0 ? 0 : WRITER, fd, 0644));
		FAILS((int)fgetxattr(fd, "security.capability", value, sizeof(value)), ENODATA);
	}
	close(fd);
	CHECK(unlink("a") == 0);
}

static void set_group_directories_hand_down_their_group(void)
{
	struct stat st;

	CHECK(mkdir("d", 0755) == 0 && chown("d", 0, 77) == 0 && chmod("d", 02775) == 0);
	CHECK(mkdir("d/e", 0755) == 0 && stat("d/e", &st) == 0 && st.st_gid == 77 &&
	      (st.st_mode & 02000));
	int fd = make("d/f", NULL);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_gid == 77);
	close(fd);
	CHECK(unlink("d/f") == 0 && rmdir("d/e") == 0 && rmdir("d") == 0);
}

static void permissions_bind_others(void)
{
	int status, fd = make("secret", "x");

	CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
	close(fd);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(3);
		if (open("secret", O_RDONLY) != -1 || errno != EACCES)
			_exit(1);
		if (open("newfile", O_CREAT | O_WRONLY, 0644) != -1)
			_exit(2);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(unlink("secret") == 0);
}

static void big_directories_are_listed_whole(void)
{
	enum { COUNT = 3000 };
	static bool seen[COUNT];
	char name[300];
	struct dirent *entry;
	int found = 0, dots = 0;
	DIR *d;

	CHECK(mkdir("big", 0755) == 0);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "big/file-with-a-longer-name-%d", i);
		int fd = make(name, NULL);
		CHECK(fd >= 0);
		close(fd);
	}
	CHECK((d = opendir("big")) != NULL);
	while ((entry = readdir(d)) != NULL) {
		int n;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
			dots++;
			continue;
		}
		CHECK(sscanf(entry->d_name, "file-with-a-longer-name-%d", &n) == 1 && n >= 0 &&
		      n < COUNT);
		CHECK(!seen[n] && entry->d_type == DT_REG);
		seen[n] = true;
		found++;
		if (found % 7 == 0) {
			snprintf(name, sizeof(name), "big/file-with-a-longer-name-%d", n);
			CHECK(unlink(name) == 0);
		}
	}
	CHECK(found == COUNT && dots == 2);
	rewinddir(d);
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] != '.') {
			snprintf(name, sizeof(name), "big/%s", entry->d_name);
			CHECK(unlink(name) == 0);
		}
	}
	closedir(d);
	CHECK(rmdir("big") == 0);
}

static void seekdir_returns_to_its_place(void)
{
	char name[32], next[300] = "";
	struct dirent *entry;
	long place = 0;
	DIR *d;

	CHECK(mkdir("sd", 0755) == 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "sd/%d", i);
		close(make(name, NULL));
	}
	CHECK((d = opendir("sd")) != NULL);
	for (int i = 0; (entry = readdir(d)) != NULL; i++) {
		if (i == 50)
			place = telldir(d);
		if (i == 51)
			snprintf(next, sizeof(next), "%s", entry->d_name);
	}
	seekdir(d, place);
	entry = readdir(d);
	CHECK(entry != NULL && strcmp(entry->d_name, next) == 0);
	closedir(d);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "sd/%d", i);
		unlink(name);
	}
	CHECK(rmdir("sd") == 0);
}

static void locks_exclude_within_the_mount(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
	int a = make("a", "x"), b = open("a", O_RDWR), status;

	CHECK(a >= 0 && b >= 0);
	CHECK(flock(a, LOCK_EX) == 0);
	FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK(flock(a, LOCK_UN) == 0);
	CHECK(fcntl(a, F_SETLK, &lock) == 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		_exit(fcntl(b, F_SETLK, &lock) == -1 && (errno == EAGAIN || errno == EACCES) ? 0
											     : 1);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(a);
	close(b);
	CHECK(unlink("a") == 0);
}

static void space_is_reported(void)
{
	struct statvfs v;

	CHECK(statvfs(".", &v) == 0 && v.f_blocks > 0 && v.f_bfree <= v.f_blocks &&
	      v.f_namemax == 255 && v.f_bsize > 0);
}

static void sizes_beyond_4_gib_work(void)
{
	struct stat st;
	int fd = make("a", NULL);

	CHECK(fd >= 0 && pwrite(fd, "end", 3, 6ll << 30) == 3 && fsync(fd) == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_size == (6ll << 30) + 3 && holds(fd, 6ll << 30, "end"));
	CHECK(ftruncate(fd, 5ll << 30) == 0 && ftruncate(fd, 7ll << 30) == 0);
	char c = 'x';
	CHECK(pread(fd, &c, 1, 6ll << 30) == 1 && c == 0);
	close(fd);
	CHECK(unlink("a") == 0);
}

static void reading_back_while_writing_sees_everything(void)
{
	char data[10000], have[10000];
	int fd = make("a", NULL), fd2 = open("a", O_RDONLY);

	CHECK(fd >= 0 && fd2 >= 0);
	for (int i = 0; i < 300; i++) {
		memset(data, i, sizeof(data));
		CHECK(pwrite(fd, data, sizeof(data), i * 9000) == sizeof(data));
		CHECK(pread(fd2, have, sizeof(have), i * 9000) == sizeof(have) &&
		      memcmp(have, data, sizeof(data)) == 0);
		if (i > 0)
			CHECK(pread(fd2, have, 9000, (i - 1) * 9000) == 9000 &&
			      have[0] == (char)(i - 1) && have[8999] == (char)(i - 1));
	}
	close(fd);
	close(fd2);
	CHECK(unlink("a") == 0);
}

#define CHECKS(X)                                                                                  \
	X(unlinked_file_lives_until_the_last_close)                                                \
	X(rename_replaces_and_keeps_the_open_victim)                                               \
	X(rename_flags_do_what_they_say)                                                           \
	X(directories_refuse_what_they_must)                                                       \
	X(names_are_bounded)                                                                       \
	X(hard_links_share_everything)                                                             \
	X(symlinks_keep_their_text)                                                                \
	X(special_files_can_be_made)                                                               \
	X(appends_go_to_the_end)                                                                   \
	X(concurrent_appends_lose_nothing)                                                         \
	X(truncation_leaves_no_old_bytes)                                                          \
	X(open_with_truncation_empties)                                                            \
	X(holes_are_found_and_punched)                                                             \
	X(mapped_files_are_files)                                                                  \
	X(direct_io_works)                                                                         \
	X(synchronous_files_work)                                                                  \
	X(xattrs_are_kept)                                                                         \
	X(times_and_modes_are_kept)                                                                \
	X(writing_takes_the_set_bits_away)                                                         \
	X(writing_takes_capabilities_away)                                                         \
	X(set_group_directories_hand_down_their_group)                                             \
	X(permissions_bind_others)                                                                 \
	X(big_directories_are_listed_whole)                                                        \
	X(seekdir_returns_to_its_place)                                                            \
	X(locks_exclude_within_the_mount)                                                          \
	X(space_is_reported)                                                                       \
	X(sizes_beyond_4_gib_work)                                                                 \
	X(reading_back_while_writing_sees_everything)

int main(int argc, char **argv)
{
	static const struct check checks[] = {
#define X(name) {#name, name},
		CHECKS(X)
#undef X
	};

	if (argc < 2 || chdir(argv[1]) != 0) {
		fprintf(stderr, "usage: semantics DIR [CHECK]...\n");
		return 64;
	}
	return run_checks("semantics", checks, sizeof(checks) / sizeof(checks[0]), argv + 2);
}
