/* fence.h - sessions of clients that are over by the map. Their connections end, and the master is
 * told when nothing of them is left here. */
#ifndef CATENA_CHUNKSERVER_WORKER_FENCE_H
#define CATENA_CHUNKSERVER_WORKER_FENCE_H
#include "chunkserver/worker/loop.h"

/* Begins with a new map, before it is placed. */
void worker_fence_map(struct worker *worker);
/* Notes that the map has been placed. */
void worker_fence_placed(struct worker *worker);
/* Looks whether anything is left of such sessions, and tells the front loop when nothing is. */
void worker_fence_look(struct worker *worker);
#endif
