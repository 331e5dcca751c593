#include "chunkserver/worker/status.h"
#include <string.h>
#include "chunkserver/worker/links.h"
#include "chunkserver/worker/members.h"

#define CATCHUPS_TICKS 10u /* between looks at the walks */

static bool is_listed(const struct worker_status *status, uint64_t server_id)
{
	for (size_t i = 0; i < status->unreachable_count; i++) {
		if (status->unreachable[i] == server_id)
			return true;
	}
	return false;
}

static void list_unreachable(const struct worker *worker, struct worker_status *status)
{
	const struct link *link;

	DL_FOREACH(worker->links, link)
	{
		if (link->unheard >= LINK_UNREACHABLE_TICKS &&
		    !is_listed(status, link->server_id) &&
		    status->unreachable_count < WORKER_UNREACHABLE_MAX)
			status->unreachable[status->unreachable_count++] = link->server_id;
	}
}

/* Lists the walks with damage, or those without. Damage is listed first, since people have to look
 * after it. */
static void list_catchups(const struct worker *worker, bool damaged, struct worker_status *status)
{
	const struct member *member;

	DL_FOREACH(worker->member_list, member)
	{
		struct chain_counts counts;
		uint32_t target_id;

		if (status->catchup_count == WORKER_CATCHUPS_MAX)
			return;
		if (chain_next_server(member->chain, &target_id) == 0)
			continue;
		counts = chain_count(member->chain);
		if (counts.damaged != damaged || !(counts.walking || counts.damaged))
			continue;
		status->catchups[status->catchup_count++] = (struct worker_catchup){
			.pool = member->pool,
			.partition = member->partition,
			.epoch = chain_epoch(member->chain),
			.target_id = target_id,
			.compared = counts.walk_compared,
			.copied = counts.walk_copied,
			.damaged = counts.damaged,
		};
	}
}

static bool more_unreachable(const struct worker_status *before, const struct worker_status *now)
{
	for (size_t i = 0; i < now->unreachable_count; i++) {
		if (!is_listed(before, now->unreachable[i]))
			return true;
	}
	return false;
}

/* Looks at the room of all targets; worker 0 does it for all workers. */
static bool space_has_changed(struct worker *worker)
{
	bool changed = false;

	for (unsigned i = 0; worker->options.index == 0 && i < worker->options.store_count; i++) {
		struct worker_target *target = &worker->targets[i];
		bool low = store_is_low(target->store, target->low);

		changed |= low != target->low;
		target->low = low;
	}
	return changed;
}

void status_tick(struct worker *worker)
{
	struct worker_status *status = &worker->status_next;
	bool more;

	status->unreachable_count = 0;
	list_unreachable(worker, status);
	if (worker->status_ticks++ % CATCHUPS_TICKS == 0) {
		status->catchup_count = 0;
		list_catchups(worker, true, status);
		list_catchups(worker, false, status);
	}
	pthread_mutex_lock(&worker->lock);
	more = more_unreachable(&worker->status, status);
	worker->status = *status;
	pthread_mutex_unlock(&worker->lock);
	if (space_has_changed(worker) || more)
		worker_changed(worker);
}

void worker_changed(struct worker *worker)
{
	if (worker->options.events.changed != NULL)
		worker->options.events.changed(worker->options.events.user);
}

void worker_status(struct worker *worker, struct worker_status *status)
{
	pthread_mutex_lock(&worker->lock);
	*status = worker->status;
	pthread_mutex_unlock(&worker->lock);
}
