/* piece.h - 256 blocks of a chunk: which are present, and their checksums. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_PIECE_H
#define CATENA_CHUNKSERVER_RECORD_PIECE_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/record/bits.h"
#include "chunkserver/record/chunk_info.h"
#include "chunkserver/record/seal.h"
#include "common/base/block.h"
#include "common/cluster/chunk.h"

#define PIECE_BYTES     (PIECE_BLOCKS * BLOCK_SIZE)
#define PIECES_MAX      (CHUNK_BLOCKS_MAX / PIECE_BLOCKS)
#define PIECE_VALUE_MAX (1 + 2 + 2 * (PIECE_BLOCKS / 8) + 4 * PIECE_BLOCKS + 4)

struct piece {
	struct bits present, inner;  /* inner is a subset */
	uint32_t crcs[PIECE_BLOCKS]; /* of present blocks */
};

static inline uint32_t blocks_of(uint32_t bytes)
{
	return (bytes + BLOCK_SIZE - 1) >> BLOCK_SHIFT;
}

static inline uint32_t pieces_of(uint32_t bytes)
{
	return (uint32_t)(((uint64_t)bytes + PIECE_BYTES - 1) / PIECE_BYTES);
}

/* Checksum over the presence and the block checksums; 0 only when nothing is present. */
uint32_t piece_digest(const struct piece *piece);
/* Returns the bytes written. */
size_t piece_encode(const struct chunk_key *key, uint32_t index, const struct piece *piece,
		    uint8_t out[PIECE_VALUE_MAX]);
/* Errors: -EBADMSG for anything that piece_encode() has not written. */
int piece_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		 struct piece *piece);

/* The same without a seal, as a part of other values. */
void piece_write(struct writer *w, const struct piece *piece);
void piece_read(struct reader *r, struct piece *piece);
void piece_write_map(struct writer *w, const struct bits *bits, uint32_t first, uint32_t last);
void piece_read_map(struct reader *r, struct bits *bits, uint32_t first, uint32_t last);
#endif
