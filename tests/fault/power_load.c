/* power_load - one program of many that write while the power is cut, and a ledger of what it was
 * promised.
 *
 *   power_load run DIR LEDGER ID SEED
 *       works in DIR/wID and in its own cells of DIR/shared, and notes in LEDGER (outside) first
 * what it tries and then what was acknowledged; until SIGTERM (exit status 0) or an error (2).
 *   power_load verify DIR LEDGER
 *       everything that was acknowledged must be there, and nothing that was never written. Exit
 *       status 0, or 1 with a line LOST for each that is not.
 *
 * Goal: what fsync (of a file, of a directory) and O_DSYNC have promised outlives power cuts; a
 * rename happens whole or not at all. Method: a file is made of cells of 512 bytes, each with
 * (file, cell, stamp of the write). For each cell, size and name the ledger gives the set of what
 * it may be: what was acknowledged last, and what was tried since. Cell 0 says which file it is and
 * never changes; each file has one name at a time.
 *
 * Lines: "id N", "new SLOT FILE", "move SLOT SLOT", "gone SLOT", "write FILE CELL COUNT STAMP",
 * "cut FILE CELLS": tried; "file FILE", "range FILE", "names", "shared": acknowledged. FILE 0 is
 * the shared one. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/lib/random.h"

#define CELL         512u
#define CELLS_MAX    420u /* inside RocksDB up to 64 of them, a file of its own beyond */
#define WRITE_MAX    120u
#define SLOTS        24u
#define FILES_MAX    65536u
#define SHARED_CELLS 40u /* of each worker, these many MiB apart: */
#define SHARED_STEP  3u
#define ALLOWED_MAX  12u

static volatile sig_atomic_t ending;

static void on_term(int number)
{
	ending = 1;
}

/* ---- cells ---- */

static void cell_fill(uint8_t out[CELL], uint32_t id, uint32_t file, uint32_t cell, uint32_t stamp)
{
	uint64_t state =
		((uint64_t)id << 48) ^ ((uint64_t)file << 32) ^ ((uint64_t)cell << 24) ^ stamp;
	uint32_t head[4] = {id, file, cell, stamp};

	memcpy(out, head, sizeof(head));
	for (size_t i = sizeof(head); i < CELL; i += 8) {
		uint64_t word = random_u64(&state);

		memcpy(out + i, &word, 8);
	}
}

/* The stamp of a whole cell of this place; 0: zeros; UINT32_MAX: neither. */
static uint32_t cell_stamp(const uint8_t have[CELL], uint32_t id, uint32_t file, uint32_t cell)
{
	static const uint8_t zeros[CELL];
	uint8_t want[CELL];
	uint32_t head[4];

	if (memcmp(have, zeros, CELL) == 0)
		return 0;
	memcpy(head, have, sizeof(head));
	cell_fill(want, id, file, cell, head[3]);
	return memcmp(have, want, CELL) == 0 ? head[3] : UINT32_MAX;
}

/* Where cell @cell of the shared file of worker @id lies: spread over many chunks, and beside those
 * of others. */
static off_t shared_at(uint32_t id, uint32_t cell)
{
	return ((off_t)cell * SHARED_STEP << 20) + (off_t)id * CELL;
}

static void path_of(char out[512], const char *dir, uint32_t id, int slot)
{
	if (slot < 0)
		snprintf(out, 512, "%s/w%" PRIu32, dir, id);
	else
		snprintf(out, 512, "%s/w%" PRIu32 "/f%d", dir, id, slot);
}

/* ---- running ---- */

struct worker {
	const char *dir;
	uint32_t id;
	int ledger, dir_fd, shared_fd;
	uint64_t random;
	uint32_t stamp, last_file;
	uint32_t slot[SLOTS];     /* the file there, 0: none */
	uint32_t size[FILES_MAX]; /* in cells */
};

__attribute__((format(printf, 2, 3))) static void note(struct worker *w, const char *format, ...)
{
	char line[128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (write(w->ledger, line, (size_t)n) != n) {
		perror("ledger");
		exit(3);
	}
}

static int failed(const char *what)
{
	fprintf(stderr, "power_load: %s: %s\n", what, strerror(errno));
	return -1;
}

static uint32_t below(struct worker *w, uint32_t limit)
{
	return (uint32_t)random_below(&w->random, limit);
}

static bool chance(struct worker *w, unsigned percent)
{
	return below(w, 100) < percent;
}

/* A slot with (or without) a file, or -1. */
static int some_slot(struct worker *w, bool taken)
{
	uint32_t first = below(w, SLOTS);

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t slot = (first + i) % SLOTS;

		if ((w->slot[slot] != 0) == taken)
			return (int)slot;
	}
	return -1;
}

static int sync_names(struct worker *w)
{
	if (fsync(w->dir_fd) != 0)
		return failed("fsync of the directory");
	note(w, "names\n");
	return 0;
}

static int sync_file(struct worker *w, int fd, uint32_t file)
{
	if ((chance(w, 50) ? fsync(fd) : fdatasync(fd)) != 0)
		return failed("fsync");
	note(w, "file %" PRIu32 "\n", file);
	return 0;
}

static int write_cells(struct worker *w, int fd, uint32_t file, uint32_t cell, uint32_t count)
{
	static uint8_t data[WRITE_MAX * CELL];
	uint32_t stamp = ++w->stamp;

	for (uint32_t i = 0; i < count; i++)
		cell_fill(data + (size_t)i * CELL, w->id, file, cell + i, stamp);
	note(w, "write %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", file, cell, count,
	     stamp);
	if (pwrite(fd, data, (size_t)count * CELL, (off_t)cell * CELL) != (ssize_t)count * CELL)
		return failed("write");
	if (w->size[file] < cell + count)
		w->size[file] = cell + count;
	return 0;
}

static int do_create(struct worker *w)
{
	int slot = some_slot(w, false), fd, rc;
	char path[512];
	uint32_t file;

	if (slot < 0 || w->last_file + 1 >= FILES_MAX)
		return 0;
	file = ++w->last_file;
	path_of(path, w->dir, w->id, slot);
	note(w, "new %d %" PRIu32 "\n", slot, file);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return failed("create");
	w->slot[slot] = file;
	rc = write_cells(w, fd, file, 0, 1 + below(w, 30));
	if (rc == 0 && chance(w, 80))
		rc = sync_file(w, fd, file);
	close(fd);
	return rc == 0 && chance(w, 50) ? sync_names(w) : rc;
}

static int change_file(struct worker *w, int fd, uint32_t file, bool dsync)
{
	uint32_t size = w->size[file], what = below(w, 10);
	uint32_t cell, count = 1 + below(w, chance(w, 70) ? 12 : WRITE_MAX);

	if (what < 2 && size > 2 && !dsync) {
		cell = 1 + below(w, size - 1);
		note(w, "cut %" PRIu32 " %" PRIu32 "\n", file, cell);
		if (ftruncate(fd, (off_t)cell * CELL) != 0)
			return failed("truncate");
		w->size[file] = cell;
		return 0;
	}
	cell = what < 6 ? size : 1 + below(w, CELLS_MAX - WRITE_MAX - 1);
	if (cell == 0 || cell + count > CELLS_MAX)
		cell = 1;
	if (write_cells(w, fd, file, cell, count) != 0)
		return -1;
	if (dsync)
		note(w, "range %" PRIu32 "\n", file);
	return 0;
}

static int do_change(struct worker *w)
{
	int slot = some_slot(w, true), fd, rc = 0;
	bool dsync = chance(w, 15);
	char path[512];

	if (slot < 0)
		return 0;
	path_of(path, w->dir, w->id, slot);
	fd = open(path, O_RDWR | O_CLOEXEC | (dsync ? O_DSYNC : 0));
	if (fd < 0)
		return failed("open");
	for (uint32_t i = 1 + below(w, 3); rc == 0 && i > 0; i--)
		rc = change_file(w, fd, w->slot[slot], dsync);
	if (rc == 0 && chance(w, 60))
		rc = sync_file(w, fd, w->slot[slot]);
	close(fd);
	return rc;
}

static int do_rename(struct worker *w)
{
	int from = some_slot(w, true), to = (int)below(w, SLOTS);
	char path[512], new_path[512];

	if (from < 0 || from == to)
		return 0;
	path_of(path, w->dir, w->id, from);
	path_of(new_path, w->dir, w->id, to);
	note(w, "move %d %d\n", from, to);
	if (rename(path, new_path) != 0)
		return failed("rename");
	w->slot[to] = w->slot[from];
	w->slot[from] = 0;
	return chance(w, 50) ? sync_names(w) : 0;
}

static int do_unlink(struct worker *w)
{
	int slot = some_slot(w, true);
	char path[512];

	if (slot < 0)
		return 0;
	path_of(path, w->dir, w->id, slot);
	note(w, "gone %d\n", slot);
	if (unlink(path) != 0)
		return failed("unlink");
	w->slot[slot] = 0;
	return chance(w, 50) ? sync_names(w) : 0;
}

static int do_shared(struct worker *w)
{
	uint8_t data[CELL];

	for (uint32_t i = 1 + below(w, 4); i > 0; i--) {
		uint32_t cell = below(w, SHARED_CELLS), stamp = ++w->stamp;

		cell_fill(data, w->id, 0, cell, stamp);
		note(w, "write 0 %" PRIu32 " 1 %" PRIu32 "\n", cell, stamp);
		if (pwrite(w->shared_fd, data, CELL, shared_at(w->id, cell)) != CELL)
			return failed("write to the shared file");
	}
	if (fsync(w->shared_fd) != 0)
		return failed("fsync of the shared file");
	note(w, "shared\n");
	return 0;
}

static int do_something(struct worker *w)
{
	uint32_t what = below(w, 100);

	if (what < 15)
		return do_create(w);
	if (what < 70)
		return do_change(w);
	if (what < 82)
		return do_rename(w);
	if (what < 88)
		return do_unlink(w);
	return do_shared(w);
}

/* What others have lost before is told to whoever asks next, once. */
static int begin_synced(int fd)
{
	return fsync(fd) == 0 || (errno == EIO && fsync(fd) == 0) ? 0 : -1;
}

static int run(struct worker *w, const char *ledger)
{
	char path[512];
	int root = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	path_of(path, w->dir, w->id, -1);
	if (root < 0 || mkdir(path, 0755) != 0 || begin_synced(root) != 0)
		return failed(path);
	w->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/shared", w->dir);
	w->shared_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (w->dir_fd < 0 || w->shared_fd < 0 || begin_synced(w->shared_fd) != 0 ||
	    fsync(root) != 0)
		return failed(path);
	w->ledger = open(ledger, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (w->ledger < 0)
		return failed(ledger);
	note(w, "id %" PRIu32 "\n", w->id);
	while (!ending) {
		if (do_something(w) != 0)
			return -1;
	}
	return 0;
}

/* ---- verifying ---- */

/* What something may be; the last one is the newest. */
struct allowed {
	uint32_t value[ALLOWED_MAX];
	uint32_t count; /* 0: zero only; beyond ALLOWED_MAX: anything that was ever written */
};

struct file {
	bool synced;   /* its name and first cell were acknowledged */
	bool removed;  /* its name was removed or replaced, or that was tried */
	uint32_t size; /* the newest */
	uint32_t size_min, size_max;
	uint32_t range_from, range_to; /* of the last write */
	struct allowed *cells;         /* SHARED_CELLS or CELLS_MAX */
	unsigned found;
};

struct ledger {
	uint32_t id;
	struct allowed slot[SLOTS];
	uint32_t slot_now[SLOTS];
	struct file *files[FILES_MAX];
	uint64_t acknowledged;
	unsigned lost;
};

static void allow(struct allowed *a, uint32_t value)
{
	if (a->count == 0)
		a->value[a->count++] = 0;
	if (a->count < ALLOWED_MAX)
		a->value[a->count] = value;
	else
		a->value[ALLOWED_MAX - 1] = value;
	a->count++;
}

static void allow_newest_only(struct allowed *a)
{
	if (a->count == 0)
		return;
	a->value[0] = a->value[(a->count < ALLOWED_MAX ? a->count : ALLOWED_MAX) - 1];
	a->count = 1;
}

static bool is_allowed(const struct allowed *a, uint32_t value)
{
	if (a->count == 0)
		return value == 0;
	if (a->count > ALLOWED_MAX)
		return value != UINT32_MAX;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->value[i] == value)
			return true;
	return false;
}

static struct file *file_get(struct ledger *l, uint32_t file)
{
	struct file **f = &l->files[file % FILES_MAX];

	if (*f == NULL) {
		*f = calloc(1, sizeof(**f));
		if (*f != NULL)
			(*f)->cells = calloc(CELLS_MAX, sizeof(*(*f)->cells));
		if (*f == NULL || (*f)->cells == NULL)
			abort();
	}
	return *f;
}

static void set_size(struct file *f, uint32_t size)
{
	f->size = size;
	if (size > f->size_max)
		f->size_max = size;
	if (size < f->size_min)
		f->size_min = size;
}

static void set_slot(struct ledger *l, uint32_t slot, uint32_t file)
{
	uint32_t old = l->slot_now[slot % SLOTS];

	if (old != 0 && file != old)
		file_get(l, old)->removed = true;
	l->slot_now[slot % SLOTS] = file;
	allow(&l->slot[slot % SLOTS], file);
}

static void tried_write(struct ledger *l, uint32_t file, uint32_t cell, uint32_t count,
			uint32_t stamp)
{
	struct file *f = file_get(l, file);

	for (uint32_t i = cell; i < cell + count && i < CELLS_MAX; i++)
		allow(&f->cells[i], stamp);
	f->range_from = cell;
	f->range_to = cell + count;
	if (cell + count > f->size)
		set_size(f, cell + count);
}

static void tried_cut(struct ledger *l, uint32_t file, uint32_t cells)
{
	struct file *f = file_get(l, file);

	for (uint32_t i = cells; i < CELLS_MAX; i++)
		if (f->cells[i].count > 0)
			allow(&f->cells[i], 0);
	set_size(f, cells);
}

static void file_synced(struct ledger *l, uint32_t file)
{
	struct file *f = file_get(l, file);

	for (uint32_t i = 0; i < CELLS_MAX; i++)
		allow_newest_only(&f->cells[i]);
	f->size_min = f->size_max = f->size;
	f->synced = true;
	/* The shared one is in none of them: its number stands for an empty slot there. */
	for (uint32_t slot = 0; slot < SLOTS && file != 0; slot++)
		if (l->slot_now[slot] == file)
			allow_newest_only(&l->slot[slot]);
}

static void range_synced(struct ledger *l, uint32_t file)
{
	struct file *f = file_get(l, file);

	for (uint32_t i = f->range_from; i < f->range_to && i < CELLS_MAX; i++)
		allow_newest_only(&f->cells[i]);
	if (f->size_min < f->range_to)
		f->size_min = f->range_to;
}

static void move(struct ledger *l, uint32_t from, uint32_t to)
{
	uint32_t file = l->slot_now[from % SLOTS];
	bool removed = file_get(l, file)->removed;

	set_slot(l, to, file);
	set_slot(l, from, 0);
	file_get(l, file)->removed = removed;
}

static void take_line(struct ledger *l, const char *line)
{
	uint32_t a, b, c, d;

	if (sscanf(line, "write %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &a, &b, &c, &d) == 4)
		tried_write(l, a, b, c, d);
	else if (sscanf(line, "new %" SCNu32 " %" SCNu32, &a, &b) == 2)
		set_slot(l, a, b);
	else if (sscanf(line, "move %" SCNu32 " %" SCNu32, &a, &b) == 2)
		move(l, a, b);
	else if (sscanf(line, "gone %" SCNu32, &a) == 1)
		set_slot(l, a, 0);
	else if (sscanf(line, "cut %" SCNu32 " %" SCNu32, &a, &b) == 2)
		tried_cut(l, a, b);
	else if (sscanf(line, "id %" SCNu32, &a) == 1)
		l->id = a;
	else if (sscanf(line, "range %" SCNu32, &a) == 1)
		range_synced(l, a);
	else if (sscanf(line, "file %" SCNu32, &a) == 1)
		file_synced(l, a);
	else if (strncmp(line, "shared", 6) == 0)
		file_synced(l, 0);
	else if (strncmp(line, "names", 5) == 0)
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			allow_newest_only(&l->slot[slot]);
	l->acknowledged += strchr("rfsn", line[0]) != NULL && strncmp(line, "new", 3) != 0;
}

__attribute__((format(printf, 2, 3))) static void lost(struct ledger *l, const char *format, ...)
{
	va_list args;

	if (l->lost++ >= 10)
		return;
	printf("LOST: worker %" PRIu32 ": ", l->id);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

static void check_cell(struct ledger *l, uint32_t file, uint32_t cell, const uint8_t *data)
{
	const struct allowed *a = &file_get(l, file)->cells[cell];
	uint32_t stamp = cell_stamp(data, l->id, file, cell);

	if (!is_allowed(a, stamp))
		lost(l,
		     "file %" PRIu32 " cell %" PRIu32 " is %" PRIu32 ", acknowledged %" PRIu32
		     " (%" PRIu32 " tried since)",
		     file, cell, stamp, a->value[0], a->count == 0 ? 0 : a->count - 1);
}

static void check_content(struct ledger *l, uint32_t slot, uint32_t file, int fd, off_t size)
{
	static uint8_t data[CELLS_MAX * CELL];
	struct file *f = file_get(l, file);
	uint32_t cells = (uint32_t)(size / CELL);
	ssize_t n;

	if (cells < f->size_min || size > (off_t)f->size_max * CELL) {
		lost(l, "f%" PRIu32 " is file %" PRIu32 " of %lld bytes, wanted %u to %u", slot,
		     file, (long long)size, f->size_min * CELL, f->size_max * CELL);
		return;
	}
	n = pread(fd, data, (size_t)size, 0);
	if (n != size)
		lost(l, "f%" PRIu32 " cannot be read: %s", slot, n < 0 ? strerror(errno) : "short");
	for (uint32_t cell = 0; n == size && cell < cells; cell++)
		check_cell(l, file, cell, data + (size_t)cell * CELL);
}

/* Which file is in the slot? 0: none; UINT32_MAX: one without its first cell. */
static uint32_t find_file(struct ledger *l, const char *dir, uint32_t slot, int *fd, off_t *size)
{
	uint8_t data[CELL];
	char path[512];
	struct stat st;
	uint32_t head[4];
	ssize_t n;

	path_of(path, dir, l->id, (int)slot);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0) {
		if (errno != ENOENT)
			lost(l, "f%" PRIu32 ": %s", slot, strerror(errno));
		return 0;
	}
	if (fstat(*fd, &st) != 0)
		return UINT32_MAX;
	*size = st.st_size;
	n = pread(*fd, data, CELL, 0);
	if (n < 0)
		lost(l, "f%" PRIu32 " cannot be read: %s", slot, strerror(errno));
	memcpy(head, data, sizeof(head));
	if (n != CELL || head[1] == 0 || head[1] >= FILES_MAX ||
	    cell_stamp(data, l->id, head[1], 0) != head[3])
		return UINT32_MAX;
	return head[1];
}

/* May a file that was never synced be there? */
static bool new_file_allowed(struct ledger *l, const struct allowed *a)
{
	if (a->count > ALLOWED_MAX)
		return true;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->value[i] != 0 && !file_get(l, a->value[i])->synced)
			return true;
	return false;
}

static void check_slot(struct ledger *l, const char *dir, uint32_t slot)
{
	const struct allowed *a = &l->slot[slot];
	off_t size = 0;
	int fd;
	uint32_t file = find_file(l, dir, slot, &fd, &size);

	if (file == UINT32_MAX ? !new_file_allowed(l, a) : !is_allowed(a, file))
		lost(l,
		     "f%" PRIu32 " is file %" PRIu32 ", acknowledged %" PRIu32 " (%" PRIu32
		     " tried since), newest %" PRIu32,
		     slot, file, a->value[0], a->count == 0 ? 0 : a->count - 1, l->slot_now[slot]);
	else if (file != 0 && file != UINT32_MAX) {
		file_get(l, file)->found++;
		check_content(l, slot, file, fd, size);
	}
	if (fd >= 0)
		close(fd);
}

static void check_shared(struct ledger *l, const char *dir)
{
	uint8_t data[CELL];
	char path[512];
	int fd;

	if (l->files[0] == NULL)
		return;
	snprintf(path, sizeof(path), "%s/shared", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		lost(l, "the shared file: %s", strerror(errno));
		return;
	}
	for (uint32_t cell = 0; cell < SHARED_CELLS; cell++) {
		ssize_t n = pread(fd, data, CELL, shared_at(l->id, cell));

		if (n < 0)
			lost(l, "shared cell %" PRIu32 ": %s", cell, strerror(errno));
		memset(data + (n < 0 ? 0 : n), 0, CELL - (size_t)(n < 0 ? 0 : n));
		check_cell(l, 0, cell, data);
	}
	close(fd);
}

static int verify(const char *dir, const char *path)
{
	static struct ledger l;
	FILE *in = fopen(path, "r");
	char line[160];

	if (in == NULL) {
		perror(path);
		return 1;
	}
	while (fgets(line, sizeof(line), in) != NULL)
		if (strchr(line, '\n') != NULL)
			take_line(&l, line);
	fclose(in);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		check_slot(&l, dir, slot);
	for (uint32_t file = 1; file < FILES_MAX; file++) {
		const struct file *f = l.files[file];

		if (f != NULL && f->found > 1)
			lost(&l, "file %" PRIu32 " has %u names", file, f->found);
		if (f != NULL && f->synced && !f->removed && f->found == 0)
			lost(&l, "file %" PRIu32 " has no name", file);
	}
	check_shared(&l, dir);
	printf("power_load: worker %" PRIu32 ": %" PRIu64 " acknowledged, %u lost\n", l.id,
	       l.acknowledged, l.lost);
	return l.lost > 0;
}

int main(int argc, char **argv)
{
	static struct worker w;
	struct sigaction action = {.sa_handler = on_term};

	if (argc == 4 && strcmp(argv[1], "verify") == 0)
		return verify(argv[2], argv[3]);
	if (argc != 6 || strcmp(argv[1], "run") != 0) {
		fprintf(stderr, "usage: power_load run DIR LEDGER ID SEED\n"
				"       power_load verify DIR LEDGER\n");
		return 64;
	}
	sigaction(SIGTERM, &action, NULL);
	w.dir = argv[2];
	w.id = (uint32_t)strtoul(argv[4], NULL, 10);
	w.random = strtoull(argv[5], NULL, 10);
	return run(&w, argv[3]) == 0 ? 0 : 2;
}
