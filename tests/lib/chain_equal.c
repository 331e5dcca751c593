#include "tests/lib/chain_equal.h"

bool chain_equal_expected(const struct chain *before, const struct chain *after)
{
	struct chain_counts first, second;

	if (chain_epoch(before) != chain_epoch(after) || !chain_is_ready(before) ||
	    !chain_is_ready(after))
		return false;
	first = chain_count(before);
	second = chain_count(after);
	return first.link == CHAIN_LINK_UP && first.queued + first.pending + second.queued == 0;
}

static bool is_equal(const struct model_chunk *a, const struct model_chunk *b)
{
	return b != NULL && a->version == b->version && model_length(a) == model_length(b) &&
	       memcmp(a->blocks, b->blocks, sizeof(a->blocks)) == 0;
}

/* Returns a chunk of @store that @other has not, or otherwise. */
static const struct chunk_key *find_other(const struct model_store *store,
					  const struct model_store *other, uint32_t partition,
					  chain_equal_skip_fn *skip, void *world)
{
	for (unsigned i = 0; i < store->count; i++) {
		const struct model_chunk *chunk = store->chunks[i];

		if (chunk->exists && chunk->key.partition == partition &&
		    !is_equal(chunk, model_find(other, &chunk->key)) && !skip(world, &chunk->key))
			return &chunk->key;
	}
	return NULL;
}

const struct chunk_key *chain_equal_check(const struct model_store *before,
					  const struct model_store *after, uint32_t partition,
					  struct chain_equal_seen *seen, chain_equal_skip_fn *skip,
					  void *world)
{
	const struct chain_equal_seen now = {after, model_now(before), model_now(after)};
	const struct chunk_key *key;

	if (seen->after == now.after && seen->before_state == now.before_state &&
	    seen->after_state == now.after_state)
		return NULL;
	key = find_other(before, after, partition, skip, world);
	if (key == NULL)
		key = find_other(after, before, partition, skip, world);
	if (key == NULL)
		*seen = now;
	return key;
}
