/* log_flush.h - flushing the log of a target's db: all waits share flushes. */
#ifndef CATENA_CHUNKSERVER_DISK_LOG_FLUSH_H
#define CATENA_CHUNKSERVER_DISK_LOG_FLUSH_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "chunkserver/disk/jobs.h"

int log_flush_start(struct disk *disk);
void log_flush_stop(struct disk *disk);
/* wait->done comes on the loop of @jobs when all batches written by now are durable. Thread: that
 * of @jobs. */
void log_flush(struct disk *disk, struct jobs *jobs, struct flush_wait *wait);
/* Has the log flushed in the background. Thread: any. */
void log_flush_soon(struct disk *disk);
/* Flushes at once: batches up to @seq are durable afterwards. Errors: -ENOSPC; else the target is
 * poisoned. Thread: any. */
int log_flush_now(struct disk *disk, uint64_t seq);
/* Batch @seq is durable. Thread: any. */
static inline bool log_flush_covers(const struct disk *disk, uint64_t seq)
{
	return atomic_load_explicit(&disk->flushed_seq, memory_order_acquire) >= seq;
}
#endif
