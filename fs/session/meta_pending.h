/* meta_pending.h - requests of one session that may have to be sent again, by id.
 *
 * A request is kept until it is answered, and a command of the lane until the master says that it is
 * durable. So are other commands that were sent while this mount was the sole client: they were
 * done in the order of their ids, and would be so again, with the same outcome, after a power cut
 * has taken the last of them from the master. If another client had done something in between, the
 * outcome could be another, but no lease ends before all that came before it is durable. Those that
 * take numbers from the master would get others, so they are answered when they are durable, and not
 * kept.
 *
 * The lane: commands for whose answers no program waits. They have consecutive numbers, beside their
 * ids, and the master answers them all together: done up to a number.
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

/* More than about so much is not kept. */
#define META_KEPT_MAX       65536u
#define META_KEPT_BYTES_MAX (16u << 20)
/* Room before the encoded request for its id, its field header, and what goes out with it. */
#define META_PENDING_HEADROOM 64u

struct meta_pending {
	struct meta_pending *next; /* in a list of those that end together, or of the ring */
	uint64_t id;
	uint64_t lane;  /* its number in the lane; 0: it is not of it, or has no id yet */
	uint64_t index; /* of the master's log: durable up to here, it need not be sent again */
	uint64_t deadline_ns; /* soft timeout; 0: none, or it is over already */
	meta_done_fn *done;   /* NULL: nobody waits */
	void *user;
	bool repeatable;      /* may be executed again in another session */
	bool command;         /* changes something, see request_kind.h */
	bool durable;         /* is answered only when it is durable */
	bool in_lane;         /* gets a number of the lane with its id */
	bool takes_numbers;   /* of the master; a repetition may get others */
	bool kept;            /* until it is durable */
	bool answered;        /* its owner has been told */
	bool settled;         /* it was answered on this stream, too */
	int error;            /* what its owner was told */
	uint32_t start, size; /* of the ClientBatch in bytes[] */
	uint32_t body;        /* where the request without its id begins */
	uint8_t bytes[];
};

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

struct meta_pending_ring {
	struct meta_pending **slots;
	uint64_t mask;
	uint64_t first; /* none below has to be sent again */
	uint64_t next;  /* the next id to give out */
	uint64_t next_lane;
	struct meta_pending_list lane; /* sent and not done, by number */
	struct meta_pending_list kept; /* answered and not durable, by index */
	size_t kept_bytes;             /* of requests that are kept, answered or not */
};

int meta_pending_ring_init(struct meta_pending_ring *ring);
void meta_pending_ring_free(struct meta_pending_ring *ring); /* the requests in it too */

/* Encodes everything but the id. NULL: out of memory. The request's id must be 0. */
struct meta_pending *meta_pending_new(const Catena__Request *request);
/* Gives it the next id, and number of the lane, and puts it in. -ENOMEM. */
int meta_pending_add(struct meta_pending_ring *ring, struct meta_pending *pending);
/* Borrowed; NULL: unknown, or it need not be sent again. */
struct meta_pending *meta_pending_find(const struct meta_pending_ring *ring, uint64_t id);

/* What an answer means for whoever sent the request. */
enum meta_pending_news {
	META_PENDING_NO_NEWS,   /* it has been told, or is unknown */
	META_PENDING_NEWS,      /* call done() */
	META_PENDING_OTHER_END, /* it was told another end than this: something was lost */
};
/* Takes the answer to @id, whose error is @error. @index: the answers so far are of commands up to
 * there. Then *out is it; it stays in the ring, unless *gone: then the caller frees it. */
enum meta_pending_news meta_pending_answer(struct meta_pending_ring *ring, uint64_t id, int error,
					   uint64_t index, struct meta_pending **out, bool *gone);
/* Takes the word that the lane is done up to @through. Returns the next of which that is news, with
 * its done() and user; false: there is no more. */
bool meta_pending_lane_done(struct meta_pending_ring *ring, uint64_t through, uint64_t index,
			    meta_done_fn **done, void **user);
/* Forgets what is answered and durable up to @durable. */
void meta_pending_durable(struct meta_pending_ring *ring, uint64_t durable);
/* Another stream begins: everything in the ring is sent again, and has no answer on it. @lanes: its
 * master has lanes; else nothing is kept behind its answer. */
void meta_pending_send_again(struct meta_pending_ring *ring, bool lanes);
/* True when so much is kept that no more should be answered before the master has. */
bool meta_pending_full(const struct meta_pending_ring *ring);
/* Takes everything out, in order: another session begins with ids and numbers from 1 on, or none
 * does. What was answered is freed. */
void meta_pending_empty(struct meta_pending_ring *ring, struct meta_pending_list *out);
/* Writes "answered up to @through" in front; returns where that begins. Does not change size. */
uint32_t meta_pending_prepend_answered(struct meta_pending *pending, uint64_t through);

/* A request may be executed once more, although it was perhaps executed already, and although
 * others did something in between: it only asks, or registers an open. */
bool meta_pending_repeatable(const Catena__Request *request);

#endif
