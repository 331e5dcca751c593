/* request.h - one request to a chain: what is asked, and how far its attempts have come.
 *
 * Pure: decisions about requests (route.h) are made from this, the cluster map and the time. The
 * caller's part is written before chains_client_send() and read after done(); the rest belongs to
 * whichever place the request is in, under that place's lock. */
#ifndef CATENA_FS_CHAINS_REQUEST_H
#define CATENA_FS_CHAINS_REQUEST_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "common/net/frame.h"
#include "fs/chains/answered.h"

#define CHAINS_SILENCE_NS     (5 * NS_PER_SEC)
#define CHAINS_BACKOFF_MAX_NS (500 * NS_PER_MSEC)
/* For the first seconds a request is tried again more often: most troubles are over by then. */
#define CHAINS_BACKOFF_EARLY_NS (50 * NS_PER_MSEC)
#define CHAINS_EARLY_NS         (3 * NS_PER_SEC)
#define CHAINS_HEDGE_NS         (300 * NS_PER_MSEC)
/* Nothing of a chain was answered for so long although something is under way: it is stuck. */
#define CHAINS_STUCK_NS (1000 * NS_PER_MSEC)

struct chains_request;

/* @error 0: @answer is the member's (borrowed; of an absent chunk all zero) and @payload its
 * payload (taken over; NULL: none). The request is the caller's again. */
typedef void chains_done_fn(struct chains_request *request, int error,
			    const struct frame_header *answer, struct buf *payload);

struct chains_request {
	/* The caller's, before chains_client_send(); everything else zero. */
	uint8_t op;   /* WRITE, PUNCH, TRUNCATE, FLUSH, READ, STAT */
	bool durable; /* update: FRAME_SYNC */
	bool bulk;    /* read: one of many in a row, spread them over the members */
	struct chunk_key key;
	uint32_t offset, range;
	struct buf *payload; /* WRITE: borrowed until done, crcs filled */
	uint64_t session;    /* update: the session it is of; 0: the one that first sends it */
	/* Update, FLUSH: what was answered and must still be there: read each time that it goes
	 * out, and -ENODATA if it is not. NULL: nothing. Lives until done(). */
	const struct chains_answered *known;
	chains_done_fn *done;
	void *user;
	/* With done(): went out more than once, so that the answer may be that of the first time.
	 */
	bool repeated;

	/* Private. A request is in one place at a time: with a link, or in the retry list; whoever
	 * takes it out of there, under that place's lock, owns it. */
	atomic_bool cancelled;
	bool to_tail, absent;
	bool closing; /* chains_ops_close() */
	bool lingers; /* update: when it is over as the last of its chunk, that is to be closed */
	bool probe;   /* one of those that find out when a stuck chain goes on */
	bool parked;  /* one of the others, which wait for that */
	int failed;   /* to be reported by the next tick */
	uint8_t tried_count, bad_count;
	uint32_t tried[CHAIN_MEMBERS_MAX]; /* targets that could not answer this time */
	uint32_t bad[CHAIN_MEMBERS_MAX];   /* targets whose copy is bad */
	uint32_t target_id;                /* asked last */
	uint32_t suspect;                  /* target to be asked to verify what it reads; 0: none */
	uint64_t server_id;                /* its server */
	unsigned attempts, checksum_failures, sends, hedges;
	uint64_t epoch, client_id, op_id;
	uint64_t start_ns, sent_ns, retry_ns;
	uint64_t full_ns; /* a member said ENOSPC first then; 0: none has */
	/* Of the client, when the member was chosen, or when the map was last compared with it. */
	uint64_t map_count;
	uint32_t slot;
	struct chains_request *next;              /* in a link's waiting list or the retry list */
	struct chains_request *op_next, *op_prev; /* chains_client.ops */
	struct chains_request *park_next, *park_prev; /* those parked, of the chain's number */
};

/* What is known of chains is kept by a number for each; two chains may have the same, and then
 * share their fate for as long as one is stuck. */
#define CHAINS_SLOTS 1024u
static inline uint32_t chains_slot(const struct chunk_key *key)
{
	return (key->partition + key->pool * 389u) % CHAINS_SLOTS;
}

/* ---- for the files of this folder: what becomes of a request. Locks: none held by the caller. */

struct chains_client;

/* Makes an attempt, now: chooses a member and gives the request to its link. */
void chains_request_route(struct chains_client *client, struct chains_request *request);
/* The same, with another member than the one asked last. */
void chains_request_elsewhere(struct chains_client *client, struct chains_request *request);
/* Takes the answer of an attempt; @payload is taken over. */
void chains_request_answered(struct chains_client *client, struct chains_request *request,
			     const struct frame_header *answer, struct buf *payload);
/* Tries the request again after its connection was lost, or could not be made. */
void chains_request_lost(struct chains_client *client, struct chains_request *request);
/* Ends the request; @payload is taken over. */
void chains_request_finish(struct chains_client *client, struct chains_request *request, int error,
			   const struct frame_header *answer, struct buf *payload);
#endif
