/* purge.h - deleting the chunks of partitions that a target has no part in any more. See purge.c.
 *
 * purge_list.c has the partitions that may have to be purged, purge.c removes their chunks.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_PURGE_H
#define CATENA_CHUNKSERVER_WORKER_PURGE_H
#include "chunkserver/worker/loop.h"

struct purge {
	uint32_t pool, partition;
	uint64_t key;
	uint64_t removed; /* chunks */
	bool removed_now; /* chunks, in this pass: another pass has to find none */
	bool begun;       /* after is valid */
	bool wanted;      /* to be placed when the batch under way has ended */
	struct chunk_key after;
	UT_hash_handle hh;
};

/* Lists a partition whose chain does not name the target: its chunks go, if there are any. */
void purge_list_add(struct worker_target *target, uint32_t pool, uint32_t partition);
/* True while chunks of the partition are being deleted: its chain must not become a member then.
 * place_again() is called when it may. */
bool purge_list_holds(struct worker_target *target, uint32_t pool, uint32_t partition);
/* Takes a partition off the list, and frees @purge. */
void purge_list_drop(struct worker_target *target, struct purge *purge);
/* Lets all others on the list have their turn first. */
void purge_list_put_last(struct worker_target *target, struct purge *purge);
void purge_list_free(struct worker_target *target);
/* Begins to remove a batch of chunks of each target that is due. */
void purge_tick(struct worker *worker, uint64_t now_ns);
#endif
