/* history - programs that change and look at a few files and names through several mounts at once.
 *   history LOG SEED SECONDS WORKERS DIR...      so many workers in each DIR (the same directory)
 * Each operation's beginning and end go to LOG (history_log.h), for linearizable to judge. Errors are
 * no failure here: mounts are killed, stopped and cut off meanwhile. Exit 0, or 1: could not begin.
 */
#include "tests/fault/history_log.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "common/base/duration.h"
#include "tests/lib/random.h"

struct worker {
	const char *dir;
	int at; /* the directory, open: what lies below the mount point when nothing is mounted is
		   not it */
	unsigned id;
	int log;
	uint64_t rng, number, value;
	int64_t end_ns;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * (int64_t)NS_PER_SEC + t.tv_nsec;
}

static void say(const struct worker *w, const char *line, int size)
{
	if (write(w->log, line, (size_t)size) != size)
		_exit(1);
}

/* In the mount that is there now. */
static void enter(struct worker *w)
{
	if (w->at >= 0)
		close(w->at);
	w->at = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void begins(struct worker *w, enum kind kind, unsigned object, unsigned other,
		   uint64_t value)
{
	char line[160];

	w->number++;
	say(w, line,
	    snprintf(line, sizeof(line), "B %u %" PRIu64 " %" PRId64 " %c %u %u %" PRIu64 "\n",
		     w->id, w->number, now_ns(), kind, object, other, value));
}

static void ends(struct worker *w, int error, uint64_t value)
{
	char line[160];

	say(w, line,
	    snprintf(line, sizeof(line), "E %u %" PRIu64 " %" PRId64 " %d %" PRIu64 "\n", w->id,
		     w->number, now_ns(), error, value));
	if (error != 0 && error != ENOENT && error != EEXIST) {
		usleep(100000);
		enter(w);
	}
}

static const char *name_of(char out[64], char prefix, unsigned number)
{
	snprintf(out, 64, "%c%u", prefix, number);
	return out;
}

/* ---- registers ---- */

static int synced_close(int fd, int error)
{
	if (error == 0 && fsync(fd) != 0)
		error = errno;
	if (close(fd) != 0 && error == 0)
		error = errno;
	return error;
}

static void do_write(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, REGISTERS);
	uint64_t value = (uint64_t)(w->id + 1) << 40 | ++w->value;
	char name[64];
	int fd, error = 0;

	begins(w, WRITE, object, 0, value);
	fd = openat(w->at, name_of(name, 'r', object), O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		error = errno;
	else if (pwrite(fd, &value, sizeof(value), 0) != sizeof(value))
		error = synced_close(fd, errno != 0 ? errno : EIO);
	else
		error = synced_close(fd, 0);
	ends(w, error, 0);
}

static void do_read(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, REGISTERS);
	uint64_t value = 0;
	char name[64];
	int fd, error = 0;
	ssize_t n = 0;

	begins(w, READ, object, 0, 0);
	fd = openat(w->at, name_of(name, 'r', object), O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = pread(fd, &value, sizeof(value), 0);
	if (fd < 0 || n < 0)
		error = errno;
	else if (n != sizeof(value))
		value = UINT64_MAX; /* nobody wrote that */
	if (fd >= 0)
		close(fd);
	ends(w, error, value);
}

/* ---- names ---- */

static int sync_directory(const struct worker *w)
{
	return fsync(w->at) == 0 ? 0 : errno;
}

/* A file that has no name but one of its own; its inode number, or 0. */
static uint64_t make_source(struct worker *w, char name[64])
{
	struct stat st;
	int fd;

	snprintf(name, 64, "source-%u-%" PRIu64, w->id, ++w->value);
	fd = openat(w->at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) != 0 || synced_close(fd, 0) != 0 || sync_directory(w) != 0)
		return 0;
	return st.st_ino;
}

static void named(struct worker *w, int rc, uint64_t value)
{
	int error = rc == 0 ? 0 : errno;

	/* Also of a refusal: what was seen must not go away again. */
	if (error == 0 || error == EEXIST || error == ENOENT) {
		int rc_sync = sync_directory(w);

		error = rc_sync != 0 ? rc_sync : error;
	}
	ends(w, error, value);
}

static void do_source(struct worker *w, enum kind kind)
{
	unsigned object = (unsigned)random_below(&w->rng, NAMES);
	char source[64], name[64];
	uint64_t ino = make_source(w, source);

	if (ino == 0) {
		usleep(100000);
		enter(w);
		return;
	}
	name_of(name, 'n', object);
	begins(w, kind, object, 0, ino);
	named(w,
	      kind == LINK ? linkat(w->at, source, w->at, name, 0)
			   : renameat(w->at, source, w->at, name),
	      0);
}

static void do_unlink(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, NAMES);
	char name[64];

	begins(w, UNLINK, object, 0, 0);
	named(w, unlinkat(w->at, name_of(name, 'n', object), 0), 0);
}

static void do_move(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, NAMES);
	unsigned other = (object + 1 + (unsigned)random_below(&w->rng, NAMES - 1)) % NAMES;
	char name[64], to[64];

	begins(w, MOVE, object, other, 0);
	named(w, renameat(w->at, name_of(name, 'n', object), w->at, name_of(to, 'n', other)), 0);
}

static void do_take(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, NAMES);
	char name[64], to[64];
	struct stat st = {0};
	int rc;

	snprintf(to, sizeof(to), "taken-%u-%" PRIu64, w->id, ++w->value);
	begins(w, TAKE, object, 0, 0);
	rc = renameat(w->at, name_of(name, 'n', object), w->at, to);
	if (rc == 0)
		rc = fstatat(w->at, to, &st, 0);
	named(w, rc, st.st_ino);
}

static void do_look(struct worker *w)
{
	unsigned object = (unsigned)random_below(&w->rng, NAMES);
	char name[64];
	struct stat st;
	int rc;

	begins(w, LOOK, object, 0, 0);
	rc = fstatat(w->at, name_of(name, 'n', object), &st, 0);
	ends(w, rc == 0 ? 0 : errno, rc == 0 ? st.st_ino : 0);
}

/* ---- running ---- */

static void work(struct worker *w)
{
	enter(w);
	while (now_ns() < w->end_ns) {
		if (w->at < 0) { /* nothing is mounted */
			usleep(50000);
			enter(w);
			continue;
		}
		switch (random_below(&w->rng, 13)) {
		case 0:
		case 1:
			do_write(w);
			break;
		case 2:
		case 3:
		case 4:
			do_read(w);
			break;
		case 5:
			do_source(w, LINK);
			break;
		case 6:
			do_source(w, REPLACE);
			break;
		case 7:
			do_unlink(w);
			break;
		case 8:
			do_move(w);
			break;
		case 9:
			do_take(w);
			break;
		default:
			do_look(w);
		}
		usleep((useconds_t)random_below(&w->rng, 20000));
	}
}

static int prepare(const char *dir)
{
	uint64_t zero = 0;
	char name[512];

	for (unsigned i = 0; i < REGISTERS; i++) {
		int fd;

		snprintf(name, sizeof(name), "%s/r%u", dir, i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd < 0 || pwrite(fd, &zero, sizeof(zero), 0) != sizeof(zero) ||
		    synced_close(fd, 0) != 0)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned workers, count = 0;
	int log, failed = 0, status;

	if (argc < 6) {
		fprintf(stderr, "usage: history LOG SEED SECONDS WORKERS DIR...\n");
		return 1;
	}
	log = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	workers = (unsigned)atoi(argv[4]);
	if (log < 0 || prepare(argv[5]) != 0) {
		perror("history");
		return 1;
	}
	for (int d = 5; d < argc; d++) {
		for (unsigned i = 0; i < workers; i++, count++) {
			struct worker w = {.dir = argv[d],
					   .at = -1,
					   .id = count,
					   .log = log,
					   .rng = strtoull(argv[2], NULL, 10) * 1000 + count,
					   .end_ns =
						   now_ns() + atoi(argv[3]) * (int64_t)NS_PER_SEC};

			if (fork() == 0) {
				work(&w);
				_exit(0);
			}
		}
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed;
}
