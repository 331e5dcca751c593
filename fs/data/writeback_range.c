/* writeback_range.c - ranges of the dirty file: holes punched into it, reads of it, and what of its
 * chunks is not yet durable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/data/writeback_internal.h"

/* ---- holes ---- */

static uint64_t chunk_start(const struct writeback *wb, const struct wb_chunk *chunk)
{
	return (uint64_t)chunk->index * wb->chunk_size;
}

int writeback_hole_begin(struct writeback *wb, struct wb_hole *hole, uint64_t from, uint64_t to)
{
	struct wb_chunk *first = wb_chunk_find(wb, (uint32_t)(from / wb->chunk_size)), *next;
	struct wb_hole **end = &wb->holes;
	struct wb_group *group;
	int rc;

	/* Only one extent can be cut in two: that in which the whole hole is. */
	rc = wb_spare_fill(wb, 1);
	if (rc == 0 && first != NULL)
		rc = wb_dirty_room(first, 1);
	if (rc == 0)
		rc = wb_group_open(wb, false, &group);
	if (rc < 0)
		return rc;
	for (struct wb_chunk *chunk = wb->dirty; chunk != NULL; chunk = next) {
		next = chunk->next;
		if (chunk_start(wb, chunk) >= to || chunk_start(wb, chunk) + wb->chunk_size <= from)
			continue;
		wb_supersede(wb, chunk, from, to, &group);
		wb_chunk_settle(wb, chunk);
	}
	group->pending++;
	*hole = (struct wb_hole){.from = from, .to = to, .group = group};
	while (*end != NULL)
		end = &(*end)->next;
	*end = hole;
	wb_group_settle(wb);
	return 0;
}

int writeback_hole_chunk(struct writeback *wb, struct wb_hole *hole, uint32_t index, uint64_t from,
			 uint64_t to, struct wb_chunk **out)
{
	struct wb_chunk *chunk = wb_chunk_find(wb, index);
	int rc;

	if (wb_hole_overlaps(wb, from, to, hole) ||
	    (chunk != NULL && wb_in_flight_overlaps(chunk, from, to)))
		return -EAGAIN;
	rc = wb_chunk_get(wb, index, &chunk);
	if (rc < 0)
		return rc;
	chunk->holes++;
	*out = chunk;
	return 0;
}

void writeback_hole_answered(struct writeback *wb, struct wb_chunk *chunk, int error,
			     uint64_t version, uint64_t epoch, bool synced)
{
	chunk->holes--;
	if (error == 0)
		wb_chunk_answered(wb, chunk, version, epoch, 0, synced);
	wb_chunk_settle(wb, chunk);
}

void writeback_hole_end(struct writeback *wb, struct wb_hole *hole)
{
	struct wb_hole **at = &wb->holes;

	while (*at != hole)
		at = &(*at)->next;
	*at = hole->next;
	wb_group_leave(wb, hole->group);
	wb_group_settle(wb);
}

/* ---- forgetting ---- */

/* All dirty bytes; with an @error their groups hear of it. */
static void drop_dirty(struct writeback *wb, int error)
{
	while (wb->dirty != NULL) {
		struct wb_chunk *chunk = wb->dirty;

		while (chunk->dirty_count > 0) {
			struct wb_extent *e = chunk->dirty[chunk->dirty_count - 1];

			if (error != 0)
				wb_group_fail(wb, e->group, error);
			wb_dirty_take(wb, chunk, chunk->dirty_count - 1, 1);
			wb_extent_free(wb, e);
		}
		if (error != 0)
			wb_chunk_settle(wb, chunk);
	}
}

void writeback_lose(struct writeback *wb, int error)
{
	drop_dirty(wb, error);
	wb_group_settle(wb);
}

static uint64_t length_of(struct wb_extent *const *list, size_t count)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < count; i++)
		bytes += list[i]->length;
	return bytes;
}

uint64_t writeback_bytes(const struct writeback *wb)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < wb->table_size; i++)
		for (const struct wb_chunk *c = wb->table[i]; c != NULL; c = c->hash_next)
			bytes += length_of(c->dirty, c->dirty_count) +
				 length_of(c->in_flight, c->in_flight_count);
	return bytes;
}

void writeback_drop(struct writeback *wb)
{
	drop_dirty(wb, 0);
	for (size_t i = 0; i < wb->table_size; i++) {
		while (wb->table[i] != NULL) {
			struct wb_chunk *chunk = wb->table[i];

			wb->table[i] = chunk->hash_next;
			if (wb_unsynced(chunk))
				wb->unsynced_total--;
			chunk->forgotten = true;
			wb->chunk_count--;
			wb_chunk_settle(wb, chunk);
		}
	}
	wb_group_settle(wb);
}

/* ---- reading ---- */

struct dirty_lookup {
	struct wb_seg *segs;
	size_t count, room;
};

static int emit(struct dirty_lookup *out, const struct wb_extent *e, uint64_t from, uint64_t to)
{
	struct wb_seg *segs = out->segs;

	if (out->count == out->room) {
		size_t room = out->room == 0 ? 8 : out->room * 2;

		segs = reallocarray(out->segs, room, sizeof(*segs));
		if (segs == NULL)
			return -ENOMEM;
		out->segs = segs;
		out->room = room;
	}
	atomic_fetch_add_explicit(&e->mem->refs, 1, memory_order_relaxed);
	segs[out->count++] = (struct wb_seg){
		.offset = from,
		.length = (uint32_t)(to - from),
		.data = e->mem->buf->data + e->at + (from - e->offset),
		.mem = e->mem,
	};
	return 0;
}

/* The extent in flight that holds @at, or else the one that begins next behind it. */
static const struct wb_extent *in_flight_at(const struct wb_chunk *chunk, uint64_t at)
{
	const struct wb_extent *best = NULL;

	for (unsigned i = 0; i < chunk->in_flight_count; i++) {
		const struct wb_extent *e = chunk->in_flight[i];

		if (wb_end(e) > at && (best == NULL || e->offset < best->offset))
			best = e;
	}
	return best;
}

/* Dirty bytes are newer than bytes in flight. */
static int lookup_chunk(const struct wb_chunk *chunk, uint64_t from, uint64_t to,
			struct dirty_lookup *out)
{
	size_t i = wb_dirty_find(chunk, from);
	uint64_t at = from;

	while (at < to) {
		const struct wb_extent *dirty = i < chunk->dirty_count ? chunk->dirty[i] : NULL;
		const struct wb_extent *flight = in_flight_at(chunk, at), *e;
		uint64_t next_dirty = dirty == NULL ? UINT64_MAX : dirty->offset;
		uint64_t end;
		int rc;

		if (next_dirty <= at) {
			e = dirty;
			end = wb_end(dirty);
			i++;
		} else if (flight != NULL && flight->offset <= at) {
			e = flight;
			end = wb_end(flight) < next_dirty ? wb_end(flight) : next_dirty;
		} else {
			at = flight != NULL && flight->offset < next_dirty ? flight->offset
									   : next_dirty;
			continue;
		}
		if (end > to)
			end = to;
		rc = emit(out, e, at, end);
		if (rc < 0)
			return rc;
		at = end;
	}
	return 0;
}

int writeback_lookup(struct writeback *wb, uint64_t offset, uint32_t length, struct wb_seg **segs,
		     size_t *count)
{
	uint64_t end = offset + length;
	struct dirty_lookup out = {0};
	int rc = 0;

	*segs = NULL;
	*count = 0;
	if (wb->dirty_total == 0 && wb->in_flight_total == 0)
		return 0;
	for (uint64_t at = offset; rc == 0 && at < end;) {
		uint64_t chunk_end = (at / wb->chunk_size + 1) * wb->chunk_size;
		uint64_t to = end < chunk_end ? end : chunk_end;
		const struct wb_chunk *chunk = wb_chunk_find(wb, (uint32_t)(at / wb->chunk_size));

		if (chunk != NULL)
			rc = lookup_chunk(chunk, at, to, &out);
		at = to;
	}
	if (rc < 0) {
		for (size_t i = 0; i < out.count; i++)
			wb_mem_unpin(out.segs[i].mem);
		free(out.segs);
		return rc;
	}
	*segs = out.segs;
	*count = out.count;
	return 0;
}

static bool chunk_overlaps(const struct wb_chunk *chunk, uint64_t from, uint64_t to)
{
	size_t at = wb_dirty_find(chunk, from);

	return (at < chunk->dirty_count && chunk->dirty[at]->offset < to) ||
	       wb_in_flight_overlaps(chunk, from, to);
}

bool writeback_overlaps(const struct writeback *wb, uint64_t from, uint64_t to)
{
	if (wb_hole_overlaps(wb, from, to, NULL))
		return true;
	if (wb->dirty_total == 0 && wb->in_flight_total == 0)
		return false;
	for (uint64_t at = from; at < to;) {
		const struct wb_chunk *chunk = wb_chunk_find(wb, (uint32_t)(at / wb->chunk_size));

		if (chunk != NULL && chunk_overlaps(chunk, from, to))
			return true;
		at = (at / wb->chunk_size + 1) * wb->chunk_size;
	}
	return false;
}

/* ---- durability ---- */

bool writeback_has_unsynced(const struct writeback *wb)
{
	return wb->unsynced_total > 0;
}

int writeback_unsynced(struct writeback *wb, struct wb_unsynced **out, size_t *count)
{
	struct wb_unsynced *list;
	size_t found = 0;

	*out = NULL;
	*count = 0;
	if (wb->unsynced_total == 0)
		return 0;
	list = calloc(wb->unsynced_total, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < wb->table_size; i++)
		for (struct wb_chunk *chunk = wb->table[i]; chunk != NULL; chunk = chunk->hash_next)
			if (wb_unsynced(chunk))
				list[found++] = (struct wb_unsynced){
					.index = chunk->index,
					.version = chunk->answered,
					.epoch = chunk->answered_epoch,
					.bytes = chunk->unsynced_bytes,
				};
	*out = list;
	*count = found;
	return 0;
}

void writeback_synced(struct writeback *wb, uint32_t index, uint64_t version)
{
	struct wb_chunk *chunk = wb_chunk_find(wb, index);

	if (chunk == NULL)
		return;
	wb_chunk_synced(wb, chunk, version);
	wb_chunk_settle(wb, chunk);
}

void writeback_forget_unsynced(struct writeback *wb)
{
	for (size_t i = 0; i < wb->table_size && wb->unsynced_total > 0; i++) {
		struct wb_chunk *chunk = wb->table[i], *next;

		for (; chunk != NULL; chunk = next) {
			next = chunk->hash_next;
			wb_chunk_synced(wb, chunk, chunk->answered);
			wb_chunk_settle(wb, chunk);
		}
	}
}
