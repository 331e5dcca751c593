/* worker.h - one event loop of the chunkserver, with the chains that are on it.
 *
 * A worker owns the partitions p with p % workers == index: their chain members on each target, the
 * links to their successors, and the connections whose HELLO names the worker. No other thread
 * touches these. The front loop (server.h) hands it connections, maps, leases and removals as
 * commands; the worker executes them on its own loop, in order.
 *
 * Thread: the front loop's, where nothing else is said. */
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

/* A chunk that the master has ordered to be deleted, by the chain of @epoch. */
struct chunk_order {
	struct chunk_key key;
	uint64_t epoch;
};

/* @again (borrowed): chunks that are gone, but may come back; see chain_chunk_removed(). */
typedef void worker_removed_fn(void *user, int error, const struct chunk_order *again,
			       size_t count);

/* The progress of a successor that catches up: see CatchupProgress in catena.proto. */
struct worker_catchup {
	uint32_t pool, partition;
	uint64_t epoch;
	uint32_t target_id;
	uint64_t compared, copied;
	bool damaged;
};

/* The state that the master is told with each heartbeat, some ticks old. */
struct worker_status {
	size_t unreachable_count, catchup_count;
	uint64_t unreachable[WORKER_UNREACHABLE_MAX]; /* servers of successors */
	struct worker_catchup catchups[WORKER_CATCHUPS_MAX];
};

/* Thread: the worker's, for the calls. */
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

/* Starts its thread and loop. @options is copied. Errors: -errno. */
int worker_start(const struct worker_options *options, struct worker **out);
/* Sets the server's id and the ids of its targets, 0 for a refused one, after each registration.
 * A target's id never changes while the process lives, once it has one. A target that gets its id
 * is placed by a map that is set after this call, and is of @map_version or later. */
void worker_set_identity(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
			 uint64_t map_version);
/* Sets the cluster's instance, before the identity; it never changes. */
void worker_set_instance(struct worker *worker, uint64_t instance);
/* Sets the map, of which the worker takes a reference. An older one than it has is ignored. */
void worker_set_map(struct worker *worker, struct cluster_map *map);
/* Returns the version of the map by which the worker goes; 0: none yet. Thread: any. */
uint64_t worker_map_version(const struct worker *worker);
/* Returns the highest version of a map that was placed here and has fenced: of the sessions that
 * are over by it, no connection and no update was left here at some time since. 0: none yet.
 * Thread: any. */
uint64_t worker_fence_version(const struct worker *worker);
/* Allows serving until then, by the boot-time clock. */
void worker_set_lease(struct worker *worker, uint64_t until_ns);
/* Takes over a detached connection whose HELLO was checked and answered. */
void worker_adopt(struct worker *worker, struct conn *conn, const struct hello *hello);
/* Deletes chunks of this worker's partitions from the target @store. @done is called on the
 * worker's thread when they are gone durably, or with -errno; with -ECANCELED on the caller's, when
 * the worker stops first. @chunks is copied, @count is not 0. */
void worker_remove(struct worker *worker, unsigned store, const struct chunk_order *chunks,
		   size_t count, worker_removed_fn *done, void *user);
/* Copies the newest status of the worker. */
void worker_status(struct worker *worker, struct worker_status *status);
/* Stops serving, waits at most @timeout_ns for requests under way, closes everything, joins the
 * thread, and frees the worker. */
void worker_stop(struct worker *worker, uint64_t timeout_ns);
#endif
