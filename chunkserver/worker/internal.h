/* internal.h - what the worker's files share; nobody else includes it.
 *
 * Everything here is touched by the worker's own thread alone, but what stands under its lock. */
#ifndef CATENA_CHUNKSERVER_WORKER_INTERNAL_H
#define CATENA_CHUNKSERVER_WORKER_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uthash.h>
#include "chunkserver/chain/chain.h"
#include "chunkserver/worker/client_connections.h"
#include "chunkserver/worker/target_entry.h"
#include "chunkserver/worker/worker.h"
#include "common/base/duration.h"
#include "common/base/list.h"

#define PEER_REQUESTS_MAX 256u        /* of one client connection, before it is paused */
#define PEER_BYTES_MAX    (64u << 20) /* likewise, payloads */
#define PEER_QUEUED_MAX   (64u << 20) /* answers that it has not read */
/* A paused one goes on when its queue is empty at the latest, which is told of such queues only. */
_Static_assert(PEER_QUEUED_MAX / 2 >= CONN_DRAINED_MIN, "drained() ends a pause");
#define PEER_STUCK_NS      (60 * NS_PER_SEC) /* without reading anything of them */
#define LINK_RETRY_MIN_NS  (20 * NS_PER_MSEC)
#define LINK_RETRY_MAX_NS  (500 * NS_PER_MSEC)
#define LINK_PING_TICKS    10u  /* nothing heard: ask */
#define LINK_SILENCE_TICKS 100u /* nothing heard: over */
/* Not up, or nothing heard: the master is told, 1.5 s. */
#define LINK_UNREACHABLE_TICKS 30u

struct worker;

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
	struct purge *purges;      /* partitions whose chunks may be to be deleted, in turn */
	struct purge *purging;     /* one of them, of which a batch is being removed */
	uint64_t purge_at_ns;      /* not before */
};

/* A chain of this worker. */
struct member {
	struct chain *chain;
	struct worker_target *target;
	uint32_t pool, partition;
	struct link *link;        /* to the successor's server; NULL: none wanted */
	bool anew;                /* has been configured, its link is not chosen yet */
	struct member *hash_next; /* same partition on another target */
	struct member *prev, *next;
	UT_hash_handle hh;
	uint64_t key; /* pool << 32 | partition */
};

/* A connection that others opened: a client, or a predecessor. */
struct peer {
	struct worker *worker;
	struct conn *conn;
	uint64_t id;               /* what chains call it */
	uint64_t server_id;        /* 0: a client */
	struct client_name client; /* then */
	bool checked;              /* server_id is what the map says of the certificate's name */
	bool paused;
	uint32_t requests;
	uint64_t bytes;
	size_t queued;     /* answers, at the last tick, */
	uint64_t moved_ns; /* and when that last changed */
	UT_hash_handle hh;
};

/* A connection to one worker of a successor's server, shared by all chains that go there. */
struct link {
	struct worker *worker;
	struct conn *conn; /* NULL: between attempts */
	uint64_t id;       /* of the connection that stands, HELLO answered; else 0 */
	uint64_t server_id;
	uint32_t remote_worker;
	char address[MAP_NAME_MAX];
	uint64_t retry_at_ns, retry_ns;
	unsigned silent;  /* ticks since the last frame; they do not run while we stand still */
	unsigned unheard; /* ticks since it was last up and heard of, or wanted */
	unsigned users;   /* members */
	struct link *prev, *next;
};

/* A read that found no buffer; tried again when one is free. */
struct starved {
	struct starved *next;
	struct worker_target *target;
	struct chain_work *request;
};

struct command;

struct worker {
	struct worker_options options;
	pthread_t thread;
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t tick, hungry;
	pthread_mutex_t lock; /* guards commands and status */
	struct command *commands, **last_command;
	struct worker_status status;

	struct worker_target *targets;
	struct buf_pool *peer_pool; /* for chunkservers' payloads: see peers.c */
	uint64_t server_id;
	uint64_t instance; /* of the cluster */
	uint64_t lease_until_ns;
	struct cluster_map *map;
	_Atomic uint64_t map_version;   /* by which everything here goes */
	_Atomic uint64_t fence_version; /* see worker_fence_version() */
	bool fence_due;                 /* that is not the placed map's yet */
	struct cluster_map *placed;     /* by which chains were configured last; NULL: none */
	struct member *members;         /* by key */
	struct member *member_list;
	struct peer *peers; /* by id */
	struct clients clients;
	struct copy_rate_user moved; /* by them */
	struct link *links;
	struct starved *starved;
	size_t background; /* operations of the store under way that no chain counts */
	struct worker_status status_next;
	unsigned status_ticks;
	uint64_t last_conn_id;
	bool running; /* actions are being taken: chain_next() must not be nested */
	struct chain_work *syncs, **last_sync; /* to be begun when the others are done */
	bool stopping, closed;
	uint64_t stop_deadline_ns;
};

/* What the store needs while it works on a request. */
struct shell {
	struct worker_target *target;
	struct store_update update;
	struct store_sync sync;
	struct chain_work *next_sync; /* of those to be begun */
	struct store_read read;
};

/* ---- fence.c ---- */
/* There is a new map, that is to be placed after this. */
void fence_map(struct worker *worker);
/* It has been. */
void fence_placed(struct worker *worker);
/* Something may have ended that was waited for. */
void fence_look(struct worker *worker);

/* ---- execute.c ---- */
extern const struct chain_ops worker_chain_ops; /* ctx: struct worker_target */
/* Takes and executes all actions of all targets. */
void actions_run(struct worker *worker);
/* Before events: tells the chains the time. */
void actions_time(struct worker *worker);
void starved_retry(struct worker *worker);
/* Notices that the target is down, or back. */
void check_store(struct worker_target *target);

/* ---- peers.c ---- */
void peer_adopt(struct worker *worker, struct conn *conn, const struct hello *hello);
struct peer *peer_find(struct worker *worker, uint64_t id);
void peer_answer(struct peer *peer, const struct frame_header *header, struct buf *payload);
void peers_close(struct worker *worker);
void peers_close_predecessors(struct worker *worker, const char *why);
/* Those of clients whose sessions are over, by the map. */
void peers_close_fenced(struct worker *worker);
void peers_tick(struct worker *worker, uint64_t now_ns);

/* ---- links.c ---- */
/* Gives the member the link that its chain wants now. @anew: the chain has been configured, and
 * wants to be told of its link even if that is the same. */
void link_choose(struct worker *worker, struct member *member, bool anew);
struct link *link_find(struct worker *worker, uint64_t id);
void links_tick(struct worker *worker, uint64_t now_ns);
void links_close(struct worker *worker);

/* ---- members.c ---- */
/* The master has registered this server, and its targets by these numbers (0: refused); see
 * worker_set_identity(). */
void place_registered(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
		      uint64_t map_version);
/* A map has come; one that is older than the worker's is passed over. True: it counts. */
bool place_map(struct worker *worker, struct cluster_map *map);
/* Makes and configures the members of this server's targets, where the newest map says something
 * else than the last one. */
void place_all(struct worker *worker);
/* One partition, whatever was said before. */
void place_again(struct worker *worker, uint32_t pool, uint32_t partition);
void members_free(struct worker *worker);
/* The chain of a partition: on @target_id, or, with 0, the one that is a member. NULL: none. */
struct member *member_find(struct worker *worker, uint32_t pool, uint32_t partition,
			   uint32_t target_id);

/* ---- purge.c ---- */
/* The partition's chain does not name the target: its chunks go, if the target has any. */
void purge_consider(struct worker_target *target, uint32_t pool, uint32_t partition);
/* Chunks of the partition are being deleted just now, so its chain must not become a member:
 * place_again() is called when it may. */
bool purge_holds(struct worker_target *target, uint32_t pool, uint32_t partition);
void purge_tick(struct worker *worker, uint64_t now_ns);
void purges_free(struct worker_target *target);

/* ---- status.c ---- */
void status_tick(struct worker *worker);
/* Tells the front loop that the master should hear of us at once. */
void worker_changed(struct worker *worker);
#endif
