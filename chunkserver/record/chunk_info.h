/* chunk_info.h - what a target's record says of a chunk. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_CHUNK_INFO_H
#define CATENA_CHUNKSERVER_RECORD_CHUNK_INFO_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/record/chunk_history.h"
#include "common/base/block.h"
#include "common/cluster/chunk.h"

#define CHUNK_INNER_MAX  32768u /* bytes of a chunk that may stay inside the db */
#define OP_IDS_KEPT      64u    /* operation ids kept per chunk, at most */
#define CHUNK_BLOCKS_MAX (CHUNK_SIZE_MAX / BLOCK_SIZE)

struct op_id {
	uint64_t client_id, op_id, version;
};

struct chunk_info {
	bool exists; /* else all below is 0 */
	bool unsure; /* went through a crash while overwritten, not yet compared */
	uint64_t epoch, version;
	uint32_t length; /* end of the last present byte; 0 when empty */
	struct chunk_history history;
	uint32_t op_count;
	struct op_id ops[OP_IDS_KEPT]; /* oldest first */
};
#endif
