/* writeback_extent.c - extents, the memory of their bytes, and the dirty ones of a chunk. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "fs/writeback/writeback_extent.h"
#include "fs/writeback/writeback_group.h"

/* ---- extents and memory ---- */

int writeback_extent_spare(struct writeback *wb, unsigned count)
{
	while (wb->spare_count < count) {
		struct writeback_extent *e = malloc(sizeof(*e));

		if (e == NULL)
			return -ENOMEM;
		e->user = wb->spare;
		wb->spare = e;
		wb->spare_count++;
	}
	return 0;
}

struct writeback_extent *writeback_extent_new(struct writeback *wb, struct writeback_chunk *chunk,
					      struct writeback_group *group)
{
	struct writeback_extent *e = wb->spare;

	expects(e != NULL && wb->spare_count > 0);
	wb->spare = e->user;
	wb->spare_count--;
	*e = (struct writeback_extent){.chunk = chunk, .group = group};
	group->pending++;
	return e;
}

void writeback_extent_free(struct writeback *wb, struct writeback_extent *e)
{
	writeback_buffer_detach(wb, e);
	writeback_group_leave(wb, e->group);
	free(e);
}

void writeback_extent_join(struct writeback *wb, struct writeback_extent *e,
			   struct writeback_group *group)
{
	if (group == e->group)
		return;
	group->pending++;
	writeback_group_leave(wb, e->group);
	e->group = group;
}

struct writeback_buffer *writeback_buffer_new(struct buf *buf, size_t charge, bool own)
{
	struct writeback_buffer *mem = malloc(sizeof(*mem));

	if (mem == NULL)
		return NULL;
	*mem = (struct writeback_buffer){.buf = buf, .charge = charge, .own = own};
	return mem;
}

void writeback_buffer_attach(struct writeback *wb, struct writeback_extent *e,
			     struct writeback_buffer *mem)
{
	expects(e->mem == NULL);
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

void writeback_buffer_detach(struct writeback *wb, struct writeback_extent *e)
{
	struct writeback_buffer *mem = e->mem;

	if (mem == NULL)
		return;
	expects(mem->extents > 0 && wb->memory >= mem->charge);
	e->mem = NULL;
	if (--mem->extents == 0) {
		wb->memory -= mem->charge;
		if (mem->counter != NULL)
			atomic_fetch_sub_explicit(mem->counter, mem->charge, memory_order_relaxed);
	}
	writeback_buffer_unpin(mem);
}

void writeback_buffer_unpin(struct writeback_buffer *mem)
{
	if (atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) > 1)
		return;
	buf_unref(mem->buf);
	free(mem);
}

/* ---- the dirty extents of a chunk ---- */

int writeback_dirty_room(struct writeback_chunk *chunk, size_t more)
{
	size_t room = chunk->dirty_room == 0 ? 8 : chunk->dirty_room;
	struct writeback_extent **dirty;

	while (room < chunk->dirty_count + more)
		room *= 2;
	if (room == chunk->dirty_room)
		return 0;
	dirty = reallocarray(chunk->dirty, room, sizeof(struct writeback_extent *));
	if (dirty == NULL)
		return -ENOMEM;
	chunk->dirty = dirty;
	chunk->dirty_room = room;
	return 0;
}

size_t writeback_dirty_find(const struct writeback_chunk *chunk, uint64_t offset)
{
	size_t low = 0, high = chunk->dirty_count;

	/* Most writers go upwards. */
	if (high > 0 && writeback_extent_end(chunk->dirty[high - 1]) <= offset)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (writeback_extent_end(chunk->dirty[middle]) > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void writeback_dirty_insert(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			    struct writeback_extent *e)
{
	expects(chunk->dirty_count < chunk->dirty_room);
	/* Dirty extents of a chunk never overlap, and are in order. */
	expects(at == 0 || writeback_extent_end(chunk->dirty[at - 1]) <= e->offset);
	expects(at == chunk->dirty_count || writeback_extent_end(e) <= chunk->dirty[at]->offset);
	memmove(&chunk->dirty[at + 1], &chunk->dirty[at],
		(chunk->dirty_count - at) * sizeof(struct writeback_extent *));
	chunk->dirty[at] = e;
	if (e->ready)
		chunk->ready_count++;
	wb->dirty_total++;
	if (chunk->dirty_count++ > 0)
		return;
	DL_PREPEND(wb->dirty, chunk);
}

void writeback_dirty_take(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			  size_t count)
{
	if (count == 0)
		return;
	expects(at + count <= chunk->dirty_count && count <= wb->dirty_total);
	for (size_t i = at; i < at + count; i++)
		if (chunk->dirty[i]->ready)
			chunk->ready_count--;
	chunk->dirty_count -= count;
	wb->dirty_total -= count;
	memmove(&chunk->dirty[at], &chunk->dirty[at + count],
		(chunk->dirty_count - at) * sizeof(struct writeback_extent *));
	if (chunk->dirty_count > 0)
		return;
	DL_DELETE(wb->dirty, chunk);
}

void writeback_dirty_ready(struct writeback_extent *e)
{
	if (!e->ready) {
		e->ready = true;
		e->chunk->ready_count++;
	}
}

static void cut_front(struct writeback_extent *e, uint64_t to)
{
	uint32_t cut = (uint32_t)(to - e->offset);

	e->summed = false;
	e->offset = to;
	e->at += cut;
	e->length -= cut;
}

size_t writeback_dirty_supersede(struct writeback *wb, struct writeback_chunk *chunk, uint64_t from,
				 uint64_t to, struct writeback_group **group)
{
	size_t at = writeback_dirty_find(chunk, from), gone = 0;

	if (at < chunk->dirty_count && chunk->dirty[at]->offset < from) {
		struct writeback_extent *left = chunk->dirty[at++];
		uint64_t end = writeback_extent_end(left);

		*group = writeback_group_older(*group, left->group);
		left->summed = false;
		left->length = (uint32_t)(from - left->offset);
		if (end > to) {
			struct writeback_extent *right =
				writeback_extent_new(wb, chunk, left->group);

			right->offset = to;
			right->length = (uint32_t)(end - to);
			right->at = left->at + (uint32_t)(to - left->offset);
			right->ready = left->ready;
			writeback_buffer_attach(wb, right, left->mem);
			writeback_dirty_insert(wb, chunk, at, right);
			return at;
		}
	}
	while (at + gone < chunk->dirty_count && chunk->dirty[at + gone]->offset < to) {
		struct writeback_extent *e = chunk->dirty[at + gone];

		*group = writeback_group_older(*group, e->group);
		if (writeback_extent_end(e) > to) {
			cut_front(e, to);
			break;
		}
		gone++;
	}
	if (gone > 0) {
		struct writeback_extent *first = chunk->dirty[at];

		/* Usually it is one; the array closes over all of them at once. */
		for (size_t i = at + 1; i < at + gone; i++) {
			chunk->dirty[i]->user = first->user;
			first->user = chunk->dirty[i];
		}
		writeback_dirty_take(wb, chunk, at, gone);
		while (first != NULL) {
			struct writeback_extent *next = first->user;

			writeback_extent_free(wb, first);
			first = next;
		}
	}
	return at;
}
