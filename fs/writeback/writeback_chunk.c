/* writeback_chunk.c - the chunks of a file that have something to write or to flush, and which of
 * their versions are durable. */
#include <errno.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "fs/writeback/writeback_chunk.h"
#include "fs/writeback/writeback_extent.h"

#define TABLE_MIN 8u

/* ---- chunks ---- */

static size_t slot_of(const struct writeback *wb, uint32_t index)
{
	return (index * 2654435761u >> 7) & (wb->table_size - 1);
}

struct writeback_chunk *writeback_chunk_find(const struct writeback *wb, uint32_t index)
{
	struct writeback_chunk *chunk = wb->table_size == 0 ? NULL : wb->table[slot_of(wb, index)];

	while (chunk != NULL && chunk->index != index)
		chunk = chunk->hash_next;
	return chunk;
}

static int table_grow(struct writeback *wb)
{
	size_t old_size = wb->table_size, size = old_size == 0 ? TABLE_MIN : old_size * 2;
	struct writeback_chunk **old = wb->table,
			       **table = calloc(size, sizeof(struct writeback_chunk *));

	if (table == NULL)
		return -ENOMEM;
	wb->table = table;
	wb->table_size = size;
	for (size_t i = 0; i < old_size; i++) {
		while (old[i] != NULL) {
			struct writeback_chunk *chunk = old[i], **to;

			old[i] = chunk->hash_next;
			to = &table[slot_of(wb, chunk->index)];
			chunk->hash_next = *to;
			*to = chunk;
		}
	}
	free(old);
	return 0;
}

int writeback_chunk_get(struct writeback *wb, uint32_t index, struct writeback_chunk **out)
{
	struct writeback_chunk *chunk = writeback_chunk_find(wb, index), **slot;
	int rc;

	if (chunk != NULL) {
		*out = chunk;
		return 0;
	}
	if (wb->chunk_count >= wb->table_size) {
		rc = table_grow(wb);
		if (rc < 0)
			return rc;
	}
	chunk = calloc(1, sizeof(*chunk));
	if (chunk == NULL)
		return -ENOMEM;
	chunk->index = index;
	slot = &wb->table[slot_of(wb, index)];
	chunk->hash_next = *slot;
	*slot = chunk;
	wb->chunk_count++;
	*out = chunk;
	return 0;
}

static void chunk_free(struct writeback_chunk *chunk)
{
	expects(chunk->dirty_count == 0 && chunk->in_flight_count == 0 && chunk->holes == 0);
	free(chunk->dirty);
	free(chunk->in_flight);
	free(chunk);
}

void writeback_chunk_settle(struct writeback *wb, struct writeback_chunk *chunk)
{
	struct writeback_chunk **at;

	if (chunk->dirty_count > 0 || chunk->in_flight_count > 0 || chunk->holes > 0)
		return;
	if (!chunk->forgotten) {
		if (writeback_chunk_unflushed(chunk)) {
			/* Many of these may wait for a flush: keep them small. */
			free(chunk->dirty);
			free(chunk->in_flight);
			chunk->dirty = NULL;
			chunk->in_flight = NULL;
			chunk->dirty_room = 0;
			return;
		}
		at = &wb->table[slot_of(wb, chunk->index)];
		while (*at != chunk) {
			expects(*at != NULL);
			at = &(*at)->hash_next;
		}
		*at = chunk->hash_next;
		expects(wb->chunk_count > 0);
		wb->chunk_count--;
	}
	chunk_free(chunk);
}

/* Sets what senders say was answered and is not flushed. */
static void chunk_tell(struct writeback_chunk *chunk)
{
	chains_answered_set(&chunk->known, writeback_chunk_unflushed(chunk) ? chunk->answered : 0,
			    chunk->answered_epoch);
}

void writeback_chunk_answered(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version,
			      uint64_t epoch, uint64_t bytes, bool flushed)
{
	if (chunk->forgotten)
		return;
	if (version > chunk->answered) {
		if (!writeback_chunk_unflushed(chunk))
			wb->unflushed_total++;
		chunk->answered = version;
		chunk->answered_epoch = epoch;
	}
	chunk->unflushed_bytes += bytes;
	if (flushed)
		writeback_chunk_flushed(wb, chunk, version);
	else
		chunk_tell(chunk);
}

void writeback_chunk_failed(struct writeback_chunk *chunk, int error)
{
	if (error != -EIO || !writeback_chunk_unflushed(chunk))
		return;
	chunk->answered = 1;
	chunk->answered_epoch = 0;
	chunk->flushed = 0;
	chunk->unflushed_bytes = 0;
	chains_answered_set(&chunk->known, 0, 0);
}

uint64_t writeback_lost(struct writeback *wb, struct writeback_chunk *chunk)
{
	uint64_t bytes = chunk->unflushed_bytes;

	if (chunk->forgotten || !writeback_chunk_unflushed(chunk))
		return 0;
	if (wb->error == 0)
		wb->error = -EIO;
	writeback_chunk_failed(chunk, -EIO);
	return bytes;
}

void writeback_chunk_flushed(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version)
{
	bool was = writeback_chunk_unflushed(chunk);

	/* Versions of copies that have lost some begin lower again: they would not count. */
	if (version > chunk->answered)
		version = chunk->answered;
	if (version > chunk->flushed)
		chunk->flushed = version;
	if (was && !writeback_chunk_unflushed(chunk)) {
		expects(wb->unflushed_total > 0);
		wb->unflushed_total--;
	}
	if (!writeback_chunk_unflushed(chunk))
		chunk->unflushed_bytes = 0;
	chunk_tell(chunk);
}

void writeback_chunk_flush_lost(struct writeback *wb, struct writeback_chunk *chunk,
				uint64_t version, uint64_t epoch)
{
	if (chunk->answered_epoch > epoch)
		return;
	writeback_chunk_flushed(wb, chunk, version);
	if (writeback_chunk_unflushed(chunk))
		return;
	chunk->answered = 0;
	chunk->answered_epoch = 0;
	chunk->flushed = 0;
	chunk_tell(chunk);
}

const struct chains_answered *writeback_known(const struct writeback_chunk *chunk)
{
	return &chunk->known;
}

bool writeback_chunk_in_flight_overlaps(const struct writeback_chunk *chunk, uint64_t from,
					uint64_t to)
{
	for (unsigned i = 0; i < chunk->in_flight_count; i++)
		if (chunk->in_flight[i]->offset < to &&
		    writeback_extent_end(chunk->in_flight[i]) > from)
			return true;
	return false;
}
