/* chunk_history.c - the turns of a chunk's history; see chunk_history.h. */
#include "chunkserver/record/chunk_history.h"
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"

static void add(struct chunk_history *history, uint64_t epoch, uint64_t version)
{
	if (history->count == HISTORY_TURNS) {
		history->turns[1].version = history->turns[0].version;
		history->count--;
		memmove(&history->turns[0], &history->turns[1],
			history->count * sizeof(history->turns[0]));
	}
	history->turns[history->count++] = (struct history_turn){epoch, version};
}

void chunk_history_change(struct chunk_history *history, uint64_t at, uint64_t version,
			  uint64_t epoch)
{
	if (history->lost) {
		*history = (struct chunk_history){0};
		add(history, epoch, 0);
		return;
	}
	if (at == 0 || epoch <= at)
		return;
	if (history->count == 0)
		add(history, at, 0);
	add(history, epoch, version);
}

bool chunk_history_has(const struct chunk_history *history, uint64_t at, uint64_t epoch,
		       uint64_t version)
{
	if (history->lost)
		return false;
	if (history->count == 0)
		return at <= epoch;
	for (uint32_t i = 0; i < history->count; i++)
		if (history->turns[i].epoch > epoch)
			return version <= history->turns[i].version;
	return true;
}

uint32_t chunk_history_digest(const struct chunk_history *history)
{
	uint8_t bytes[HISTORY_TURNS * 16 + 1];
	uint32_t digest;
	size_t size = 0;

	if (!history->lost && history->count == 0)
		return 0;
	bytes[size++] = history->lost;
	for (uint32_t i = 0; i < history->count; i++, size += 16) {
		put_le64(bytes + size, history->turns[i].epoch);
		put_le64(bytes + size + 8, history->turns[i].version);
	}
	digest = crc32c(bytes, size);
	return digest == 0 ? 1 : digest;
}

bool chunk_history_is_sound(const struct chunk_history *history)
{
	for (uint32_t i = 1; i < history->count; i++)
		if (history->turns[i].epoch <= history->turns[i - 1].epoch ||
		    history->turns[i].version < history->turns[i - 1].version)
			return false;
	return history->count <= HISTORY_TURNS &&
	       (history->count == 0 || history->turns[0].epoch > 0);
}
