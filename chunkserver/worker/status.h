/* status.h - what the master is told of a worker with each heartbeat. */
#ifndef CATENA_CHUNKSERVER_WORKER_STATUS_H
#define CATENA_CHUNKSERVER_WORKER_STATUS_H
#include "chunkserver/worker/loop.h"

/* Makes a new copy of the status for the front loop. */
void status_tick(struct worker *worker);
/* Tells the front loop that the master should hear of this worker at once. */
void worker_changed(struct worker *worker);
#endif
