/* epoch.h - the highest epoch of each partition that a target has been in. Thread: any. */
#ifndef CATENA_CHUNKSERVER_DISK_EPOCH_H
#define CATENA_CHUNKSERVER_DISK_EPOCH_H
#include <stdint.h>
#include "chunkserver/disk/disk.h"

/* *epoch 0: none is known. Errors: -EIO, -EBADMSG. */
int epoch_get(struct disk *disk, uint32_t pool, uint32_t partition, uint64_t *epoch);
/* Notes @epoch (not 0). No later change is durable before it. Errors: -EIO: the target is down;
 * -ENOMEM. */
int epoch_set(struct disk *disk, uint32_t pool, uint32_t partition, uint64_t epoch);
#endif
