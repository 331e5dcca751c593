/* execute.h - actions of chains become operations of the store and frames.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_EXECUTE_H
#define CATENA_CHUNKSERVER_WORKER_EXECUTE_H
#include "chunkserver/worker/loop.h"

/* A read that waits for a buffer. */
struct waiting_read {
	struct waiting_read *next;
	struct worker_target *target;
	struct chain_work *request;
};

/* The operations of the store for a request: chain_work.scratch. */
struct execution {
	struct worker_target *target;
	struct store_update update;
	struct store_flush flush;
	struct chain_work *next_flush; /* in worker->flushes */
	struct store_read read;
};

extern const struct chain_ops execute_chain_ops; /* ctx: struct worker_target */
/* Takes and executes all actions of all targets: worker->execute. */
void execute_actions(struct worker *worker);
/* Tells the chains when the target's store is down, or back. */
void execute_check_store(struct worker_target *target);
#endif
