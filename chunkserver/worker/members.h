/* members.h - the chains of a worker, by partition.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_MEMBERS_H
#define CATENA_CHUNKSERVER_WORKER_MEMBERS_H
#include "chunkserver/worker/loop.h"

/* A chain of this worker. */
struct member {
	struct chain *chain;
	struct worker_target *target;
	uint32_t pool, partition;
	struct link *link;        /* to the successor's server; NULL: none wanted */
	bool configured;          /* and its link is not chosen yet */
	struct member *hash_next; /* same partition on another target */
	struct member *prev, *next;
	UT_hash_handle hh;
	uint64_t key; /* pool << 32 | partition */
};

/* Finds the chain of a partition: on @target_id, or, with 0, the first one. NULL: none. */
struct member *member_find(struct worker *worker, uint32_t pool, uint32_t partition,
			   uint32_t target_id);
/* Adds a chain for the partition on @target. Never NULL. */
struct member *member_add(struct worker *worker, struct worker_target *target, uint32_t pool,
			  uint32_t partition);
/* Frees all of them. Links and operations of the store must be gone. */
void members_free(struct worker *worker);
#endif
