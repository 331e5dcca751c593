/* writeback_range.c - ranges of the dirty file: holes punched into it, reads of it, and what of its
 * chunks is not yet durable. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "fs/writeback/writeback_chunk.h"
#include "fs/writeback/writeback_extent.h"
#include "fs/writeback/writeback_group.h"
#include "fs/writeback/writeback_range.h"

/* ---- holes ---- */

static uint64_t chunk_start(const struct writeback *wb, const struct writeback_chunk *chunk)
{
	return (uint64_t)chunk->index * wb->chunk_size;
}

bool writeback_hole_overlaps(const struct writeback *wb, uint64_t from, uint64_t to,
			     const struct writeback_hole *before)
{
	for (const struct writeback_hole *hole = wb->holes; hole != NULL && hole != before;
	     hole = hole->next)
		if (hole->from < to && hole->to > from)
			return true;
	return false;
}

int writeback_hole_begin(struct writeback *wb, struct writeback_hole *hole, uint64_t from,
			 uint64_t to)
{
	struct writeback_chunk *first = writeback_chunk_find(wb, (uint32_t)(from / wb->chunk_size)),
			       *next;
	struct writeback_hole **end = &wb->holes;
	struct writeback_group *group;
	int rc;

	/* Only one extent can be cut in two: that in which the whole hole is. */
	rc = writeback_extent_spare(wb, 1);
	if (rc == 0 && first != NULL)
		rc = writeback_dirty_room(first, 1);
	if (rc == 0)
		rc = writeback_group_open(wb, false, &group);
	if (rc < 0)
		return rc;
	for (struct writeback_chunk *chunk = wb->dirty; chunk != NULL; chunk = next) {
		next = chunk->next;
		if (chunk_start(wb, chunk) >= to || chunk_start(wb, chunk) + wb->chunk_size <= from)
			continue;
		writeback_dirty_supersede(wb, chunk, from, to, &group);
		writeback_chunk_settle(wb, chunk);
	}
	group->pending++;
	*hole = (struct writeback_hole){.from = from, .to = to, .group = group};
	while (*end != NULL)
		end = &(*end)->next;
	*end = hole;
	writeback_group_settle(wb);
	return 0;
}

int writeback_hole_chunk(struct writeback *wb, struct writeback_hole *hole, uint32_t index,
			 uint64_t from, uint64_t to, struct writeback_chunk **out)
{
	struct writeback_chunk *chunk = writeback_chunk_find(wb, index);
	int rc;

	if (writeback_hole_overlaps(wb, from, to, hole) ||
	    (chunk != NULL && writeback_chunk_in_flight_overlaps(chunk, from, to)))
		return -EAGAIN;
	rc = writeback_chunk_get(wb, index, &chunk);
	if (rc < 0)
		return rc;
	chunk->holes++;
	*out = chunk;
	return 0;
}

void writeback_hole_answered(struct writeback *wb, struct writeback_chunk *chunk, int error,
			     uint64_t version, uint64_t epoch, bool flushed)
{
	expects(chunk->holes > 0);
	chunk->holes--;
	if (error == 0)
		writeback_chunk_answered(wb, chunk, version, epoch, 0, flushed);
	writeback_chunk_settle(wb, chunk);
}

void writeback_hole_end(struct writeback *wb, struct writeback_hole *hole)
{
	struct writeback_hole **at = &wb->holes;

	while (*at != hole) {
		expects(*at != NULL);
		at = &(*at)->next;
	}
	*at = hole->next;
	writeback_group_leave(wb, hole->group);
	writeback_group_settle(wb);
}

/* ---- forgetting ---- */

/* All dirty bytes; with an @error their groups hear of it. */
static void drop_dirty(struct writeback *wb, int error)
{
	while (wb->dirty != NULL) {
		struct writeback_chunk *chunk = wb->dirty;

		while (chunk->dirty_count > 0) {
			struct writeback_extent *e = chunk->dirty[chunk->dirty_count - 1];

			if (error != 0)
				writeback_group_fail(wb, e->group, error);
			writeback_dirty_take(wb, chunk, chunk->dirty_count - 1, 1);
			writeback_extent_free(wb, e);
		}
		if (error != 0)
			writeback_chunk_settle(wb, chunk);
	}
}

void writeback_lose(struct writeback *wb, int error)
{
	drop_dirty(wb, error);
	writeback_group_settle(wb);
}

static uint64_t length_of(struct writeback_extent *const *list, size_t count)
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
		for (const struct writeback_chunk *c = wb->table[i]; c != NULL; c = c->hash_next)
			bytes += length_of(c->dirty, c->dirty_count) +
				 length_of(c->in_flight, c->in_flight_count);
	return bytes;
}

void writeback_drop(struct writeback *wb)
{
	drop_dirty(wb, 0);
	for (size_t i = 0; i < wb->table_size; i++) {
		while (wb->table[i] != NULL) {
			struct writeback_chunk *chunk = wb->table[i];

			wb->table[i] = chunk->hash_next;
			if (writeback_chunk_unflushed(chunk))
				wb->unflushed_total--;
			expects(!chunk->forgotten);
			chunk->forgotten = true;
			wb->chunk_count--;
			writeback_chunk_settle(wb, chunk);
		}
	}
	expects(wb->chunk_count == 0 && wb->unflushed_total == 0 && wb->dirty_total == 0);
	writeback_group_settle(wb);
}

/* ---- reading ---- */

struct dirty_lookup {
	struct writeback_segment *segs;
	size_t count, room;
};

static int emit(struct dirty_lookup *out, const struct writeback_extent *e, uint64_t from,
		uint64_t to)
{
	struct writeback_segment *segs = out->segs;

	if (out->count == out->room) {
		size_t room = out->room == 0 ? 8 : out->room * 2;

		segs = reallocarray(out->segs, room, sizeof(*segs));
		if (segs == NULL)
			return -ENOMEM;
		out->segs = segs;
		out->room = room;
	}
	atomic_fetch_add_explicit(&e->mem->refs, 1, memory_order_relaxed);
	segs[out->count++] = (struct writeback_segment){
		.offset = from,
		.length = (uint32_t)(to - from),
		.data = e->mem->buf->data + e->at + (from - e->offset),
		.mem = e->mem,
	};
	return 0;
}

/* The extent in flight that holds @at, or else the one that begins next behind it. */
static const struct writeback_extent *in_flight_at(const struct writeback_chunk *chunk, uint64_t at)
{
	const struct writeback_extent *best = NULL;

	for (unsigned i = 0; i < chunk->in_flight_count; i++) {
		const struct writeback_extent *e = chunk->in_flight[i];

		if (writeback_extent_end(e) > at && (best == NULL || e->offset < best->offset))
			best = e;
	}
	return best;
}

/* Dirty bytes are newer than bytes in flight. */
static int lookup_chunk(const struct writeback_chunk *chunk, uint64_t from, uint64_t to,
			struct dirty_lookup *out)
{
	size_t i = writeback_dirty_find(chunk, from);
	uint64_t at = from;

	while (at < to) {
		const struct writeback_extent *dirty =
			i < chunk->dirty_count ? chunk->dirty[i] : NULL;
		const struct writeback_extent *flight = in_flight_at(chunk, at), *e;
		uint64_t next_dirty = dirty == NULL ? UINT64_MAX : dirty->offset;
		uint64_t end;
		int rc;

		if (next_dirty <= at) {
			e = dirty;
			end = writeback_extent_end(dirty);
			i++;
		} else if (flight != NULL && flight->offset <= at) {
			e = flight;
			end = writeback_extent_end(flight) < next_dirty
				      ? writeback_extent_end(flight)
				      : next_dirty;
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

int writeback_lookup(struct writeback *wb, uint64_t offset, uint32_t length,
		     struct writeback_segment **segs, size_t *count)
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
		const struct writeback_chunk *chunk =
			writeback_chunk_find(wb, (uint32_t)(at / wb->chunk_size));

		if (chunk != NULL)
			rc = lookup_chunk(chunk, at, to, &out);
		at = to;
	}
	if (rc < 0) {
		for (size_t i = 0; i < out.count; i++)
			writeback_buffer_unpin(out.segs[i].mem);
		free(out.segs);
		return rc;
	}
	*segs = out.segs;
	*count = out.count;
	return 0;
}

static bool chunk_overlaps(const struct writeback_chunk *chunk, uint64_t from, uint64_t to)
{
	size_t at = writeback_dirty_find(chunk, from);

	return (at < chunk->dirty_count && chunk->dirty[at]->offset < to) ||
	       writeback_chunk_in_flight_overlaps(chunk, from, to);
}

bool writeback_overlaps(const struct writeback *wb, uint64_t from, uint64_t to)
{
	if (writeback_hole_overlaps(wb, from, to, NULL))
		return true;
	if (wb->dirty_total == 0 && wb->in_flight_total == 0)
		return false;
	for (uint64_t at = from; at < to;) {
		const struct writeback_chunk *chunk =
			writeback_chunk_find(wb, (uint32_t)(at / wb->chunk_size));

		if (chunk != NULL && chunk_overlaps(chunk, from, to))
			return true;
		at = (at / wb->chunk_size + 1) * wb->chunk_size;
	}
	return false;
}

/* ---- durability ---- */

bool writeback_has_unflushed(const struct writeback *wb)
{
	return wb->unflushed_total > 0;
}

int writeback_unflushed(struct writeback *wb, struct writeback_unflushed **out, size_t *count)
{
	struct writeback_unflushed *list;
	size_t found = 0;

	*out = NULL;
	*count = 0;
	if (wb->unflushed_total == 0)
		return 0;
	list = calloc(wb->unflushed_total, sizeof(*list));
	if (list == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < wb->table_size; i++)
		for (struct writeback_chunk *chunk = wb->table[i]; chunk != NULL;
		     chunk = chunk->hash_next)
			if (writeback_chunk_unflushed(chunk))
				list[found++] = (struct writeback_unflushed){
					.index = chunk->index,
					.version = chunk->answered,
					.epoch = chunk->answered_epoch,
					.bytes = chunk->unflushed_bytes,
				};
	*out = list;
	*count = found;
	return 0;
}

void writeback_flushed(struct writeback *wb, uint32_t index, uint64_t version)
{
	struct writeback_chunk *chunk = writeback_chunk_find(wb, index);

	if (chunk == NULL)
		return;
	writeback_chunk_flushed(wb, chunk, version);
	writeback_chunk_settle(wb, chunk);
}

void writeback_flush_lost(struct writeback *wb, const struct writeback_unflushed *covers)
{
	struct writeback_chunk *chunk = writeback_chunk_find(wb, covers->index);

	if (chunk == NULL)
		return;
	writeback_chunk_flush_lost(wb, chunk, covers->version, covers->epoch);
	writeback_chunk_settle(wb, chunk);
}

void writeback_forget_unflushed(struct writeback *wb)
{
	for (size_t i = 0; i < wb->table_size && wb->unflushed_total > 0; i++) {
		struct writeback_chunk *chunk = wb->table[i], *next;

		for (; chunk != NULL; chunk = next) {
			next = chunk->hash_next;
			writeback_chunk_flushed(wb, chunk, chunk->answered);
			writeback_chunk_settle(wb, chunk);
		}
	}
}
