/* state.h - the master's deterministic state machine: command + state -> reply + write batch.
 *
 * No clock, no randomness, no I/O but reads of the store: times, new ids and the issuer come in the
 * command, so every replica that applies the same log has the same state. Effects, the applied
 * index and the reply (for exactly-once) go into one batch, written by state_apply() unsynced; the
 * log decides when to sync.
 *
 * Commands and queries of clients are protobuf Requests (common/proto); what the master decides by
 * itself (registrations, sessions, chains, finished removals) has a function each.
 *
 * Threading: one caller at a time (the master's state lock). */
#ifndef CATENA_MASTER_STATE_STATE_H
#define CATENA_MASTER_STATE_STATE_H
#include <stdbool.h>
#include <stdint.h>
#include "catena.pb-c.h"
#include "common/cluster/chunk.h"
#include "common/cluster/cluster_map.h"
#include "common/cluster/namespace_rules.h"
#include "common/kv/kv.h"
#include "master/records/keys.h"
#include "master/records/types.h"

struct state;
struct state_options {
	/* Of the default pool, at state_init(). */
	uint32_t copies, partitions, chunk_size;
	enum failure_domain failure_domain;
};
/* First start: cluster id, root directory, default pool. -EEXIST. */
int state_init(struct kv *kv, const char *cluster, const struct state_options *options);
/* @kv is borrowed. -ENOENT: not initialised; -EUCLEAN. */
int state_open(struct kv *kv, struct state **out, char *error, size_t error_size);
void state_close(struct state *state);
/* What chance gives to a start of the master, drawn by whoever proposes it. Not 0. */
struct state_start {
	uint64_t instance; /* of the cluster, for a store of a time when there was none */
	uint64_t chance;   /* of this life */
};
/* First command of each life of the master. A power cut may have taken commands that were not
 * synced, whose ids clients have used already; so ids go on behind a gap that no unsynced tail can
 * fill. */
#define STATE_ID_GAP (UINT64_C(1) << 24)
int state_apply_start(struct state *state, uint64_t index, const struct state_start *start);
const char *state_cluster(const struct state *state);
/* Chance, made by state_init(): clusters with one name are told apart by it. 0: the store is of an
 * earlier time and has not been started since. */
uint64_t state_instance(const struct state *state);
uint64_t state_applied_index(const struct state *state);
/* Of the last command that has left something in the store, and not in memory only: after a restart
 * the state is as of this one. */
uint64_t state_stored_index(const struct state *state);

/* ---- lives ---- */
/* The one that state_apply_start() began last. */
void state_life(const struct state *state, struct state_life *out);
/* What a target remembers; life 0: nothing. */
struct state_seen {
	uint64_t life, chance;
	uint64_t version; /* of the newest map, as shown (common/cluster/cluster_map.h) */
	uint64_t index;   /* so far the log was on stable storage in that life; 0: not known */
};
enum state_seen_verdict {
	STATE_SEEN_FINE,  /* the store knows all that the target does */
	STATE_SEEN_LATER, /* the target has seen what comes after this store: it is an older copy */
	STATE_SEEN_ANOTHER, /* another copy of this store has been started, and the target was its
			     */
};
/* ---- an older store is accepted ---- */
/* How far numbers jump ahead of what may have been given out since. */
#define ACCEPT_ID_GAP (UINT64_C(1) << 44)
/* Of the chance of an acceptance so many bits are dropped: the rest, 2^42 at most, is what its
 * numbers jump further than the gap. */
#define ACCEPT_CHANCE_SHIFT 22
#define ACCEPT_VERSION_GAP  (UINT64_C(1) << 16)
#define ACCEPT_LIFE_GAP     (UINT64_C(1) << 16)
/* A target that the store does not know, and its server, with the numbers that they were given. */
struct state_accepted_target {
	uint32_t id;
	char uuid[37];
	uint64_t life;
	struct map_server server;
};
/* What a target that was heard had seen by then. */
struct state_accept_seen {
	char uuid[37];
	struct state_seen seen;
};
struct chain_change;
struct chain_life;
struct state_accept {
	uint64_t chance;                  /* of the life that begins, 64 bits of it */
	uint64_t seen_life, seen_version; /* the highest that any target has seen */
	uint64_t seen_server;
	uint32_t seen_target;
	const struct state_accepted_target *targets;
	size_t target_count;
	const struct chain_change *chains; /* of later epochs than the store's */
	size_t chain_count;
	const struct chain_life *lives; /* of targets that the store knows */
	size_t life_count;
	const struct state_accept_seen *seen;
	size_t seen_count;
};
/* All sessions are closed. -EINVAL: it does not fit the store; -EOVERFLOW: accepted too often. */
int state_apply_accept(struct state *state, uint64_t index, const struct state_accept *accept);

/* Whether the store knows all that the target @uuid has seen. Lives from before an acceptance were
 * given up with it; but a target that was heard then, and has seen more of them since, says that
 * another copy has gone on: LATER, or ANOTHER. -errno when the store cannot be read. */
int state_check_seen(const struct state *state, const char *uuid, const struct state_seen *seen,
		     enum state_seen_verdict *verdict);

/* ---- requests of clients ---- */
/* Does this request change anything (then it must go through the log)? */
/* The highest id of the session's commands that have left a trace; 0: none, or no such session. Of
 * what was answered, a higher one is lost. */
uint64_t state_session_done(const struct state *state, uint64_t session);
bool state_request_is_command(const Catena__Request *request);
/* Does this request make the store grow for good? When the store's disk is nearly full
 * (kv_space_low()) such requests are to be refused with ENOSPC before they come here, so that there
 * is room for those that delete. */
bool state_request_grows(const Catena__Request *request);
/* Applies a command of @session at log @index, or answers the kept reply when (session, id) was
 * applied before. *reply is malloc()ed packed Catena__Reply. -errno only for store failure
 * (-EIO, -ENOSPC: nothing was applied); failures of the request are in the reply. Also tells the
 * chunks now to be removed only through the removal queue. */
int state_apply_request(struct state *state, uint64_t index, uint64_t session,
			const Catena__Request *request, uint8_t **reply, size_t *reply_size);
/* Answers a query; the same form of reply. */
int state_query(struct state *state, uint64_t session, const Catena__Request *request,
		uint8_t **reply, size_t *reply_size);
/* Replies of this session up to @through are forgotten. */
int state_apply_answered(struct state *state, uint64_t index, uint64_t session, uint64_t through);

/* Who has the right to append to this inode; 0: nobody. */
uint64_t state_append_holder(const struct state *state, uint64_t ino);

/* ---- sessions ---- */
/* -EBUSY: another session has the tree lease. */
int state_apply_session_open(struct state *state, uint64_t index, uint64_t session, uint64_t secret,
			     const char *mount, const char *name);
/* Closes its open files, drops its replies, ends its tree lease. */
int state_apply_session_close(struct state *state, uint64_t index, uint64_t session);
/* From here on the session changes nothing, and its id is one of state_ended_sessions(). What it
 * has open, its tree lease and its right to a trim stay until it is closed. -ENOENT. */
int state_apply_session_fence(struct state *state, uint64_t index, uint64_t session);
/* -ENOENT: or it is fenced. -EACCES (secret). */
int state_session_check(struct state *state, uint64_t session, uint64_t secret);
bool state_session_is_fenced(const struct state *state, uint64_t session);
/* The ids of fenced sessions, those closed too, that are not below state_session_floor(),
 * ascending. Borrowed until the next command. */
const uint64_t *state_ended_sessions(const struct state *state, size_t *count);
/* The lowest id of a session that is not closed; without any, of the next one. */
uint64_t state_session_floor(const struct state *state);
int state_sessions(struct state *state,
		   int (*each)(void *user, uint64_t session, const char *mount, const char *name),
		   void *user);
uint64_t state_next_session_id(const struct state *state);

/* Members of chains may have something of an ended session still, and are to have no lease before
 * they have said that they have not (leases/fences.h). */
int state_apply_fences_owed(struct state *state, uint64_t index, bool owed);
bool state_fences_owed(const struct state *state);

/* ---- the tree lease ---- */

/* The session gets the exclusive lease on the whole tree, with a generation that no lease had
 * before; if it has it already, that one's is the answer. To be durable before the client hears of
 * it. -ENOENT: no such session, or it is fenced. -EBUSY: there are others. */
int state_apply_lease_grant(struct state *state, uint64_t index, uint64_t session,
			    uint64_t *generation);
/* What was answered under it has come, and nothing more will be. Of a lease that has ended: no
 * effect. */
int state_apply_lease_end(struct state *state, uint64_t index, uint64_t session,
			  uint64_t generation);
/* Who has it (0: nobody), and its generation. */
uint64_t state_tree_lease(const struct state *state, uint64_t *generation);

/* ---- cluster ---- */
/* Server by certificate name: gets its id (kept for ever) and its targets' ids; address and labels
 * are updated. Unknown targets are added. Chains are placed as a separate command. */
int state_apply_register(struct state *state, uint64_t index, const struct map_server *server,
			 const struct map_target *targets, size_t target_count);
struct chain_change;
struct chain_life;
/* Changes chains, and remembers lives of targets, in one batch (what the chain manager decided).
 * Each chain is of the epoch after its last (or its first, 1), names known targets once each, those
 * in-sync first and at least one of them, and no partition is named twice. @fenced: servers that
 * have to be told first (chains/manager.h), kept for a next life of the master until the next
 * change. -EINVAL: not so; nothing was done. */
int state_apply_chains(struct state *state, uint64_t index, const struct chain_change *changes,
		       size_t change_count, const struct chain_life *lives, size_t life_count,
		       const uint64_t *fenced, size_t fenced_count);
/* Of the last change: it is not known whether all of them have been told. Borrowed. */
const uint64_t *state_fenced(const struct state *state, size_t *count);
/* -EINVAL: an unknown target; nothing was done. */
int state_apply_drain(struct state *state, uint64_t index, const uint32_t *targets, size_t count,
		      bool draining);
int state_apply_recovery(struct state *state, uint64_t index,
			 const struct state_recovery *recovery);
void state_recovery(const struct state *state, struct state_recovery *out);
/* 0: unknown. */
uint64_t state_server_id(const struct state *state, const char *name);
uint32_t state_target_id(const struct state *state, const char *uuid);
/* The last life stored of this target; 0: none, or it is unknown. */
uint64_t state_target_life(const struct state *state, const char *uuid);
/* Grows with every change of what state_map() makes. */
uint64_t state_map_version(const struct state *state);
/* The map from the state; online, used and capacity are the caller's to fill from liveness. */
struct cluster_map *state_map(struct state *state);

/* ---- removal ---- */
struct state_removal {
	uint64_t sequence; /* of the queue entry */
	uint32_t pool;
	uint64_t file_id;
	uint64_t size; /* chunks may exist below this offset */
};
/* Up to @max entries in order from @after; returns the count or -errno. Entries only of files that
 * no session has open. */
int state_removals(struct state *state, uint64_t after, struct state_removal *out, int max);
int state_apply_removed(struct state *state, uint64_t index, const uint64_t *sequences,
			size_t count);

struct state_counts {
	uint64_t inodes, orphans, removals;
	uint64_t allocated_bytes; /* sum of file sizes */
};
void state_counts(const struct state *state, struct state_counts *out);
/* After kv_recover(): drop what memory knows, read anew. */
int state_reload(struct state *state);
#endif
