/* health.h - which chains answer, so that one that does not costs no more than its part.
 *
 * Thread: any. Locks: none, unless a field says otherwise. */
#ifndef CATENA_FS_CHAINS_HEALTH_H
#define CATENA_FS_CHAINS_HEALTH_H
#include "fs/chains/request.h"

struct chains_client;

/* At most so many requests of a stuck chain are tried again by themselves; when one succeeds, all
 * are. Thousands that were refused and come again do good to nobody. While anybody is parked there
 * are as many probes as this: one that ends hands its place on. */
#define CHAINS_HEALTH_PROBES 64u

/* Of the chains of one number (chains_slot()), either their reads or their updates and flushes. */
struct chains_progress {
	atomic_uint under_way;
	_Atomic uint64_t progress_ns; /* the last answer, or the beginning of the first request */

	/* Under retry_lock; parked_count is read without. */
	unsigned probes;
	atomic_uint parked_count;
	struct chains_request *parked; /* as they came */
	bool parked_mixed;             /* they are of several chains */
};

struct chains_health {
	struct chains_progress progress[2]; /* reads; updates and flushes */
};

struct chains_progress *chains_health_progress(struct chains_client *client,
					       const struct chains_request *request);
/* Count a request in and out. @answered: a member has answered it. */
void chains_health_begin(struct chains_client *client, struct chains_request *request);
void chains_health_end(struct chains_client *client, struct chains_request *request, bool answered);
#endif
