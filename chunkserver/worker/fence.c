#include "chunkserver/worker/fence.h"
#include "chunkserver/worker/peers.h"
#include "common/base/expects.h"

void worker_fence_map(struct worker *worker)
{
	expects(worker->map != NULL);
	worker_time(worker);
	for (unsigned i = 0; i < worker->options.store_count; i++)
		chain_env_sessions(worker->targets[i].env, worker->map);
	peers_close_fenced(worker);
	worker_execute(worker);
}

void worker_fence_placed(struct worker *worker)
{
	expects(worker->placed != NULL);
	worker->fence_due = true;
	worker_fence_look(worker);
}

void worker_fence_look(struct worker *worker)
{
	if (!worker->fence_due || worker->executing || worker->placed != worker->map)
		return;
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		if (chain_env_fenced(worker->targets[i].env) != 0)
			return;
	}
	expects(worker->placed->version >= atomic_load(&worker->fence_version));
	worker->fence_due = false;
	atomic_store(&worker->fence_version, worker->placed->version);
	if (worker->options.events.placed != NULL)
		worker->options.events.placed(worker->options.events.user);
}

uint64_t worker_fence_version(const struct worker *worker)
{
	return atomic_load(&worker->fence_version);
}
