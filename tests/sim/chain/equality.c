#include "tests/sim/chain/equality.h"
#include "chunkserver/base/chain_faults.h"
#include "tests/sim/chain/clients.h"

static bool is_removed(void *world, const struct chunk_key *key)
{
	const struct world *w = world;

	return key->file_id >= FILE_TEMPORARY && key->file_id < FILE_TEMPORARY + w->temporary;
}

static void say(struct world *w, unsigned number, unsigned behind, const struct chunk_key *key)
{
	const struct model_chunk *a = model_chunk(&w->servers[number].store, key);
	const struct model_chunk *b = model_chunk(&w->servers[behind].store, key);

	problem(w, "members at rest differ");
	trace(w, "chunk %u/%llu: server %u has %d version %llu, server %u %d %llu", key->partition,
	      (unsigned long long)key->file_id, number, a->exists, (unsigned long long)a->version,
	      behind, b->exists, (unsigned long long)b->version);
	for (unsigned i = 0; i < MODEL_BLOCKS; i++)
		if (a->blocks[i] != b->blocks[i])
			trace(w, "  block %u: %llu, %llu", i, (unsigned long long)a->blocks[i],
			      (unsigned long long)b->blocks[i]);
}

void equality_check(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];

	/* Nothing is expected of members that say that they are ready when they are not. */
	if (FAULTY(SERVE_UNREADY))
		return;
	for (unsigned p = 0; p < PARTITIONS && w->problem == NULL; p++) {
		uint64_t next = chain_next_server(s->chains[p], NULL);
		const struct server *behind = next == 0 ? NULL : &w->servers[next - 1];
		const struct chunk_key *key;

		if (behind == NULL || !behind->alive ||
		    !chain_equal_expected(s->chains[p], behind->chains[p]))
			continue;
		w->equal_looks++;
		key = chain_equal_check(&s->store, &behind->store, p, &s->equal[p], is_removed, w);
		if (key != NULL)
			say(w, number, (unsigned)next - 1, key);
	}
}
