/* internal.h - shared by the files of fs/chains/ and their tests only.
 *
 * Locks, none taken under another: chains_client.lock (map, links being added), .ops_lock (op ids),
 * .retry_lock, and each link's lock.
 *
 * A request is found out to be in the wrong place in one of two ways: chains_client_set_map() looks
 * at every link, and at those that wait, after the map has been exchanged; and whoever puts a
 * request there after that, with a member chosen by the map before, sees by map_count that it must
 * look again. */
#ifndef CATENA_FS_CHAINS_INTERNAL_H
#define CATENA_FS_CHAINS_INTERNAL_H
#include <pthread.h>
#include "fs/chains/client.h"
#include "fs/chains/route.h"

/* ---- chains, by chains_slot(): health.c ---- */

/* So many requests of a stuck chain are tried again by themselves; when one succeeds, all are.
 * Thousands that were refused and come again do good to nobody. While anybody is parked there are
 * as many probes as this: one that ends hands its place on. */
#define CHAINS_HEALTH_PROBES 64u

struct chains_health {
	struct chains_progress {
		atomic_uint under_way;
		_Atomic uint64_t progress_ns; /* of the last answer, or of the beginning */

		/* Under retry_lock; parked_count is read without. */
		unsigned probes;
		atomic_uint parked_count;
		struct chains_request *parked; /* as they came */
		bool parked_mixed;             /* of several chains */
	} progress[2];                         /* reads; updates and flushes */
};

struct chains_progress *chains_health_progress(struct chains_client *client,
					       const struct chains_request *request);
void chains_health_begin(struct chains_client *client, struct chains_request *request);
void chains_health_end(struct chains_client *client, struct chains_request *request, bool answered);

/* ---- links ---- */

#define CHAINS_LINK_BUCKETS 256u
#define CHAINS_LINK_NO_SLOT UINT32_MAX
#define CHAINS_OPS_BUCKETS  1024u

enum chains_link_state {
	CHAINS_LINK_IDLE,       /* no connection, nobody wants one, or not yet again */
	CHAINS_LINK_CONNECTING, /* until HELLO has been answered */
	CHAINS_LINK_UP,
};

struct chains_link_slot {
	struct chains_request *request; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

/* The way to one worker of one server. Never freed before the client. */
struct chains_link {
	struct chains_client *client;
	struct chains_link *bucket_next, *all_next; /* set before it is published */
	uint64_t server_id;
	uint32_t worker;
	unsigned loop;

	pthread_mutex_t lock;
	enum chains_link_state state;
	bool reset;          /* the loop is to close the connection */
	void *conn;          /* with the loop's reference */
	uint64_t not_before; /* next try */
	uint64_t failed_ns;  /* last try that failed */
	unsigned failures;
	bool recheck; /* requests may have come with an old map */
	uint64_t hedge_ns;
	struct chains_link_slot *slots;
	uint32_t slot_count, free_slot;
	struct chains_request *waiting, **waiting_end; /* for the connection */
	uint64_t quiet_since;                          /* we have been waiting for a word */
	bool pinged;
	uint64_t pinged_ns;
	char address[MAP_NAME_MAX]; /* of the connection */

	atomic_uint under_way;
	atomic_bool down, silent;
};

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
	_Atomic(struct chains_link *)
		buckets[CHAINS_LINK_BUCKETS]; /* only ever grow; read without lock */
	_Atomic(struct chains_link *) links;
	_Atomic uint64_t session_id;
	bool any_map;               /* the next one is taken, however old it is; under lock */
	_Atomic uint64_t map_count; /* grows with each map; written under lock */
	struct chains_health health[CHAINS_SLOTS];

	pthread_mutex_t ops_lock;
	uint64_t op_session, last_op;
	struct chains_request
		*ops[CHAINS_OPS_BUCKETS]; /* not yet answered, by chunk; oldest first */

	pthread_mutex_t retry_lock;
	/* Those that are due soon and those that are not, so that many of the latter cost little.
	 */
	struct retry_list {
		struct chains_request *first;
		uint64_t look_ns; /* the first may be due then */
	} retries[2];
	uint64_t servers_count; /* map_count of the last map in which a server is another */
	uint64_t soft_check_ns;

	pthread_mutex_t stop_lock;
	pthread_cond_t stopped;
	atomic_bool stopping;
	atomic_size_t active; /* requests */
	uint64_t loops_ended; /* a bit for each */

	_Atomic uint64_t space[2], space_since;
	_Atomic uint64_t full_told_ns; /* ENOSPC was handed on last; 0: never */
	_Atomic uint64_t stat_requests, stat_repeats, stat_resets, stat_bad, stat_hedges;
};

struct chains_link *chains_link_get(struct chains_client *client, uint64_t server_id,
				    uint32_t worker, bool make);

/* link.c */
/* The link owns the request then, until it gives it to one of the three below. */
void chains_link_send(struct chains_link *link, struct chains_request *request);
void chains_link_reset(struct chains_link *link);
void chains_link_tick(struct chains_link *link, uint64_t now);
/* Requests under way since before @start_ns, linked by next. */
struct chains_request *chains_link_take_old(struct chains_link *link, uint64_t start_ns);
/* All that @take wants; they are the caller's then. Lock held. */
struct chains_request *
chains_link_take(struct chains_link *link,
		 bool (*take)(struct chains_request *request, const void *arg), const void *arg);

/* watch.c */
/* Requests for whose chain this is not the member to ask any more are sent anew; a server that has
 * moved is connected to again. @old may be NULL. */
void chains_watch_new_map(struct chains_link *link, const struct cluster_map *old,
			  const struct cluster_map *map);
/* Asks others what this one does not answer. When to look again; UINT64_MAX: no need. */
uint64_t chains_watch_hedge(struct chains_link *link, uint64_t now);
/* The link's server cannot be reached. */
bool chains_watch_unreachable(struct chains_link *link, uint64_t now);

/* retry.c */
void chains_retry_at(struct chains_client *client, struct chains_request *request, uint64_t at_ns);
/* Ends with @error at the next tick. */
void chains_retry_fail(struct chains_client *client, struct chains_request *request, int error);
void chains_retry_later(struct chains_client *client, struct chains_request *request);
/* The map says that nobody is there to be asked. */
void chains_retry_with_map(struct chains_client *client, struct chains_request *request);
void chains_retry_all(struct chains_client *client);
/* @request is over: what was parked until one of its chain is answered goes, and if it was a probe
 * there is another. */
void chains_retry_finished(struct chains_client *client, struct chains_request *request,
			   bool answered);
/* Those for which the new map, the @map_count'th, changes something. */
void chains_retry_map(struct chains_client *client, const struct cluster_map *old,
		      const struct cluster_map *map, uint64_t map_count);
void chains_retry_tick(struct chains_client *client, uint64_t now);

/* request.c */
void chains_request_answered(struct chains_client *client, struct chains_request *request,
			     const struct frame_header *answer, struct buf *payload);
/* The connection was lost, or could not be made. */
void chains_request_lost(struct chains_client *client, struct chains_request *request);
/* Another attempt, now. */
void chains_request_route(struct chains_client *client, struct chains_request *request);
void chains_request_finish(struct chains_client *client, struct chains_request *request, int error,
			   const struct frame_header *answer, struct buf *payload);
/* Another attempt, of another member than the one asked last. */
void chains_request_elsewhere(struct chains_client *client, struct chains_request *request);
bool chains_client_stopping(struct chains_client *client);
struct chains_asker chains_client_asker(struct chains_client *client);

/* ops.c */
/* An update that is over. @lingers: its id may stay with the chunk, where there is little room.
 * True: so may some, and none of the chunk's updates is open any more: chains_ops_close(). */
bool chains_ops_forget(struct chains_client *client, struct chains_request *request, bool lingers);
/* Tells the chunk's members that all updates of @session were answered; as long as that one lives.
 */
void chains_ops_close(struct chains_client *client, const struct chunk_key *key, uint64_t session);
/* The session that the update is of is over: it must not be sent any more. */
bool chains_ops_void(struct chains_client *client, const struct chains_request *request);
/* What goes out with an attempt. False: nothing may, see chains_ops_void(). */
bool chains_ops_header(struct chains_client *client, struct chains_request *request,
		       struct frame_header *header);
#endif
