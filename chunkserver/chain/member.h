/* member.h - the state of chain members, shared by the files of this folder alone.
 *
 * Lives of requests (chain_request_move() has the table):
 *   update   HELD (link not up) -> QUEUED (one before it overlaps) -> PREPARING -> PREPARED (others
 *            before it) -> COMMITTING -> PENDING (until the successor has answered and, where asked
 *            for, the own disk is flushed) -> OVER. RETRY: the store had no space; it is tried
 *            again.
 *   flush    HELD -> QUEUED (updates before it) -> PENDING -> OVER
 *   read     QUEUED (the tail waits for an update) -> READING -> OVER
 *   removal  READING -> OVER */
#ifndef CATENA_CHUNKSERVER_CHAIN_MEMBER_H
#define CATENA_CHUNKSERVER_CHAIN_MEMBER_H
#include "chunkserver/base/chain_faults.h"
#include "chunkserver/chain/chain.h"
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/base/table.h"

enum request_state {
	REQUEST_NEW,
	REQUEST_HELD,
	REQUEST_QUEUED,
	REQUEST_PREPARING,
	REQUEST_PREPARED,
	REQUEST_COMMITTING,
	REQUEST_PENDING,
	REQUEST_RETRY,
	REQUEST_READING,
	REQUEST_OVER,
};

/* One more source that waits for the same update. */
struct request_waiter {
	struct request_waiter *next;
	struct chain_source source;
};

/* What a committed request needs of the successor. */
enum request_successor {
	SUCCESSOR_TO_SEND,
	SUCCESSOR_SENT, /* with id, on the connection that stands */
	SUCCESSOR_ANSWERED,
	SUCCESSOR_NOT_ASKED /* the walk's to copy: its answer is not waited for */
};

/* Is it on this member's own disk, when it has to be? */
enum request_flush { FLUSH_WANTED, FLUSH_UNDER_WAY, FLUSH_DONE };

struct request {
	struct chain_work work; /* first: the caller's pointers are to it */
	struct chain_env *env;
	struct chain *chain; /* NULL: over */
	struct chain_chunk *chunk;
	enum request_state state;
	enum request_successor successor;
	enum request_flush flush;
	unsigned refs;
	struct chain_source source;
	struct request_waiter *waiters;
	bool dropped;   /* while the store works on it: abort as soon as possible */
	bool fenced;    /* an update of a session that is over: counts in env->fenced */
	bool touched;   /* broken off by the store, and its bytes may be in the copy */
	bool duplicate; /* applied before; is only passed on and answered */
	bool before_end; /* came before the CATCHUP_END that waits for it: counts in end.uncommitted */
	bool end_waits; /* likewise, until those behind have it, too: counts in end.unanswered */
	bool waiting;   /* removal: for its chunks' queues */
	bool crowded;   /* an update: its client is to be told that the chunk's ids are many */
	/* Of a client: the version that it was answered last, or 0, and in which epoch; 0: it does
	 * not say. */
	uint64_t wanted, wanted_epoch;
	uint64_t admitted; /* bytes that count in in_flight */
	uint64_t id;
	uint64_t sent_ns; /* when it was forwarded */
	struct table_node id_node;
	struct request *prev, *next;             /* chunk->queue, pending, deferred */
	struct request *chain_prev, *chain_next; /* chain->pending, held, reading */
	max_align_t scratch[];
};

/* A chunk with something going on. */
struct chain_chunk {
	struct table_node node;
	struct chunk_key key;
	struct chain *chain;
	uint64_t committed;              /* version */
	uint64_t last;                   /* version of the last update accepted; not at the head */
	struct request *queue;           /* updates and flushes not yet committed, in order */
	struct request *pending;         /* committed ones, in order */
	struct request *deferred;        /* reads that wait for the queue */
	struct chain_chunk *prev, *next; /* chain->chunks */
	unsigned pins;                   /* of code that walks over the lists */
};

#define SUSPECTS_MAX 64u
#define GONE_BIT     (1ull << 63) /* of request ids of notices of removal */

/* What the member is by its configuration. */
struct chain_role {
	int next, previous; /* indexes of its neighbours; -1: none */
	bool head, tail, in_sync;
	bool next_in_sync; /* the successor is a member whose word counts */
};

enum copy_state {
	COPY_WHOLE,
	COPY_MIXED, /* copied to, and not made equal since: parts may be of two members */
	COPY_UNFIT  /* likewise, at the head: another member goes before us */
};

/* What the store here holds. */
struct chain_copy {
	enum copy_state state;
	bool outdated;           /* the chain that we are told of is older than our copy */
	uint64_t reported_epoch; /* in which the master was told that the copy is unfit */
	struct chunk_key suspects[SUSPECTS_MAX]; /* damaged here: to be copied by the next walk */
	unsigned suspect_count;
};

/* The link to the successor. */
struct chain_outbound {
	enum chain_link link;
	uint64_t conn; /* 0: none */
	bool ready;    /* was up since this member began, and the copy only changed by updates */
	bool altered;  /* not so any more, which the link is to be told: see chain_copy_altered() */
	bool strict;   /* a syncing successor has everything, and is waited for in this epoch */
	bool resumable;     /* it has been equal before, as far as we know: no walk is needed */
	uint64_t up_epoch;  /* in which all from here on were equal last; 0: never */
	uint64_t resume_id; /* of the question whether that is so; 0: not asked */
	unsigned removals_unanswered; /* notices of removal that it may not have got */
	uint64_t
		tell_until_ns; /* the successor hears of removals until then, see chain_outbound_removed() */
	uint64_t retry_at_ns, backoff_ns;
	uint64_t free_bytes; /* of the members from the successor on, as told last */
	uint64_t probe_id;   /* of the PING that asks for news of that; 0: none */
	uint64_t probed_ns;
};

/* The walk that makes the successor equal. */
struct chain_walk {
	struct catchup_walk *catchup; /* NULL: none */
	struct catchup_walk
		*asked; /* for its next step just now: dropped, it is freed after that */
	bool running;   /* its steps are being taken */
	bool counted;   /* among env->copying_walks */
	bool damaged;   /* the last one that ended found chunks that cannot be read */
	bool copying;   /* no update of copy_key is begun: the walk copies it, or is about to */
	struct chunk_key copy_key;
	uint64_t serial;
	struct {
		uint64_t id;  /* of a frame of the walk not yet answered; 0: free */
		bool content; /* it has blocks of a chunk */
	} frames[CATCHUP_WINDOW + 1];
	unsigned content; /* frames' worth of blocks being read, or not yet answered */
};

enum inbound_state { INBOUND_LOST, INBOUND_SYNCING, INBOUND_DONE };

/* What a CATCHUP_COMPARE still has to do. */
struct inbound_compare {
	struct chain_source source;
	struct frame_header header;
	struct catchup_compare compare;
	struct catchup_cursor cursor;
	bool begun;    /* bitmap is made */
	bool removing; /* chunks of ours, in the store */
	uint8_t bitmap[CATCHUP_BITMAP_MAX];
};

/* A CATCHUP_END (or the question of a resume) that waits for its answer. */
struct inbound_end {
	bool wanted;           /* it is to be answered when our link is up */
	size_t uncommitted;    /* updates that came before it, and are not committed yet */
	size_t unanswered;     /* those that the members behind have not answered yet */
	uint64_t flush_serial; /* of the flush of everything that comes before that; 0: none */
	struct chain_source source;
	struct frame_header header;
};

/* The link from the predecessor. */
struct chain_inbound {
	enum inbound_state state;
	uint64_t conn;
	bool ready;   /* was completed since this member began, and no new one has begun */
	bool changed; /* this time something was copied to us or removed */
	struct inbound_end end;
	struct inbound_compare *compare; /* NULL: none */
	struct catchup_key from, to;     /* the range that was compared last */
};

struct chain {
	struct chain_env *env;
	struct chain *prev, *next;           /* env->chains */
	struct chain *walk_prev, *walk_next; /* env->walking */
	uint32_t pool, partition;
	struct chain_config config;
	struct chain_role role;
	struct chain_copy copy;
	struct chain_outbound outbound;
	struct chain_walk walk;
	struct chain_inbound inbound;
	struct { /* what came for an epoch that we have not heard of yet; conn 0: none */
		struct chain_source source;
		struct frame_header header;
		struct buf *payload;
	} early;
	struct chain_counts counts;

	struct chain_chunk *chunks;
	size_t aborting;         /* aborts that the store has not been told of yet */
	size_t removals;         /* requests that remove what the predecessor does not have */
	size_t removals_before;  /* of them, those of a former epoch's predecessor */
	size_t queued;           /* requests in the queues of chunks: not yet committed */
	struct request *pending; /* all, in the order in which they are to be forwarded */
	struct request *held;
	struct request *reading; /* reads and removals that the store works on */
	size_t held_count, pending_count;
};

struct chain_env {
	const struct chain_ops *ops;
	void *ctx;
	size_t scratch_bytes;
	uint64_t last_id;
	uint64_t now_ns, lease_until_ns;
	bool failed;  /* the store is down */
	bool stopped; /* no new requests of clients */
	bool retry;   /* some request waits for the next tick */
	size_t operations, requests;
	struct cluster_map *sessions; /* says which sessions are over; NULL: not told yet */
	size_t fenced; /* updates of such sessions that are queued, held or pending */
	struct chain *chains, *walking;
	unsigned copying_walks; /* to successors that are not waited for */
	unsigned walk_content;  /* of all chains */
	struct table ids;       /* struct request by id */
	struct table chunks;    /* struct chain_chunk by key */
	/* Actions, oldest first, in a ring. */
	struct chain_action *ring;
	size_t ring_size, ring_first, ring_count;
	struct chain_action current; /* what chain_next() has given, while taken */
	bool taken;
};

static inline bool chain_is_leased(const struct chain_env *env)
{
	return env->now_ns < env->lease_until_ns || FAULTY(SERVE_WITHOUT_LEASE);
}

/* Nothing is answered without the successor. */
static inline bool chain_is_strict(const struct chain *chain)
{
	return chain->outbound.link != CHAIN_LINK_NONE &&
	       (chain->role.next_in_sync || chain->outbound.strict);
}

/* Updates wait for the link before they get their place. */
static inline bool chain_holds_updates(const struct chain *chain)
{
	return chain_is_strict(chain) && chain->outbound.link != CHAIN_LINK_UP;
}

static inline struct request *request_of_work(struct chain_work *work)
{
	return (struct request *)(void *)work;
}

/* The store has begun with it. */
static inline bool request_is_in_work(const struct request *r)
{
	return r->state == REQUEST_PREPARING || r->state == REQUEST_PREPARED ||
	       r->state == REQUEST_COMMITTING;
}

/* Also what was broken off when a part of it was in place, and waits to be tried again. */
static inline bool request_is_begun(const struct request *r)
{
	return request_is_in_work(r) || r->touched;
}

static inline bool request_is_update(const struct request *r)
{
	return frame_is_update(r->work.op);
}
#endif
