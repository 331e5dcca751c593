#include "tests/lib/chain_halves.h"

/* The copy of another member has begun, and which updates it has is not known. */
static bool is_mixture(const struct model_chunk *chunk)
{
	return chunk->exists && chunk->version == 0;
}

void halves_stay(halves_history_fn *history_of, void *world, const struct model_store *store)
{
	for (unsigned i = 0; i < store->count; i++)
		for (uint32_t b = 0; b < MODEL_BLOCKS; b++) {
			const struct model_chunk *chunk = store->chunks[i];
			struct history *h = history_of(world, &chunk->key, b);

			if (h != NULL && (chunk->halves >> b & 1 || is_mixture(chunk)))
				history_halved(h, chunk->blocks[b]);
		}
}

void halves_end(halves_history_fn *history_of, void *world, const struct chain_work *request,
		uint64_t now)
{
	uint32_t first = request->offset / BLOCK_SIZE, blocks = request->length / BLOCK_SIZE;
	const uint64_t *numbers;

	if (request->op != FRAME_WRITE)
		return;
	numbers = (const void *)buf_payload(request->payload);
	for (uint32_t b = 0; b < blocks; b++) {
		struct history *h = history_of(world, &request->key, first + b);

		if (h != NULL)
			history_committed(h, numbers[b], request->epoch, now);
	}
}
