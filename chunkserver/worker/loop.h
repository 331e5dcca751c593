/* loop.h - the state of a worker, for the files of this folder alone, and the bracket around an
 * event on its loop.
 *
 * An event tells chains something. The actions that they decide on are executed before it is over:
 *
 *   worker_event_begin()   the chains are told the time, and frames are gathered
 *   chain_...()            any number of events of chains
 *   worker_event_end()     actions are executed, frames are sent
 *
 * Thread: the worker's. Locks: worker.lock guards commands and status, for the front loop. */
#ifndef CATENA_CHUNKSERVER_WORKER_LOOP_H
#define CATENA_CHUNKSERVER_WORKER_LOOP_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uthash.h>
#include "chunkserver/chain/chain.h"
#include "chunkserver/worker/client_connections.h"
#include "chunkserver/worker/target_entry.h"
#include "chunkserver/worker/worker.h"
#include "common/base/list.h"

struct link;
struct member;
struct peer;
struct purge;
struct waiting_read;
struct worker_command;

/* One target as this worker sees it. */
struct worker_target {
	struct worker *worker;
	unsigned number;
	struct store *store;
	struct store_view *view;
	struct chain_env *env;
	struct target_entry entry; /* its number */
	bool failed;               /* the chains have been told that the store is down */
	bool low;                  /* store_is_low() */
	struct purge *purges;      /* partitions whose chunks may have to go, in turn */
	struct purge *purging;     /* one of them, of which a batch is being removed */
	uint64_t purge_at_ns;      /* not before */
};

struct worker {
	struct worker_options options;
	pthread_t thread;
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t tick, read_timer;
	pthread_mutex_t lock; /* guards commands and status */
	struct worker_command *commands, **last_command;
	struct worker_status status;

	struct worker_target *targets;
	struct buf_pool *peer_pool; /* for chunkservers' payloads: see peers.c */
	uint64_t server_id;
	uint64_t instance; /* of the cluster */
	uint64_t lease_until_ns;
	struct cluster_map *map;
	_Atomic uint64_t map_version;   /* by which everything here goes */
	_Atomic uint64_t fence_version; /* see worker_fence_version() */
	bool fence_due;                 /* it has to become the placed map's version */
	struct cluster_map *placed;     /* by which chains were configured last; NULL: none */
	struct member *members;         /* by key */
	struct member *member_list;
	struct peer *peers; /* by id */
	struct client_connections clients;
	struct copy_rate_client clients_moved; /* bytes of them, for the copy rate */
	struct link *links;
	struct waiting_read *waiting_reads;
	size_t background; /* operations of the store under way that no chain counts */
	struct worker_status status_next;
	unsigned status_ticks;
	uint64_t last_conn_id;
	void (*execute)(struct worker *worker); /* what the chains decide: execute_actions() */
	bool executing; /* chain_next() is being called, and must not be nested */
	struct chain_work *flushes, **last_flush; /* to be begun after all other actions */
	bool stopping, closed;
	uint64_t stop_deadline_ns;
};

/* Begins an event. Events may be nested: each end executes, unless actions are just being taken;
 * the outermost one sends. */
void worker_event_begin(struct worker *worker);
void worker_event_end(struct worker *worker);
/* Do the same in callbacks of connections, where frames are gathered already. */
void worker_time(struct worker *worker);
void worker_execute(struct worker *worker);
#endif
