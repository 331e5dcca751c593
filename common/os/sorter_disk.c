/* sorter_disk.c - sorters that put sorted runs into files; see sorter_disk.h.
 *
 * A run is blocks, each of as many records as fit, the last one of fewer, and behind each its
 * CRC32C. While records come there is one run in memory. If it never fills up, nothing is written.
 * Else the last one is written, too, and all are merged: a heap has the run with the lowest record
 * on top. */
#include "common/os/sorter_disk.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"

#define FIRST_BYTES (64u << 10) /* of the run in memory */
#define CRC_BYTES   4u

struct run {
	uint64_t start, records; /* in the file: where it begins, how many it has */
	/* While it is read. */
	uint64_t next, left; /* in the file: the next block, records from there on */
	uint8_t *block;
	size_t at, end; /* in the block: the record at hand, its end */
};

struct disk_sorter {
	struct sorter sorter; /* first */
	struct sorter_disk *disk;
	uint8_t *records; /* of the run in memory */
	size_t held, room, most;
	size_t at; /* the next one to be read, when there is no other run */
	int file;  /* -1: none yet */
	uint64_t file_bytes;
	struct run *runs;
	size_t run_count;
	uint32_t *heap; /* runs that have a record at hand, the lowest on top */
	size_t heap_count;
	bool begun; /* the record on top has been given, and is to be passed */
};

static struct disk_sorter *of(struct sorter *sorter)
{
	return (struct disk_sorter *)sorter;
}

/* Says what was wrong, for the first error, and returns @rc. */
static int failed(struct sorter_disk *disk, int rc, const char *what)
{
	if (disk->error[0] == '\0')
		snprintf(disk->error, sizeof(disk->error), "%s: %s: %s", disk->options.place, what,
			 strerror(-rc));
	return rc;
}

/* ---- files ---- */

static int open_file(struct disk_sorter *d)
{
	static const char name[] = ".catena-sort";

	if (d->file >= 0)
		return 0;
	d->file = openat(d->disk->directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (d->file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		/* A filesystem without such files: it has a name for a moment. */
		d->file = openat(d->disk->directory, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
				 0600);
		if (d->file >= 0)
			(void)unlinkat(d->disk->directory, name, 0);
	}
	return d->file < 0 ? failed(d->disk, -errno, "no file can be made") : 0;
}

int sorter_disk_room(struct sorter_disk *disk, uint64_t bytes)
{
	uint64_t free_bytes;
	struct statvfs fs;

	if (fstatvfs(disk->directory, &fs) != 0)
		return failed(disk, -errno, "its room is not known");
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= bytes && free_bytes - bytes >= disk->options.reserve)
		return 0;
	if (disk->error[0] == '\0')
		snprintf(disk->error, sizeof(disk->error),
			 "%s: %" PRIu64 " MiB are free, %" PRIu64 " MiB are needed and %" PRIu64
			 " MiB stay free: choose another place",
			 disk->options.place, free_bytes >> 20, (bytes >> 20) + 1,
			 disk->options.reserve >> 20);
	return -ENOSPC;
}

static int write_all(struct disk_sorter *d, const uint8_t *data, size_t size, uint64_t at)
{
	while (size > 0) {
		ssize_t done = pwrite(d->file, data, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return failed(d->disk, done < 0 ? -errno : -EIO, "a run is not written");
		data += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

static int read_all(struct disk_sorter *d, uint8_t *data, size_t size, uint64_t at)
{
	while (size > 0) {
		ssize_t done = pread(d->file, data, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return failed(d->disk, done < 0 ? -errno : -EUCLEAN, "a run is not read");
		data += done;
		at += (uint64_t)done;
		size -= (size_t)done;
	}
	return 0;
}

/* The records of one block. */
static uint64_t block_records(const struct disk_sorter *d)
{
	return (SORTER_DISK_BLOCK - CRC_BYTES) / d->sorter.record_size;
}

/* ---- taking records ---- */

static int write_blocks(struct disk_sorter *d, uint64_t at)
{
	uint64_t per_block = block_records(d);
	size_t size = d->sorter.record_size;
	uint8_t block[SORTER_DISK_BLOCK];
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < d->held; i += per_block) {
		uint64_t records = d->held - i < per_block ? d->held - i : per_block;
		size_t bytes = (size_t)records * size;

		memcpy(block, d->records + i * size, bytes);
		put_le32(block + bytes, crc32c(block, bytes));
		rc = write_all(d, block, bytes + CRC_BYTES, at);
		at += bytes + CRC_BYTES;
	}
	return rc;
}

/* Sorts the run in memory, and writes it behind the others. */
static int write_run(struct disk_sorter *d)
{
	uint64_t blocks = (d->held + block_records(d) - 1) / block_records(d);
	uint64_t bytes = (uint64_t)d->held * d->sorter.record_size + blocks * CRC_BYTES;
	struct run *bigger;
	int rc;

	if (d->run_count == SORTER_DISK_RUNS)
		return failed(d->disk, -EFBIG, "too many runs, so more memory is needed");
	bigger = realloc(d->runs, (d->run_count + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return failed(d->disk, -ENOMEM, "a run");
	d->runs = bigger;
	rc = open_file(d);
	if (rc == 0)
		rc = sorter_disk_room(d->disk, bytes);
	if (rc != 0)
		return rc;
	sorter_sort_bytes(d->records, d->held, d->sorter.record_size);
	d->runs[d->run_count++] = (struct run){.start = d->file_bytes, .records = d->held};
	d->file_bytes += bytes;
	d->disk->used += bytes;
	rc = write_blocks(d, d->file_bytes - bytes);
	d->held = 0;
	return rc;
}

/* Returns how many records there may be room for next; not more than now: none more. */
static size_t next_room(const struct disk_sorter *d)
{
	const struct sorter_disk_options *options = &d->disk->options;
	size_t room = d->room == 0 ? FIRST_BYTES / d->sorter.record_size : d->room * 2;
	uint64_t size = d->sorter.record_size;

	if (room > d->most)
		room = d->most;
	if (d->room == 0 || room * size <= options->run_bytes / SORTER_DISK_SHARE ||
	    d->disk->memory + (room - d->room) * size <= options->memory)
		return room;
	return d->room;
}

/* Makes room for one more record. */
static int make_room(struct disk_sorter *d)
{
	size_t room = next_room(d);
	uint8_t *bigger;

	if (room <= d->room)
		return write_run(d);
	bigger = realloc(d->records, room * d->sorter.record_size);
	if (bigger == NULL)
		return failed(d->disk, -ENOMEM, "records in memory");
	d->disk->memory += (room - d->room) * d->sorter.record_size;
	d->records = bigger;
	d->room = room;
	return 0;
}

static void drop_memory(struct disk_sorter *d)
{
	d->disk->memory -= d->room * d->sorter.record_size;
	free(d->records);
	d->records = NULL;
	d->room = 0;
}

static int disk_add(struct sorter *sorter, const void *record)
{
	struct disk_sorter *d = of(sorter);
	int rc = d->held == d->room ? make_room(d) : 0;

	if (rc == 0)
		memcpy(d->records + d->held++ * sorter->record_size, record, sorter->record_size);
	return rc;
}

/* ---- giving them back ---- */

/* Reads the run's next block. */
static int read_block(struct disk_sorter *d, struct run *run)
{
	uint64_t records = run->left < block_records(d) ? run->left : block_records(d);
	size_t bytes = (size_t)records * d->sorter.record_size;
	int rc = read_all(d, run->block, bytes + CRC_BYTES, run->next);

	if (rc != 0)
		return rc;
	if (get_le32(run->block + bytes) != crc32c(run->block, bytes))
		return failed(d->disk, -EUCLEAN, "a run is not as it was written");
	run->next += bytes + CRC_BYTES;
	run->left -= records;
	run->at = 0;
	run->end = bytes;
	return 0;
}

static bool is_lower(const struct disk_sorter *d, size_t a, size_t b)
{
	const struct run *x = &d->runs[d->heap[a]], *y = &d->runs[d->heap[b]];

	return memcmp(x->block + x->at, y->block + y->at, d->sorter.record_size) < 0;
}

/* Lets the run at @at of the heap sink to its place. */
static void sink(struct disk_sorter *d, size_t at)
{
	for (size_t child = 2 * at + 1; child < d->heap_count; child = 2 * at + 1) {
		uint32_t run = d->heap[at];

		if (child + 1 < d->heap_count && is_lower(d, child + 1, child))
			child++;
		if (!is_lower(d, child, at))
			return;
		d->heap[at] = d->heap[child];
		d->heap[child] = run;
		at = child;
	}
}

/* Goes to the first record of each run. */
static int begin_merge(struct disk_sorter *d)
{
	int rc = 0;

	d->heap_count = 0;
	d->begun = false;
	for (size_t i = 0; rc == 0 && i < d->run_count; i++) {
		struct run *run = &d->runs[i];

		expects(run->records > 0);
		run->next = run->start;
		run->left = run->records;
		rc = read_block(d, run);
		d->heap[d->heap_count++] = (uint32_t)i;
	}
	for (size_t i = d->heap_count / 2; rc == 0 && i-- > 0;)
		sink(d, i);
	return rc;
}

static int disk_sort(struct sorter *sorter)
{
	struct disk_sorter *d = of(sorter);
	int rc;

	if (d->run_count == 0) {
		sorter_sort_bytes(d->records, d->held, sorter->record_size);
		return 0;
	}
	rc = d->held > 0 ? write_run(d) : 0;
	if (rc != 0)
		return rc;
	drop_memory(d);
	d->heap = calloc(d->run_count, sizeof(*d->heap));
	if (d->heap == NULL)
		return failed(d->disk, -ENOMEM, "merging");
	for (size_t i = 0; i < d->run_count; i++) {
		d->runs[i].block = malloc(SORTER_DISK_BLOCK);
		if (d->runs[i].block == NULL)
			return failed(d->disk, -ENOMEM, "merging");
	}
	return begin_merge(d);
}

/* Passes the record on top of the heap. */
static int pass(struct disk_sorter *d)
{
	struct run *run = &d->runs[d->heap[0]];
	int rc = 0;

	run->at += d->sorter.record_size;
	if (run->at == run->end && run->left > 0)
		rc = read_block(d, run);
	else if (run->at == run->end)
		d->heap[0] = d->heap[--d->heap_count];
	if (rc == 0)
		sink(d, 0);
	return rc;
}

static int disk_next(struct sorter *sorter, const uint8_t **record)
{
	struct disk_sorter *d = of(sorter);
	int rc = 0;

	if (d->run_count == 0) {
		if (d->at == d->held)
			return 0;
		*record = d->records + d->at++ * sorter->record_size;
		return 1;
	}
	if (d->begun && d->heap_count > 0)
		rc = pass(d);
	d->begun = true;
	if (rc != 0 || d->heap_count == 0)
		return rc;
	*record = d->runs[d->heap[0]].block + d->runs[d->heap[0]].at;
	return 1;
}

static int disk_rewind(struct sorter *sorter)
{
	struct disk_sorter *d = of(sorter);

	d->at = 0;
	return d->run_count == 0 ? 0 : begin_merge(d);
}

static void disk_free(struct sorter *sorter)
{
	struct disk_sorter *d = of(sorter);

	for (size_t i = 0; i < d->run_count; i++)
		free(d->runs[i].block);
	free(d->runs);
	free(d->heap);
	drop_memory(d);
	if (d->file >= 0)
		(void)close(d->file);
	expects(d->disk->used >= d->file_bytes);
	d->disk->used -= d->file_bytes;
	free(d);
}

static const struct sorter_form disk_form = {.add = disk_add,
					     .sort = disk_sort,
					     .next = disk_next,
					     .rewind = disk_rewind,
					     .free = disk_free};

/* ---- the supply ---- */

static int disk_make(struct sorter_supply *supply, size_t record_size, struct sorter **out)
{
	struct sorter_disk *disk = (struct sorter_disk *)supply; /* its first member */
	struct disk_sorter *d = calloc(1, sizeof(*d));
	uint64_t most = disk->options.run_bytes / record_size;

	if (d == NULL)
		return failed(disk, -ENOMEM, "a sorter");
	d->sorter.form = &disk_form;
	d->sorter.record_size = record_size;
	d->disk = disk;
	d->file = -1;
	d->most = most == 0 ? 1 : (size_t)most;
	*out = &d->sorter;
	return 0;
}

int sorter_disk_init(struct sorter_disk *disk, const struct sorter_disk_options *options)
{
	*disk = (struct sorter_disk){.supply = {.make = disk_make}, .options = *options};
	if (disk->options.run_bytes == 0)
		disk->options.run_bytes = SORTER_DISK_RUN_BYTES;
	if (disk->options.memory == 0)
		disk->options.memory = SORTER_DISK_MEMORY;
	disk->directory = open(options->place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return disk->directory < 0 ? failed(disk, -errno, "not a place to sort in") : 0;
}

void sorter_disk_end(struct sorter_disk *disk)
{
	expects(disk->used == 0 && disk->memory == 0);
	if (disk->directory >= 0)
		(void)close(disk->directory);
	disk->directory = -1;
}
