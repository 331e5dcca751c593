/* appends.h - the rights to append: the table of their holders, and their records. */
#ifndef CATENA_MASTER_RECORDS_APPENDS_H
#define CATENA_MASTER_RECORDS_APPENDS_H
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include "common/kv/kv.h"

struct session;
struct state;

/* The right to write behind the end of one inode. */
struct append_right {
	uint64_t ino;
	struct session *session; /* its holder */
	UT_hash_handle hh;
};

/* What a transaction changes of a right. */
struct append_change {
	bool changed, taken; /* by the transaction's session; else it is given back */
	uint64_t ino;
};

/* The session that has the right for @ino; 0: there is none. */
uint64_t append_holder(const struct state *state, uint64_t ino);
/* Adds a change by @session to the batch; append_changed() after it was written. */
void append_batch(struct kv_batch *batch, const struct session *session,
		  const struct append_change *change);
/* Makes memory follow. -ENOMEM. */
int append_changed(struct state *state, struct session *session,
		   const struct append_change *change);
/* The same two for the end of a session: it gives back all rights that it has. */
void append_batch_close(struct state *state, struct kv_batch *batch, const struct session *session);
void append_closed(struct state *state, const struct session *session);
int appends_load(struct state *state); /* after the sessions */
void appends_unload(struct state *state);
#endif
