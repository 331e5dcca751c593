/* sessions.h - sessions of clients: the tables of what they have open, the replies kept for them,
 * the numbers delegated to them, and their records. */
#ifndef CATENA_MASTER_RECORDS_SESSIONS_H
#define CATENA_MASTER_RECORDS_SESSIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>
#include "common/kv/kv.h"

struct state;

struct open_file { /* of one session */
	uint64_t ino;
	uint32_t count;
	UT_hash_handle hh;
};

struct open_total { /* of all sessions */
	uint64_t ino;
	uint64_t count;
	UT_hash_handle hh;
};

struct kept_reply {
	uint64_t id;
	uint8_t *data;
	size_t size;
};

/* Numbers that a session may give to inodes by itself: (first_ino + i, first_file_id + i). */
struct delegation {
	uint64_t first_ino, first_file_id;
	uint32_t count;
};
/* A client asks for the next range while it still has some of the one before. */
#define DELEGATIONS    2u
#define DELEGATION_MAX 65536u

struct session {
	uint64_t id, secret;
	char *mount, *name;
	struct delegation delegations[DELEGATIONS]; /* the newest first */
	uint64_t lane_done;                         /* the highest number of the lane */
	uint64_t answered;                          /* replies up to here are forgotten */
	uint64_t forgetting;                        /* the same when the transaction is written */
	bool fenced;                                /* it changes nothing any more */
	/* Replies by ascending id, in a window [reply_first, reply_end) of an array. */
	struct kept_reply *replies;
	size_t reply_first, reply_end, reply_capacity;
	struct open_file *opens;
	uint32_t appends; /* rights to append that it has */
	UT_hash_handle hh;
};

#define SESSION_TEXT_MAX 4096u
#define REPLIES_MAX      65536u /* kept of one session; a client answers long before */

/* NULL: there is none. */
struct session *session_find(const struct state *state, uint64_t id);
/* Copies the texts. NULL: out of memory. It is in no table yet. */
struct session *session_new(uint64_t id, uint64_t secret, const char *mount, const char *name);
/* Frees a session that is in no table. */
void session_free(struct session *session);
void session_add(struct state *state, struct session *session);
/* Takes the session out of the tables, with all that it has open, and frees it. */
void session_remove(struct state *state, struct session *session);

/* ---- replies ---- */

const struct kept_reply *session_reply(const struct session *session, uint64_t id);
/* How many are kept of ids above @id. */
size_t session_replies_above(const struct session *session, uint64_t id);
/* The highest id of a kept reply; 0: there is none. */
uint64_t session_last_reply(const struct session *session);
/* Keeps a copy of the reply @data. -ENOMEM. */
int session_keep_reply(struct session *session, uint64_t id, const void *data, size_t size);
/* Adds to the batch that the replies up to @through are forgotten, when it is worth a record;
 * session_pruned() after it was written. Until then they are all kept: what is known only here would
 * let a state machine that was started meanwhile do otherwise. */
void session_batch_prune(struct kv_batch *batch, struct session *session, uint64_t through);
void session_pruned(struct session *session);

/* Adds to the batch that the lane is done up to @done. */
void session_batch_lane(struct kv_batch *batch, const struct session *session, uint64_t done);

/* ---- open files ---- */

/* True when the session may have this inode open, too, or has it already. */
bool session_may_open(const struct session *session, uint64_t ino);
uint32_t session_open_count(const struct session *session, uint64_t ino);
/* How often all sessions together have the inode open. */
uint64_t session_open_total(const struct state *state, uint64_t ino);
/* Makes the tables say that @session has @ino open @count times. -ENOMEM. */
int session_set_open(struct state *state, struct session *session, uint64_t ino, uint32_t count);

/* ---- delegated numbers ---- */

/* The file id that goes with @ino, if it is of a range delegated to @session; 0: it is not. */
uint64_t session_delegated(const struct session *session, uint64_t ino);
/* The number with which the file id was delegated to the session; 0: it was not. */
uint64_t session_delegated_ino(const struct session *session, uint64_t file_id);
/* Adds to the batch the session's record, with @delegation as its newest; session_delegate() after
 * it was written. */
void session_batch_delegate(struct kv_batch *batch, const struct session *session,
			    const struct delegation *delegation);
void session_delegate(struct session *session, const struct delegation *delegation);

/* ---- records ---- */

/* What the store has of a session; the texts are in the record, and have no end. */
struct session_record {
	uint64_t secret, answered;
	const char *mount, *name;
	uint16_t mount_size, name_size;
	struct delegation delegations[DELEGATIONS];
};
/* False for what was not written by session_batch_put(). */
bool session_decode(const uint8_t *data, size_t size, struct session_record *record);
void session_batch_put(struct kv_batch *batch, const struct session *session);
/* Adds to the batch the end of the session's record, replies and opens. */
void session_batch_delete(struct kv_batch *batch, uint64_t id);
int sessions_load(struct state *state);
void sessions_unload(struct state *state);
#endif
