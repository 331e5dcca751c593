/* fence.h - clients' sessions that are over by the map: their connections end, and the master is
 * told when nothing of them is left here.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_FENCE_H
#define CATENA_CHUNKSERVER_WORKER_FENCE_H
#include "chunkserver/worker/loop.h"

/* Fences the sessions that are over by the worker's new map, before it is placed. */
void worker_fence_map(struct worker *worker);
/* Notes that the map has been placed. */
void worker_fence_placed(struct worker *worker);
/* Tells the front loop once nothing is left of the sessions that the placed map says are over. */
void worker_fence_look(struct worker *worker);
#endif
