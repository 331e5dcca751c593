/* inner.h - blocks kept inside the db. */
#ifndef CATENA_CHUNKSERVER_CHUNK_INNER_H
#define CATENA_CHUNKSERVER_CHUNK_INNER_H
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "chunkserver/record/bits.h"
#include "common/cluster/chunk.h"

/* Reads the inner blocks in @set (relative to @first) to their places in @data. Errors: -EBADMSG;
 * -errno. Thread: any. */
int inner_read(struct disk *disk, const struct chunk_key *key, uint32_t first,
	       const struct bits *set, const uint32_t *crcs, uint8_t *data);
#endif
