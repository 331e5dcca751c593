/* meta_pending.h - requests of one session that have no answer yet, by id.
 *
 * Pure: the owner serialises all calls. A request is kept encoded, as one ClientBatch with nothing
 * else in it, so that resending is copying: batches concatenate. Ids grow by one, so a window
 * [first, next) over a ring of pointers finds them. */
#ifndef CATENA_FS_SESSION_META_PENDING_H
#define CATENA_FS_SESSION_META_PENDING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "fs/session/meta.h"

/* Room before the encoded request for its id, its field header, and what goes out with it. */
#define META_PENDING_HEADROOM 48u

struct meta_pending {
	struct meta_pending *next; /* in a list of those that end together */
	uint64_t id;
	uint64_t deadline_ns; /* soft timeout; 0: none, or it is over already */
	meta_done_fn *done;   /* NULL: nobody waits */
	void *user;
	bool repeatable;      /* may be executed again in another session */
	bool command;         /* changes something, see request_kind.h */
	uint32_t start, size; /* of the ClientBatch in bytes[] */
	uint32_t body;        /* where the request without its id begins */
	uint8_t bytes[];
};

struct meta_pending_ring {
	struct meta_pending **slots;
	uint64_t mask;
	uint64_t first; /* all below are answered */
	uint64_t next;  /* the next id to give out */
};

int meta_pending_ring_init(struct meta_pending_ring *ring);
void meta_pending_ring_free(struct meta_pending_ring *ring); /* the requests in it too */

/* Encodes everything but the id. NULL: out of memory. The request's id must be 0. */
struct meta_pending *meta_pending_new(const Catena__Request *request);
/* Gives it the next id and puts it in. -ENOMEM. */
int meta_pending_add(struct meta_pending_ring *ring, struct meta_pending *pending);
/* Takes it out; NULL: unknown or answered before. The caller frees it. */
struct meta_pending *meta_pending_take(struct meta_pending_ring *ring, uint64_t id);
/* Borrowed; NULL: answered or unknown. */
struct meta_pending *meta_pending_find(const struct meta_pending_ring *ring, uint64_t id);
/* Writes "answered up to @through" in front; returns where that begins. Does not change size. */
uint32_t meta_pending_prepend_answered(struct meta_pending *pending, uint64_t through);

/* A request may be executed once more, although it was perhaps executed already, and although
 * others did something in between: it only asks, or registers an open. */
bool meta_pending_repeatable(const Catena__Request *request);

/* Requests that end, or wait, together; in order. */
struct meta_pending_list {
	struct meta_pending *head, **tail;
};

void meta_pending_list_init(struct meta_pending_list *list);
/* Appends @pending, which now belongs to the list. */
void meta_pending_list_add(struct meta_pending_list *list, struct meta_pending *pending);
/* Ends every request of the list with @error, and empties it. Locks: none, since done() is
 * called. */
void meta_pending_list_end(struct meta_pending_list *list, int error);
#endif
