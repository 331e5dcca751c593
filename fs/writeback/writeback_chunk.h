/* writeback_chunk.h - the chunks of a file that have something to write or to flush, and which of
 * their versions are durable.
 *
 * Pure; the owner of the write-back serialises all calls. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_CHUNK_H
#define CATENA_FS_WRITEBACK_WRITEBACK_CHUNK_H
#include "fs/writeback/writeback_internal.h"

/* Says whether the chunk has answered more than is durable. */
static inline bool writeback_chunk_unflushed(const struct writeback_chunk *chunk)
{
	return chunk->answered > chunk->flushed;
}

/* NULL: nothing is known of the chunk. */
struct writeback_chunk *writeback_chunk_find(const struct writeback *wb, uint32_t index);
/* Finds the chunk or makes it. Errors: -ENOMEM. */
int writeback_chunk_get(struct writeback *wb, uint32_t index, struct writeback_chunk **out);
/* Frees the chunk when nothing of it is dirty, under way or unflushed. Whoever takes something of
 * these away calls this. */
void writeback_chunk_settle(struct writeback *wb, struct writeback_chunk *chunk);
bool writeback_chunk_in_flight_overlaps(const struct writeback_chunk *chunk, uint64_t from,
					uint64_t to);

/* Notes that an update of @bytes bytes was answered; with @flushed, as durable. */
void writeback_chunk_answered(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version,
			      uint64_t epoch, uint64_t bytes, bool flushed);
/* Notes that everything up to @version is durable. */
void writeback_chunk_flushed(struct writeback *wb, struct writeback_chunk *chunk, uint64_t version);
/* Notes that the copies have lost what was answered up to @version in @epoch. */
void writeback_chunk_flush_lost(struct writeback *wb, struct writeback_chunk *chunk,
				uint64_t version, uint64_t epoch);
/* Notes that an update has failed with @error, which the caller has kept. After -EIO the copies may
 * have lost what was answered. From then on the versions that they have count, and there is still
 * something to be flushed. */
void writeback_chunk_failed(struct writeback_chunk *chunk, int error);
#endif
