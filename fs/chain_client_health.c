/* chain_client_health.c - which chains answer: so that one that does not can be told apart from the
 * others, and costs no more than a part of anything. */
#include "fs/chain_client_internal.h"

static struct chain_progress *progress_of(struct chain_client *client, const struct chunk_key *key,
					  bool update)
{
	/* Two chains of one slot share their fate, at worst for as long as one is stuck. */
	uint32_t slot = (key->partition + key->pool * 389u) % HEALTH_SLOTS;

	return &client->health[slot].progress[update ? 1 : 0];
}

struct chain_progress *chain_progress_of(struct chain_client *client,
					 const struct chain_request *request)
{
	return progress_of(client, &request->key, chain_role_of(request) == CHAIN_HEAD);
}

void chain_health_begin(struct chain_client *client, struct chain_request *request)
{
	struct chain_progress *progress = chain_progress_of(client, request);

	if (atomic_fetch_add_explicit(&progress->under_way, 1, memory_order_relaxed) == 0)
		atomic_store_explicit(&progress->progress_ns, request->start_ns,
				      memory_order_relaxed);
}

bool chain_health_end(struct chain_client *client, struct chain_request *request, bool answered)
{
	struct chain_progress *progress = chain_progress_of(client, request);

	if (answered)
		atomic_store_explicit(&progress->progress_ns, chain_client_now(client),
				      memory_order_relaxed);
	atomic_fetch_sub_explicit(&progress->under_way, 1, memory_order_relaxed);
	if (request->probe) {
		request->probe = false;
		atomic_fetch_sub_explicit(&progress->probes, 1, memory_order_relaxed);
	}
	/* Also without an answer: somebody has to be the next probe. */
	return atomic_load_explicit(&progress->parked, memory_order_relaxed) > 0;
}

bool chain_client_stuck(struct chain_client *client, const struct chunk_key *key, bool update)
{
	struct chain_progress *progress = progress_of(client, key, update);
	uint64_t now = chain_client_now(client);
	uint64_t since = atomic_load_explicit(&progress->progress_ns, memory_order_relaxed);

	return atomic_load_explicit(&progress->under_way, memory_order_relaxed) > 0 &&
	       now > since && now - since >= CHAIN_STUCK_NS;
}
