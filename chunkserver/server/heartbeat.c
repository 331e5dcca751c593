#include "chunkserver/server/heartbeat.h"
#include "common/base/expects.h"

static bool is_listed(const struct server_status *status, uint64_t server_id)
{
	for (size_t i = 0; i < status->unreachable_count; i++) {
		if (status->unreachable[i] == server_id)
			return true;
	}
	return false;
}

void heartbeat_add(struct server_status *status, const struct worker_status *worker)
{
	for (size_t i = 0; i < worker->unreachable_count; i++) {
		if (status->unreachable_count < MASTER_UNREACHABLE_MAX &&
		    !is_listed(status, worker->unreachable[i]))
			status->unreachable[status->unreachable_count++] = worker->unreachable[i];
	}
	for (size_t i = 0; i < worker->catchup_count; i++) {
		if (status->catchup_count < MASTER_CATCHUPS_MAX)
			status->catchups[status->catchup_count++] = worker->catchups[i];
	}
}

void heartbeat_status(struct heartbeat *heartbeat, const struct workers *workers,
		      struct server_status *status)
{
	uint64_t map_version = workers_map_version(workers);
	uint64_t fence_version = workers_fence_version(workers);

	/* What was told once stays true. */
	expects(map_version >= heartbeat->map_version);
	expects(fence_version >= heartbeat->fence_version);
	status->map_version = heartbeat->map_version = map_version;
	status->fence_version = heartbeat->fence_version = fence_version;
	for (uint32_t i = 0; i < workers->count; i++) {
		struct worker_status one;

		worker_status(workers->items[i], &one);
		heartbeat_add(status, &one);
	}
	status->report_count =
		chain_reports_next(heartbeat->reports, status->reports, MASTER_REPORTS_MAX);
}

bool heartbeat_is_due(const struct heartbeat *heartbeat, const struct workers *workers)
{
	return workers_map_version(workers) > heartbeat->map_version ||
	       workers_fence_version(workers) > heartbeat->fence_version;
}
