/* random_ops - does the same random file operations in two directories and compares everything.
 *
 *   random_ops REFERENCE UNDER_TEST [--seed S] [--ops N]
 *
 * Goal: the directory under test behaves as the reference (a local filesystem) does: same results,
 * same errnos, same bytes, same sizes, same link counts. Method: a seeded stream of opens, writes
 * at offsets, reads, truncations, punches, renames, links, unlinks while open, fsyncs and
 * reopenings is applied to both sides; results are compared at every step and the whole trees now
 * and then. Exit status: 0 equal, 1 a difference (seed, step and operation are printed), 64 usage.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/random.h"

#define NAMES    12
#define DIRS     3
#define HANDLES  10
#define FILE_MAX (40u << 20) /* beyond two chunks of 16 MiB */
#define IO_MAX   (3u << 20)

struct handle {
	int fd[2];
	bool append;
};

static const char *roots[2];
static struct handle handles[HANDLES];
static uint64_t rng_state, seed, step;
static char operation[256];
static uint8_t *data, *got[2];

static uint64_t rng(void)
{
	return random_u64(&rng_state);
}

static uint64_t below(uint64_t n)
{
	return rng() % n;
}

__attribute__((format(printf, 1, 2), noreturn)) static void differ(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "random_ops: seed %" PRIu64 " step %" PRIu64 " %s: ", seed, step,
		operation);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void doing(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void doing(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(operation, sizeof(operation), format, args);
	va_end(args);
	if (getenv("V") != NULL)
		printf("%" PRIu64 " %s\n", step, operation);
}

/* Both results must be the same, and on failure both errnos. */
static bool same(long a, int errno_a, long b, int errno_b)
{
	if (a != b || (a < 0 && errno_a != errno_b))
		differ("reference %ld (%s), under test %ld (%s)", a,
		       a < 0 ? strerror(errno_a) : "ok", b, b < 0 ? strerror(errno_b) : "ok");
	return a >= 0;
}

#define BOTH(result, expression)                                                                   \
	do {                                                                                       \
		long both_r[2];                                                                    \
		int both_e[2];                                                                     \
		for (int s = 0; s < 2; s++) {                                                      \
			errno = 0;                                                                 \
			both_r[s] = (long)(expression);                                            \
			both_e[s] = errno;                                                         \
		}                                                                                  \
		(result) = same(both_r[0], both_e[0], both_r[1], both_e[1]);                       \
	} while (0)

static const char *path(int side, uint64_t number, char *out, size_t size)
{
	uint64_t dir = number % (DIRS + 1);

	if (dir == DIRS)
		snprintf(out, size, "%s/f%" PRIu64, roots[side], number / (DIRS + 1));
	else
		snprintf(out, size, "%s/d%" PRIu64 "/f%" PRIu64, roots[side], dir,
			 number / (DIRS + 1));
	return out;
}

static uint64_t any_name(void)
{
	return below(NAMES * (DIRS + 1));
}

/* Offsets near interesting boundaries more often than elsewhere. */
static uint64_t any_offset(void)
{
	static const uint64_t edges[] = {0, 4096, 65536, 1u << 20, 16u << 20, 32u << 20};

	switch (below(4)) {
	case 0:
		return below(20000);
	case 1: {
		uint64_t edge = edges[below(sizeof(edges) / sizeof(edges[0]))];
		uint64_t around = below(9000);
		return edge + around > 4500 ? edge + around - 4500 : 0;
	}
	case 2:
		return below(2u << 20);
	default:
		return below(FILE_MAX - IO_MAX);
	}
}

static uint64_t any_length(void)
{
	switch (below(5)) {
	case 0:
		return 1 + below(100);
	case 1:
		return 4096 * (1 + below(4));
	case 2:
		return 1 + below(20000);
	case 3:
		return 1 + below(300000);
	default:
		return 1 + below(IO_MAX);
	}
}

static void fill(uint64_t length)
{
	uint64_t x = rng();

	for (uint64_t i = 0; i < length; i += 8) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(data + i, &x, 8);
	}
}

static void compare_stat(const struct stat *a, const struct stat *b, const char *what)
{
	if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid)
		differ("%s: mode/owner %o %u:%u, under test %o %u:%u", what, a->st_mode, a->st_uid,
		       a->st_gid, b->st_mode, b->st_uid, b->st_gid);
	if (S_ISREG(a->st_mode) && (a->st_size != b->st_size || a->st_nlink != b->st_nlink))
		differ("%s: size %lld links %lu, under test %lld %lu", what, (long long)a->st_size,
		       (unsigned long)a->st_nlink, (long long)b->st_size,
		       (unsigned long)b->st_nlink);
}

static void compare_content(int fd_a, int fd_b, uint64_t from, uint64_t length, const char *what)
{
	while (length > 0) {
		size_t want = length < IO_MAX ? length : IO_MAX;
		ssize_t a = pread(fd_a, got[0], want, (off_t)from);
		ssize_t b = pread(fd_b, got[1], want, (off_t)from);

		if (a != b)
			differ("%s: read at %" PRIu64 ": %zd, under test %zd (%s)", what, from, a,
			       b, strerror(errno));
		if (a <= 0)
			return;
		if (memcmp(got[0], got[1], (size_t)a) != 0) {
			ssize_t i = 0, wrong = 0, last = 0;
			while (got[0][i] == got[1][i])
				i++;
			for (ssize_t j = i; j < a; j++) {
				if (got[0][j] != got[1][j]) {
					wrong++;
					last = j;
				}
			}
			differ("%s: %zd bytes differ from %" PRIu64 " to %" PRIu64
			       " (first: %02x, under test %02x)",
			       what, wrong, from + (uint64_t)i, from + (uint64_t)last, got[0][i],
			       got[1][i]);
		}
		from += (uint64_t)a;
		length -= (uint64_t)a;
	}
}

static void compare_handle(const struct handle *h)
{
	struct stat st[2];
	bool ok;

	BOTH(ok, fstat(h->fd[s], &st[s]));
	if (!ok)
		return;
	compare_stat(&st[0], &st[1], "open file");
	compare_content(h->fd[0], h->fd[1], 0, (uint64_t)st[0].st_size, "open file");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void compare_tree(void)
{
	char at[2][512];

	doing("compare trees");
	for (uint64_t d = 0; d <= DIRS; d++) {
		struct dirent **list[2];
		int count[2];

		for (int s = 0; s < 2; s++) {
			if (d == DIRS)
				snprintf(at[s], sizeof(at[s]), "%s", roots[s]);
			else
				snprintf(at[s], sizeof(at[s]), "%s/d%" PRIu64, roots[s], d);
			count[s] = scandir(at[s], &list[s], NULL, by_name);
		}
		if (count[0] != count[1])
			differ("%s: %d entries, under test %d", at[1], count[0], count[1]);
		for (int i = 0; i < count[0]; i++) {
			if (strcmp(list[0][i]->d_name, list[1][i]->d_name) != 0)
				differ("%s: entry %s, under test %s", at[1], list[0][i]->d_name,
				       list[1][i]->d_name);
		}
		for (int s = 0; s < 2; s++) {
			for (int i = 0; i < count[s]; i++)
				free(list[s][i]);
			free(list[s]);
		}
	}
	for (uint64_t n = 0; n < NAMES * (DIRS + 1); n++) {
		struct stat st[2];
		char p[2][512];
		bool ok;

		BOTH(ok, lstat(path(s, n, p[s], sizeof(p[s])), &st[s]));
		if (!ok)
			continue;
		compare_stat(&st[0], &st[1], p[1]);
		int fd[2];
		for (int s = 0; s < 2; s++) {
			fd[s] = open(p[s], O_RDONLY);
			if (fd[s] < 0)
				differ("open %s: %s", p[s], strerror(errno));
		}
		compare_content(fd[0], fd[1], 0, (uint64_t)st[0].st_size, p[1]);
		close(fd[0]);
		close(fd[1]);
	}
}

static void op_open(struct handle *h)
{
	static const int modes[] = {O_RDWR,
				    O_RDWR | O_CREAT,
				    O_RDWR | O_CREAT,
				    O_RDWR | O_CREAT | O_EXCL,
				    O_RDWR | O_CREAT | O_TRUNC,
				    O_RDWR | O_APPEND | O_CREAT,
				    O_RDWR | O_TRUNC,
				    O_RDWR | O_CREAT | O_SYNC};
	char p[2][512];
	int flags = modes[below(sizeof(modes) / sizeof(modes[0]))];
	uint64_t n = any_name();
	bool ok;

	doing("open %s flags %o", path(1, n, p[1], sizeof(p[1])), flags);
	BOTH(ok, (h->fd[s] = open(path(s, n, p[s], sizeof(p[s])), flags, 0644)) < 0 ? -1 : 0);
	h->append = (flags & O_APPEND) != 0;
	if (!ok)
		h->fd[0] = h->fd[1] = -1;
}

static void op_close(struct handle *h)
{
	bool ok;

	doing("close");
	compare_handle(h);
	BOTH(ok, close(h->fd[s]));
	(void)ok;
	h->fd[0] = h->fd[1] = -1;
}

static void op_write(struct handle *h)
{
	uint64_t offset = any_offset(), length = any_length();
	bool ok;

	doing("write %" PRIu64 "+%" PRIu64 "%s", offset, length, h->append ? " append" : "");
	fill(length);
	if (h->append) {
		struct stat st;
		if (fstat(h->fd[0], &st) == 0 && (uint64_t)st.st_size + length > FILE_MAX)
			return;
		BOTH(ok, write(h->fd[s], data, length));
	} else {
		BOTH(ok, pwrite(h->fd[s], data, length, (off_t)offset));
	}
	(void)ok;
}

static void op_read(struct handle *h)
{
	uint64_t offset = any_offset(), length = any_length();

	doing("read %" PRIu64 "+%" PRIu64, offset, length);
	compare_content(h->fd[0], h->fd[1], offset, length, "read");
}

static void op_mmap_write(struct handle *h)
{
	struct stat st;
	bool ok;

	if (fstat(h->fd[0], &st) != 0 || st.st_size < 4096)
		return;
	uint64_t offset = below((uint64_t)st.st_size / 4096) * 4096;
	uint64_t value = rng();
	doing("mmap write at %" PRIu64, offset);
	uint8_t *map[2];
	BOTH(ok, (map[s] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd[s],
				(off_t)offset)) == MAP_FAILED
			 ? -1
			 : 0);
	if (!ok)
		return;
	for (int s = 0; s < 2; s++)
		memcpy(map[s] + value % 4000, &value, 8);
	if (memcmp(map[0], map[1], 4096) != 0)
		differ("mapped pages differ");
	BOTH(ok, msync(map[s], 4096, MS_SYNC));
	munmap(map[0], 4096);
	munmap(map[1], 4096);
}

static void op_truncate(struct handle *h)
{
	uint64_t size = below(3) == 0 ? 0 : any_offset();
	bool ok;

	doing("truncate %" PRIu64, size);
	BOTH(ok, ftruncate(h->fd[s], (off_t)size));
	(void)ok;
}

static void op_fallocate(struct handle *h)
{
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, FALLOC_FL_KEEP_SIZE};
	int mode = modes[below(5)];
	uint64_t offset = any_offset(), length = any_length();
	bool ok;

	doing("fallocate mode %d %" PRIu64 "+%" PRIu64, mode, offset, length);
	BOTH(ok, fallocate(h->fd[s], mode, (off_t)offset, (off_t)length));
	(void)ok;
}

static void op_sync(struct handle *h)
{
	bool ok;

	doing("fsync");
	BOTH(ok, fsync(h->fd[s]));
	(void)ok;
}

static void op_names(void)
{
	char a[2][512], b[2][512];
	uint64_t from = any_name(), to = any_name();
	bool ok;

	switch (below(5)) {
	case 0:
		doing("unlink %s", path(1, from, a[1], sizeof(a[1])));
		BOTH(ok, unlink(path(s, from, a[s], sizeof(a[s]))));
		break;
	case 1:
		doing("link %s %s", path(1, from, a[1], sizeof(a[1])),
		      path(1, to, b[1], sizeof(b[1])));
		BOTH(ok, link(path(s, from, a[s], sizeof(a[s])), path(s, to, b[s], sizeof(b[s]))));
		break;
	case 2:
		doing("truncate path %s", path(1, from, a[1], sizeof(a[1])));
		BOTH(ok, truncate(path(s, from, a[s], sizeof(a[s])), (off_t)(from * 1000)));
		break;
	default:
		doing("rename %s %s", path(1, from, a[1], sizeof(a[1])),
		      path(1, to, b[1], sizeof(b[1])));
		BOTH(ok,
		     rename(path(s, from, a[s], sizeof(a[s])), path(s, to, b[s], sizeof(b[s]))));
		break;
	}
	(void)ok;
}

static void one_step(void)
{
	struct handle *h = &handles[below(HANDLES)];

	if (h->fd[0] < 0) {
		if (below(3) == 0)
			op_names();
		else
			op_open(h);
		return;
	}
	switch (below(20)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
	case 6:
		op_write(h);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
	case 11:
		op_read(h);
		break;
	case 12:
		op_truncate(h);
		break;
	case 13:
		op_fallocate(h);
		break;
	case 14:
		op_sync(h);
		break;
	case 15:
		op_mmap_write(h);
		break;
	case 16:
		op_close(h);
		break;
	default:
		op_names();
		break;
	}
}

int main(int argc, char **argv)
{
	uint64_t ops = 3000;

	seed = 1;
	if (argc < 3) {
		fprintf(stderr, "usage: random_ops REFERENCE UNDER_TEST [--seed S] [--ops N]\n");
		return 64;
	}
	roots[0] = argv[1];
	roots[1] = argv[2];
	for (int i = 3; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--ops") == 0)
			ops = strtoull(argv[i + 1], NULL, 10);
	}
	rng_state = seed;
	data = malloc(IO_MAX + 8);
	got[0] = malloc(IO_MAX);
	got[1] = malloc(IO_MAX);
	if (data == NULL || got[0] == NULL || got[1] == NULL)
		return 1;
	for (int i = 0; i < HANDLES; i++)
		handles[i].fd[0] = handles[i].fd[1] = -1;
	for (int s = 0; s < 2; s++) {
		for (int d = 0; d < DIRS; d++) {
			char p[512];
			snprintf(p, sizeof(p), "%s/d%d", roots[s], d);
			if (mkdir(p, 0755) != 0 && errno != EEXIST) {
				perror(p);
				return 1;
			}
		}
	}
	printf("random_ops: seed %" PRIu64 ", %" PRIu64 " operations\n", seed, ops);
	for (step = 0; step < ops; step++) {
		one_step();
		if (step % 1000 == 999)
			compare_tree();
	}
	for (int i = 0; i < HANDLES; i++) {
		if (handles[i].fd[0] >= 0)
			op_close(&handles[i]);
	}
	compare_tree();
	puts("random_ops: equal");
	return 0;
}
