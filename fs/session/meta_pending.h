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
#define PENDING_HEADROOM 48u

struct pending {
	struct pending *next; /* in a list of those that end together */
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

struct pending_ring {
	struct pending **slots;
	uint64_t mask;
	uint64_t first; /* all below are answered */
	uint64_t next;  /* the next id to give out */
};

int pending_ring_init(struct pending_ring *ring);
void pending_ring_free(struct pending_ring *ring); /* the requests in it too */

/* Encodes everything but the id. NULL: out of memory. The request's id must be 0. */
struct pending *pending_new(const Catena__Request *request);
/* Gives it the next id and puts it in. -ENOMEM. */
int pending_add(struct pending_ring *ring, struct pending *pending);
/* Takes it out; NULL: unknown or answered before. The caller frees it. */
struct pending *pending_take(struct pending_ring *ring, uint64_t id);
/* Borrowed; NULL: answered or unknown. */
struct pending *pending_find(const struct pending_ring *ring, uint64_t id);
/* Writes "answered up to @through" in front; returns where that begins. Does not change size. */
uint32_t pending_prepend_answered(struct pending *pending, uint64_t through);

/* A request may be executed once more, although it was perhaps executed already, and although
 * others did something in between: it only asks, or registers an open. */
bool request_repeatable(const Catena__Request *request);

/* Protobuf varints; returns the bytes written (at most 10). */
size_t varint_put(uint8_t *out, uint64_t value);
#endif
