/* chunk_history.h - the turns of a chunk's history: which updates are certainly in the chunk. Pure.
 *
 * A head gives the versions of a chunk, so a number alone does not name an update. When all copies
 * lose their power, and with it what was not flushed, the numbers are given again. An epoch of the
 * chain and a version do name an update: no copy of a chain forgets anything that was answered in
 * one epoch before the next (master/chains/rules.c). So a record keeps a turn for each epoch in
 * which the chunk was changed: the version that it had when that epoch's first change came. An
 * update that was answered in an earlier epoch is there if its version is not above that.
 *
 * A power cut may also take blocks of a chunk whose record stays. Then the record says so (lost),
 * and the next change makes that a turn at version 0: nothing answered before it can be relied on.
 *
 * The turns go with the record wherever it is copied to. */
#ifndef CATENA_CHUNKSERVER_RECORD_CHUNK_HISTORY_H
#define CATENA_CHUNKSERVER_RECORD_CHUNK_HISTORY_H
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_TURNS 8u

struct history_turn {
	uint64_t epoch;   /* of the first change after the turn */
	uint64_t version; /* that the chunk had then */
};

/* Without turns the record's own epoch is that of all its changes. */
struct chunk_history {
	bool lost;
	uint32_t count;
	struct history_turn turns[HISTORY_TURNS]; /* oldest first; epochs and versions ascend */
};

/* Adds the turn of a chunk at @version, last changed in @at (0: there is none), that is about to be
 * changed in @epoch. When there is no room for one more turn, the oldest two become one that
 * vouches for less. */
void chunk_history_change(struct chunk_history *history, uint64_t at, uint64_t version,
			  uint64_t epoch);
/* Is what was answered as @version in @epoch, which is over, still part of the chunk that is as
 * said? */
bool chunk_history_has(const struct chunk_history *history, uint64_t at, uint64_t epoch,
		       uint64_t version);
/* A checksum, equal for equal histories. 0: no turns, nothing lost. */
uint32_t chunk_history_digest(const struct chunk_history *history);
/* Could it be a history? For decoders. */
bool chunk_history_is_sound(const struct chunk_history *history);
#endif
