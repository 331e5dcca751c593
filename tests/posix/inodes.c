/* inodes - what is promised of inodes: those without a name, their times, modes and attributes.
 *
 *   inodes DIR [--other OTHER] [CHECK]...
 *
 * With OTHER, which is the same directory by another mount, names are removed and replaced there.
 * Every check prints its name when it fails. Exit status: 0 all good, 1 failures, 64 usage. Run on
 * a local filesystem first: a check that fails there is wrong itself. */
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include "tests/posix/checks.h"

static const char *other; /* NULL: none */

/* The path of @name of the check's directory, by the other mount. */
static const char *there(const char *name)
{
	static char path[2][PATH_MAX];
	static unsigned turn;
	char *out = path[turn++ % 2], *here;

	if (other == NULL)
		return name;
	here = realpath(".", NULL);
	snprintf(out, PATH_MAX, "%s/%s/%s", other, here == NULL ? "" : strrchr(here, '/') + 1,
		 name);
	free(here);
	return out;
}

/* ---- removed, and still in use ---- */

static bool lists_nothing(int fd)
{
	DIR *d = fdopendir(dup(fd));
	struct dirent *entry = NULL;

	if (d == NULL)
		return false;
	errno = 0;
	rewinddir(d);
	entry = readdir(d);
	closedir(d);
	return entry == NULL && errno == 0;
}

static void nothing_can_be_made_in(int d)
{
	struct stat st;

	FAILS(openat(d, "x", O_CREAT | O_RDWR, 0644), ENOENT);
	FAILS(openat(d, "x", O_RDONLY), ENOENT);
	FAILS(mkdirat(d, "x", 0755), ENOENT);
	FAILS(symlinkat("y", d, "x"), ENOENT);
	FAILS(mkfifoat(d, "x", 0600), ENOENT);
	FAILS(unlinkat(d, "x", 0), ENOENT);
	FAILS(unlinkat(d, "x", AT_REMOVEDIR), ENOENT);
	FAILS(linkat(AT_FDCWD, "file", d, "x", 0), ENOENT);
	FAILS(renameat(AT_FDCWD, "file", d, "x"), ENOENT);
	FAILS(renameat(d, "x", AT_FDCWD, "y"), ENOENT);
	FAILS(fstatat(d, "x", &st, 0), ENOENT);
}

static void is_a_removed_directory(int d)
{
	struct timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 7, .tv_nsec = 8}};
	struct stat st;
	char value[8];
	int again;

	CHECK(fstat(d, &st) == 0 && S_ISDIR(st.st_mode) && st.st_nlink == 0);
	CHECK(fchmod(d, 0700) == 0 && fstat(d, &st) == 0 && (st.st_mode & 07777) == 0700);
	CHECK(fchown(d, 12, 34) == 0 && fstat(d, &st) == 0 && st.st_uid == 12 && st.st_gid == 34);
	CHECK(futimens(d, times) == 0 && fstat(d, &st) == 0);
	CHECK(st.st_mtim.tv_sec == 7 && st.st_mtim.tv_nsec == 8);
	CHECK(fsync(d) == 0 && fdatasync(d) == 0);
	CHECK(lists_nothing(d));
	CHECK(flistxattr(d, value, sizeof(value)) == 0);
	FAILS((int)fgetxattr(d, "user.x", value, sizeof(value)), ENODATA);
	CHECK(fstatat(d, ".", &st, 0) == 0 && st.st_nlink == 0);
	again = openat(d, ".", O_RDONLY | O_DIRECTORY);
	CHECK(again >= 0 && close(again) == 0);
	nothing_can_be_made_in(d);
}

static void a_removed_directory_lives_on_without_names(void)
{
	int fd = make("file", "x"), d;

	CHECK(fd >= 0 && close(fd) == 0 && mkdir("gone", 0755) == 0);
	d = open("gone", O_RDONLY | O_DIRECTORY);
	CHECK(d >= 0 && rmdir(there("gone")) == 0);
	is_a_removed_directory(d);
	close(d);
	CHECK(unlink("file") == 0);
}

static void a_removed_working_directory_lives_on_without_names(void)
{
	char path[PATH_MAX];
	struct stat st;
	int back = open(".", O_RDONLY | O_DIRECTORY), d;
	const char *gone;

	CHECK(back >= 0 && mkdir("gone", 0755) == 0);
	gone = there("gone");
	CHECK(chdir("gone") == 0);
	CHECK(other == NULL ? rmdir("../gone") == 0 : rmdir(gone) == 0);
	CHECK(stat(".", &st) == 0 && st.st_nlink == 0);
	CHECK(chmod(".", 0711) == 0 && stat(".", &st) == 0 && (st.st_mode & 07777) == 0711);
	d = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(d >= 0 && lists_nothing(d) && close(d) == 0);
	FAILS(open("x", O_CREAT | O_RDWR, 0644), ENOENT);
	FAILS(mkdir("x", 0755), ENOENT);
	/* Of a removal elsewhere this kernel learns too late for that. */
	if (other == NULL)
		CHECK(getcwd(path, sizeof(path)) == NULL && errno == ENOENT);
	CHECK(fchdir(back) == 0 && close(back) == 0);
}

static void names_removed_while_referred_to_have_attributes(void)
{
	static const char *const names[] = {"file", "link", "fifo"};
	int fds[3], fd = make("file", "hello");
	struct stat st;

	CHECK(fd >= 0 && close(fd) == 0 && symlink("text", "link") == 0 &&
	      mkfifo("fifo", 0600) == 0);
	for (int i = 0; i < 3; i++) {
		fds[i] = open(names[i], O_PATH | O_NOFOLLOW);
		CHECK(fds[i] >= 0 && fstat(fds[i], &st) == 0 && st.st_nlink == 1);
	}
	fd = open("fifo", O_RDWR);
	for (int i = 0; i < 3; i++)
		CHECK(unlink(there(names[i])) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(fstat(fds[i], &st) == 0 && st.st_nlink == 0);
		close(fds[i]);
	}
	CHECK(fd >= 0 && fchmod(fd, 0640) == 0 && fstat(fd, &st) == 0 &&
	      (st.st_mode & 07777) == 0640 && st.st_nlink == 0);
	close(fd);
}

#define REPLACED_SECONDS 3

/* Replaces a file and a symlink for ever. */
static void replace_for_ever(void)
{
	char text[3000], name[PATH_MAX], made[PATH_MAX], link[PATH_MAX], made_link[PATH_MAX];

	snprintf(name, sizeof(name), "%s", there("name"));
	snprintf(made, sizeof(made), "%s", there("new"));
	snprintf(link, sizeof(link), "%s", there("link"));
	snprintf(made_link, sizeof(made_link), "%s", there("newlink"));
	memset(text, 'x', sizeof(text));
	for (;;) {
		int fd = open(made, O_WRONLY | O_CREAT | O_EXCL, 0644);

		if (fd < 0 || write(fd, text, sizeof(text)) != sizeof(text) || close(fd) != 0 ||
		    rename(made, name) != 0 || symlink("name", made_link) != 0 ||
		    rename(made_link, link) != 0)
			_exit(1);
	}
}

static void uses_what_is_replaced(int round)
{
	const char *name = round % 2 == 0 ? "name" : "link";
	char text[3001];
	struct stat st;
	ssize_t n;
	int fd;

	fd = open(name, round % 3 == 0 ? O_RDWR : O_RDONLY);
	CHECK(fd >= 0);
	if (round % 50 == 0)
		usleep(100000);
	n = read(fd, text, sizeof(text));
	CHECK(n == 3000 && text[0] == 'x' && text[2999] == 'x' && close(fd) == 0);
	CHECK(stat(name, &st) == 0);
	CHECK(readlink("link", text, sizeof(text)) == 4);
	CHECK(chmod(name, 0600) == 0 && utimensat(AT_FDCWD, name, NULL, 0) == 0);
	CHECK(setxattr(name, "user.x", "1", 1, 0) == 0);
}

static void a_name_that_is_replaced_can_always_be_opened(void)
{
	time_t end = time(NULL) + REPLACED_SECONDS;
	int fd, before = failures, status;
	pid_t child;

	/* Whole before the first look. */
	char text[3000];
	memset(text, 'x', sizeof(text));
	fd = open("name", O_WRONLY | O_CREAT, 0644);
	CHECK(fd >= 0 && write(fd, text, sizeof(text)) == sizeof(text) && close(fd) == 0);
	CHECK(symlink("name", "link") == 0);
	fflush(stdout);
	child = fork();
	if (child == 0)
		replace_for_ever();
	for (int i = 0; time(NULL) < end && failures == before; i++)
		uses_what_is_replaced(i);
	CHECK(waitpid(child, &status, WNOHANG) == 0); /* it is still at it */
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	unlink("new");
	unlink("newlink");
	CHECK(unlink("name") == 0 && unlink("link") == 0);
}

/* ---- times ---- */

#define YEAR_1600 (-11676096000ll)
#define YEAR_1700 (-8520336000ll)
#define YEAR_2250 (8835868800ll)
#define YEAR_2300 (10413792000ll)
#define YEAR_9999 (253370764800ll)

/* What lies outside what the filesystem can keep becomes the nearest that it can. */
static void times_far_away_are_the_nearest(void)
{
	static const int64_t seconds[] = {YEAR_1600 - 1000000000000ll,
					  YEAR_1600,
					  YEAR_1700,
					  -1,
					  0,
					  YEAR_2250,
					  YEAR_2300,
					  YEAR_9999,
					  YEAR_9999 + 1000000000000ll};
	int64_t before = INT64_MIN;
	int fd = make("a", "x");

	CHECK(fd >= 0);
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		struct timespec times[2] = {{.tv_sec = seconds[i]},
					    {.tv_sec = seconds[i], .tv_nsec = 999999999}};
		struct stat st;

		CHECK(futimens(fd, times) == 0 && fstat(fd, &st) == 0);
		CHECK(st.st_atim.tv_sec >= before && st.st_mtim.tv_sec == st.st_atim.tv_sec);
		CHECK(st.st_mtim.tv_nsec == 999999999 || st.st_mtim.tv_nsec == 0);
		CHECK(seconds[i] >= 0 ? st.st_atim.tv_sec >= 0 && st.st_atim.tv_sec <= seconds[i]
				      : st.st_atim.tv_sec < 0 && st.st_atim.tv_sec >= seconds[i]);
		before = st.st_atim.tv_sec;
	}
	close(fd);
	CHECK(unlink("a") == 0);
}

static void a_read_with_noatime_leaves_no_trace(void)
{
	struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct stat st;
	char c;
	int fd = make("a", "x"), d;

	CHECK(fd >= 0 && futimens(fd, times) == 0 && close(fd) == 0);
	fd = open("a", O_RDONLY | O_NOATIME);
	CHECK(fd >= 0 && read(fd, &c, 1) == 1 && close(fd) == 0);
	CHECK(stat("a", &st) == 0 && st.st_atim.tv_sec == 1000);
	CHECK(mkdir("d", 0755) == 0 && utimensat(AT_FDCWD, "d", times, 0) == 0);
	d = open("d", O_RDONLY | O_DIRECTORY | O_NOATIME);
	CHECK(d >= 0 && lists_nothing(d) == false && close(d) == 0);
	CHECK(stat("d", &st) == 0 && st.st_atim.tv_sec == 1000);
	CHECK(unlink("a") == 0 && rmdir("d") == 0);
}

/* ---- modes and extended attributes ---- */

#define KINDS 6
static const char *const kinds[KINDS] = {"file", "directory", "link", "fifo", "device", "socket"};

static bool make_kinds(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = make("file", "x"), s = socket(AF_UNIX, SOCK_STREAM, 0);
	bool ok = fd >= 0 && s >= 0 && mkdir("directory", 0755) == 0 &&
		  symlink("file", "link") == 0 && mkfifo("fifo", 0600) == 0 &&
		  mknod("device", S_IFCHR | 0600, makedev(1, 3)) == 0 &&
		  bind(s, (struct sockaddr *)&address, sizeof(address)) == 0;

	close(fd);
	close(s);
	return ok;
}

static bool remove_kinds(void)
{
	bool ok = true;

	for (int i = 0; i < KINDS; i++)
		ok &= remove(kinds[i]) == 0;
	return ok;
}

/* All but directories lose them to chown(2), whoever does it. */
static void chown_takes_the_set_bits_away(void)
{
	static const struct {
		mode_t before, after;
	} modes[] = {{06777, 0777}, {06767, 02767}, {02711, 0711}, {04644, 0644}};

	CHECK(make_kinds());
	for (int i = 0; i < KINDS; i++) {
		for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
			mode_t wanted = i == 1 ? modes[m].before : modes[m].after;
			struct stat st;

			if (i == 2) /* links have no mode */
				continue;
			CHECK(chmod(kinds[i], modes[m].before) == 0);
			CHECK(chown(kinds[i], 5, (gid_t)-1) == 0 && stat(kinds[i], &st) == 0 &&
			      (st.st_mode & 07777) == wanted);
			CHECK(chmod(kinds[i], modes[m].before) == 0);
			CHECK(chown(kinds[i], (uid_t)-1, 6) == 0 && stat(kinds[i], &st) == 0 &&
			      (st.st_mode & 07777) == wanted);
		}
	}
	CHECK(remove_kinds());
}

static void attribute_names_are_checked(void)
{
	static const struct {
		const char *name;
		int error;
	} names[] = {{"", ERANGE},          {"user.", EINVAL},       {"trusted.", EINVAL},
		     {"security.", EINVAL}, {"foo.bar", EOPNOTSUPP}, {"user", EOPNOTSUPP}};
	char value[16], name[300];

	CHECK(make_kinds());
	for (int i = 0; i < KINDS; i++) {
		for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
			int error = names[n].error;

			/* User attributes of special files are forbidden before that. */
			if (i >= 2 && strcmp(names[n].name, "user.") == 0)
				continue;
			FAILS(lsetxattr(kinds[i], names[n].name, "v", 1, 0), error);
			FAILS((int)lgetxattr(kinds[i], names[n].name, value, sizeof(value)), error);
			FAILS(lremovexattr(kinds[i], names[n].name), error);
			CHECK(llistxattr(kinds[i], value, sizeof(value)) == 0);
		}
	}
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[256] = 0;
	FAILS(setxattr("file", name, "v", 1, 0), ERANGE);
	name[255] = 0;
	CHECK(setxattr("file", name, "v", 1, 0) == 0 && removexattr("file", name) == 0);
	CHECK(remove_kinds());
}

#define CHECKS(X)                                                                                  \
	X(a_removed_directory_lives_on_without_names)                                              \
	X(a_removed_working_directory_lives_on_without_names)                                      \
	X(names_removed_while_referred_to_have_attributes)                                         \
	X(a_name_that_is_replaced_can_always_be_opened)                                            \
	X(times_far_away_are_the_nearest)                                                          \
	X(a_read_with_noatime_leaves_no_trace)                                                     \
	X(chown_takes_the_set_bits_away)                                                           \
	X(attribute_names_are_checked)

int main(int argc, char **argv)
{
	static const struct check checks[] = {
#define X(name) {#name, name},
		CHECKS(X)
#undef X
	};
	char **names = argv + 2;

	if (argc >= 4 && strcmp(argv[2], "--other") == 0) {
		other = realpath(argv[3], NULL);
		names += 2;
	}
	if (argc < 2 || chdir(argv[1]) != 0 || (names != argv + 2 && other == NULL)) {
		fprintf(stderr, "usage: inodes DIR [--other OTHER] [CHECK]...\n");
		return 64;
	}
	return run_checks("inodes", checks, sizeof(checks) / sizeof(checks[0]), names);
}
