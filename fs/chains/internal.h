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
	CHAINS_LINK_IDLE,       /* no connection: none is wanted, or the next try is not due */
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
/* Sends the request, which the link owns from then on. */
void chains_link_send(struct chains_link *link, struct chains_request *request);
void chains_link_reset(struct chains_link *link);
void chains_link_tick(struct chains_link *link, uint64_t now);
/* Takes out the requests under way since before @start_ns; they are linked by next. */
struct chains_request *chains_link_take_old(struct chains_link *link, uint64_t start_ns);
/* Takes out all requests that @take wants; they are the caller's then. Locks: the link's. */
struct chains_request *
chains_link_take(struct chains_link *link,
		 bool (*take)(struct chains_request *request, const void *arg), const void *arg);

/* watch.c */
/* Sends those requests anew that this member is not to be asked any more, and connects again to a
 * server that has moved. @old may be NULL. */
void chains_watch_new_map(struct chains_link *link, const struct cluster_map *old,
			  const struct cluster_map *map);
/* Asks other members what this one does not answer. Returns when to look again; UINT64_MAX:
 * never. */
uint64_t chains_watch_hedge(struct chains_link *link, uint64_t now);
/* Says whether the link's server cannot be reached. */
bool chains_watch_unreachable(struct chains_link *link, uint64_t now);

/* retry.c */
void chains_retry_at(struct chains_client *client, struct chains_request *request, uint64_t at_ns);
/* Ends the request with @error at the next tick. */
void chains_retry_fail(struct chains_client *client, struct chains_request *request, int error);
void chains_retry_later(struct chains_client *client, struct chains_request *request);
/* Waits for a map, because this one has no member that can be asked. */
void chains_retry_with_map(struct chains_client *client, struct chains_request *request);
void chains_retry_all(struct chains_client *client);
/* Notes that @request is over. Requests parked until one of its chain is answered go on; a probe
 * hands its place to the next. */
void chains_retry_finished(struct chains_client *client, struct chains_request *request,
			   bool answered);
/* Tries those requests at once for which the new map, the @map_count'th, changes something. */
void chains_retry_map(struct chains_client *client, const struct cluster_map *old,
		      const struct cluster_map *map, uint64_t map_count);
void chains_retry_tick(struct chains_client *client, uint64_t now);

/* request.c */
void chains_request_answered(struct chains_client *client, struct chains_request *request,
			     const struct frame_header *answer, struct buf *payload);
/* Tries the request again after its connection was lost, or could not be made. */
void chains_request_lost(struct chains_client *client, struct chains_request *request);
/* Makes another attempt, now. */
void chains_request_route(struct chains_client *client, struct chains_request *request);
void chains_request_finish(struct chains_client *client, struct chains_request *request, int error,
			   const struct frame_header *answer, struct buf *payload);
/* Makes another attempt, with another member than the one asked last. */
void chains_request_elsewhere(struct chains_client *client, struct chains_request *request);
bool chains_client_stopping(struct chains_client *client);
struct chains_asker chains_client_asker(struct chains_client *client);

/* ops.c */
/* Ends an update's id. @lingers: the chunk may keep it, and has little room for ids. True: the
 * chunk may keep some, and no update of it is open any more; then chains_ops_close() should
 * follow. */
bool chains_ops_forget(struct chains_client *client, struct chains_request *request, bool lingers);
/* Tells the chunk's members that all updates of @session were answered, if it is the session
 * still. */
void chains_ops_close(struct chains_client *client, const struct chunk_key *key, uint64_t session);
/* Says whether the update's session is over: then it must not be sent any more. */
bool chains_ops_void(struct chains_client *client, const struct chains_request *request);
/* Fills the header of an attempt. False: nothing may go out, see chains_ops_void(). */
bool chains_ops_header(struct chains_client *client, struct chains_request *request,
		       struct frame_header *header);
#endif
