/* status.h - the state of a worker that the master is told with each heartbeat.
 *
 * Thread: the worker's. Locks: worker.lock, inside. */
#ifndef CATENA_CHUNKSERVER_WORKER_STATUS_H
#define CATENA_CHUNKSERVER_WORKER_STATUS_H
#include "chunkserver/worker/loop.h"

/* Makes a new copy of the status for the front loop. */
void status_tick(struct worker *worker);
/* Tells the front loop that the master should hear of this worker at once. */
void worker_changed(struct worker *worker);
#endif
