#include "chunkserver/worker/loop.h"
#include "common/os/clock.h"

/* Leases are counted in boot time: a machine that has slept wakes without its right to serve. */
void worker_time(struct worker *worker)
{
	uint64_t now_ns = clock_boottime_ns();

	for (unsigned i = 0; i < worker->options.store_count; i++)
		chain_env_time(worker->targets[i].env, now_ns, worker->lease_until_ns);
}

void worker_execute(struct worker *worker)
{
	if (!worker->executing)
		worker->execute(worker); /* else the caller up the stack takes what was added */
}

void worker_event_begin(struct worker *worker)
{
	conn_batch_begin();
	worker_time(worker);
}

void worker_event_end(struct worker *worker)
{
	worker_execute(worker);
	conn_batch_end();
}
