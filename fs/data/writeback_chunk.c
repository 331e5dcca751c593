/* writeback_chunk.c - the chunks of a file that have something to write or to sync, their extents
 * and the memory of these. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/list.h"
#include "common/cluster/chunk.h"
#include "fs/data/writeback_internal.h"

#define TABLE_MIN 8u

/* ---- chunks ---- */

static size_t slot_of(const struct writeback *wb, uint32_t index)
{
	return (index * 2654435761u >> 7) & (wb->table_size - 1);
}

struct wb_chunk *wb_chunk_find(const struct writeback *wb, uint32_t index)
{
	struct wb_chunk *chunk = wb->table_size == 0 ? NULL : wb->table[slot_of(wb, index)];

	while (chunk != NULL && chunk->index != index)
		chunk = chunk->hash_next;
	return chunk;
}

static int table_grow(struct writeback *wb)
{
	size_t old_size = wb->table_size, size = old_size == 0 ? TABLE_MIN : old_size * 2;
	struct wb_chunk **old = wb->table, **table = calloc(size, sizeof(struct wb_chunk *));

	if (table == NULL)
		return -ENOMEM;
	wb->table = table;
	wb->table_size = size;
	for (size_t i = 0; i < old_size; i++) {
		while (old[i] != NULL) {
			struct wb_chunk *chunk = old[i], **to;

			old[i] = chunk->hash_next;
			to = &table[slot_of(wb, chunk->index)];
			chunk->hash_next = *to;
			*to = chunk;
		}
	}
	free(old);
	return 0;
}

int wb_chunk_get(struct writeback *wb, uint32_t index, struct wb_chunk **out)
{
	struct wb_chunk *chunk = wb_chunk_find(wb, index), **slot;
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

void wb_chunk_free(struct wb_chunk *chunk)
{
	free(chunk->dirty);
	free(chunk->in_flight);
	free(chunk);
}

void wb_chunk_settle(struct writeback *wb, struct wb_chunk *chunk)
{
	struct wb_chunk **at;

	if (chunk->dirty_count > 0 || chunk->in_flight_count > 0 || chunk->holes > 0)
		return;
	if (!chunk->forgotten) {
		if (wb_unsynced(chunk)) {
			/* Many of these may wait for a flush: keep them small. */
			free(chunk->dirty);
			free(chunk->in_flight);
			chunk->dirty = NULL;
			chunk->in_flight = NULL;
			chunk->dirty_room = 0;
			return;
		}
		at = &wb->table[slot_of(wb, chunk->index)];
		while (*at != chunk)
			at = &(*at)->hash_next;
		*at = chunk->hash_next;
		wb->chunk_count--;
	}
	wb_chunk_free(chunk);
}

void wb_chunk_answered(struct writeback *wb, struct wb_chunk *chunk, uint64_t version,
		       uint64_t epoch, uint64_t bytes, bool synced)
{
	if (chunk->forgotten)
		return;
	if (version > chunk->answered) {
		if (!wb_unsynced(chunk))
			wb->unsynced_total++;
		chunk->answered = version;
		chunk->answered_epoch = epoch;
	}
	chunk->unsynced_bytes += bytes;
	if (synced)
		wb_chunk_synced(wb, chunk, version);
	else
		wb_chunk_tell(chunk);
}

void wb_chunk_failed(struct wb_chunk *chunk, int error)
{
	if (error != -EIO || !wb_unsynced(chunk))
		return;
	chunk->answered = 1;
	chunk->answered_epoch = 0;
	chunk->synced = 0;
	chunk->unsynced_bytes = 0;
	chains_answered_set(&chunk->known, 0, 0);
}

uint64_t writeback_lost(struct writeback *wb, struct wb_chunk *chunk)
{
	uint64_t bytes = chunk->unsynced_bytes;

	if (chunk->forgotten || !wb_unsynced(chunk))
		return 0;
	if (wb->error == 0)
		wb->error = -EIO;
	wb_chunk_failed(chunk, -EIO);
	return bytes;
}

void wb_chunk_tell(struct wb_chunk *chunk)
{
	chains_answered_set(&chunk->known, wb_unsynced(chunk) ? chunk->answered : 0,
			    chunk->answered_epoch);
}

void wb_chunk_synced(struct writeback *wb, struct wb_chunk *chunk, uint64_t version)
{
	bool was = wb_unsynced(chunk);

	if (version > chunk->synced)
		chunk->synced = version;
	if (was && !wb_unsynced(chunk))
		wb->unsynced_total--;
	if (!wb_unsynced(chunk))
		chunk->unsynced_bytes = 0;
	wb_chunk_tell(chunk);
}

const struct chains_answered *writeback_known(const struct wb_chunk *chunk)
{
	return &chunk->known;
}

/* ---- extents and memory ---- */

int wb_spare_fill(struct writeback *wb, unsigned count)
{
	while (wb->spare_count < count) {
		struct wb_extent *e = malloc(sizeof(*e));

		if (e == NULL)
			return -ENOMEM;
		e->user = wb->spare;
		wb->spare = e;
		wb->spare_count++;
	}
	return 0;
}

struct wb_extent *wb_extent_new(struct writeback *wb, struct wb_chunk *chunk,
				struct wb_group *group)
{
	struct wb_extent *e = wb->spare;

	wb->spare = e->user;
	wb->spare_count--;
	*e = (struct wb_extent){.chunk = chunk, .group = group};
	group->pending++;
	return e;
}

void wb_extent_free(struct writeback *wb, struct wb_extent *e)
{
	wb_mem_detach(wb, e);
	wb_group_leave(wb, e->group);
	free(e);
}

void wb_extent_join(struct writeback *wb, struct wb_extent *e, struct wb_group *group)
{
	if (group == e->group)
		return;
	group->pending++;
	wb_group_leave(wb, e->group);
	e->group = group;
}

struct wb_mem *wb_mem_new(struct buf *buf, size_t charge, bool own)
{
	struct wb_mem *mem = malloc(sizeof(*mem));

	if (mem == NULL)
		return NULL;
	*mem = (struct wb_mem){.buf = buf, .charge = charge, .own = own};
	return mem;
}

void wb_mem_attach(struct writeback *wb, struct wb_extent *e, struct wb_mem *mem)
{
	atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
	if (mem->extents++ == 0) {
		wb->memory += mem->charge;
		/* What reaches into a second chunk is counted for the first. */
		if (wb->counter != NULL)
			mem->counter = wb->counter(wb->counter_arg, e->chunk->index);
		if (mem->counter != NULL)
			atomic_fetch_add_explicit(mem->counter, mem->charge, memory_order_relaxed);
	}
	e->mem = mem;
}

void wb_mem_detach(struct writeback *wb, struct wb_extent *e)
{
	struct wb_mem *mem = e->mem;

	if (mem == NULL)
		return;
	e->mem = NULL;
	if (--mem->extents == 0) {
		wb->memory -= mem->charge;
		if (mem->counter != NULL)
			atomic_fetch_sub_explicit(mem->counter, mem->charge, memory_order_relaxed);
	}
	wb_mem_unpin(mem);
}

void wb_mem_unpin(struct wb_mem *mem)
{
	if (atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) > 1)
		return;
	buf_unref(mem->buf);
	free(mem);
}

/* ---- the dirty extents of a chunk ---- */

int wb_dirty_room(struct wb_chunk *chunk, size_t more)
{
	size_t room = chunk->dirty_room == 0 ? 8 : chunk->dirty_room;
	struct wb_extent **dirty;

	while (room < chunk->dirty_count + more)
		room *= 2;
	if (room == chunk->dirty_room)
		return 0;
	dirty = reallocarray(chunk->dirty, room, sizeof(struct wb_extent *));
	if (dirty == NULL)
		return -ENOMEM;
	chunk->dirty = dirty;
	chunk->dirty_room = room;
	return 0;
}

size_t wb_dirty_find(const struct wb_chunk *chunk, uint64_t offset)
{
	size_t low = 0, high = chunk->dirty_count;

	/* Most writers go upwards. */
	if (high > 0 && wb_end(chunk->dirty[high - 1]) <= offset)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (wb_end(chunk->dirty[middle]) > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void wb_dirty_insert(struct writeback *wb, struct wb_chunk *chunk, size_t at, struct wb_extent *e)
{
	memmove(&chunk->dirty[at + 1], &chunk->dirty[at],
		(chunk->dirty_count - at) * sizeof(struct wb_extent *));
	chunk->dirty[at] = e;
	if (e->ready)
		chunk->ready_count++;
	wb->dirty_total++;
	if (chunk->dirty_count++ > 0)
		return;
	DL_PREPEND(wb->dirty, chunk);
}

/* They are the caller's then. */
void wb_dirty_take(struct writeback *wb, struct wb_chunk *chunk, size_t at, size_t count)
{
	if (count == 0)
		return;
	for (size_t i = at; i < at + count; i++)
		if (chunk->dirty[i]->ready)
			chunk->ready_count--;
	chunk->dirty_count -= count;
	wb->dirty_total -= count;
	memmove(&chunk->dirty[at], &chunk->dirty[at + count],
		(chunk->dirty_count - at) * sizeof(struct wb_extent *));
	if (chunk->dirty_count > 0)
		return;
	DL_DELETE(wb->dirty, chunk);
}

void wb_dirty_ready(struct wb_extent *e)
{
	if (!e->ready) {
		e->ready = true;
		e->chunk->ready_count++;
	}
}

static void cut_front(struct wb_extent *e, uint64_t to)
{
	uint32_t cut = (uint32_t)(to - e->offset);

	e->summed = false;
	e->offset = to;
	e->at += cut;
	e->length -= cut;
}

size_t wb_supersede(struct writeback *wb, struct wb_chunk *chunk, uint64_t from, uint64_t to,
		    struct wb_group **group)
{
	size_t at = wb_dirty_find(chunk, from), gone = 0;

	if (at < chunk->dirty_count && chunk->dirty[at]->offset < from) {
		struct wb_extent *left = chunk->dirty[at++];
		uint64_t end = wb_end(left);

		*group = wb_group_older(*group, left->group);
		left->summed = false;
		left->length = (uint32_t)(from - left->offset);
		if (end > to) {
			struct wb_extent *right = wb_extent_new(wb, chunk, left->group);

			right->offset = to;
			right->length = (uint32_t)(end - to);
			right->at = left->at + (uint32_t)(to - left->offset);
			right->ready = left->ready;
			wb_mem_attach(wb, right, left->mem);
			wb_dirty_insert(wb, chunk, at, right);
			return at;
		}
	}
	while (at + gone < chunk->dirty_count && chunk->dirty[at + gone]->offset < to) {
		struct wb_extent *e = chunk->dirty[at + gone];

		*group = wb_group_older(*group, e->group);
		if (wb_end(e) > to) {
			cut_front(e, to);
			break;
		}
		gone++;
	}
	if (gone > 0) {
		struct wb_extent *first = chunk->dirty[at];

		/* Usually it is one; the array closes over all of them at once. */
		for (size_t i = at + 1; i < at + gone; i++) {
			chunk->dirty[i]->user = first->user;
			first->user = chunk->dirty[i];
		}
		wb_dirty_take(wb, chunk, at, gone);
		while (first != NULL) {
			struct wb_extent *next = first->user;

			wb_extent_free(wb, first);
			first = next;
		}
	}
	return at;
}

bool wb_in_flight_overlaps(const struct wb_chunk *chunk, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < chunk->in_flight_count; i++)
		if (chunk->in_flight[i]->offset < to && wb_end(chunk->in_flight[i]) > from)
			return true;
	return false;
}

bool wb_hole_overlaps(const struct writeback *wb, uint64_t from, uint64_t to,
		      const struct wb_hole *before)
{
	for (const struct wb_hole *hole = wb->holes; hole != NULL && hole != before;
	     hole = hole->next)
		if (hole->from < to && hole->to > from)
			return true;
	return false;
}
