/* removal.h - a removal of chunks that the master has ordered, spread over the workers that own the
 * chunks' partitions. */
#ifndef CATENA_CHUNKSERVER_SERVER_REMOVAL_H
#define CATENA_CHUNKSERVER_SERVER_REMOVAL_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/server/event_queue.h"
#include "chunkserver/server/workers.h"

/* Begins to delete @chunks of the target @index. When all workers have done their part, or have
 * failed, @queue gets the end of it, with the first error and what may come back; without memory
 * nothing is done, and the master sends its order again. @chunks is copied. Thread: the front
 * loop's. */
void removal_start(const struct workers *workers, struct event_queue *queue, unsigned index,
		   uint64_t sequence, const struct chunk_order *chunks, size_t count);
#endif
