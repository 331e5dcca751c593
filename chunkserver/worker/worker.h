/* worker.h - one event loop of the chunkserver and everything that happens on it.
 *
 * A worker owns the partitions p with p % workers == index: their chain members on each target,
 * the links to their successors, and the client and predecessor connections that asked for it. What
 * is for it alone is never touched by another thread; the front loop (server.h) hands it new
 * connections, maps, leases and removals, which the worker takes up on its own loop in order.
 *
 * Threading: every function is called on the front loop's thread. */
#ifndef CATENA_CHUNKSERVER_WORKER_WORKER_H
#define CATENA_CHUNKSERVER_WORKER_WORKER_H
#include <stdint.h>
#include <uv.h>
#include "chunkserver/worker/copy_rate.h"
#include "chunkserver/worker/chain_reports.h"
#include "chunkserver/store/store.h"
#include "common/os/buf.h"
#include "common/cluster/chunk.h"
#include "common/cluster/cluster_map.h"
#include "common/net/conn.h"
#include "common/net/hello.h"

#define WORKER_UNREACHABLE_MAX 64u
#define WORKER_CATCHUPS_MAX    64u

struct worker;

/* How far the making equal of a successor has come: see SyncProgress in catena.proto. */
struct worker_catchup {
	uint32_t pool, partition;
	uint64_t epoch;
	uint32_t target_id;
	uint64_t compared, copied;
	bool damaged;
};

/* What the master wants to know with each heartbeat, some ticks old. */
struct worker_status {
	size_t unreachable_count, catchup_count;
	uint64_t unreachable[WORKER_UNREACHABLE_MAX]; /* servers of successors */
	struct worker_catchup catchups[WORKER_CATCHUPS_MAX];
};

/* Called on the worker's thread. */
struct worker_events {
	void (*report)(void *user, const struct report *report); /* to the master, at once */
	void (*changed)(void *user); /* the state of a target, or who is unreachable */
	void (*placed)(void *user);  /* worker_map_version(), worker_fence_version() have grown */
	void *user;
};

struct worker_options {
	uint32_t index, workers;
	const char *cluster;
	SSL_CTX *tls; /* for links to successors; borrowed, as all below */
	struct buf_pool *pool;
	struct store **stores; /* one for each target */
	unsigned store_count;
	struct copy_rate *copy_rate; /* of the process */
	struct worker_events events;
};

/* Starts its thread and loop. */
int worker_start(const struct worker_options *options, struct worker **out);
/* Who we are, by the master: our server id, and the id of each target, 0 for one that is refused.
 * Again after each registration; an id never changes into another one while the process lives. A
 * target that gets one is placed by a map set after this call, of @map_version or later. */
void worker_set_identity(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
			 uint64_t map_version);
/* The cluster's instance, before the identity; it never changes. */
void worker_set_instance(struct worker *worker, uint64_t instance);
void worker_set_map(struct worker *worker,
		    struct cluster_map *map); /* takes a reference of its own */
/* The version of the map by which the worker goes; 0: none yet. Any thread. */
uint64_t worker_map_version(const struct worker *worker);
/* The highest version of a map that was placed here, and of whose sessions that are over there was
 * no connection and no update here any more, at some time since; 0: none yet. Any thread. */
uint64_t worker_fence_version(const struct worker *worker);
/* Serving is allowed until then, by the monotonic clock. */
void worker_set_lease(struct worker *worker, uint64_t until_ns);
/* Takes over a detached connection whose HELLO was checked and answered. */
void worker_adopt(struct worker *worker, struct conn *conn, const struct hello *hello);
/* Deletes chunks of the target @store; they are of this worker's partitions. @done is called on the
 * worker's thread when they are gone durably, or with -errno. @keys is copied. */
void worker_remove(struct worker *worker, unsigned store, const struct chunk_key *keys,
		   size_t count, void (*done)(void *user, int error), void *user);
/* The newest status of the worker. */
void worker_status(struct worker *worker, struct worker_status *status);
/* Stops serving, lets what is under way end for at most @timeout_ns, closes everything, joins, and
 * frees. */
void worker_stop(struct worker *worker, uint64_t timeout_ns);
#endif
