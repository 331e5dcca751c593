/* writeback_internal.h - shared by the writeback_*.c files only. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_INTERNAL_H
#define CATENA_FS_WRITEBACK_WRITEBACK_INTERNAL_H
#include <stdatomic.h>
#include "fs/writeback/writeback.h"

struct writeback_buffer {
	struct buf *buf;
	atomic_uint refs; /* extents and pins; only a sole extent's bytes may be changed */
	unsigned extents; /* of the file's, guarded like it */
	size_t charge;
	atomic_size_t *counter; /* that has it too; NULL: none */
	bool own;               /* the buffer is ours, with room behind the bytes */
};

struct writeback_group {
	struct writeback_group *prev, *next;
	uint64_t sequence;
	size_t pending; /* extents and holes */
	bool closed;    /* takes no new ones (but may get those that replace) */
	bool through;   /* of one write that has its own wait */
	struct writeback_wait *waits;
};

struct writeback_chunk {
	struct writeback_chunk *hash_next;
	struct writeback_chunk *prev, *next; /* chunks with something dirty */
	uint32_t index;
	bool forgotten; /* of the file's former self; out of the table */
	unsigned holes; /* punches of this chunk not yet answered */
	unsigned in_flight_count;
	struct writeback_extent **in_flight;
	size_t dirty_count, dirty_room, ready_count;
	struct writeback_extent **dirty; /* by offset, never overlapping */
	uint64_t answered, answered_epoch, flushed;
	uint64_t unflushed_bytes;     /* answered since all was flushed */
	struct chains_answered known; /* for who sends: answered if not flushed, else 0 */
};

struct writeback {
	uint32_t chunk_size;
	unsigned in_flight_max;
	struct buf_pool *pool;
	atomic_size_t *(*counter)(void *arg, uint32_t index);
	void *counter_arg;
	struct writeback_chunk **table;
	size_t table_size, chunk_count;
	struct writeback_chunk *dirty; /* list; writeback_next() begins at its head */
	struct writeback_group *oldest;
	uint64_t group_sequence;
	struct writeback_hole *holes; /* in order of their beginning */
	struct writeback_wait *fired, **fired_end;
	int error;
	bool unsettled; /* a group has run empty */
	size_t dirty_total, in_flight_total, unflushed_total, memory;
	/* Spare structs, so that a write cannot fail half way. */
	struct writeback_extent *spare;
	unsigned spare_count;
};

static inline uint64_t writeback_extent_end(const struct writeback_extent *e)
{
	return e->offset + e->length;
}

static inline bool writeback_chunk_unflushed(const struct writeback_chunk *chunk)
{
	return chunk->answered > chunk->flushed;
}

/* writeback_chunk.c: chunks, extents, memory */
struct writeback_chunk *writeback_chunk_find(const struct writeback *wb, uint32_t index);
int writeback_chunk_get(struct writeback *wb, uint32_t index, struct writeback_chunk **out);
void writeback_chunk_settle(struct writeback *wb,
			    struct writeback_chunk *chunk); /* frees it when idle */
void writeback_chunk_answered(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version,
			      uint64_t epoch, uint64_t bytes, bool flushed);
void writeback_chunk_flushed(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version);
/* The copies have lost what was answered up to @version in @epoch. */
void writeback_chunk_flush_lost(struct writeback *wb, struct writeback_chunk *chunk,
				uint64_t version, uint64_t epoch);
/* After an update has failed: its copies may have lost what was answered, and the error has been
 * kept. From now on the versions that they have count, and there is still something to be flushed.
 */
void writeback_chunk_failed(struct writeback_chunk *chunk, int error);
/* Makes sure that so many writeback_extent_new() succeed. */
int writeback_extent_spare(struct writeback *wb, unsigned count);
struct writeback_extent *writeback_extent_new(struct writeback *wb, struct writeback_chunk *chunk,
					      struct writeback_group *group);
/* Leaves its memory and its group. */
void writeback_extent_free(struct writeback *wb, struct writeback_extent *e);
void writeback_extent_join(struct writeback *wb, struct writeback_extent *e,
			   struct writeback_group *group);
struct writeback_buffer *writeback_buffer_new(struct buf *buf, size_t charge,
					      bool own); /* takes @buf over */
void writeback_buffer_attach(struct writeback *wb, struct writeback_extent *e,
			     struct writeback_buffer *mem);
void writeback_buffer_detach(struct writeback *wb, struct writeback_extent *e);
int writeback_dirty_room(struct writeback_chunk *chunk, size_t more);
/* The first dirty extent that ends behind @offset. */
size_t writeback_dirty_find(const struct writeback_chunk *chunk, uint64_t offset);
void writeback_dirty_insert(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			    struct writeback_extent *e);
void writeback_dirty_take(struct writeback *wb, struct writeback_chunk *chunk, size_t at,
			  size_t count);
void writeback_dirty_ready(struct writeback_extent *e);
/* Cuts [from, to) out of the dirty extents. *group becomes the oldest of itself and of those that
 * lost bytes. Returns where an extent at @from belongs. Needs a spare extent and room for it. */
size_t writeback_dirty_supersede(struct writeback *wb, struct writeback_chunk *chunk, uint64_t from,
				 uint64_t to, struct writeback_group **group);
bool writeback_chunk_in_flight_overlaps(const struct writeback_chunk *chunk, uint64_t from,
					uint64_t to);
/* A hole that began before @before (NULL: any). */
bool writeback_hole_overlaps(const struct writeback *wb, uint64_t from, uint64_t to,
			     const struct writeback_hole *before);

/* writeback_group.c */
int writeback_group_open(struct writeback *wb, bool through, struct writeback_group **out);
void writeback_group_leave(struct writeback *wb, struct writeback_group *group);
void writeback_group_fail(struct writeback *wb, struct writeback_group *group, int error);
struct writeback_group *writeback_group_older(struct writeback_group *a, struct writeback_group *b);
void writeback_group_wait(struct writeback *wb, struct writeback_group *group,
			  struct writeback_wait *wait);
/* Fires what has run empty; at the end of every public function. */
void writeback_group_settle(struct writeback *wb);
#endif
