/* load - works in a directory while others break the cluster, checks everything, measures stalls.
 *
 *   load run DIR LEDGER [options]
 *       --seconds N    ends after N s; else at SIGTERM
 *       --size MIB     of data, in --files files (64 MiB in 16); then it is written over
 *       --rate MIB     writes at most so many MiB a second; 0: all it can
 *       --only LIST    of writer,reader,meta (all)
 *       --no-verify    leaves out reading everything at the end
 *   load verify DIR LEDGER
 *       every MiB that was acknowledged must be there: that one, or one written after it
 *
 * The writer writes units of 1 MiB in pieces of 64 KiB, fsyncs, and only then notes the unit in
 * LEDGER (a local file; the tries are there, too). Each block of 4 KiB says which it is, in which
 * write it was made, and has a checksum. The reader reads pieces of acknowledged units past the
 * page cache. The metadata worker creates, looks at, moves, lists and removes files in a directory
 * of its own, and knows what each must answer.
 *
 * At the end, and at each SIGUSR1 (then for the time since the last one), it prints
 *     NAME count COUNT longest_ms X p99_ms Y errors N
 * of each operation, one that is still under way included, then "phase N seconds S written_mib M".
 * Exit status: 0; 1 after any error or wrong data; 64 usage. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "common/base/crc32c.h"
#include "common/base/duration.h"

#define BLOCK        4096u
#define PIECE        65536u
#define UNIT         1048576u
#define FILES_MAX    1024u
#define UNITS_MAX    65536u
#define META_KEPT    40u /* files of the metadata worker that are there at a time */
#define META_LIST    50u /* it lists its directory after so many rounds */
#define META_SYNC    16u /* and syncs it after so many */
#define STUCK_S      90  /* workers that do not end so long after SIGTERM are stuck */
#define ERRORS_SHOWN 20u
#define BUCKETS      512u
#define MAGIC        0x636174656e61206cull

enum op {
	OP_WRITE,
	OP_FSYNC,
	OP_READ,
	OP_CREATE,
	OP_STAT,
	OP_RENAME,
	OP_UNLINK,
	OP_LIST,
	OP_DIRSYNC,
	OP_COUNT
};
static const char *const op_names[OP_COUNT] = {"write",  "fsync",  "read", "create", "stat",
					       "rename", "unlink", "list", "dirsync"};

struct measure {
	pthread_mutex_t lock;
	uint64_t count, errors, longest; /* ns */
	uint32_t buckets[BUCKETS];
	uint64_t started; /* of the one under way; 0: none */
	bool ever;
};

struct block {
	uint64_t magic, number, sequence;
	uint32_t crc; /* of the whole block, this field being 0 */
	uint8_t rest[BLOCK - 28];
} __attribute__((packed));

static struct {
	const char *dir, *ledger_path;
	double seconds;
	uint32_t units, files;
	double rate;
	bool writer, reader, meta, verify;
} options = {
	.units = 64, .files = 16, .writer = true, .reader = true, .meta = true, .verify = true};

static struct measure measures[OP_COUNT];
static _Atomic uint64_t acked[UNITS_MAX], tried[UNITS_MAX];
static _Atomic uint64_t written_units;
static atomic_bool stop, failed;
static FILE *ledger;
static int fds[FILES_MAX];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void nap(uint64_t ns)
{
	struct timespec t = {(time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC)};

	nanosleep(&t, NULL);
}

static uint64_t random_next(uint64_t *x)
{
	*x = *x * 6364136223846793005ull + 1442695040888963407ull;
	return *x >> 20;
}

/* ---- measures ---- */

/* Powers of two, each in 8 steps: a percentile is at most an eighth too large. */
static uint32_t bucket_of(uint64_t ns)
{
	uint32_t log = ns < 8 ? 3 : 63 - (uint32_t)__builtin_clzll(ns);

	return log * 8 + (ns < 8 ? (uint32_t)ns : (uint32_t)(ns >> (log - 3)) & 7);
}

static double bucket_ms(uint32_t bucket)
{
	return bucket < 24 ? 0 : (double)((9 + (uint64_t)(bucket & 7)) << (bucket / 8 - 3)) / 1e6;
}

static void op_begin(enum op op)
{
	struct measure *m = &measures[op];

	pthread_mutex_lock(&m->lock);
	m->started = now_ns();
	m->ever = true;
	pthread_mutex_unlock(&m->lock);
}

static void op_end(enum op op, bool error)
{
	struct measure *m = &measures[op];
	uint64_t took;

	pthread_mutex_lock(&m->lock);
	took = now_ns() - m->started;
	m->started = 0;
	m->count++;
	m->errors += error;
	m->buckets[bucket_of(took)]++;
	if (took > m->longest)
		m->longest = took;
	pthread_mutex_unlock(&m->lock);
}

static __attribute__((format(printf, 2, 3))) void complain(enum op op, const char *format, ...)
{
	static atomic_uint shown;
	va_list args;

	atomic_store(&failed, true);
	if (atomic_fetch_add(&shown, 1) < ERRORS_SHOWN) {
		char line[512];

		va_start(args, format);
		vsnprintf(line, sizeof(line), format, args);
		va_end(args);
		fprintf(stderr, "ERROR: %s: %s\n", op_names[op], line);
	}
	nap(10 * NS_PER_MSEC);
}

/* Ends the operation; true when it went well. */
static bool op_check(enum op op, bool good, const char *what)
{
	int error = errno;

	op_end(op, !good);
	if (!good)
		complain(op, "%s: %s", what, strerror(error));
	return good;
}

static void report(void)
{
	static unsigned phase;
	static uint64_t since, units;
	uint64_t now, written = atomic_load(&written_units);

	for (int i = 0; i < OP_COUNT; i++) {
		struct measure *m = &measures[i];
		uint64_t sum = 0, longest;
		uint32_t bucket = 0;
		double p99;

		pthread_mutex_lock(&m->lock);
		now = now_ns();
		longest = m->started != 0 && now - m->started > m->longest ? now - m->started
									   : m->longest;
		while (m->count != 0 && (sum += m->buckets[bucket]) * 100 < m->count * 99)
			bucket++;
		p99 = bucket_ms(bucket) * 1e6 < (double)m->longest ? bucket_ms(bucket)
								   : (double)m->longest / 1e6;
		if (m->ever)
			printf("%s count %" PRIu64 " longest_ms %.1f p99_ms %.1f errors %" PRIu64
			       "\n",
			       op_names[i], m->count, (double)longest / 1e6, p99, m->errors);
		memset(m->buckets, 0, sizeof(m->buckets));
		m->count = m->errors = m->longest = 0;
		pthread_mutex_unlock(&m->lock);
	}
	now = now_ns();
	if (since == 0) /* told once before the workers start */
		since = now;
	else
		printf("phase %u seconds %.2f written_mib %" PRIu64 "\n", ++phase,
		       (double)(now - since) / (double)NS_PER_SEC, written - units);
	since = now;
	units = written;
	fflush(stdout);
}

/* ---- blocks ---- */

static void block_fill(struct block *b, uint64_t number, uint64_t sequence)
{
	uint64_t x = number * 0x9e3779b97f4a7c15ull ^ sequence;

	b->magic = MAGIC;
	b->number = number;
	b->sequence = sequence;
	b->crc = 0;
	for (size_t i = 0; i + 8 <= sizeof(b->rest); i += 8) {
		random_next(&x);
		memcpy(b->rest + i, &x, 8);
	}
	memset(b->rest + sizeof(b->rest) / 8 * 8, (int)(x & 0xff), sizeof(b->rest) % 8);
	b->crc = crc32c(b, sizeof(*b));
}

/* NULL, or what is wrong. */
static const char *block_wrong(const struct block *b, uint64_t number, uint64_t lowest,
			       uint64_t highest)
{
	struct block copy = *b;

	copy.crc = 0;
	if (b->magic != MAGIC)
		return "no block of ours";
	if (crc32c(&copy, sizeof(copy)) != b->crc)
		return "wrong checksum";
	if (b->number != number)
		return "another block's data";
	if (b->sequence < lowest)
		return "older than what was acknowledged";
	if (b->sequence > highest)
		return "from the future";
	return NULL;
}

static uint64_t unit_offset(uint32_t unit)
{
	return (uint64_t)(unit / options.files) * UNIT;
}

static bool blocks_check(enum op op, const uint8_t *data, uint32_t size, uint32_t unit, uint32_t at,
			 uint64_t lowest, uint64_t highest)
{
	for (uint32_t i = 0; i < size; i += BLOCK) {
		const struct block *b = (const struct block *)(const void *)(data + i);
		uint64_t number = (uint64_t)unit * (UNIT / BLOCK) + (at + i) / BLOCK;
		const char *wrong = block_wrong(b, number, lowest, highest);

		if (wrong == NULL)
			continue;
		pthread_mutex_lock(&measures[op].lock);
		measures[op].errors++;
		pthread_mutex_unlock(&measures[op].lock);
		complain(op,
			 "WRONG DATA: file %u offset %" PRIu64 ": %s (sequence %" PRIu64
			 ", allowed %" PRIu64 " to %" PRIu64 ", first bytes %016" PRIx64 ")",
			 unit % options.files, unit_offset(unit) + at + i, wrong, b->sequence,
			 lowest, highest, b->magic);
		return false;
	}
	return true;
}

static void *aligned(size_t size)
{
	void *p = NULL;

	if (posix_memalign(&p, BLOCK, size) != 0)
		abort();
	memset(p, 0, size);
	return p;
}

static int open_data(uint32_t file, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/data.%u", options.dir, file);
	return open(path, flags, 0644);
}

/* ---- the writer ---- */

static bool note(const char *what, uint32_t unit, uint64_t sequence)
{
	if (fprintf(ledger, "%s %u %" PRIu64 "\n", what, unit, sequence) > 0 && fflush(ledger) == 0)
		return true;
	fprintf(stderr, "ERROR: the ledger: %s\n", strerror(errno));
	atomic_store(&failed, true);
	return false;
}

static bool write_unit(uint8_t *data, uint32_t unit, uint64_t sequence)
{
	int fd = fds[unit % options.files];
	bool good;

	for (uint32_t i = 0; i < UNIT / BLOCK; i++)
		block_fill((struct block *)(void *)(data + i * BLOCK),
			   (uint64_t)unit * (UNIT / BLOCK) + i, sequence);
	for (uint32_t at = 0; at < UNIT; at += PIECE) {
		ssize_t n;

		errno = 0;
		op_begin(OP_WRITE);
		n = pwrite(fd, data + at, PIECE, (off_t)(unit_offset(unit) + at));
		if (!op_check(OP_WRITE, n == PIECE, "data"))
			return false;
	}
	op_begin(OP_FSYNC);
	good = fsync(fd) == 0;
	return op_check(OP_FSYNC, good, "data");
}

static void *run_writer(void *arg)
{
	uint8_t *data = aligned(UNIT);
	uint64_t sequence = 0, started = now_ns(), count = 0;

	for (uint32_t i = 0; i < options.units; i++)
		if (tried[i] > sequence)
			sequence = tried[i];
	for (uint32_t unit = 0; !atomic_load(&stop); unit = (unit + 1) % options.units) {
		atomic_store(&tried[unit], ++sequence);
		if (!note("try", unit, sequence))
			break;
		if (write_unit(data, unit, sequence)) {
			atomic_store(&acked[unit], sequence);
			atomic_fetch_add(&written_units, 1);
			if (!note("ack", unit, sequence))
				break;
		}
		count++;
		if (options.rate > 0) {
			uint64_t due = started + (uint64_t)((double)count / options.rate *
							    (double)NS_PER_SEC),
				 now = now_ns();

			if (now < due)
				nap(due - now);
			else if (now - due > NS_PER_SEC) /* what was lost in a stall is lost */
				started += now - due;
		}
	}
	free(data);
	return arg;
}

/* ---- the reader ---- */

static bool read_piece(enum op op, int fd, uint8_t *data, uint32_t unit, uint32_t at, uint32_t size)
{
	uint64_t lowest = atomic_load(&acked[unit]);
	ssize_t n;

	posix_fadvise(fd, (off_t)(unit_offset(unit) + at), size, POSIX_FADV_DONTNEED);
	errno = 0;
	op_begin(op);
	n = pread(fd, data, size, (off_t)(unit_offset(unit) + at));
	if (!op_check(op, n == (ssize_t)size, n >= 0 ? "short" : "data"))
		return false;
	return blocks_check(op, data, size, unit, at, lowest, atomic_load(&tried[unit]));
}

static void *run_reader(void *arg)
{
	static int direct[FILES_MAX];
	uint8_t *data = aligned(PIECE * 4);
	uint64_t x = now_ns();

	for (uint32_t i = 0; i < FILES_MAX; i++)
		direct[i] = -1;
	while (!atomic_load(&stop)) {
		uint32_t unit = (uint32_t)(random_next(&x) % options.units);
		uint32_t size = BLOCK << random_next(&x) % 7,
			 at = (uint32_t)(random_next(&x) % (UNIT / size)) * size;
		int *fd = &direct[unit % options.files];

		if (acked[unit] == 0) {
			nap(NS_PER_MSEC);
			continue;
		}
		if (*fd < 0)
			*fd = open_data(unit % options.files, O_RDONLY | O_DIRECT);
		if (*fd < 0)
			complain(OP_READ, "open: %s", strerror(errno));
		else
			read_piece(OP_READ, *fd, data, unit, at, size);
		nap(NS_PER_MSEC);
	}
	for (uint32_t i = 0; i < FILES_MAX; i++)
		if (direct[i] >= 0)
			close(direct[i]);
	free(data);
	return arg;
}

/* ---- the metadata worker ---- */

static char meta_dir[4096];

static void meta_name(char out[4200], uint64_t number, bool moved)
{
	snprintf(out, 4200, "%s/%s%" PRIu64, meta_dir, moved ? "moved." : "new.", number);
}

static mode_t meta_mode(uint64_t number)
{
	return (mode_t)(0600 | (number % 8) << 3 | number / 8 % 8);
}

static void meta_create(uint64_t number)
{
	char path[4200];
	int fd;

	meta_name(path, number, false);
	op_begin(OP_CREATE);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, meta_mode(number));
	if (op_check(OP_CREATE, fd >= 0, path))
		close(fd);
}

static void meta_stat(uint64_t number, bool moved, bool there)
{
	char path[4200];
	struct stat st;
	bool found;

	meta_name(path, number, moved);
	op_begin(OP_STAT);
	found = stat(path, &st) == 0;
	if (!found && !there && errno == ENOENT)
		op_end(OP_STAT, false);
	else if (op_check(OP_STAT, found && there, path) &&
		 ((st.st_mode & 07777) != meta_mode(number) || st.st_size != 0 || st.st_nlink != 1))
		complain(OP_STAT, "%s: mode %o size %lld links %lu", path, st.st_mode,
			 (long long)st.st_size, (unsigned long)st.st_nlink);
}

static void meta_move(uint64_t number)
{
	char from[4200], to[4200];
	bool good;

	meta_name(from, number, false);
	meta_name(to, number, true);
	op_begin(OP_RENAME);
	good = rename(from, to) == 0;
	op_check(OP_RENAME, good, from);
}

static void meta_remove(uint64_t number)
{
	char path[4200];
	bool good;

	meta_name(path, number, true);
	op_begin(OP_UNLINK);
	good = unlink(path) == 0;
	op_check(OP_UNLINK, good, path);
}

/* Exactly the files moved.[first, next) must be there, each once. */
static void meta_list(uint64_t first, uint64_t next)
{
	uint8_t seen[META_KEPT + 1] = {0};
	uint64_t number, wrong = 0;
	struct dirent *entry;
	DIR *d;

	op_begin(OP_LIST);
	d = opendir(meta_dir);
	if (d == NULL) {
		op_check(OP_LIST, false, meta_dir);
		return;
	}
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (sscanf(entry->d_name, "moved.%" SCNu64, &number) != 1 || number < first ||
		    number >= next || seen[number - first]++ != 0) {
			fprintf(stderr, "unexpected: %s\n", entry->d_name);
			wrong++;
		}
	}
	closedir(d);
	for (number = first; number < next; number++)
		if (seen[number - first] == 0) {
			fprintf(stderr, "missing: moved.%" PRIu64 "\n", number);
			wrong++;
		}
	op_end(OP_LIST, wrong != 0);
	if (wrong != 0)
		complain(OP_LIST, "%" PRIu64 " names are wrong", wrong);
}

static void meta_sync(void)
{
	int fd = open(meta_dir, O_RDONLY | O_DIRECTORY);
	bool good;

	op_begin(OP_DIRSYNC);
	good = fd >= 0 && fsync(fd) == 0;
	op_check(OP_DIRSYNC, good, meta_dir);
	if (fd >= 0)
		close(fd);
}

static void *run_meta(void *arg)
{
	uint64_t first = 0, next = 0;

	while (!atomic_load(&stop)) {
		meta_create(next);
		meta_stat(next, false, true);
		meta_move(next);
		meta_stat(next, false, false);
		meta_stat(next, true, true);
		next++;
		if (next - first > META_KEPT) {
			meta_remove(first);
			meta_stat(first, true, false);
			first++;
		}
		if (next % META_LIST == 0)
			meta_list(first, next);
		if (next % META_SYNC == 0)
			meta_sync();
		nap(2 * NS_PER_MSEC);
	}
	meta_list(first, next);
	for (; first < next; first++)
		meta_remove(first);
	if (rmdir(meta_dir) != 0)
		complain(OP_UNLINK, "%s: %s", meta_dir, strerror(errno));
	return arg;
}

/* ---- the whole ---- */

static int verify_all(void)
{
	uint8_t *data = aligned(UNIT);
	uint32_t units = 0, lost = 0;

	for (uint32_t file = 0; file < options.files; file++) {
		int fd = -1;

		for (uint32_t unit = file; unit < options.units; unit += options.files) {
			if (acked[unit] == 0)
				continue;
			units++;
			if (fd < 0)
				fd = open_data(file, O_RDONLY | O_DIRECT);
			if (fd < 0)
				complain(OP_READ, "file %u: %s", file, strerror(errno));
			if (fd < 0 || !read_piece(OP_READ, fd, data, unit, 0, UNIT))
				lost++;
		}
		if (fd >= 0)
			close(fd);
	}
	free(data);
	printf("verified %u units, %u wrong\n", units, lost);
	fflush(stdout);
	return lost != 0;
}

static bool options_valid(void)
{
	return options.units >= 1 && options.units <= UNITS_MAX && options.files >= 1 &&
	       options.files <= FILES_MAX && options.files <= options.units;
}

static bool read_ledger(void)
{
	FILE *f = fopen(options.ledger_path, "r");
	uint32_t unit, units = 0, files = 0;
	uint64_t sequence;
	char what[8];

	if (f == NULL)
		return errno == ENOENT;
	if (fscanf(f, "units %u files %u", &units, &files) == 2) {
		options.units = units;
		options.files = files;
		if (!options_valid()) {
			fprintf(stderr, "%s: no ledger of ours\n", options.ledger_path);
			fclose(f);
			return false;
		}
	}
	while (fscanf(f, "%7s %u %" SCNu64, what, &unit, &sequence) == 3) {
		if (unit >= UNITS_MAX)
			break;
		tried[unit] = sequence;
		if (what[0] == 'a')
			acked[unit] = sequence;
	}
	fclose(f);
	return true;
}

static bool prepare(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	snprintf(meta_dir, sizeof(meta_dir), "%s/meta.%d", options.dir, (int)getpid());
	if (options.meta && mkdir(meta_dir, 0755) != 0) {
		perror(meta_dir);
		return false;
	}
	ledger = fopen(options.ledger_path, "a");
	if (ledger == NULL) {
		perror(options.ledger_path);
		return false;
	}
	if (ftell(ledger) == 0)
		fprintf(ledger, "units %u files %u\n", options.units, options.files);
	for (uint32_t i = 0; options.writer && i < options.files; i++) {
		fds[i] = open_data(i, O_RDWR | O_CREAT);
		if (fds[i] < 0) {
			perror(options.dir);
			return false;
		}
	}
	return true;
}

static void wait_for_signals(const sigset_t *signals)
{
	uint64_t end = now_ns() + (uint64_t)(options.seconds * (double)NS_PER_SEC);

	while (options.seconds <= 0 || now_ns() < end) {
		uint64_t left = options.seconds > 0 ? end - now_ns() : 3600 * NS_PER_SEC;
		struct timespec t = {(time_t)(left / NS_PER_SEC), (long)(left % NS_PER_SEC)};
		int number = sigtimedwait(signals, NULL, &t);

		if (number == SIGUSR1)
			report();
		else if (number > 0)
			return;
	}
}

static int run(void)
{
	void *(*const work[])(void *) = {run_writer, run_reader, run_meta};
	const bool wanted[] = {options.writer, options.reader, options.meta};
	pthread_t threads[3];
	struct timespec patience;
	sigset_t signals;

	if (!read_ledger() || !prepare())
		return 1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	report();
	for (int i = 0; i < 3; i++)
		if (wanted[i] && pthread_create(&threads[i], NULL, work[i], NULL) != 0)
			abort();
	wait_for_signals(&signals);
	atomic_store(&stop, true);
	clock_gettime(CLOCK_REALTIME, &patience);
	patience.tv_sec += STUCK_S;
	for (int i = 0; i < 3; i++)
		if (wanted[i] && pthread_timedjoin_np(threads[i], NULL, &patience) != 0) {
			report();
			fprintf(stderr, "ERROR: an operation hangs for more than %d s\n", STUCK_S);
			_exit(1);
		}
	for (uint32_t i = 0; options.writer && i < options.files; i++)
		if (close(fds[i]) != 0)
			complain(OP_WRITE, "close: %s", strerror(errno));
	report();
	if (options.verify && options.writer)
		verify_all();
	return atomic_load(&failed);
}

static int usage(void)
{
	fprintf(stderr, "usage: load run DIR LEDGER [--seconds N] [--size MIB] [--files N] "
			"[--rate MIB] [--only writer,reader,meta] [--no-verify]\n"
			"       load verify DIR LEDGER\n");
	return 64;
}

static bool parse(int argc, char **argv)
{
	for (int i = 4; i < argc; i++) {
		const char *name = argv[i], *value;

		if (strcmp(name, "--no-verify") == 0) {
			options.verify = false;
			continue;
		}
		if (++i >= argc)
			return false;
		value = argv[i];
		if (strcmp(name, "--seconds") == 0) {
			options.seconds = strtod(value, NULL);
		} else if (strcmp(name, "--size") == 0) {
			options.units = (uint32_t)strtoul(value, NULL, 10);
		} else if (strcmp(name, "--files") == 0) {
			options.files = (uint32_t)strtoul(value, NULL, 10);
		} else if (strcmp(name, "--rate") == 0) {
			options.rate = strtod(value, NULL);
		} else if (strcmp(name, "--only") == 0) {
			options.writer = strstr(value, "writer") != NULL;
			options.reader = strstr(value, "reader") != NULL;
			options.meta = strstr(value, "meta") != NULL;
		} else {
			return false;
		}
	}
	return options_valid();
}

int main(int argc, char **argv)
{
	umask(0);
	for (int i = 0; i < OP_COUNT; i++)
		pthread_mutex_init(&measures[i].lock, NULL);
	if (argc < 4 || !parse(argc, argv))
		return usage();
	options.dir = argv[2];
	options.ledger_path = argv[3];
	if (strcmp(argv[1], "run") == 0)
		return run();
	if (strcmp(argv[1], "verify") != 0)
		return usage();
	return read_ledger() && verify_all() == 0 ? 0 : 1;
}
