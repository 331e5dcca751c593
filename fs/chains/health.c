/* health.c - which chains answer: so that one that does not can be told apart from the
 * others, and costs no more than a part of anything. */
#include "common/base/expects.h"
#include "fs/chains/health.h"
#include "fs/chains/internal.h"

struct chains_progress *chains_health_progress(struct chains_client *client,
					       const struct chains_request *request)
{
	return &client->health[chains_slot(&request->key)]
			.progress[chains_route_role(request) == CHAINS_HEAD ? 1 : 0];
}

void chains_health_begin(struct chains_client *client, struct chains_request *request)
{
	struct chains_progress *progress = chains_health_progress(client, request);

	if (atomic_fetch_add_explicit(&progress->under_way, 1, memory_order_relaxed) == 0)
		atomic_store_explicit(&progress->progress_ns, request->start_ns,
				      memory_order_relaxed);
}

void chains_health_end(struct chains_client *client, struct chains_request *request, bool answered)
{
	struct chains_progress *progress = chains_health_progress(client, request);
	unsigned before;

	if (answered)
		atomic_store_explicit(&progress->progress_ns, chains_client_now(client),
				      memory_order_relaxed);
	before = atomic_fetch_sub_explicit(&progress->under_way, 1, memory_order_relaxed);
	expects(before > 0);
}

bool chains_client_stuck(struct chains_client *client, uint32_t slot, bool update)
{
	struct chains_progress *progress = &client->health[slot].progress[update ? 1 : 0];
	uint64_t now = chains_client_now(client);
	uint64_t since = atomic_load_explicit(&progress->progress_ns, memory_order_relaxed);

	return atomic_load_explicit(&progress->under_way, memory_order_relaxed) > 0 &&
	       now > since && now - since >= CHAINS_STUCK_NS;
}
