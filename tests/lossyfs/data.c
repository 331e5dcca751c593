/* data.c - what files contain, and contained at their last sync. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "tests/lossyfs/lossy.h"
#include "tests/lib/random.h"

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static bool is_zero(const uint8_t *data, size_t size)
{
	return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static void block_read(const struct lossy_node *node, uint64_t block, uint8_t out[LOSSY_BLOCK])
{
	ssize_t n = pread(node->fd, out, LOSSY_BLOCK, (off_t)(block * LOSSY_BLOCK));

	if (n < 0)
		abort();
	memset(out + n, 0, LOSSY_BLOCK - (size_t)n);
}

/* Writes what lies within the size; zeros become a hole. */
static void block_write(struct lossy_node *node, uint64_t block, const uint8_t *data)
{
	off_t at = (off_t)(block * LOSSY_BLOCK);
	size_t size = LOSSY_BLOCK;

	if (at >= node->size)
		return;
	if (node->size - at < (off_t)size)
		size = (size_t)(node->size - at);
	if (data == NULL || is_zero(data, size)) {
		if (fallocate(node->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
			      (off_t)size) != 0)
			abort();
	} else if (pwrite(node->fd, data, size, at) != (ssize_t)size) {
		abort();
	}
}

static struct lossy_undo *undo_find(struct lossy_node *node, uint64_t block)
{
	struct lossy_undo *undo;

	HASH_FIND(hh, node->undo, &block, sizeof(block), undo);
	return undo;
}

static void undo_drop(struct lossy_node *node, struct lossy_undo *undo)
{
	HASH_DEL(node->undo, undo);
	free(undo->before);
	free(undo);
}

/* Before the block is changed. */
static void remember(struct lossy_node *node, uint64_t block)
{
	uint8_t data[LOSSY_BLOCK];
	struct lossy_undo *undo = undo_find(node, block);

	if (undo != NULL)
		return;
	undo = must(calloc(1, sizeof(*undo)));
	undo->block = block;
	if ((off_t)(block * LOSSY_BLOCK) < node->size) {
		block_read(node, block, data);
		if (!is_zero(data, sizeof(data)))
			undo->before = memcpy(must(malloc(LOSSY_BLOCK)), data, LOSSY_BLOCK);
	}
	HASH_ADD(hh, node->undo, block, sizeof(undo->block), undo);
}

/* Only blocks that have data: the others are zeros before and after. */
static void remember_data(struct lossy_node *node, off_t from, off_t to)
{
	while (from < to) {
		off_t data = lseek(node->fd, from, SEEK_DATA), end;

		if (data < 0 || data >= to)
			return;
		end = lseek(node->fd, data, SEEK_HOLE);
		if (end < 0 || end > to)
			end = to;
		for (off_t at = data - data % (off_t)LOSSY_BLOCK; at < end; at += LOSSY_BLOCK)
			remember(node, (uint64_t)at / LOSSY_BLOCK);
		from = end;
	}
}

ssize_t lossy_read(struct lossy_node *node, void *out, size_t size, off_t offset)
{
	ssize_t n;

	if (offset >= node->size)
		return 0;
	if (node->size - offset < (off_t)size)
		size = (size_t)(node->size - offset);
	n = pread(node->fd, out, size, offset);
	return n < 0 ? -errno : n;
}

ssize_t lossy_write(struct lossy_node *node, const void *data, size_t size, off_t offset)
{
	ssize_t n;

	if (size == 0)
		return 0;
	for (uint64_t block = (uint64_t)offset / LOSSY_BLOCK;
	     block <= ((uint64_t)offset + size - 1) / LOSSY_BLOCK; block++)
		remember(node, block);
	n = pwrite(node->fd, data, size, offset);
	if (n < 0)
		return -errno;
	if (offset + n > node->size)
		node->size = offset + n;
	clock_gettime(CLOCK_REALTIME, &node->attr.st_mtim);
	return n;
}

int lossy_truncate(struct lossy_node *node, off_t size)
{
	if (size < node->size)
		remember_data(node, size, node->size);
	if (ftruncate(node->fd, size) != 0)
		return -errno;
	node->size = size;
	clock_gettime(CLOCK_REALTIME, &node->attr.st_mtim);
	return 0;
}

int lossy_zero(struct lossy_node *node, off_t offset, off_t size)
{
	off_t end = offset + size < node->size ? offset + size : node->size;

	if (offset >= end)
		return 0;
	remember_data(node, offset, end);
	if (fallocate(node->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - offset) !=
	    0)
		return -errno;
	return 0;
}

void lossy_forget_undo(struct lossy_node *node)
{
	struct lossy_undo *undo, *next;

	HASH_ITER(hh, node->undo, undo, next)
	{
		undo_drop(node, undo);
	}
}

void lossy_sync_file(struct lossy *fs, struct lossy_node *node)
{
	if (fs->lies)
		return;
	lossy_forget_undo(node);
	node->synced_size = node->size;
}

void lossy_sync_range(struct lossy *fs, struct lossy_node *node, off_t offset, off_t size)
{
	if (fs->lies || size <= 0)
		return;
	for (uint64_t block = (uint64_t)offset / LOSSY_BLOCK;
	     block <= (uint64_t)(offset + size - 1) / LOSSY_BLOCK; block++) {
		struct lossy_undo *undo = undo_find(node, block);

		if (undo != NULL)
			undo_drop(node, undo);
	}
	if (offset + size > node->synced_size)
		node->synced_size = offset + size;
}

/* ---- the cut ---- */

static off_t size_after(const struct lossy_node *node, uint64_t *random, unsigned percent)
{
	off_t less = node->synced_size < node->size ? node->synced_size : node->size;
	off_t more = node->synced_size < node->size ? node->size : node->synced_size;

	if (random_u64(random) % 100 >= percent)
		return node->size;
	/* A file that grew by several writes may have grown by some of them; it shrinks whole. */
	if (node->size > node->synced_size && random_u64(random) % 3 == 0)
		return less + (off_t)(random_u64(random) % (uint64_t)(more - less + 1));
	return node->synced_size;
}

static void undo_apply(struct lossy_node *node, const struct lossy_undo *undo, uint64_t *random,
		       unsigned percent)
{
	static const uint8_t zeros[LOSSY_BLOCK];
	const uint8_t *before = undo->before != NULL ? undo->before : zeros;
	uint8_t data[LOSSY_BLOCK];

	if (random_u64(random) % 100 >= percent)
		return;
	if (percent == 100 || random_u64(random) % 16 != 0) {
		block_write(node, undo->block, before);
		return;
	}
	/* Torn. */
	block_read(node, undo->block, data);
	for (size_t at = 0; at < LOSSY_BLOCK; at += LOSSY_SECTOR) {
		if (random_u64(random) % 2 == 0)
			memcpy(data + at, before + at, LOSSY_SECTOR);
	}
	block_write(node, undo->block, data);
}

void lossy_cut_file(struct lossy_node *node, uint64_t *random, unsigned percent)
{
	off_t old = node->size, size = size_after(node, random, percent);
	struct lossy_undo *undo, *next;

	if (ftruncate(node->fd, size) != 0)
		abort();
	node->size = size;
	HASH_ITER(hh, node->undo, undo, next)
	{
		/* What a truncation cut off comes back with the size, or not at all. */
		bool cut_off = size > old && (off_t)((undo->block + 1) * LOSSY_BLOCK) > old;

		undo_apply(node, undo, random, cut_off ? 100 : percent);
	}
	lossy_forget_undo(node);
	node->synced_size = node->size;
}
