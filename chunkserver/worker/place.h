/* place.h - the chains that a worker has by the cluster map. See place.c.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_PLACE_H
#define CATENA_CHUNKSERVER_WORKER_PLACE_H
#include "chunkserver/worker/loop.h"

/* Takes the numbers of this server and its targets (0: refused) by the master; see
 * worker_set_identity(). */
void place_registered(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
		      uint64_t map_version);
/* Takes a new map. False: it is older than the worker's, and is ignored. */
bool place_map(struct worker *worker, struct cluster_map *map);
/* Places one partition, even if the map is the one by which it was placed last. */
void place_again(struct worker *worker, uint32_t pool, uint32_t partition);
#endif
