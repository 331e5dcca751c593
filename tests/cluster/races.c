/* races - what one mount does beside its own background work, or beside another mount.
 *
 *   races truncate DIR SECONDS          each of several processes writes to a file of its own and
 *                                       truncates it: the size stays until the next write
 *   races cut DIR OTHER SECONDS         the same when the other mount truncates, without closing;
 *                                       what is written after that is not lost
 *   races pages DIR OTHER SECONDS       a file is rewritten and closed, with and without fsync, on
 *                                       one mount; several processes open and read it on the other:
 *                                       who opens after a close sees that version or a later one
 *   races times DIR OTHER SECONDS       files are written, closed and given times, by either mount,
 *                                       and read: the times that were set are there when all is at
 *                                       rest
 *
 * Prints what was seen and in how many tries. Exit status: 0; 1 when something was wrong; 64 usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "tests/lib/random.h"

#define PROCESSES 4u
#define FILES     300u
#define BLOCK     4096u
#define TOLD_MAX  3u
#define OLD_TIME  1425805385

struct shared { /* by all processes */
	atomic_uint tries, wrong;
	_Atomic uint64_t closed; /* the last version that was closed */
	atomic_bool ended;
};

static struct shared *shared;
static const char *dir, *other;
static uint64_t end_ns;

static bool time_left(void)
{
	return clock_monotonic_ns() < end_ns;
}

static void wrong(const char *what, long long expected, long long seen)
{
	if (atomic_fetch_add(&shared->wrong, 1) < TOLD_MAX)
		printf("wrong: %s: %lld expected, %lld seen\n", what, expected, seen);
	fflush(stdout);
}

static void die(const char *what)
{
	fprintf(stderr, "races: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static int open_at(const char *where, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, flags, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

static long long size_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		die("fstat");
	return st.st_size;
}

/* Runs @work in so many processes; this one waits. */
static void in_processes(unsigned count, void (*work)(unsigned number))
{
	for (unsigned i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			work(i);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < count; i++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			atomic_fetch_add(&shared->wrong, 1);
	}
}

/* ---- truncate, cut ---- */

static char bytes[200000];

static void write_somewhere(uint64_t *random, int fd)
{
	size_t length = 1 + (size_t)random_below(random, sizeof(bytes) - 1);
	off_t at = 8192 + (off_t)random_below(random, 400000);

	if (pwrite(fd, bytes, length, at) != (ssize_t)length)
		die("pwrite");
}

/* At once, and when the background has had a chance. */
static void expect_size(const char *what, int fd, long long size)
{
	for (unsigned i = 0; i < 2; i++) {
		long long seen = size_of(fd);

		if (seen != size) {
			wrong(what, size, seen);
			return;
		}
		usleep(3000);
	}
}

static void truncate_own(unsigned number)
{
	uint64_t random = number + 1;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "own%u", number);
	fd = open_at(dir, name, O_CREAT | O_RDWR | O_TRUNC);
	while (time_left()) {
		off_t size = 1 + (off_t)random_below(&random, 8191);

		write_somewhere(&random, fd);
		if (ftruncate(fd, size) != 0)
			die("ftruncate");
		expect_size("size after a truncation", fd, size);
		atomic_fetch_add(&shared->tries, 1);
	}
	close(fd);
}

static void cut_others(unsigned number)
{
	uint64_t random = number + 1;
	char name[32];
	int fd, cutter;

	snprintf(name, sizeof(name), "cut%u", number);
	fd = open_at(dir, name, O_CREAT | O_RDWR | O_TRUNC);
	cutter = open_at(other, name, O_RDWR);
	while (time_left()) {
		off_t size = 1 + (off_t)random_below(&random, 8191);

		write_somewhere(&random, fd);
		if (random_below(&random, 2) == 0)
			usleep((useconds_t)random_below(&random, 1500000));
		if (ftruncate(cutter, size) != 0)
			die("ftruncate");
		expect_size("size after a truncation by another mount", fd, size);
		expect_size("size where it was truncated", cutter, size);
		if (pwrite(fd, "x", 1, size + 100) != 1 || fsync(fd) != 0)
			die("write after a truncation by another mount");
		expect_size("size after a write after that", cutter, size + 101);
		atomic_fetch_add(&shared->tries, 1);
	}
	close(fd);
	close(cutter);
}

/* ---- pages ---- */

static uint64_t read_version(void)
{
	char block[BLOCK];
	int fd = open_at(other, "pages", O_RDONLY);

	if (pread(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
		die("pread");
	close(fd);
	return strtoull(block, NULL, 10);
}

static void write_version(uint64_t version, bool sync)
{
	char block[BLOCK];
	int fd = open_at(dir, "pages", O_CREAT | O_WRONLY);

	for (unsigned at = 0; at < BLOCK; at += 32)
		snprintf(block + at, 32, "%030llu\n", (unsigned long long)version);
	if (pwrite(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block) ||
	    (sync && fsync(fd) != 0) || close(fd) != 0)
		die("write");
	atomic_store(&shared->closed, version);
}

static void read_or_write(unsigned number)
{
	uint64_t version = 1;

	while (number == 0 && time_left()) {
		version++;
		write_version(version, version % 64 < 32);
		usleep(3000);
	}
	if (number == 0)
		atomic_store(&shared->ended, true);
	while (!atomic_load(&shared->ended)) {
		uint64_t closed = atomic_load(&shared->closed), seen = read_version();

		if (seen < closed)
			wrong("version read after a close", (long long)closed, (long long)seen);
		atomic_fetch_add(&shared->tries, 1);
		usleep(300 * number);
	}
}

/* ---- times ---- */

static void file_path(char *path, size_t size, const char *where, unsigned batch, unsigned i)
{
	snprintf(path, size, "%s/t%u-%u", where, batch, i);
}

/* Some are read, so that a time of access is to be told too. */
static void write_file(unsigned batch, unsigned i)
{
	char name[32], byte;
	int fd;

	snprintf(name, sizeof(name), "t%u-%u", batch, i);
	fd = open_at(dir, name, O_CREAT | O_RDWR);
	if (write(fd, bytes, 5000) != 5000)
		die("write");
	if (i % 3 == 0 && pread(fd, &byte, 1, 0) != 1)
		die("pread");
	if (close(fd) != 0)
		die("close");
}

static void set_file(unsigned batch, unsigned i)
{
	struct timespec times[2] = {{.tv_sec = OLD_TIME}, {.tv_sec = OLD_TIME}};
	char path[4096];

	file_path(path, sizeof(path), i % 2 ? other : dir, batch, i);
	if (utimensat(AT_FDCWD, path, times, 0) != 0)
		die("utimensat");
}

static void set_times(unsigned number)
{
	for (unsigned batch = number * 1000; time_left(); batch++) {
		/* Those that come first are being written back when their time is set. */
		for (unsigned i = 0; i < FILES; i++)
			write_file(batch, i);
		for (unsigned i = 0; i < FILES; i++)
			set_file(batch, i);
		usleep(1700000);
		for (unsigned i = 0; i < FILES; i++) {
			char path[4096];
			struct stat st;

			file_path(path, sizeof(path), i % 4 < 2 ? other : dir, batch, i);
			if (stat(path, &st) != 0)
				die(path);
			if (st.st_mtim.tv_sec != OLD_TIME)
				wrong("mtime that was set", OLD_TIME, st.st_mtim.tv_sec);
			if (st.st_atim.tv_sec != OLD_TIME)
				wrong("atime that was set", OLD_TIME, st.st_atim.tv_sec);
			atomic_fetch_add(&shared->tries, 1);
			unlink(path);
		}
	}
}

/* ---- main ---- */

int main(int argc, char **argv)
{
	const bool alone = argc == 4 && strcmp(argv[1], "truncate") == 0;

	if (!alone && argc != 5) {
		fprintf(stderr, "usage: races truncate DIR SECONDS\n"
				"       races cut|pages|times DIR OTHER SECONDS\n");
		return 64;
	}
	dir = argv[2];
	other = argv[alone ? 2 : 3];
	memset(bytes, 'a', sizeof(bytes));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	end_ns = clock_monotonic_ns() + strtoull(argv[argc - 1], NULL, 10) * NS_PER_SEC;
	if (alone) {
		in_processes(PROCESSES, truncate_own);
	} else if (strcmp(argv[1], "cut") == 0) {
		in_processes(PROCESSES, cut_others);
	} else if (strcmp(argv[1], "pages") == 0) {
		write_version(1, true);
		in_processes(1 + PROCESSES, read_or_write);
	} else if (strcmp(argv[1], "times") == 0) {
		in_processes(2, set_times);
	} else {
		return 64;
	}
	printf("%s: %u tries, %u wrong\n", argv[1], shared->tries, shared->wrong);
	return shared->wrong == 0 && shared->tries > 0 ? 0 : 1;
}
