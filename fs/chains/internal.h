/* internal.h - struct chains_client, for the files of this folder and their tests only. What each
 * of these files offers to the others is in the header of its name.
 *
 * Locks, none taken under another: chains_client.lock (map, links being added), .ops_lock (op ids),
 * .retry_lock, and each link's lock.
 *
 * A new map may leave a request in the wrong place. It is found in one of two ways. After the map
 * has been exchanged, chains_client_set_map() looks at every link and at those that wait. Whoever
 * puts a request there after that, chosen by the map before, sees by map_count that it must look
 * again. */
#ifndef CATENA_FS_CHAINS_INTERNAL_H
#define CATENA_FS_CHAINS_INTERNAL_H
#include <pthread.h>
#include "fs/chains/client.h"
#include "fs/chains/health.h"
#include "fs/chains/retry.h"
#include "fs/chains/route.h"

#define CHAINS_LINK_BUCKETS 256u
#define CHAINS_OPS_BUCKETS  1024u

struct chains_client {
	struct chains_transport *transport;
	struct buf_pool *pool;
	char host[MAP_NAME_MAX], rack[MAP_NAME_MAX], zone[MAP_NAME_MAX];
	uint64_t soft_timeout_ns;
	void (*tick)(void *user, uint64_t now_ns);
	void *user;

	pthread_rwlock_t lock;
	struct cluster_map *map;
	unsigned link_count;
	/* Links by their server and worker, and all of them. They only ever grow; read without lock.
	 */
	_Atomic(struct chains_link *) buckets[CHAINS_LINK_BUCKETS];
	_Atomic(struct chains_link *) links;
	_Atomic uint64_t session_id;
	bool any_map;               /* the next map is taken, however old it is; under lock */
	_Atomic uint64_t map_count; /* grows with each map; written under lock */
	struct chains_health health[CHAINS_SLOTS];

	pthread_mutex_t ops_lock;
	uint64_t op_session, last_op; /* the session that the ids are of, and the last one */
	/* Updates not answered yet, by chunk, the oldest first. */
	struct chains_request *ops[CHAINS_OPS_BUCKETS];

	pthread_mutex_t retry_lock;
	struct retry_list retries[2]; /* those due soon, the others */
	uint64_t servers_count;       /* map_count of the last map in which a server changed */

	uint64_t soft_check_ns;

	pthread_mutex_t stop_lock;
	pthread_cond_t stopped;
	atomic_bool stopping;
	atomic_size_t active; /* requests between send and done() */
	uint64_t loops_ended; /* a bit for each loop */

	_Atomic uint64_t space[2], space_since; /* see note_space() */
	_Atomic uint64_t full_told_ns;          /* when ENOSPC was handed on last; 0: never */
	_Atomic uint64_t stat_requests, stat_repeats, stat_resets, stat_bad, stat_hedges;
};

/* Says whether chains_client_stop() was called: then everything ends with -EIO. */
bool chains_client_stopping(struct chains_client *client);
/* Returns what chains_route_choose() must know of this client. */
struct chains_asker chains_client_asker(struct chains_client *client);
#endif
