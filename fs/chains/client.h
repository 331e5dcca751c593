/* client.h - requests to the chains: which member to ask, on which connection, and what to do
 * when it does not work out.
 *
 * Updates and flushes go to the head, reads and stats to the nearest or least busy in-sync member.
 * What can pass by itself (an epoch that has changed, a member not ready, a broken connection, a
 * peer that says nothing for CHAINS_SILENCE_NS) is tried again with the newest map and the same
 * operation id, 1 ms to 500 ms apart, until the soft timeout or for ever; at once when a map comes
 * in which the chain is another. What is under way with a member that has kept its place stays
 * there: it answers. A read that a member has not answered for CHAINS_HEDGE_NS is asked of another.
 * A read that does not match its checksums is asked of the other members; -EIO only when all are
 * bad.
 *
 * A partition that has no chain yet has never been written: its chunks are absent.
 *
 * A chunk keeps the ids of updates until their client says of a later one that they were answered.
 * When that may never be, and the head says that there are many, the chunk is closed: an update is
 * sent that says only this. Nobody waits for it.
 *
 * Threading: any thread; done() is called on a loop's thread, never in the call, no lock held. */
#ifndef CATENA_FS_CHAINS_CLIENT_H
#define CATENA_FS_CHAINS_CLIENT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"
#include "common/net/frame.h"
#include "fs/chains/answered.h"
#include "fs/chains/transport.h"

#define CHAINS_SILENCE_NS     (5 * NS_PER_SEC)
#define CHAINS_BACKOFF_MAX_NS (500 * NS_PER_MSEC)
/* For the first seconds a request is tried again more often: most troubles are over by then. */
#define CHAINS_BACKOFF_EARLY_NS (50 * NS_PER_MSEC)
#define CHAINS_EARLY_NS         (3 * NS_PER_SEC)
#define CHAINS_HEDGE_NS         (300 * NS_PER_MSEC)
/* Nothing of a chain was answered for so long although something is under way: it is stuck. */
#define CHAINS_STUCK_NS (1000 * NS_PER_MSEC)

struct chains_client;
struct chains_link;
struct chains_request;

/* @error 0: @answer is the member's (borrowed; of an absent chunk all zero) and @payload its
 * payload (taken over; NULL: none). The request is the caller's again. */
typedef void chains_done_fn(struct chains_request *request, int error,
			    const struct frame_header *answer, struct buf *payload);

struct chains_request {
	/* The caller's, before chains_client_send(); everything else zero. */
	uint8_t op; /* WRITE, PUNCH, TRUNCATE, FLUSH, READ, STAT */
	bool sync;  /* update: FRAME_SYNC */
	bool bulk;  /* read: one of many in a row, spread them over the members */
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

struct chains_client_options {
	struct chains_transport *transport; /* borrowed */
	struct buf_pool *pool;              /* borrowed */
	const char *host, *rack, *zone;     /* copied; may be NULL */
	uint64_t soft_timeout_ns;           /* 0: none */
	/* Called on loop 0's thread at the time last asked for with chains_client_wake(), or
	 * earlier. */
	void (*tick)(void *user, uint64_t now_ns);
	void *user;
};

int chains_client_create(const struct chains_client_options *options, struct chains_client **out);
/* Fails all requests with -EIO, closes the connections, stops the transport. Not on a loop's
 * thread. */
void chains_client_stop(struct chains_client *client);
/* After stop. NULL is allowed. */
void chains_client_destroy(struct chains_client *client);

/* Unless it is older than the one there is. */
void chains_client_set_map(struct chains_client *client, struct cluster_map *map);
/* The master is another process, and its store may be an older one, whose maps have lower versions:
 * the next map is taken whatever its version. */
void chains_client_other_master(struct chains_client *client);
/* Nothing is sent before there is a session and a map. Updates belong to their session for good:
 * those of another that are not answered end with -EIO, and none is ever sent under the new id.
 * Reads and flushes go on. */
void chains_client_set_session(struct chains_client *client, uint64_t session_id);
uint64_t chains_client_session(struct chains_client *client); /* 0: none yet */
/* A reference to the newest map; NULL: none yet. */
struct cluster_map *chains_client_map(struct chains_client *client);

void chains_client_send(struct chains_client *client, struct chains_request *request);
/* The caller does not care for the result any more: instead of being tried again the request ends
 * with -ECANCELED. Only between send and done. */
void chains_client_cancel(struct chains_request *request);
/* Between the two, small frames sent by this thread are gathered. */
void chains_client_batch(struct chains_client *client, bool begin);

uint64_t chains_client_now(struct chains_client *client);
void chains_client_wake(struct chains_client *client, uint64_t at_ns);
/* What is known of chains is kept by a number for each; two chains may have the same, and then
 * share their fate for as long as one is stuck. */
#define CHAINS_SLOTS 1024u
static inline uint32_t chains_slot(const struct chunk_key *key)
{
	return (key->partition + key->pool * 389u) % CHAINS_SLOTS;
}
/* Whether updates (@update; else reads) of these chains are under way and none was answered for
 * CHAINS_STUCK_NS. */
bool chains_client_stuck(struct chains_client *client, uint32_t slot, bool update);
/* Servers, online by the map, that something here wants and cannot reach; at most @max. */
size_t chains_client_unreachable(struct chains_client *client, uint64_t *servers, size_t max);
/* Free bytes of the fullest member that has answered an update lately; UINT64_MAX: none has. */
uint64_t chains_client_space_left(struct chains_client *client);

struct chains_client_stats {
	uint64_t requests, repeats, resets, bad_blocks, hedges;
};
void chains_client_stats(struct chains_client *client, struct chains_client_stats *out);
#endif
