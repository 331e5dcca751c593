/* seen.h - what a target remembers of the masters it has had to do with, and of its chains.
 *
 * It is written before the target acts by it, and durable before anything that is flushed later.
 * Thread: one, while others may use the target. */
#ifndef CATENA_CHUNKSERVER_DISK_SEEN_H
#define CATENA_CHUNKSERVER_DISK_SEEN_H
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "chunkserver/record/seen.h"
#include "common/cluster/cluster_map.h"

/* Gets one chain; returns 0, or what ends the walk. */
typedef int seen_each(void *user, uint32_t pool, uint32_t partition, const struct map_chain *chain);

/* Reads what was remembered. Errors: -EUCLEAN. */
int seen_open(struct disk *disk);
void seen_close(struct disk *disk);
void seen_get(const struct disk *disk, struct store_seen *out);
/* Errors: -EIO, -ENOSPC: the target is down, and remembers what it did before. */
int seen_set(struct disk *disk, const struct store_seen *seen);
/* Sets the index alone, if it has grown. It waits for the next flush of the db, because nothing is
 * done by it. */
int seen_set_index(struct disk *disk, uint64_t index);
/* Sets the version and the chains of @map that the target is a member of, or was. */
int seen_set_map(struct disk *disk, const struct cluster_map *map);
/* Walks the chains remembered, in order of pool and partition. */
int seen_chains(struct disk *disk, seen_each *each, void *user);
#endif
