/* chain_halves.h - updates that are half in place when a process ends, or its disk fails. The bytes
 * stay: where nobody has lived on that copy may lead, and then they are seen before the client
 * repeats the update, which may be after others have written there (docs/limits.md).
 * Whoever includes this has history_of(). */
#ifndef CATENA_TESTS_LIB_CHAIN_HALVES_H
#define CATENA_TESTS_LIB_CHAIN_HALVES_H
#include "tests/lib/chain_history.h"
#include "tests/lib/chain_store.h"

/* The process on @store ends, or the store works again. */
static void halves_stay(struct world *w, const struct model_store *store)
{
	for (unsigned i = 0; i < store->count; i++)
		for (uint32_t b = 0; b < MODEL_BLOCKS; b++) {
			const struct model_chunk *chunk = store->chunks[i];
			struct history *h = history_of(w, &chunk->key, b);

			if (h != NULL && (chunk->halves >> b & 1) != 0)
				history_halved(h, chunk->blocks[b]);
		}
}

/* A member has committed it. */
static void halves_end(struct world *w, const struct chain_work *request)
{
	uint32_t first = request->offset / BLOCK_SIZE, blocks = request->length / BLOCK_SIZE;
	const uint64_t *numbers;

	if (request->op != FRAME_WRITE)
		return;
	numbers = (const void *)buf_payload(request->payload);
	for (uint32_t b = 0; b < blocks; b++) {
		struct history *h = history_of(w, &request->key, first + b);

		if (h != NULL)
			history_committed(h, numbers[b], w->now);
	}
}
#endif
