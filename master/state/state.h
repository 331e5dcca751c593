/* state.h - the master's deterministic state machine: command + state -> reply + write batch.
 *
 * A command brings its time and its issuer; ids are given here. The machine has no clock, no chance and no
 * I/O but reads of its store, so each replica that applies the same log has the same state.
 *
 * Each state_apply_*() makes its effects, the applied index and the reply one batch, unflushed, or a
 * part of a larger one (state_batch_begin()); the log decides when to flush. A request that is
 * refused leaves nothing but its reply and its index.
 *
 * Requests of clients are protobuf Requests (common/cluster/proto). What the master decides by
 * itself (registrations, sessions, chains, finished removals) has a function each.
 *
 * Locks: the state lock held; one caller at a time. Thread: any.
 * Errors: -EIO, -ENOSPC and the like when the store fails: nothing was applied, and memory is read
 * anew before the next call. -ENOMEM: nothing was applied. Others stand at each function. */
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

struct chain_change; /* chain_change.h */
struct chain_life;
struct state;

/* ---- opening ---- */

/* What state_init() makes of a new store. */
struct state_options {
	/* The default pool. */
	uint32_t copies, partitions, chunk_size;
	enum failure_domain failure_domain;
	/* Drawn by chance: the key of the names' hash, and what tells clusters with one name apart.
	 */
	uint8_t name_key[NAME_KEY_BYTES];
	uint64_t instance; /* 0 counts as 1 */
	int64_t time;      /* when the root directory is made */
};
/* Makes a new store: cluster id, root directory, default pool. -EEXIST: there is one. */
int state_init(struct kv *kv, const char *cluster, const struct state_options *options);
/* Reads the state from @kv, which is borrowed. -ENOENT: not initialised; -EUCLEAN: damaged, or of
 * another version; -EPROTONOSUPPORT: of a later level. */
int state_open(struct kv *kv, struct state **out, char *error, size_t error_size);
void state_close(struct state *state);
/* Sends one line about each trouble that no error tells to @report: a damaged record, a map that
 * cannot be made. NULL, as from the start: to nobody. */
typedef void state_report_fn(const char *line);
void state_report_to(struct state *state, state_report_fn *report);
/* Shows each command's changes of the store to @listen, as the command made them. NULL, as from the
 * start: to nobody. */
void state_listen(struct state *state, void (*listen)(void *user, const struct kv_batch *batch),
		  void *user);
/* Drops what memory knows and reads it anew, after kv_recover(). */
int state_reload(struct state *state);

/* The chance of a start of the master, drawn by its proposer. Not 0. */
struct state_start {
	uint64_t instance; /* of the cluster, for a store of a time when there was none */
	uint64_t chance;   /* of this life */
};
/* A power cut may take commands that were not flushed, though clients have used their ids. So each
 * start leaves a gap in all ids that no lost tail can fill. */
#define STATE_ID_GAP     (UINT64_C(1) << 24)
#define STATE_ID_GAP_MAX (UINT64_C(1) << 32)
/* Begins a life of the master, with a newer map than all before: its first command. @id_gap is its
 * proposer's, who may be of another version: STATE_ID_GAP here. -EINVAL: it is 0 or above
 * STATE_ID_GAP_MAX. */
int state_apply_start(struct state *state, uint64_t index, const struct state_start *start,
		      uint64_t id_gap);

/* The level: which kinds of commands, fields and meanings count. A new store has STATE_LEVEL. */
uint32_t state_level(const struct state *state);
/* Raises the level; one that it has already: no effect. -EINVAL: 0, or above STATE_LEVEL. */
int state_apply_level(struct state *state, uint64_t index, uint32_t level);

const char *state_cluster(const struct state *state);
/* The chance by which clusters with one name are told apart. 0: the store is of an earlier time and
 * has not been started since. */
uint64_t state_instance(const struct state *state);
uint64_t state_applied_index(const struct state *state);
/* Takes down that the entry @index has changed nothing: it was refused, or had been done before. */
int state_apply_nothing(struct state *state, uint64_t index);

struct state_counts {
	uint64_t inodes, orphans, removals;
	uint64_t allocated_bytes; /* sum of file sizes */
};
void state_counts(const struct state *state, struct state_counts *out);

/* ---- lives ---- */

/* The life that state_apply_start() began last. */
void state_life(const struct state *state, struct state_life *out);
enum state_seen_verdict {
	STATE_SEEN_FINE,    /* the store knows all that the target does */
	STATE_SEEN_LATER,   /* the target has seen what comes after this store: an older copy */
	STATE_SEEN_ANOTHER, /* the target's master was started on another copy of this store */
};
/* Compares the store with what the target @uuid has seen. Lives from before an acceptance were
 * given up with it. A target that was heard then, and has seen more of them since, shows that
 * another copy has gone on: LATER, or ANOTHER. Errors: those of the store; then nothing is said. */
int state_check_seen(struct state *state, const char *uuid, const struct state_seen *seen,
		     enum state_seen_verdict *verdict);

/* ---- an older store is accepted ---- */

/* How far numbers jump ahead of what may have been given out since. */
#define ACCEPT_ID_GAP (UINT64_C(1) << 44)
/* The numbers jump further by the chance of the acceptance, without its lowest bits: by 2^42 at
 * most. */
#define ACCEPT_CHANCE_SHIFT 22
#define ACCEPT_VERSION_GAP  (UINT64_C(1) << 16)
#define ACCEPT_LIFE_GAP     (UINT64_C(1) << 16)
/* The epoch above which chains begin that are placed for the first time. After an acceptance it is
 * that of its line: a target that was not heard then may have gone by former chains, and would
 * refuse lower ones. */
uint64_t state_epoch_base(const struct state *state);
/* A target that the store does not know, and its server, with the numbers that they were given. */
struct state_accepted_target {
	uint32_t id;
	char uuid[37];
	uint64_t life;
	struct map_server server;
};
/* What a target had seen when it was heard. */
struct state_accept_seen {
	char uuid[37];
	struct state_seen seen;
};
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
/* Gives the numbers of which the store would have too few left after this acceptance, as a word for
 * messages; NULL: there is room. */
const char *state_accept_without_room(const struct state *state, const struct state_accept *accept);
/* Goes on from an older store, above all numbers that may have been given out since. -EBUSY: there
 * are sessions, which would end with the store that knew them: close them first. -EINVAL: it does
 * not fit the store. -EUSERS: there would be too many servers or targets. -EOVERFLOW:
 * state_accept_without_room(). */
int state_apply_accept(struct state *state, uint64_t index, const struct state_accept *accept);

/* ---- batches ---- */

/* Between begin and commit what is applied is collected, seen by all that reads the state, and in
 * the store only with the commit: as one batch, which is much cheaper than one for each command.
 * Without them each command is a batch of its own. */
void state_batch_begin(struct state *state);
/* Errors: nothing of the batch is applied, but may come back with the store; memory is read anew. */
int state_batch_commit(struct state *state);
/* Forgets all that was applied since the begin; memory is read anew. */
void state_batch_abandon(struct state *state);
/* Bytes that are collected. */
size_t state_batch_size(const struct state *state);

/* ---- requests of clients ---- */

/* True when this request changes anything: then it must go through the log. */
bool state_request_is_command(const Catena__Request *request);
/* True when this request makes the store grow for good. It is refused with ENOSPC when the store's
 * disk is nearly full (kv_space_low()), so that there is room for those that delete. */
bool state_request_grows(const Catena__Request *request);
/* A request as its log entry has it. */
struct state_request {
	uint64_t session;
	uint64_t answered; /* the session has the replies up to here */
	bool no_space;     /* the store's disk was nearly full: growing is refused with ENOSPC */
	const Catena__Request *message;
};
struct state_answer {
	uint8_t *reply; /* a packed Catena__Reply, malloc()ed; NULL: it is of the lane, and done */
	size_t reply_size;
	uint64_t
		lane; /* the session's lane is done up to here, with this request; 0: it is not of it */
};
/* Applies a command at log @index, or answers as the first time when it was applied before. Before
 * that the replies up to its @answered are forgotten, which the session has received: what is kept
 * depends on the log only, and not on when a replica was started.
 *
 * Requests of a session's lane have consecutive numbers. Of those that are done only the last number
 * is kept, and the replies of those that were refused.
 * Errors: those of the store; failures of the request are in the reply. -EUCLEAN: it has met a damaged
 * record, and nothing was applied. -EPROTO: the lane has a gap
 * before this request, or there is no room for its refusal; the session sends again from where it
 * has no answer. */
int state_apply_request(struct state *state, uint64_t index, const struct state_request *request,
			struct state_answer *answer);
/* A request that is refused although this state might do it: on the master whose log this is, it has
 * met a damaged record. */
struct state_refusal {
	uint64_t session, request, lane, answered; /* as in the request */
	int error;                                 /* positive */
};
#define STATE_REFUSAL_MAX 4095
/* Refuses the request as state_apply_request() does when it refuses: at a repetition the answer is
 * the same. -EINVAL: that is no error. */
int state_apply_refused(struct state *state, uint64_t index, const struct state_refusal *refusal,
			struct state_answer *answer);
/* Answers a query; the same form of reply. */
int state_query(struct state *state, uint64_t session, const Catena__Request *request,
		uint8_t **reply, size_t *reply_size);
/* The session that has the right to append to this inode; 0: there is none. */
uint64_t state_append_holder(const struct state *state, uint64_t ino);

/* ---- sessions ---- */

/* Opens a session, with the next id: *session. -EBUSY: a session has the tree lease. -EUSERS: there
 * are STATE_SESSIONS_MAX. -EOVERFLOW: no ids are left. -EINVAL: a text is too long. */
int state_apply_session_open(struct state *state, uint64_t index, uint64_t secret,
			     const char *mount, const char *name, uint64_t *session);
/* Closes its open files, drops its replies, ends its tree lease. Of the files that nothing names any
 * more and nobody else has open, those in @left (ascending) stay: orphans with damaged records.
 * -ENOENT. -EUCLEAN: another one is damaged, and nothing is done. */
int state_apply_session_close(struct state *state, uint64_t index, uint64_t session,
			      const uint64_t *left, size_t left_count);
/* Finds the inodes, ascending, that the session's end would meet damaged: *out is the caller's to
 * free. -ENOENT, -ENOMEM, the store's errors. */
int state_session_damaged(struct state *state, uint64_t session, uint64_t **out, size_t *count);
/* Fences the session: from here on it changes nothing, and its id is one of state_ended_sessions().
 * Its open files, its tree lease and its right to a trim stay until it is closed. -ENOENT. */
int state_apply_session_fence(struct state *state, uint64_t index, uint64_t session);
/* Checks that the session may be resumed. -ENOENT: there is none, or it is fenced. -EACCES: the
 * secret is another. */
int state_session_check(struct state *state, uint64_t session, uint64_t secret);
bool state_session_is_fenced(const struct state *state, uint64_t session);
/* The highest id of the session's commands that have left a trace; 0: none, or no such session. A
 * command with a higher id that was answered is lost. */
uint64_t state_session_done(const struct state *state, uint64_t session);
/* The ids of fenced sessions, those closed too, that are not below state_session_floor(),
 * ascending. Borrowed until the next command. */
const uint64_t *state_ended_sessions(const struct state *state, size_t *count);
/* The lowest id of a session that is not closed; without any, of the next one. */
uint64_t state_session_floor(const struct state *state);
/* Calls @each for every session; anything but 0 ends that, and is returned. */
int state_sessions(struct state *state,
		   int (*each)(void *user, uint64_t session, const char *mount, const char *name),
		   void *user);
uint64_t state_next_session_id(const struct state *state);

/* Notes whether members of chains may still have something of an ended session. While they may,
 * they get no lease before they have acknowledged its end (leases/fences.h). */
int state_apply_fences_owed(struct state *state, uint64_t index, bool owed);
bool state_fences_owed(const struct state *state);

/* ---- the tree lease ---- */

/* Gives the session the exclusive lease on the whole tree, with a generation that no lease had
 * before; a session that has it already keeps its generation. The client hears of it only when it
 * is durable. -ENOENT: no such session, or it is fenced. -EBUSY: there are others. */
int state_apply_lease_grant(struct state *state, uint64_t index, uint64_t session,
			    uint64_t *generation);
/* Ends the lease: all that was answered under it has come. A lease that has ended already: no
 * effect. */
int state_apply_lease_end(struct state *state, uint64_t index, uint64_t session,
			  uint64_t generation);
/* The session that has the tree lease (0: none), and its generation. */
uint64_t state_tree_lease(const struct state *state, uint64_t *generation);

/* ---- cluster ---- */

#define STATE_REGISTERED_MAX 256u /* targets of one server, at once */
/* A target that registers, and what its proposer read of it in the state; 0: it was not known. */
struct state_registered_target {
	char uuid[37];
	uint64_t known_server, known_life;
};
/* A server that registers, and what its proposer read of its name; 0, "": it was not known. */
struct state_registration {
	const struct map_server *server;
	uint64_t known_id;
	char known_address[MAP_NAME_MAX];
	struct state_registered_target *targets;
	size_t target_count;
};
/* Fills what is known of the server by its name, and of the targets by their uuids. */
void state_registration_read(const struct state *state, struct state_registration *registration);
/* Registers a server by its certificate's name. It gets an id, which is kept for ever, and so do
 * its targets; address and labels are updated. Chains are placed by a command of their own.
 * -EINVAL. -EBUSY: another registration has come since the proposer read: the name or a target is
 * elsewhere by now. -EUSERS: there would be too many servers or targets. */
int state_apply_register(struct state *state, uint64_t index,
			 const struct state_registration *registration);
/* Changes chains, and remembers lives of targets, in one batch, as the chain manager decided.
 * Each chain is of the epoch after its last; of none, the one after state_epoch_base(). It names
 * known targets once each, those in-sync first and at least one of them. No partition is named
 * twice. @fenced: servers that have to be told first (chains/manager.h), kept for a next life of
 * the master until the next change. -EINVAL: not so; nothing was done. */
int state_apply_chains(struct state *state, uint64_t index, const struct chain_change *changes,
		       size_t change_count, const struct chain_life *lives, size_t life_count,
		       const uint64_t *fenced, size_t fenced_count);
/* The servers that had to be told first of the last change; some may not have been. Borrowed. */
const uint64_t *state_fenced(const struct state *state, size_t *count);
/* Marks targets that are to be emptied. -ENOENT: an unknown target; nothing was done. */
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
/* The version of the map: it grows with every change of what state_map() makes. */
uint64_t state_map_version(const struct state *state);
/* Makes the map; online, used and capacity are the caller's to fill from liveness. NULL: out of
 * memory, or the store fails. */
struct cluster_map *state_map(struct state *state);

/* ---- removal ---- */

/* Reads up to @max entries in order from behind @after; returns the count or -errno. No session has
 * such a file open. */
int state_removals(struct state *state, uint64_t after, struct state_removal *out, int max);
/* The sequence that the next entry of the queue gets. */
uint64_t state_removals_end(const struct state *state);
/* Puts those of the entries @sequences that can be read, or are not there, to @out, which has room
 * for @count; returns how many, or an error of the store. */
int state_removals_sound(struct state *state, const uint64_t *sequences, size_t count,
			 uint64_t *out);
/* Drops entries whose chunks are gone; unknown ones are passed over. */
int state_apply_removed(struct state *state, uint64_t index, const uint64_t *sequences,
			size_t count);
#endif
