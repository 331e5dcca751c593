/* writeback_internal.h - shared by the writeback_*.c files only. */
#ifndef CATENA_FS_DATA_WRITEBACK_INTERNAL_H
#define CATENA_FS_DATA_WRITEBACK_INTERNAL_H
#include <stdatomic.h>
#include "fs/data/writeback.h"

struct wb_mem {
	struct buf *buf;
	atomic_uint refs; /* extents and pins; only a sole extent's bytes may be changed */
	unsigned extents; /* of the file's, guarded like it */
	size_t charge;
	atomic_size_t *counter; /* that has it too; NULL: none */
	bool own;               /* the buffer is ours, with room behind the bytes */
};

struct wb_group {
	struct wb_group *prev, *next;
	uint64_t sequence;
	size_t pending; /* extents and holes */
	bool closed;    /* takes no new ones (but may get those that replace) */
	bool through;   /* of one write that has its own wait */
	struct wb_wait *waits;
};

struct wb_chunk {
	struct wb_chunk *hash_next;
	struct wb_chunk *prev, *next; /* chunks with something dirty */
	uint32_t index;
	bool forgotten; /* of the file's former self; out of the table */
	unsigned holes; /* punches of this chunk not yet answered */
	unsigned in_flight_count;
	struct wb_extent **in_flight;
	size_t dirty_count, dirty_room, ready_count;
	struct wb_extent **dirty; /* by offset, never overlapping */
	uint64_t answered, answered_epoch, synced;
	uint64_t unsynced_bytes;      /* answered since all was synced */
	struct chains_answered known; /* for who sends: answered if not synced, else 0 */
};

struct writeback {
	uint32_t chunk_size;
	unsigned in_flight_max;
	struct buf_pool *pool;
	atomic_size_t *(*counter)(void *arg, uint32_t index);
	void *counter_arg;
	struct wb_chunk **table;
	size_t table_size, chunk_count;
	struct wb_chunk *dirty; /* list; writeback_next() begins at its head */
	struct wb_group *oldest;
	uint64_t group_sequence;
	struct wb_hole *holes; /* in order of their beginning */
	struct wb_wait *fired, **fired_end;
	int error;
	bool unsettled; /* a group has run empty */
	size_t dirty_total, in_flight_total, unsynced_total, memory;
	/* Spare structs, so that a write cannot fail half way. */
	struct wb_extent *spare;
	unsigned spare_count;
};

static inline uint64_t wb_end(const struct wb_extent *e)
{
	return e->offset + e->length;
}

static inline bool wb_unsynced(const struct wb_chunk *chunk)
{
	return chunk->answered > chunk->synced;
}

/* writeback_chunk.c: chunks, extents, memory */
struct wb_chunk *wb_chunk_find(const struct writeback *wb, uint32_t index);
int wb_chunk_get(struct writeback *wb, uint32_t index, struct wb_chunk **out);
void wb_chunk_settle(struct writeback *wb, struct wb_chunk *chunk); /* frees it when idle */
void wb_chunk_free(struct wb_chunk *chunk);
void wb_chunk_answered(struct writeback *wb, struct wb_chunk *chunk, uint64_t version,
		       uint64_t epoch, uint64_t bytes, bool synced);
void wb_chunk_synced(struct writeback *wb, struct wb_chunk *chunk, uint64_t version);
/* After an update has failed: its copies may have lost what was answered, and the error has been
 * kept. From now on the versions that they have count, and there is still something to be synced.
 */
void wb_chunk_failed(struct wb_chunk *chunk, int error);
void wb_chunk_tell(struct wb_chunk *chunk); /* sets known */
/* Makes sure that so many wb_extent_new() succeed. */
int wb_spare_fill(struct writeback *wb, unsigned count);
struct wb_extent *wb_extent_new(struct writeback *wb, struct wb_chunk *chunk,
				struct wb_group *group);
/* Leaves its memory and its group. */
void wb_extent_free(struct writeback *wb, struct wb_extent *e);
void wb_extent_join(struct writeback *wb, struct wb_extent *e, struct wb_group *group);
struct wb_mem *wb_mem_new(struct buf *buf, size_t charge, bool own); /* takes @buf over */
void wb_mem_attach(struct writeback *wb, struct wb_extent *e, struct wb_mem *mem);
void wb_mem_detach(struct writeback *wb, struct wb_extent *e);
int wb_dirty_room(struct wb_chunk *chunk, size_t more);
/* The first dirty extent that ends behind @offset. */
size_t wb_dirty_find(const struct wb_chunk *chunk, uint64_t offset);
void wb_dirty_insert(struct writeback *wb, struct wb_chunk *chunk, size_t at, struct wb_extent *e);
void wb_dirty_take(struct writeback *wb, struct wb_chunk *chunk, size_t at, size_t count);
void wb_dirty_ready(struct wb_extent *e);
/* Cuts [from, to) out of the dirty extents. *group becomes the oldest of itself and of those that
 * lost bytes. Returns where an extent at @from belongs. Needs a spare extent and room for it. */
size_t wb_supersede(struct writeback *wb, struct wb_chunk *chunk, uint64_t from, uint64_t to,
		    struct wb_group **group);
bool wb_in_flight_overlaps(const struct wb_chunk *chunk, uint64_t from, uint64_t to);
/* A hole that began before @before (NULL: any). */
bool wb_hole_overlaps(const struct writeback *wb, uint64_t from, uint64_t to,
		      const struct wb_hole *before);

/* writeback_group.c */
int wb_group_open(struct writeback *wb, bool through, struct wb_group **out);
void wb_group_leave(struct writeback *wb, struct wb_group *group);
void wb_group_fail(struct writeback *wb, struct wb_group *group, int error);
struct wb_group *wb_group_older(struct wb_group *a, struct wb_group *b);
void wb_group_wait(struct writeback *wb, struct wb_group *group, struct wb_wait *wait);
/* Fires what has run empty; at the end of every public function. */
void wb_group_settle(struct writeback *wb);
#endif
