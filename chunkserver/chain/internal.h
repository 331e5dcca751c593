/* internal.h - what the chain's files share; nobody else includes it.
 *
 * Lives of a request. An update: HELD (link not up) -> QUEUED (something overlaps) -> PREPARING ->
 * PREPARED (others before it) -> COMMITTING -> PENDING (until the successor has answered and, with
 * SYNC, the disk is synced) -> over. RETRY: its prepare found no space, try again. A flush: HELD ->
 * QUEUED (updates before it) -> PENDING. A read: QUEUED (the tail waits for an update) -> READING.
 * One reference belongs to the list it is on, one to each operation of the store and each action.
 */
#ifndef CATENA_CHUNKSERVER_CHAIN_INTERNAL_H
#define CATENA_CHUNKSERVER_CHAIN_INTERNAL_H
#include "chunkserver/base/chain_faults.h"
#include "chunkserver/chain/chain.h"
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

/* One more who waits for the same update. */
struct waiter {
	struct waiter *next;
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
	struct waiter *waiters;
	bool dropped;    /* while the store works on it: abort as soon as possible */
	bool fenced;     /* an update of a session that is over: counts in env->fenced */
	bool touched;    /* broken off by the store, and its bytes may be in the copy */
	bool duplicate;  /* applied before; is only passed on and answered */
	bool before_end; /* came before the SYNC_END that waits for it: counts in end.uncommitted */
	bool end_waits;  /* likewise, until those behind have it, too: counts in end.unanswered */
	bool waiting;    /* removal: for its chunks' queues */
	bool crowded;    /* an update: its client is to be told that the chunk's ids are many */
	/* Of a client: the version that it was answered last, or 0, and in which epoch; 0: it does
	 * not say. */
	uint64_t wanted, wanted_epoch;
	uint64_t admitted; /* bytes that count in in_flight */
	uint64_t id;
	uint64_t sent_ns; /* when it was forwarded */
	struct table_node id_node;
	struct request *prev, *next;             /* chunk->queue, pending, deferred */
	struct request *chain_prev, *chain_next; /* chain->pending, held, reading */
	max_align_t shell[];
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
	uint64_t resume_id; /* of the question whether that is so; 0: not asked */
	unsigned removals_unanswered; /* notices of removal that it may not have got */
	uint64_t
		tell_until_ns; /* the successor hears of removals until then, see chain_chunks_removed() */
	uint64_t retry_at_ns, backoff_ns;
	uint64_t free_bytes; /* of the members from the successor on, as told last */
	uint64_t probe_id;   /* of the PING that asks for news of that; 0: none */
	uint64_t probed_ns;
};

/* The walk that makes the successor equal. */
struct chain_walk {
	struct sync_walk *catchup; /* NULL: none */
	bool running;              /* its steps are being taken */
	bool counted;              /* among env->copying_walks */
	bool damaged;              /* the last one that ended found chunks that cannot be read */
	bool copying; /* no update of copy_key is begun: the walk copies it, or is about to */
	struct chunk_key copy_key;
	uint64_t serial;
	struct {
		uint64_t id;  /* of a frame of the walk not yet answered; 0: free */
		bool content; /* it has blocks of a chunk */
	} frames[SYNC_WINDOW + 1];
	unsigned content; /* frames' worth of blocks being read, or not yet answered */
};

enum inbound_state { INBOUND_LOST, INBOUND_SYNCING, INBOUND_DONE };

/* What a SYNC_COMPARE still has to do. */
struct inbound_compare {
	struct chain_source source;
	struct frame_header header;
	struct sync_compare compare;
	struct sync_cursor cursor;
	bool begun;    /* bitmap is made */
	bool removing; /* chunks of ours, in the store */
	uint8_t bitmap[SYNC_BITMAP_MAX];
};

/* A SYNC_END (or the question of a resume) that waits for its answer. */
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
	size_t shell_bytes;
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

/* ---- chain.c ---- */
/* Zeroed; these two end the process when there is no memory. */
void *chain_alloc(size_t size);
void chain_table_add(struct table *table, struct table_node *node, uint64_t hash);
struct chain_action *chain_action_add(struct chain_env *env, enum chain_action_kind kind);
/* Of an operation of the store on the request, which is counted until its result. */
void chain_operation_add(struct request *r, enum chain_action_kind kind);
void chain_trouble(struct chain *chain);
void chain_answer_source(struct chain *chain, const struct chain_source *source,
			 const struct frame_header *header, uint32_t status, uint64_t version,
			 struct buf *payload);

/* ---- configure.c ---- */
bool chain_is_member(const struct chain *chain);
/* True: the frame is of an epoch that we have not heard of yet, and waits until we have; then
 * @payload is taken over. */
bool chain_early_keep(struct chain *chain, const struct chain_source *source,
		      const struct frame_header *header, struct buf *payload);
/* Something here is of a later epoch than the chain: see chain_configure(). */
void chain_outdated_found(struct chain *chain);
/* The chunk is; then chain_outdated_found(). One that cannot be read is not. */
bool chain_chunk_is_later(struct chain *chain, const struct chunk_key *key);
/* @status 0: without answer. */
void chain_early_drop(struct chain *chain, uint32_t status);

/* ---- request.c ---- */
struct request *chain_request_new(struct chain *chain, const struct chain_source *source,
				  const struct frame_header *header, struct buf *payload);
void chain_request_unref(struct request *r);
/* Begins its operation outside of any chunk's queue. */
void chain_request_begin_reading(struct request *r, enum chain_action_kind kind);
void chain_request_fill_header(const struct request *r, struct frame_header *header);
/* Answers everyone who waits for the request and takes it off its lists, which may free its chunk,
 * and the request unless someone else has a reference. */
void chain_request_end(struct request *r, uint32_t status, struct buf *payload);
void chain_request_end_silently(struct request *r); /* the same without answer */
/* The same with a status for clients and one for the predecessor; 0: no answer. While the store
 * works on it it stays in its chunk's queue, dropped. */
void chain_request_refuse(struct request *r, uint32_t for_client, uint32_t for_server);
/* The same when its chunk has been removed: to the predecessor it is done. */
void chain_request_end_removed(struct request *r);
void chain_request_add_waiter(struct request *r,
			      const struct chain_source *source); /* one more asks for it */
/* It is in no chunk's queue any more. */
void chain_request_unqueued(struct request *r);
struct chain_chunk *chain_chunk_find(struct chain *chain, const struct chunk_key *key);
/* -ESTALE: it is of a later epoch than the chain; else as the store says. */
int chain_chunk_get(struct chain *chain, const struct chunk_key *key, struct chain_chunk **out);
/* Who walks over the lists of a chunk pins it; the last to let go frees it when nothing is going
 * on. */
void chain_chunk_pin(struct chain_chunk *chunk);
void chain_chunk_unpin(struct chain_chunk *chunk);

/* ---- fence.c ---- */
/* The client's session is over: no update of it is taken. */
bool chain_fence_refuses(const struct chain_env *env, uint64_t client_id);
/* Counts the request if it is an update of such a session; until chain_fence_uncount(). */
void chain_fence_count(struct request *r);
void chain_fence_uncount(struct request *r);

/* ---- update.c ---- */
void chain_update_arrived(struct chain *chain, const struct chain_source *source,
			  const struct frame_header *header, struct buf *payload);
/* Puts a request at the end of its chunk's queue, and goes on with the chunk. */
void chain_update_queue(struct chain_chunk *chunk, struct request *r);
/* Commits, prepares, reads what can be; may free the chunk. */
void chain_chunk_advance(struct chain_chunk *chunk);
void chain_update_forward(struct request *r);
void chain_update_check_done(struct request *r);
/* Requests held while the link was not up: take them in now, or refuse them. */
void chain_held_accept(struct chain *chain);
void chain_held_refuse(struct chain *chain, uint32_t for_client, uint32_t for_server);

/* ---- drop.c: what ends without having been done ---- */
/* Everything not committed yet. Operations under way end later: chain->queued says. */
void chain_drop_queued(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* The same, but for updates that the store has begun with and those before them: these come to
 * their end. The bytes of a begun one may be in place already, where no comparison would find them.
 */
void chain_drop_not_begun(struct chain *chain, uint32_t for_client);
/* Of the request's chunk, from it on. */
void chain_drop_from(struct request *r, uint32_t for_client, uint32_t for_server);
void chain_drop_pending(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* All of these; and the links to both sides, and what they had made certain, are lost, too. */
void chain_drop_everything(struct chain *chain, uint32_t for_client, uint32_t for_server);
/* Committed updates of the chunk are superseded by a copy, or by its removal: done. */
void chain_drop_chunk_pending(struct chain *chain, const struct chunk_key *key);
/* The chunk has been removed by the master's order: what waits here would make it anew, and nobody
 * is there who wants it. What is copied stays: the predecessor passes its own removal on. */
void chain_drop_removed(struct chain *chain, const struct chunk_key *key);
/* Requests in RETRY begin again, or, with @drop, end with all behind them. */
void chain_retry_requests(struct chain *chain, bool drop);

/* ---- read.c ---- */
/* 0: what looks without changing anything may be answered here; else the status that refuses it. */
uint32_t chain_read_refused(const struct chain *chain, const struct frame_header *header);
/* The status that tells of the store's @error (-errno; 0: OK). */
uint32_t chain_read_status(int error);
/* LIST; list.c. */
void chain_list_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header);
void chain_read_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header);
void chain_reads_advance(struct chain_chunk *chunk);
/* Do they touch a block in common? Updates of unclear extent overlap everything. */
bool chain_read_overlaps(const struct request *r, uint32_t offset, uint32_t length);

/* ---- walk.c ---- */
void chain_walk_start(struct chain *chain);
void chain_walk_advance(struct chain *chain);
void chain_walk_drop(struct chain *chain); /* then chain_walk_release() */
/* The chunk that was copied goes on, if the walk has done with it. */
void chain_walk_release(struct chain *chain);
/* An answer of the successor: was it to a frame of the walk? */
bool chain_walk_answered(struct chain *chain, const struct frame_header *header,
			 const struct buf *payload);
/* Nothing of the chunk may be begun now. */
bool chain_walk_blocks(const struct chain_chunk *chunk);
/* The queue of the chunk has changed: the walk may have waited for that. */
void chain_walk_chunk_quiet(struct chain_chunk *chunk);
/* What committed requests have to wait for. */
enum follow {
	FOLLOW_SEND,  /* the successor is to be sent it, and to answer */
	FOLLOW_LEAVE, /* nobody behind has to answer */
	FOLLOW_LATER  /* not decided yet */
};
enum follow chain_walk_follow(const struct request *r);
/* Decides anew for all that is pending. */
void chain_pending_advance(struct chain *chain);
/* Must the successor's disk have it, too? Not before the end of the walk: that brings about a sync
 * of everything. */
bool chain_walk_needs_flush(const struct chain *chain);

/* ---- link.c ---- */
/* A frame to the successor, to be filled in further. */
struct chain_action *chain_outbound_send(struct chain *chain, uint8_t op);
void chain_outbound_set(struct chain *chain, enum chain_link link);
/* Something may have changed that a new walk was waiting for. */
void chain_outbound_consider(struct chain *chain);
/* What was begun and is not to be may have gone over bytes of our copy, and of no other: it has to
 * be compared before it is read, and before anything is said to be equal. Only notes it, so that it
 * may be called from anywhere; act_on_alteration() acts by it, before the link is used for anything. */
void chain_copy_altered(struct chain *chain);
void act_on_alteration(struct chain *chain);
/* Back to comparing, after a while. */
void chain_outbound_retry(struct chain *chain, uint32_t status);
void chain_outbound_reset(struct chain *chain);
void chain_outbound_probe(struct chain *chain);

/* ---- report.c ---- */
void chain_report_caught_up(struct chain *chain);
/* This member has damage or parts of two members. Told once in an epoch, and only when another
 * member is in-sync. True: the master will do something about it. */
bool chain_report_unfit(struct chain *chain);
bool chain_others_in_sync(const struct chain *chain);

/* ---- inbound.c ---- */
void chain_inbound_arrived(struct chain *chain, const struct chain_source *source,
			   const struct frame_header *header, struct buf *payload);
/* The queue has run empty, or something was removed: a comparison may go on. */
void chain_inbound_advance(struct chain *chain);
/* Removals that waited for what was going on in their chunks. */
void chain_inbound_removals_advance(struct chain *chain);
void chain_inbound_end_answer(struct chain *chain);
/* Nothing of what came before SYNC_END is in a queue any more. */
void chain_inbound_end_advance(struct chain *chain);
/* The predecessor has to compare before it sends anything else. */
void chain_inbound_lose(struct chain *chain);
/* SYNC_END is not answered as done any more: what it waits for ends otherwise. */
void chain_inbound_end_refuse(struct chain *chain);
/* The chunk is in the range that the predecessor has sent to be compared. */
bool chain_inbound_compares(const struct chain *chain, const struct chunk_key *key);
void chain_inbound_changed(struct chain *chain);
/* A SYNC_COMMIT is first in its chunk's queue. */
void chain_inbound_complete(struct request *r);
void chain_suspect_add(struct chain *chain, const struct chunk_key *key);
/* A chunk cannot be read here, or not be changed: it has to come anew from another member. */
void chain_damage_found(struct chain *chain, const struct chunk_key *key);

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
