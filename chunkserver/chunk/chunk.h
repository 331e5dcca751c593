/* chunk.h - chunks in memory: a view's cache of records and pieces, and their open files. */
#ifndef CATENA_CHUNKSERVER_CHUNK_CHUNK_H
#define CATENA_CHUNKSERVER_CHUNK_CHUNK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/list.h"
#include "chunkserver/record/chunk_history.h"
#include "chunkserver/record/chunk_info.h"
#include "chunkserver/record/piece.h"
#include "chunkserver/chunk/file.h"
#include "chunkserver/chunk/view.h"

/* A wait for the chunk to be free; run once, at the next chunk_wake(). */
struct chunk_waiter {
	struct list link;
	void (*run)(struct chunk_waiter *waiter);
};

/* A mark says what a piece may lose in a power cut, as long as it is in kv. */
struct mark {
	bool in_kv;
	struct bits over;  /* in kv's mark: live file blocks that may be half overwritten */
	uint64_t over_seq; /* batch that last added to it */
	struct bits fresh; /* put into the file since the last flush began, not live there before */
	struct bits reclaim; /* was live in the file and is no more: hole to be punched */
	struct bits repair;  /* overwrite broken off: checksums to be taken from the file */
};

/* Stands beside a chunk whose file is not known to be durable, and keeps the chunk in memory. */
struct dirty {
	struct list link; /* view->dirty, oldest first */
	struct chunk *chunk;
	uint64_t since_ns, last_ns;
	bool file_dirty; /* the file was written since the last flush of it began */
	struct mark *marks[PIECES_MAX];
};

struct slot {
	uint32_t digest;
	struct piece *piece; /* NULL: not in memory, or nothing present when digest is 0 */
};

enum bg_kind { BG_NONE, BG_MIGRATE, BG_PUNCH, BG_REPAIR };

struct chunk {
	struct chunk_key key;
	uint64_t hash;
	struct store *store;
	struct store_view *view; /* NULL: not in a cache */
	struct chunk *hash_next;
	struct list lru; /* while pins is 0 */
	unsigned pins;
	unsigned generation;
	size_t bytes; /* as accounted in the cache */

	bool exists, unsure, has_file;
	uint64_t epoch, version;
	struct chunk_history history;
	uint32_t length, inner_count;
	uint32_t op_count, op_room;
	struct op_id *ops;
	uint32_t slot_room;
	struct slot *slots; /* pieces_of(length) are valid */

	uint64_t last_seq; /* last batch that touched it */
	uint64_t last_write_ns;
	uint64_t change; /* grows with whatever may disturb a read under way */
	struct chunk_file *file;
	struct dirty *dirty;
	struct list prepared; /* struct plan */
	struct list waiters;
	bool removing;     /* the file is about to be unlinked */
	unsigned io_plans; /* of prepared: whose file I/O is under way */

	/* Background work is under way on the file of pieces [bg_first, bg_end). */
	enum bg_kind bg;
	uint32_t bg_first, bg_end;
	struct bits *bg_changed; /* by piece: blocks changed meanwhile; NULL: not asked for */

	bool file_flush_running;
	struct list file_flush_now, file_flush_next; /* struct flush_op */
	struct list migrate;                         /* view->migrate; empty: not queued */
};

/* Gets the chunk, read if need be; it may not exist in the store. Not pinned. */
int chunk_get(struct store_view *view, const struct chunk_key *key, struct chunk **out);
/* Makes a chunk outside of any view, for offline work; ended by chunk_free(). */
struct chunk *chunk_new(struct store *store, const struct chunk_key *key);
int chunk_load(struct chunk *chunk);
void chunk_free(struct chunk *chunk);
/* Reads the chunk again when kv has been opened anew since. */
int chunk_current(struct chunk *chunk);
void chunk_pin(struct chunk *chunk);
void chunk_unpin(struct chunk *chunk);
void chunk_account(struct chunk *chunk);
/* Piece @index, or NULL in *out: nothing present there. -EBADMSG, -EIO. */
int chunk_piece(struct chunk *chunk, uint32_t index, struct piece **out);
int chunk_slots(struct chunk *chunk, uint32_t count);
void chunk_wake(struct chunk *chunk);
void chunk_wait(struct chunk *chunk, struct chunk_waiter *waiter,
		void (*run)(struct chunk_waiter *));
struct chunk_file *chunk_file_of(struct chunk *chunk); /* NULL: out of memory */
void chunk_file_drop(struct chunk *chunk);
struct dirty *chunk_dirty(struct chunk *chunk); /* made if need be; NULL: out of memory */
struct mark *chunk_mark(struct chunk *chunk, uint32_t index, bool make);
void chunk_clean(struct chunk *chunk); /* dirty is gone */

/* Brings memory and open files down to their limits, where that can be done. */
void chunk_cache_trim(struct store_view *view);
/* In memory it becomes a chunk that never was. */
void chunk_forget(struct chunk *chunk);
/* Queues the chunk when its inner blocks are to be moved to its file. */
void chunk_consider_move(struct chunk *chunk);
/* Takes it out of that queue, if it is there. */
void chunk_unqueue_move(struct chunk *chunk);
/* It has more inner blocks than may stay inside. */
bool chunk_must_move(const struct chunk *chunk);
/* Are some of the blocks waiting for their checksums to be taken from the file? */
bool chunk_repairs(const struct chunk *chunk, uint32_t first, uint32_t end);
/* A job on the chunk's file begins in the background, on pieces [first, end); it ends with
 * chunk_bg_finish(). */
void chunk_bg_begin(struct chunk *chunk, enum bg_kind kind, uint32_t first, uint32_t end,
		    struct bits *changed);
void chunk_bg_finish(struct chunk *chunk);
#endif
