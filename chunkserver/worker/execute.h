/* execute.h - what the chains decide becomes calls of the store and frames. */
#ifndef CATENA_CHUNKSERVER_WORKER_EXECUTE_H
#define CATENA_CHUNKSERVER_WORKER_EXECUTE_H
#include "chunkserver/worker/loop.h"

/* A read that found no buffer; tried again when one is free. */
struct waiting_read {
	struct waiting_read *next;
	struct worker_target *target;
	struct chain_work *request;
};

/* What the store needs while it works on a request. */
struct execution {
	struct worker_target *target;
	struct store_update update;
	struct store_flush flush;
	struct chain_work *next_flush; /* of those to be begun */
	struct store_read read;
};

extern const struct chain_ops execute_chain_ops; /* ctx: struct worker_target */
/* Takes and executes all actions of all targets: worker->execute. */
void execute_actions(struct worker *worker);
/* Tells the chains when the target's store is down, or back. */
void execute_check_store(struct worker_target *target);
#endif
