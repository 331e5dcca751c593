/* heartbeat.h - what a heartbeat tells the master of the whole server, beside its targets.
 *
 * Thread: the front loop's. */
#ifndef CATENA_CHUNKSERVER_SERVER_HEARTBEAT_H
#define CATENA_CHUNKSERVER_SERVER_HEARTBEAT_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/server/master_session.h"
#include "chunkserver/server/workers.h"
#include "chunkserver/worker/chain_reports.h"

struct heartbeat {
	uint64_t map_version, fence_version; /* as told in the last one */
	struct chain_reports *reports;       /* repeated in each until the master has acted */
};

/* Fills in all of @status but whether the server is leaving, and notes what has been told now.
 * @status is all zero. */
void heartbeat_status(struct heartbeat *heartbeat, const struct workers *workers,
		      struct server_status *status);
/* Adds what one worker says to what others have said. A server is named once; what there is no
 * room for is told when there is. Pure. */
void heartbeat_add(struct server_status *status, const struct worker_status *worker);
/* True: the workers go by a newer map, or have fenced by one, than the master was told. Others may
 * wait until it knows that this server has lost a place. */
bool heartbeat_is_due(const struct heartbeat *heartbeat, const struct workers *workers);
#endif
