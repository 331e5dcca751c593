/* client.h - requests to the chains: to which member each goes, on which connection, and what
 * happens when it is not answered.
 *
 * Updates and flushes go to the head; reads and stats to the nearest or least busy in-sync member.
 * The story of a request is in request.c. A partition without a chain has never been written: its
 * chunks are absent.
 *
 * A chunk keeps the ids of updates until their client says of a later one that they were answered.
 * When no later one may come, and the head says that there are many, the chunk is closed: an update
 * is sent that says only this. No program waits for it.
 *
 * Thread: any; done() is called on a loop's thread, never in the call. Locks: none held by the
 * caller, and none during done(). */
#ifndef CATENA_FS_CHAINS_CLIENT_H
#define CATENA_FS_CHAINS_CLIENT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "fs/chains/request.h"
#include "fs/chains/transport.h"

struct chains_client;
struct chains_request;

struct chains_client_options {
	struct chains_transport *transport; /* borrowed */
	struct buf_pool *pool;              /* borrowed */
	const char *host, *rack, *zone;     /* copied; may be NULL */
	uint64_t soft_timeout_ns;           /* 0: none */
	/* Called on loop 0's thread at the time last asked for with chains_client_wake(), or
	 * earlier. */
	void (*tick)(void *user, uint64_t now_ns);
	void *user;
};

int chains_client_create(const struct chains_client_options *options, struct chains_client **out);
/* Fails all requests with -EIO, closes the connections, stops the transport. Not on a loop's
 * thread. */
void chains_client_stop(struct chains_client *client);
/* After stop. NULL is allowed. */
void chains_client_destroy(struct chains_client *client);

/* Unless it is older than the one there is. */
void chains_client_set_map(struct chains_client *client, struct cluster_map *map);
/* The master is another process, and its store may be an older one, whose maps have lower versions:
 * the next map is taken whatever its version. */
void chains_client_other_master(struct chains_client *client);
/* Sets the session. Nothing is sent before there is a session and a map. Updates belong to their
 * session for good: unanswered ones of another end with -EIO, and none is sent under the new id.
 * Reads and flushes go on. */
void chains_client_set_session(struct chains_client *client, uint64_t session_id);
uint64_t chains_client_session(struct chains_client *client); /* 0: none yet */
/* Returns a reference to the newest map; NULL: there is none yet. */
struct cluster_map *chains_client_map(struct chains_client *client);

void chains_client_send(struct chains_client *client, struct chains_request *request);
/* Makes the request end with -ECANCELED instead of being tried again: its result is not wanted any
 * more. Allowed between send and done only. */
void chains_client_cancel(struct chains_request *request);
/* Gathers small frames that this thread sends, between a call with @begin and one without. */
void chains_client_batch(struct chains_client *client, bool begin);

uint64_t chains_client_now(struct chains_client *client);
void chains_client_wake(struct chains_client *client, uint64_t at_ns);
/* Says whether updates (@update; else reads) of the chains of @slot are under way and none was
 * answered for CHAINS_STUCK_NS. */
bool chains_client_stuck(struct chains_client *client, uint32_t slot, bool update);
/* Lists at most @max servers, online by the map, that a request here wants and cannot reach. */
size_t chains_client_unreachable(struct chains_client *client, uint64_t *servers, size_t max);
/* Returns the free bytes of the fullest member that has answered an update lately; UINT64_MAX: none
 * has. */
uint64_t chains_client_space_left(struct chains_client *client);

struct chains_client_stats {
	uint64_t requests, repeats, resets, bad_blocks, hedges;
};
void chains_client_stats(struct chains_client *client, struct chains_client_stats *out);
#endif
