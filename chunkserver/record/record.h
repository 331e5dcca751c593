/* record.h - what a target knows of one chunk, and its value in the db. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_RECORD_H
#define CATENA_CHUNKSERVER_RECORD_RECORD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/record/chunk_history.h"
#include "chunkserver/record/chunk_info.h"
#include "chunkserver/record/piece.h"

#define RECORD_VALUE_MAX 4096u

struct record {
	bool unsure;
	bool has_file; /* some block was put into the file once */
	uint64_t epoch, version;
	struct chunk_history history;
	uint32_t length;
	uint32_t inner_count;         /* inner blocks of the chunk */
	uint32_t digests[PIECES_MAX]; /* pieces_of(length) of them; 0: no block present */
	uint32_t op_count;
	struct op_id ops[OP_IDS_KEPT];
};

/* A chunk of this length has its only piece in the record itself. */
static inline bool record_is_inline(uint32_t length)
{
	return length <= CHUNK_INNER_MAX;
}

/* Returns the bytes written. @piece: piece 0, used when the record is inline (NULL: nothing
 * present). */
size_t record_encode(const struct chunk_key *key, const struct record *record,
		     const struct piece *piece, uint8_t out[RECORD_VALUE_MAX]);
/* Errors: -EBADMSG for anything that record_encode() has not written. */
int record_decode(const struct chunk_key *key, const void *data, size_t size, struct record *record,
		  struct piece *piece);
#endif
