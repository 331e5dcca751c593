/* change.h - changing a chunk: the new state is made beside the old one, written in one batch, and
 * then taken over. One at a time in a view. */
#ifndef CATENA_CHUNKSERVER_CHUNK_CHANGE_H
#define CATENA_CHUNKSERVER_CHUNK_CHANGE_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/record/record.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/chunk.h"
#include "common/kv/kv.h"

struct change_piece {
	uint32_t index;
	struct piece *own; /* memory to keep it in afterwards, when there is none yet */
	struct piece piece;
};

/* What happens to the file blocks of a piece. */
struct change_mark {
	struct bits fresh; /* live in the file now, not before */
	struct bits gone;  /* live before, absent now */
	struct bits still; /* not fresh any more: inner, absent, or durable in the file */
};

struct change {
	struct chunk *chunk;
	struct kv_batch *batch;
	struct record next;
	bool writes_file;
	unsigned piece_count;
	struct change_piece pieces[3];
	uint64_t marked; /* which of marks[] are in use */
	struct change_mark marks[PIECES_MAX];
	uint8_t value[RECORD_VALUE_MAX > INNER_VALUE_MAX ? RECORD_VALUE_MAX : INNER_VALUE_MAX];
};

struct change *change_new(void);
void change_free(struct change *change);
void change_begin(struct change *change, struct chunk *chunk);
/* Piece @index as it will be, for the functions below. */
int change_piece(struct change *change, uint32_t index, struct piece **out);
/* Block @block of @piece is from now on inside, in the file, or absent. Set next.length first: of
 * an inner block only what is before it is stored. */
void change_inner(struct change *change, struct piece *piece, uint32_t block, const void *bytes,
		  uint32_t crc);
void change_file(struct change *change, struct piece *piece, uint32_t block, uint32_t crc);
void change_absent(struct change *change, struct piece *piece, uint32_t block);
/* The inner block's copy in the file is durable and takes over. */
void change_moved(struct change *change, struct piece *piece, uint32_t block);
/* All blocks of [first, end) become absent. The length is the caller's business. */
int change_punch(struct change *change, uint32_t first, uint32_t end);
/* *last: end of the last byte present before @end, when all from there on is absent. */
int change_last(struct change *change, uint32_t end, uint32_t *last);
/* Writes and takes over. On failure the chunk is as before. */
int change_write(struct change *change);
#endif
