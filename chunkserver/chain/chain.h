/* chain.h - one partition's member of a chain on one target: a pure state machine.
 *
 * Events go in by the functions here, actions come out of chain_next(); looking up the store's
 * records goes through ops. No sockets, files, threads or clocks, so that the same code runs in the
 * chunkserver and in tests/sim/chain. docs/chain.md, "The chain", says why it is as it is. In
 * short:
 *
 *   head       gives the updates of a chunk consecutive versions, in the order of its commits
 *   any member prepares updates that do not overlap at the same time, commits in version order,
 *              forwards what it has committed, and answers when its successor has answered and,
 *              where the client asked for that, its own disk is flushed
 *   so         what a member has committed, every member before it has committed, too: a member
 *              that was killed has lost nothing that members behind it may have shown
 *   link       to the successor: DOWN (no connection), WAIT (not yet), COMPARING (catchup.h), UP.
 *              To an in-sync successor updates are forwarded while UP, and held before.
 *   syncing    a successor that is not in-sync yet is waited for only where the walk has been. An
 *              update behind the cursor is forwarded and must be answered; one ahead of it is the
 *              walk's to copy. When the walk has ended, the link is strict: nothing is answered
 *              without that successor until the epoch changes. Only then it is reported
 *              (CHAIN_REPORT), so that the master may make it in-sync.
 *   resume     after a change of the chain or of the connection, members that have been equal need
 *              no walk: what the successor may lack is pending here.
 *
 * Each flow has its story: a write in accept.c, a read in read.c, catching up in outbound.c and
 * inbound.c, a change of the chain in configure.c.
 *
 * Use. All chains of one target in one worker share an env. The caller tells an event, then takes
 * actions with chain_next() until there is none, and executes each. An execution may lead to
 * further events at once. chain_next() itself must not be nested.
 *
 * Errors: out of memory for bookkeeping ends the process. A chain is made to survive a crash, not a
 * lost action.
 * Thread: one for each env. Locks: none. */
#ifndef CATENA_CHUNKSERVER_CHAIN_CHAIN_H
#define CATENA_CHUNKSERVER_CHAIN_CHAIN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/catchup/catchup.h"
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "common/net/frame.h"

#define CHAIN_HELD_MAX    64u        /* requests held by a member while its link is not up */
#define CHAIN_MARGIN      (1u << 20) /* bytes that stay free however full the chain */
#define CHAIN_RETRY_NS    (100 * NS_PER_MSEC)
#define CHAIN_BACKOFF_NS  NS_PER_SEC
#define CHAIN_PATIENCE_NS (30 * NS_PER_SEC) /* with a successor that does not answer */

struct chain_env;
struct chain;

struct chain_ops {
	struct catchup_store store;
	uint64_t (*free_bytes)(void *ctx); /* that this target's WRITEs may still take */
	/* Adds @delta to the bytes that heads of this server have admitted and not answered yet, and
	 * returns the sum. */
	uint64_t (*in_flight)(void *ctx, int64_t delta);
	/* Takes @bytes for a walk from the budget for copies. False: not now, a tick asks again. */
	bool (*may_copy)(void *ctx, uint32_t bytes);
	/* Returns the highest epoch of the partition's chain that this target was told of, by any of
	 * its processes; 0: none. set_epoch() notes it, durably before any later change is. Both or
	 * none may be NULL. */
	uint64_t (*epoch)(void *ctx, uint32_t pool, uint32_t partition);
	void (*set_epoch)(void *ctx, uint32_t pool, uint32_t partition, uint64_t epoch);
	uint32_t ops_kept; /* ids of updates that the store keeps of a chunk; 0: OP_IDS_KEPT */
};

/* The source of a frame: its answer goes there. */
struct chain_source {
	uint64_t conn; /* 0: nobody waits */
	uint64_t request_id;
	uint64_t server_id; /* of the chunkserver that asks; 0: a client */
};

/* What the store is to do for a request. The caller may read it, and write only to scratch. */
struct chain_work {
	uint8_t op;   /* enum frame_op */
	bool flush;   /* FRAME_DURABLE: durable before the answer */
	bool verify;  /* FRAME_VERIFY */
	bool closing; /* FRAME_CLOSING */
	struct chunk_key key;
	uint32_t offset, length; /* WRITE: payload bytes; READ, PUNCH: range */
	struct buf *payload;
	uint64_t epoch, version, client_id, op_id, answered;
	/* At CHAIN_COMMIT: says which sessions are over, until the next chain_next().
	 * May be NULL. */
	const struct cluster_map *sessions;
	struct chunk_key *keys; /* CHAIN_REMOVE */
	uint32_t key_count;
	/* Memory of the caller's (scratch_bytes), zeroed, lives as long as the request. */
	void *scratch;
};

enum chain_action_kind {
	CHAIN_PREPARE,   /* store_prepare() of request, then chain_prepared() */
	CHAIN_COMMIT,    /* store_commit(), then chain_committed() at once */
	CHAIN_ABORT,     /* store_abort() of a prepared one; no event */
	CHAIN_FLUSH,     /* store_flush() of request->key, then chain_flushed() */
	CHAIN_READ,      /* read [offset, offset+length), then chain_read_done() */
	CHAIN_REMOVE,    /* store_remove() of request->keys, then chain_remove_done() */
	CHAIN_WALK_READ, /* read verified what key, offset, range of header say, then
			  * chain_walk_read_done() with serial */
	CHAIN_SEND,      /* header and payload over conn, to the successor */
	CHAIN_ANSWER,    /* header and payload over conn, to who asked */
	CHAIN_TROUBLE,   /* an operation of the store failed: check it, and if it is down say
			  * chain_store_failed() until it is back */
	CHAIN_FLUSH_ALL, /* all that was ever committed in the partition of header.key is to be on
			  * stable storage, also by earlier processes; then chain_all_flushed() with
			  * serial */
	CHAIN_REPORT,    /* to the master: report, for header.epoch and the target in header.arg */
};

enum chain_report {
	CHAIN_CAUGHT_UP = 1, /* the successor has everything and is waited for */
	CHAIN_UNFIT,         /* this member has to be made equal before it may go on in-sync */
};

struct chain_action {
	enum chain_action_kind kind;
	struct chain *chain;
	struct chain_work *request; /* valid until the next chain_next() */
	uint64_t conn;
	uint64_t serial;
	enum chain_report report;
	struct frame_header header;
	struct buf *payload; /* borrowed until the next chain_next() */
};

struct chain_config {
	uint64_t epoch;
	uint32_t chunk_size;
	int self; /* index; -1: not a member */
	uint32_t count;
	struct {
		uint32_t target_id;
		uint64_t server_id;
		enum member_state state;
	} members[CHAIN_MEMBERS_MAX];
};

/* ---- env ---- */

/* @ops and @ctx are borrowed. @id_base: request ids are above it; so that several envs may share a
 * connection, their bases differ in the upper 16 bits. Never NULL. */
struct chain_env *chain_env_new(const struct chain_ops *ops, void *ctx, size_t scratch_bytes,
				uint64_t id_base);
/* All chains must be gone and no operation of the store under way. */
void chain_env_free(struct chain_env *env);
/* Tells the time, and until when this server may serve clients. Called before events. */
void chain_env_time(struct chain_env *env, uint64_t now_ns, uint64_t lease_until_ns);
/* Returns the oldest action, borrowed until the next call; NULL: there is none. */
const struct chain_action *chain_next(struct chain_env *env);
/* Takes @map (referenced), which says which sessions of clients are over. Nothing new of these is
 * accepted, and what is not begun is refused. */
void chain_env_sessions(struct chain_env *env, struct cluster_map *map);
/* Counts what may still come of sessions that are over: their updates that are queued or pending,
 * and in-sync members whose copies have not been compared with their predecessors'. */
size_t chain_env_fenced(const struct chain_env *env);
/* Tries again what waits for space, the store or a pause. Called about every CHAIN_RETRY_NS. */
void chain_tick(struct chain_env *env);
/* Tells that the target is down: its chains serve nothing and give their links up. When it is back,
 * everything begins as after a start. The caller closes the predecessors' connections at both. */
void chain_store_failed(struct chain_env *env);
void chain_store_back(struct chain_env *env);
/* Begins the orderly end: requests of clients are answered NOT_READY from now on. */
void chain_env_stop(struct chain_env *env);
/* Counts operations of the store under way, and requests of clients not yet answered. */
size_t chain_env_operations(const struct chain_env *env);
size_t chain_env_requests(const struct chain_env *env);

/* ---- one chain ---- */

struct chain *chain_new(struct chain_env *env, uint32_t pool, uint32_t partition);
/* Frees the chain. Its requests get no answer; operations of the store may be under way. */
void chain_free(struct chain *chain);
/* Takes the newest chain that the master has told. The epoch that is known is ignored. A
 * chain older than what this target has been in is refused, with a line in the log: its copy would
 * be overwritten by what others had before, or they by it. The same goes when chunks of a later
 * epoch are met. Nothing is served, copied or removed then before the epoch changes. */
void chain_configure(struct chain *chain, const struct chain_config *config);
uint64_t chain_epoch(const struct chain *chain);
/* Return the neighbour's server; 0: there is none. @target_id may be NULL. */
uint64_t chain_next_server(const struct chain *chain, uint32_t *target_id);
uint64_t chain_previous_server(const struct chain *chain);
bool chain_is_head(const struct chain *chain);
bool chain_is_ready(const struct chain *chain); /* may serve reads */

/* Tells that the connection to the successor's server stands (@conn), or is gone (0). */
void chain_connection(struct chain *chain, uint64_t conn);
/* Tells that a connection is gone on which frames had come. */
void chain_source_lost(struct chain *chain, uint64_t conn);
/* Takes a request other than HELLO and PING, its checksums verified. Takes over @payload. */
void chain_frame(struct chain *chain, const struct chain_source *source,
		 const struct frame_header *header, struct buf *payload);
/* Takes an answer of the successor, also to a PING. @payload is borrowed. */
void chain_answer(struct chain *chain, uint64_t conn, const struct frame_header *header,
		  const struct buf *payload);
/* Returns the least free space of the members from here on, as far as known. chain_probe(), for
 * answers to PING, also asks the successor for news when there is little. */
uint64_t chain_space(struct chain *chain);
uint64_t chain_probe(struct chain *chain);
/* Tells that a chunk was removed here by order of the master, whose chain was of @epoch. False: it
 * may come back, as copies that a predecessor read before may be on their way, or are still taken
 * from one of an older chain. The order has to be repeated. */
bool chain_chunk_removed(struct chain *chain, const struct chunk_key *key, uint64_t epoch);

/* ---- results of actions ---- */

/* @touched, with an error: bytes that the chunk has may have been gone over all the same. */
void chain_prepared(struct chain_work *request, int error, bool touched);
void chain_committed(struct chain_work *request, int error, bool touched);
void chain_flushed(struct chain_work *request, int error);
/* Takes over @payload, which has what was read. Its length may be less than asked. */
void chain_read_done(struct chain_work *request, int error, struct buf *payload, uint64_t version);
void chain_remove_done(struct chain_work *request, int error);
void chain_all_flushed(struct chain_env *env, uint64_t serial, int error);
/* Takes over @buf: start is 0, length what was asked, checksums filled in. */
void chain_walk_read_done(struct chain_env *env, uint64_t serial, int error, struct buf *buf,
			  uint32_t offset);

/* ---- for logs and tests ---- */

enum chain_link {
	CHAIN_LINK_NONE,
	CHAIN_LINK_DOWN,
	CHAIN_LINK_WAIT,
	CHAIN_LINK_COMPARING,
	CHAIN_LINK_UP
};
const char *chain_link_name(enum chain_link link);
struct chain_counts {
	enum chain_link link;
	size_t queued, pending, held;
	uint64_t walks, copied; /* walks ended, chunks copied by them */
	bool strict;            /* the successor is waited for */
	bool walking;
	uint64_t walk_compared, walk_copied; /* chunks, bytes, of the walk under way */
	bool damaged;  /* the last walk found chunks that cannot be read here */
	bool outdated; /* the master's chain is older than this copy */
};
struct chain_counts chain_count(const struct chain *chain);
#endif
