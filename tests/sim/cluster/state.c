#include "tests/sim/cluster/state.h"

bool may_serve(const struct world *w)
{
	return !w->options.older || (w->master.heard && !w->master.behind);
}

void master_state_changed(struct world *w)
{
	struct master *m = &w->master;

	cluster_map_unref(m->state_map);
	m->state_map = state_map(m->state);
	if (m->state_map == NULL)
		abort();
}

void take_fenced(struct master *m, const uint64_t *servers, size_t count)
{
	m->fenced_count = 0;
	for (size_t i = 0; i < count; i++)
		m->fenced[m->fenced_count++] = servers[i];
}

int master_apply_plan(struct world *w, const struct chain_plan *plan)
{
	struct master *m = &w->master;
	int rc =
		state_apply_chains(m->state, m->applied + 1, plan->changes, plan->change_count,
				   plan->lives, plan->life_count, plan->fenced, plan->fenced_count);

	if (rc != 0)
		return rc;
	m->applied++;
	take_fenced(m, plan->fenced, plan->fenced_count);
	return 0;
}

void sim_master_init(struct world *w)
{
	const struct state_options options = {.copies = COPIES,
					      .partitions = w->options.partitions,
					      .chunk_size = CHUNK_SIZE_MIN};
	struct master *m = &w->master;

	if (kv_open_memory(records_families, records_family_count, &m->kv) != 0 ||
	    state_init(m->kv, "c", &options) != 0 || kv_flush(m->kv) != 0)
		abort();
}

void master_kill(struct world *w, bool power)
{
	struct master *m = &w->master;
	struct node *node = &w->nodes[NODE_MASTER];

	trace(w, "master: %s", power ? "power off" : "killed");
	conns_end(w, NODE_MASTER, power);
	if (node->alive) {
		state_close(m->state);
		chain_manager_free(m->manager);
		fences_free(m->fences);
		cluster_map_unref(m->map);
		cluster_map_unref(m->state_map);
		cluster_map_unref(m->fence_map);
		m->state = NULL;
		m->manager = NULL;
		m->fences = NULL;
		m->map = m->state_map = m->fence_map = NULL;
		node->life++;
	}
	node->alive = false;
	node->frozen_until = 0;
	node->powered = node->powered && !power;
	m->flushing = false;
	m->heard = m->behind = false;
	m->planned_index = 0;
	m->fenced_count = 0;
	memset(m->streams, 0, sizeof(m->streams));
	memset(m->clients, 0, sizeof(m->clients));
	for (unsigned i = 0; i < m->job_count; i++)
		m->jobs[i].asked_at = 0;
	if (power)
		kv_memory_crash(m->kv);
}
