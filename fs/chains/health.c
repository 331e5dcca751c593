/* health.c - which chains answer: so that one that does not can be told apart from the
 * others, and costs no more than a part of anything. */
#include "fs/chains/internal.h"

struct chain_progress *chain_progress_of(struct chain_client *client,
					 const struct chain_request *request)
{
	return &client->health[chain_slot(&request->key)]
			.progress[chain_role_of(request) == CHAIN_HEAD ? 1 : 0];
}

void chain_health_begin(struct chain_client *client, struct chain_request *request)
{
	struct chain_progress *progress = chain_progress_of(client, request);

	if (atomic_fetch_add_explicit(&progress->under_way, 1, memory_order_relaxed) == 0)
		atomic_store_explicit(&progress->progress_ns, request->start_ns,
				      memory_order_relaxed);
}

void chain_health_end(struct chain_client *client, struct chain_request *request, bool answered)
{
	struct chain_progress *progress = chain_progress_of(client, request);

	if (answered)
		atomic_store_explicit(&progress->progress_ns, chain_client_now(client),
				      memory_order_relaxed);
	atomic_fetch_sub_explicit(&progress->under_way, 1, memory_order_relaxed);
}

bool chain_client_stuck(struct chain_client *client, uint32_t slot, bool update)
{
	struct chain_progress *progress = &client->health[slot].progress[update ? 1 : 0];
	uint64_t now = chain_client_now(client);
	uint64_t since = atomic_load_explicit(&progress->progress_ns, memory_order_relaxed);

	return atomic_load_explicit(&progress->under_way, memory_order_relaxed) > 0 &&
	       now > since && now - since >= CHAIN_STUCK_NS;
}
