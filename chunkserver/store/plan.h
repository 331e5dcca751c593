/* plan.h - an update between its prepare and its commit: what it will do to each block. */
#ifndef CATENA_CHUNKSERVER_STORE_PLAN_H
#define CATENA_CHUNKSERVER_STORE_PLAN_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/disk/jobs.h"
#include "chunkserver/record/bits.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/chunk/file.h"
#include "chunkserver/store/store.h"

/* A block of which the update sets only [from, to). */
struct edge {
	uint32_t block;
	uint32_t from, to;
	bool in_file; /* the rest is to be read from the file */
	bool stale;   /* another update changed the block since */
	uint32_t base_crc, crc;
	uint8_t *bytes; /* BLOCK_SIZE, aligned */
};

struct plan {
	struct job job;
	struct flush_wait wait;
	struct chunk_waiter waiter;
	struct list link; /* chunk->prepared */
	struct plan *next_free;
	struct store_view *view;
	struct store_update *update;
	struct chunk *chunk; /* pinned */
	struct chunk_file *file;
	struct buf *payload;
	uint32_t first, end;                 /* blocks touched */
	uint32_t first_piece;                /* WRITE: of the sets below */
	struct bits to_file[2], in_place[2]; /* in_place: of to_file, live before */
	unsigned edge_count;
	struct edge edges[2];
	uint64_t promised;
	bool linked, wrote, cancelled;
	bool prepared; /* done has been called with 0 */
	int error;
};

static inline bool plan_uses_file(const struct plan *plan)
{
	return bits_any(&plan->to_file[0]) || bits_any(&plan->to_file[1]);
}

/* Where the bytes of the payload for @block begin, from byte @from of the block on. */
static inline const uint8_t *plan_payload_at(const struct plan *plan, uint32_t block, uint32_t from)
{
	return buf_payload(plan->payload) + (block * BLOCK_SIZE + from - plan->update->offset);
}

/* NULL: out of memory. */
struct plan *plan_new(struct store_view *view, struct store_update *update);
void plan_free(struct plan *plan);
/* Frees the plans that the view keeps for the next updates. */
void plan_free_kept(struct store_view *view);
/* Ends an update without a commit; what it overwrote is looked at again. */
void plan_drop(struct plan *plan);
/* Blocks [first, end) may not be read, or their file blocks not written, now. */
bool plan_conflicts(struct chunk *chunk, uint32_t first, uint32_t end, bool for_read);
#endif
