/* writeback.c - accepting writes, giving out what may be sent, looking up what a read needs. */
#include "fs/writeback/writeback.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/cluster/chunk.h"
#include "fs/writeback/writeback_chunk.h"
#include "fs/writeback/writeback_extent.h"
#include "fs/writeback/writeback_group.h"
#include "fs/writeback/writeback_range.h"

/* Pieces of one payload: at most two chunks, and two windows in one of them. */
#define PIECES_MAX 3u

int writeback_create(uint32_t chunk_size, unsigned in_flight_max, struct buf_pool *pool,
		     struct writeback **out)
{
	struct writeback *wb;

	if (chunk_size < WRITEBACK_WINDOW || chunk_size % WRITEBACK_WINDOW != 0)
		return -EINVAL;
	wb = calloc(1, sizeof(*wb));
	if (wb == NULL)
		return -ENOMEM;
	wb->chunk_size = chunk_size;
	wb->in_flight_max = in_flight_max;
	wb->pool = pool;
	wb->fired_end = &wb->fired;
	*out = wb;
	return 0;
}

void writeback_count(struct writeback *wb, atomic_size_t *(*counter)(void *arg, uint32_t index),
		     void *arg)
{
	wb->counter = counter;
	wb->counter_arg = arg;
}

void writeback_destroy(struct writeback *wb)
{
	if (wb == NULL)
		return;
	writeback_drop(wb);
	while (wb->spare != NULL) {
		struct writeback_extent *next = wb->spare->user;

		free(wb->spare);
		wb->spare = next;
	}
	while (wb->oldest != NULL) {
		struct writeback_group *next = wb->oldest->next;

		free(wb->oldest);
		wb->oldest = next;
	}
	free(wb->table);
	free(wb);
}

/* ---- accepting ---- */

struct write_piece {
	uint64_t offset;
	uint32_t length;
	uint32_t skip; /* in the payload */
	bool keep;
	struct writeback_chunk *chunk;
};

static unsigned pieces_of(const struct writeback *wb, uint64_t offset, uint32_t length,
			  struct write_piece *out)
{
	uint64_t end = offset + length;
	unsigned count = 0;

	for (uint64_t at = offset; at < end;) {
		uint64_t chunk_end = (at / wb->chunk_size + 1) * wb->chunk_size;
		uint64_t to = end < chunk_end ? end : chunk_end;
		bool keep = to - at >= WRITEBACK_KEEP_MIN;
		uint64_t window_end = (at / WRITEBACK_WINDOW + 1) * WRITEBACK_WINDOW;

		if (!keep && window_end < to)
			to = window_end;
		out[count++] = (struct write_piece){
			.offset = at,
			.length = (uint32_t)(to - at),
			.skip = (uint32_t)(at - offset),
			.keep = keep,
		};
		at = to;
	}
	return count;
}

/* Everything that can fail, done before anything is changed. */
static int prepare(struct writeback *wb, struct write_piece *pieces, unsigned count)
{
	/* Each piece may cut an older extent in two. */
	int rc = writeback_extent_spare(wb, 2 * count);

	for (unsigned i = 0; rc == 0 && i < count; i++) {
		rc = writeback_chunk_get(wb, (uint32_t)(pieces[i].offset / wb->chunk_size),
					 &pieces[i].chunk);
		if (rc == 0)
			rc = writeback_dirty_room(pieces[i].chunk, 2 * PIECES_MAX);
	}
	return rc;
}

static bool changeable(const struct writeback_extent *e)
{
	/* Acquire: a reader that has just let go has read before we write. */
	return e->mem->own && e->mem->extents == 1 &&
	       atomic_load_explicit(&e->mem->refs, memory_order_acquire) == 1;
}

/* A larger buffer for the extent, to hold @length bytes. */
static bool grow(struct writeback *wb, struct writeback_extent *e, uint32_t length)
{
	uint32_t start = (uint32_t)(e->offset % BLOCK_SIZE);
	uint64_t room = WRITEBACK_WINDOW - e->offset % WRITEBACK_WINDOW;
	uint64_t want = (uint64_t)e->length * 4;
	struct writeback_buffer *mem;
	struct buf *buf;

	if (want < length)
		want = length;
	if (want > room)
		want = room;
	buf = buf_get(wb->pool, (uint32_t)want);
	if (buf == NULL)
		return false;
	mem = writeback_buffer_new(buf, buf->capacity, true);
	if (mem == NULL) {
		buf_unref(buf);
		return false;
	}
	memcpy(buf->data + start, e->mem->buf->data + e->at, e->length);
	writeback_buffer_detach(wb, e);
	writeback_buffer_attach(wb, e, mem);
	e->at = start;
	return true;
}

/* Copies the piece over and behind the bytes of an extent of ours that it overlaps or continues.
 * NULL: there is none that may be changed. */
static struct writeback_extent *merge(struct writeback *wb, const struct write_piece *piece,
				      const uint8_t *from, struct writeback_group *group)
{
	uint64_t end = piece->offset + piece->length;
	size_t at = writeback_dirty_find(piece->chunk, piece->offset == 0 ? 0 : piece->offset - 1);
	struct writeback_extent *e =
		at < piece->chunk->dirty_count ? piece->chunk->dirty[at] : NULL;
	uint32_t skip;

	/* The one that ends here may be of another window; the next may begin here. */
	if (e != NULL && writeback_extent_end(e) == piece->offset &&
	    piece->offset % WRITEBACK_WINDOW == 0)
		e = at + 1 < piece->chunk->dirty_count ? piece->chunk->dirty[at + 1] : NULL;
	if (e == NULL || e->offset > piece->offset || writeback_extent_end(e) < piece->offset)
		return NULL;
	if (e->offset / WRITEBACK_WINDOW != piece->offset / WRITEBACK_WINDOW || !changeable(e))
		return NULL;
	skip = (uint32_t)(piece->offset - e->offset);
	if (e->at + skip + piece->length > e->mem->buf->capacity &&
	    !grow(wb, e, skip + piece->length))
		return NULL;
	group = writeback_group_older(group, e->group);
	if (end > writeback_extent_end(e)) {
		writeback_dirty_supersede(wb, piece->chunk, writeback_extent_end(e), end, &group);
		e->length = (uint32_t)(end - e->offset);
	}
	memcpy(e->mem->buf->data + e->at + skip, from, piece->length);
	writeback_extent_join(wb, e, group);
	return e;
}

/* A new extent; its bytes are copied unless the payload is worth keeping, or there is no memory to
 * copy them to. */
static struct writeback_extent *add(struct writeback *wb, const struct write_piece *piece,
				    const struct buf *payload, struct writeback_buffer *payload_mem,
				    struct writeback_group *group)
{
	size_t at = writeback_dirty_supersede(wb, piece->chunk, piece->offset,
					      piece->offset + piece->length, &group);
	struct writeback_extent *e = writeback_extent_new(wb, piece->chunk, group);
	struct writeback_buffer *mem = NULL;
	struct buf *buf = piece->keep ? NULL : buf_get(wb->pool, piece->length);

	e->offset = piece->offset;
	e->length = piece->length;
	if (buf != NULL) {
		mem = writeback_buffer_new(buf, buf->capacity, true);
		if (mem == NULL)
			buf_unref(buf);
	}
	if (mem != NULL) {
		e->at = (uint32_t)(piece->offset % BLOCK_SIZE);
		memcpy(buf->data + e->at, buf_payload(payload) + piece->skip, piece->length);
	} else {
		mem = payload_mem;
		e->at = payload->start + piece->skip;
	}
	writeback_buffer_attach(wb, e, mem);
	e->ready = piece->keep;
	writeback_dirty_insert(wb, piece->chunk, at, e);
	return e;
}

/* A window that has become full goes at once, and so does a run that cannot grow on any more. */
static void mark_ready(struct writeback_extent *e)
{
	const struct writeback_chunk *chunk = e->chunk;
	uint64_t window = e->offset / WRITEBACK_WINDOW * WRITEBACK_WINDOW;
	uint64_t window_end = window + WRITEBACK_WINDOW, covered = window;
	size_t first = writeback_dirty_find(chunk, window), at;

	if (writeback_extent_end(e) == window_end && e->length >= WRITEBACK_RUN_MIN)
		writeback_dirty_ready(e);
	for (at = first;
	     at < chunk->dirty_count && chunk->dirty[at]->offset <= covered && covered < window_end;
	     at++)
		covered = writeback_extent_end(chunk->dirty[at]);
	if (covered < window_end)
		return;
	while (at-- > first)
		writeback_dirty_ready(chunk->dirty[at]);
}

int writeback_write(struct writeback *wb, uint64_t offset, struct buf *payload, bool summed,
		    struct writeback_wait *wait)
{
	struct write_piece pieces[PIECES_MAX];
	struct writeback_buffer *mem = NULL;
	struct writeback_group *group;
	unsigned count;
	int rc = -EINVAL;

	if (payload->length == 0 || payload->length > FRAME_PAYLOAD_MAX ||
	    offset > UINT64_MAX - payload->length)
		goto out;
	count = pieces_of(wb, offset, payload->length, pieces);
	rc = prepare(wb, pieces, count);
	if (rc < 0)
		goto out;
	rc = -ENOMEM;
	mem = writeback_buffer_new(payload, payload->length, false);
	if (mem == NULL)
		goto out;
	rc = writeback_group_open(wb, wait != NULL, &group);
	if (rc < 0)
		goto out;
	/* Our own hold on the payload, while pieces of it are taken or not. */
	atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
	if (wait != NULL)
		*wait = (struct writeback_wait){0};
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *from = buf_payload(payload) + pieces[i].skip;
		struct writeback_extent *e = NULL;

		if (!pieces[i].keep)
			e = merge(wb, &pieces[i], from, group);
		if (e == NULL) {
			e = add(wb, &pieces[i], payload, mem, group);
			e->summed = summed && e->mem == mem && count == 1;
		}
		mark_ready(e);
		if (wait != NULL && e->group != group)
			wait->prefix = true;
	}
	if (wait != NULL)
		writeback_group_wait(wb, group, wait);
	writeback_buffer_unpin(mem);
	writeback_group_settle(wb);
	return 0;
out:
	free(mem);
	buf_unref(payload);
	return rc;
}

/* ---- sending ---- */

static bool sendable(const struct writeback *wb, const struct writeback_extent *e, bool all)
{
	return (all || e->ready) &&
	       !writeback_chunk_in_flight_overlaps(e->chunk, e->offset, writeback_extent_end(e)) &&
	       !writeback_hole_overlaps(wb, e->offset, writeback_extent_end(e), NULL);
}

/* How many extents from @first on lie side by side in one window and may go as one. */
static size_t run_length(const struct writeback *wb, const struct writeback_chunk *chunk,
			 size_t first, bool all)
{
	const struct writeback_extent *e = chunk->dirty[first];
	uint64_t window_end = (e->offset / WRITEBACK_WINDOW + 1) * WRITEBACK_WINDOW;
	uint64_t end = writeback_extent_end(e);
	size_t count = 1;

	if (e->group->through)
		return 1;
	for (size_t i = first + 1; i < chunk->dirty_count && end < window_end; i++, count++) {
		const struct writeback_extent *next = chunk->dirty[i];

		if (next->offset != end || writeback_extent_end(next) > window_end ||
		    next->group->through || !sendable(wb, next, all))
			break;
		end = writeback_extent_end(next);
	}
	return end <= window_end ? count : 1;
}

/* Makes @count neighbours one extent, the first. Does nothing when memory is short: each goes by
 * itself then. */
static size_t coalesce(struct writeback *wb, struct writeback_chunk *chunk, size_t first,
		       size_t count)
{
	struct writeback_extent *e = chunk->dirty[first];
	uint32_t length =
		(uint32_t)(writeback_extent_end(chunk->dirty[first + count - 1]) - e->offset);
	struct writeback_group *group = e->group;
	struct buf *buf = buf_get(wb->pool, length);
	struct writeback_buffer *mem =
		buf == NULL ? NULL : writeback_buffer_new(buf, buf->capacity, true);
	uint8_t *to;

	if (mem == NULL) {
		buf_unref(buf);
		return 1;
	}
	to = buf->data + e->offset % BLOCK_SIZE;
	for (size_t i = first; i < first + count; i++) {
		struct writeback_extent *from = chunk->dirty[i];

		group = writeback_group_older(group, from->group);
		memcpy(to, from->mem->buf->data + from->at, from->length);
		to += from->length;
	}
	writeback_buffer_detach(wb, e);
	writeback_buffer_attach(wb, e, mem);
	e->at = (uint32_t)(e->offset % BLOCK_SIZE);
	e->length = length;
	e->summed = false;
	writeback_extent_join(wb, e, group);
	return count;
}

static struct writeback_extent *send_from(struct writeback *wb, struct writeback_chunk *chunk,
					  size_t at, bool all)
{
	struct writeback_extent *e = chunk->dirty[at];
	size_t count = run_length(wb, chunk, at, all);

	if (count > 1)
		count = coalesce(wb, chunk, at, count);
	/* The others' bytes are in the first now. */
	for (size_t i = at + 1; i < at + count; i++) {
		struct writeback_extent *other = chunk->dirty[at + 1];

		writeback_dirty_take(wb, chunk, at + 1, 1);
		writeback_extent_free(wb, other);
	}
	writeback_dirty_take(wb, chunk, at, 1);
	e->user = NULL;
	expects(chunk->in_flight_count < wb->in_flight_max);
	chunk->in_flight[chunk->in_flight_count++] = e;
	wb->in_flight_total++;
	return e;
}

static struct writeback_extent *next_of(struct writeback *wb, struct writeback_chunk *chunk,
					bool all)
{
	if (chunk->in_flight_count >= wb->in_flight_max || (!all && chunk->ready_count == 0))
		return NULL;
	if (chunk->in_flight == NULL) {
		chunk->in_flight = calloc(wb->in_flight_max, sizeof(struct writeback_extent *));
		if (chunk->in_flight == NULL)
			return NULL;
	}
	for (size_t i = 0; i < chunk->dirty_count; i++)
		if (sendable(wb, chunk->dirty[i], all))
			return send_from(wb, chunk, i, all);
	return NULL;
}

struct writeback_extent *writeback_next(struct writeback *wb, bool all, bool durable)
{
	for (struct writeback_chunk *chunk = wb->dirty; chunk != NULL; chunk = chunk->next) {
		struct writeback_extent *e = next_of(wb, chunk, all);

		if (e == NULL)
			continue;
		e->durable = durable && chunk->dirty_count == 0;
		writeback_group_settle(wb);
		return e;
	}
	return NULL;
}

static void payload_unref(void *arg)
{
	buf_unref(arg);
}

struct buf *writeback_payload(struct writeback *wb, struct writeback_extent *e)
{
	struct buf *buf = e->mem->buf, *slice;

	if (e->mem->own && e->mem->extents == 1) {
		buf->start = e->at;
		buf->length = e->length;
	}
	if (buf->start == e->at && buf->length == e->length)
		return buf_ref(buf);
	/* Others may be looking at the buffer's own start and length. */
	slice = buf_wrap(wb->pool, buf->data + e->at, e->length, payload_unref, buf);
	if (slice != NULL)
		buf_ref(buf);
	return slice;
}

void writeback_done(struct writeback *wb, struct writeback_extent *e, int error, uint64_t version,
		    uint64_t epoch, bool flushed)
{
	struct writeback_chunk *chunk = e->chunk;
	unsigned at = 0;

	expects(chunk->in_flight_count > 0 && wb->in_flight_total > 0);
	while (chunk->in_flight[at] != e) {
		at++;
		expects(at < chunk->in_flight_count);
	}
	chunk->in_flight[at] = chunk->in_flight[--chunk->in_flight_count];
	wb->in_flight_total--;
	/* What a former self of the file loses, nobody asks for. */
	if (error == 0)
		writeback_chunk_answered(wb, chunk, version, epoch, e->length, flushed);
	else if (!chunk->forgotten)
		writeback_group_fail(wb, e->group, error);
	writeback_chunk_failed(chunk, error);
	writeback_extent_free(wb, e);
	writeback_chunk_settle(wb, chunk);
	writeback_group_settle(wb);
}

void writeback_each_in_flight(struct writeback *wb,
			      void (*each)(void *arg, struct writeback_extent *extent), void *arg)
{
	for (size_t i = 0; i < wb->table_size; i++)
		for (struct writeback_chunk *chunk = wb->table[i]; chunk != NULL;
		     chunk = chunk->hash_next)
			for (unsigned k = 0; k < chunk->in_flight_count; k++)
				each(arg, chunk->in_flight[k]);
}

bool writeback_has_dirty(const struct writeback *wb)
{
	return wb->dirty_total > 0;
}

bool writeback_busy(const struct writeback *wb)
{
	return wb->dirty_total > 0 || wb->in_flight_total > 0 || wb->holes != NULL;
}

size_t writeback_extents(const struct writeback *wb)
{
	return wb->dirty_total;
}

size_t writeback_memory(const struct writeback *wb)
{
	return wb->memory;
}
