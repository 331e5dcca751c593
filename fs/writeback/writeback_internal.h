/* writeback_internal.h - the structs that the writeback_*.c files share. What each of these files
 * offers to the others is in the header of its name. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_INTERNAL_H
#define CATENA_FS_WRITEBACK_WRITEBACK_INTERNAL_H
#include <stdatomic.h>
#include "fs/writeback/writeback.h"

/* The memory of a payload, which extents share. */
struct writeback_buffer {
	struct buf *buf;
	atomic_uint refs; /* extents and pins; a sole extent's bytes may be changed, no others */
	unsigned extents; /* of the refs; serialised like the write-back */
	size_t charge;    /* bytes that it is counted with */
	atomic_size_t *counter; /* of the chunk, where it is counted too; NULL: none */
	bool own;               /* we allocated it, with room behind the bytes */
};

struct writeback_group {
	struct writeback_group *prev, *next;
	uint64_t sequence;
	size_t pending; /* extents and holes */
	bool closed;    /* takes no new ones, only those that replace bytes of its own */
	bool through;   /* of one write that has its own wait */
	struct writeback_wait *waits;
};

struct writeback_chunk {
	struct writeback_chunk *hash_next;
	struct writeback_chunk *prev, *next; /* chunks with something dirty */
	uint32_t index;
	bool forgotten; /* its file was dropped while something was under way; out of the table */
	unsigned holes; /* punches of this chunk not yet answered */
	unsigned in_flight_count;
	struct writeback_extent **in_flight;
	size_t dirty_count, dirty_room, ready_count;
	struct writeback_extent **dirty;   /* by offset, never overlapping */
	uint64_t answered, answered_epoch; /* the highest version answered, and its epoch */
	uint64_t flushed;                  /* the highest version that is durable */
	uint64_t unflushed_bytes;          /* answered since all was durable */
	struct chains_answered known;      /* for senders: answered, or 0 if that is durable */
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
	bool unsettled; /* a group has run empty: writeback_group_settle() has work */
	size_t dirty_total, in_flight_total, unflushed_total, memory;
	/* Spare structs, so that a write cannot fail half way. Linked by user. */
	struct writeback_extent *spare;
	unsigned spare_count;
};
#endif
