/* space.h - room on a target's disk: a reserve is kept for what must go on when writes are refused.
 * Thread: any. */
#ifndef CATENA_CHUNKSERVER_DISK_SPACE_H
#define CATENA_CHUNKSERVER_DISK_SPACE_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/disk/disk.h"

#define SPACE_RESERVE_PART    20u         /* of the capacity is kept free, */
#define SPACE_RESERVE_MIN     (8u << 20)  /* at least this */
#define SPACE_RESERVE_MAX     (1u << 30)  /* and at most this; */
#define SPACE_LOW_PART        32u         /* of the capacity: less than that is low, */
#define SPACE_LOW_MAX         (64u << 20) /* but not more than this */
#define SPACE_RESERVE_CATCHUP 4u          /* of the reserve, catch-up data leaves this part */

/* Asks the filesystem, and sets the reserve by what it says. */
void space_start(struct disk *disk);
/* Promises room for @bytes to come. Errors: -ENOSPC. */
int space_promise(struct disk *disk, uint64_t bytes, bool catching_up);
void space_release(struct disk *disk, uint64_t promised, uint64_t written);
/* Asks the filesystem again: when much was written since the last time or some time has passed, or
 * @now. */
void space_refresh(struct disk *disk, bool now);
/* Bytes that are available and not promised. */
uint64_t space_left(const struct disk *disk);
/* Space is about to run out: what can be given back, should be. */
bool space_is_short(const struct disk *disk);
/* *free_bytes is what WRITE may still take: free, less the reserve and what is promised. */
void space_tell(struct disk *disk, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes);
bool space_is_full(struct disk *disk);
/* So little is left that other targets should take over before anything has to be refused. @was:
 * the last answer, so that it does not go to and fro. */
bool space_is_low(struct disk *disk, bool was);
#endif
