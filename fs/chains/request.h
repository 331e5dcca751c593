/* request.h - one request to a chain: what is asked, and how far its attempts have come.
 *
 * Decisions about requests (route.h) are made from this, the cluster map and the time.
 *
 * A request is in one place at a time: with a link, or in the list of retries. Whoever takes it out
 * of there, under that place's lock, owns it.
 *
 * Thread: the caller's part is written before chains_client_send() and read after done(). The rest
 * belongs to the request's owner. */
#ifndef CATENA_FS_CHAINS_REQUEST_H
#define CATENA_FS_CHAINS_REQUEST_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "common/net/frame.h"
#include "fs/chains/answered.h"

/* A connection is closed when its peer has been silent for so long. */
#define CHAINS_SILENCE_NS (5 * NS_PER_SEC)
/* Attempts are at most so far apart; less in the first seconds, after which most troubles are
 * over. */
#define CHAINS_BACKOFF_MAX_NS   (500 * NS_PER_MSEC)
#define CHAINS_BACKOFF_EARLY_NS (50 * NS_PER_MSEC)
#define CHAINS_EARLY_NS         (3 * NS_PER_SEC)
/* A read that a silent member has not answered for so long is asked of another. */
#define CHAINS_HEDGE_NS (300 * NS_PER_MSEC)
/* A chain is stuck when something is under way, and nothing was answered for so long. */
#define CHAINS_STUCK_NS (1000 * NS_PER_MSEC)

struct chains_request;

/* Called once when the request is over; it is the caller's again. With @error 0, @answer is the
 * member's (borrowed; of an absent chunk all zero), and @payload its payload (taken over; NULL:
 * none). */
typedef void chains_done_fn(struct chains_request *request, int error,
			    const struct frame_header *answer, struct buf *payload);

struct chains_request {
	/* The caller's, before chains_client_send(); everything else zero. */
	uint8_t op;   /* WRITE, PUNCH, TRUNCATE, FLUSH, READ, STAT */
	bool durable; /* update: FRAME_DURABLE */
	bool bulk;    /* read: one of many in a row, spread them over the members */
	struct chunk_key key;
	uint32_t offset, range;
	struct buf *payload; /* WRITE: borrowed until done, crcs filled */
	uint64_t session;    /* update: the session it is of; 0: the one that first sends it */
	/* Update, FLUSH: what was answered before and must still be there; it is read each time that
	 * the request goes out, and lives until done(). -ENODATA: the chain has lost it. NULL:
	 * nothing. */
	const struct chains_answered *known;
	chains_done_fn *done;
	void *user;
	/* Set with done(): the request went out more than once, so that the answer may be that of an
	 * earlier time. */
	bool repeated;

	/* The owner's. */
	atomic_bool cancelled;
	bool to_tail; /* the tail must answer this time */
	bool absent;  /* the partition has no chain yet: the answer is "nothing" */
	bool closing; /* made by chains_ops_close() */
	bool lingers; /* update: when it ends as the last of its chunk, the chunk is closed */
	bool probe;   /* finds out when a stuck chain goes on */
	bool parked;  /* waits for a probe to find out */
	int failed;   /* the error (-errno) that the next tick reports; 0: none */
	uint8_t tried_count, bad_count;
	uint32_t tried[CHAIN_MEMBERS_MAX]; /* targets that could not answer this time */
	uint32_t bad[CHAIN_MEMBERS_MAX];   /* targets whose copy is bad */
	uint32_t target_id;                /* the target asked last, */
	uint64_t server_id;                /* and its server */
	uint32_t suspect;                  /* a target that is to verify what it reads; 0: none */
	unsigned attempts, checksum_failures, sends, hedges;
	uint64_t epoch, client_id, op_id;
	uint64_t start_ns, sent_ns, retry_ns;
	uint64_t full_ns; /* when a member said ENOSPC first; 0: none has */
	/* The client's, when the member was chosen or the request was last compared with the map. */
	uint64_t map_count;
	uint32_t slot; /* in the link; CHAINS_LINK_NO_SLOT: it waits for the connection */
	struct chains_request *next;              /* in a link's waiting list or the retry list */
	struct chains_request *op_next, *op_prev; /* chains_client.ops */
	struct chains_request *park_next, *park_prev; /* those parked, of the chain's number */
};

/* What is known of chains is kept by a number. Two chains may have the same one: while one of them
 * is stuck, both are taken for stuck. */
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
