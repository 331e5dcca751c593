#include "tests/sim/cluster/chains.h"
#include "tests/sim/cluster/fences.h"
#include "tests/sim/cluster/sessions.h"
#include "tests/lib/sessions.h"

#define HEAR_WAIT (10 * SEC)

/* ---- the log ---- */

void flush_begins(struct world *w)
{
	struct master *m = &w->master;

	if (m->flushing || m->durable == m->applied)
		return;
	if (!MANAGER_FAULTY(PUBLISH_EARLY) && kv_flush(m->kv) != 0)
		abort();
	m->flushing = true;
	schedule(w,
		 w->now + (chance(w, 5) == 0 ? between(w, 20 * MS, 500 * MS)
					     : between(w, 500 * US, 15 * MS)),
		 EV_SYNCED, NODE_MASTER)
		->number = m->applied;
}

/* ---- the map ---- */

void send_map(struct world *w, uint64_t conn, struct cluster_map *map)
{
	struct event *event = map == NULL ? NULL : conn_message(w, conn, 1, MSG_MAP);

	if (event != NULL)
		event->map = cluster_map_ref(map);
}

uint64_t shown_version_of(uint64_t state_version)
{
	return state_version << 36;
}

/* Everything in the state is durable. */
static struct cluster_map *map_now(struct world *w)
{
	struct master *m = &w->master;
	struct cluster_map *map = state_map(m->state);

	if (map == NULL)
		abort();
	map->version = shown_version_of(map->version) | m->starts << 24 | ++m->changes;
	for (size_t i = 0; i < map->server_count; i++)
		map->servers[i].online =
			chain_manager_online(m->manager, map->servers[i].id, local(w, NODE_MASTER));
	return map;
}

void send_map_to_server(struct world *w, unsigned s, struct cluster_map *map)
{
	const struct master *m = &w->master;

	if (m->streams[s].conn != 0 &&
	    (chain_manager_settled(m->manager, w->id_of[s]) || MANAGER_FAULTY(TELL_UNSETTLED)))
		send_map(w, m->streams[s].conn, map);
}

void publish(struct world *w, bool planned)
{
	struct master *m = &w->master;
	struct cluster_map *map = map_now(w);

	if (planned)
		chain_manager_published(m->manager, true);
	cluster_map_unref(m->map);
	m->map = map;
	for (unsigned d = 0; d < DISKS_MAX; d++) {
		uint64_t life = state_target_life(m->state, w->disks[d].uuid);

		w->disks[d].life_seen = (uint32_t)life;
	}
	for (unsigned p = 0; p < w->options.partitions; p++)
		check_published(w, p, &map->pools[0].chains[p]);
	for (unsigned s = 0; s < SERVERS_MAX; s++)
		send_map_to_server(w, s, map);
	for (unsigned c = 0; c < CLIENTS; c++)
		if (m->clients[c] != 0)
			send_map(w, m->clients[c], map);
	fences_published(w);
}

bool online_changed(struct world *w)
{
	const struct cluster_map *map = w->master.map;

	for (size_t i = 0; map != NULL && i < map->server_count; i++)
		if (map->servers[i].online != chain_manager_online(w->master.manager,
								   map->servers[i].id,
								   local(w, NODE_MASTER)))
			return true;
	return false;
}

/* ---- change of chains ---- */

void tell_fenced(struct world *w, unsigned s)
{
	struct master *m = &w->master;
	struct cluster_map *map;

	if (m->map == NULL && m->fenced_count > 1)
		return; /* what was shown before is not known */
	map = map_now(w);
	if (m->map != NULL && !MANAGER_FAULTY(TELL_ALL_FENCED))
		fence_map_restrict(map, m->map, w->id_of[s]);
	send_map_to_server(w, s, map);
	cluster_map_unref(map);
}

void fence_begins(struct world *w)
{
	struct master *m = &w->master;

	cluster_map_unref(m->fence_map);
	m->fence_map = map_now(w);
	m->fence_version = m->fence_map->version;
	for (unsigned p = 0; p < w->options.partitions; p++)
		check_shown(w, p, &m->fence_map->pools[0].chains[p]);
	for (unsigned i = 0; i < m->fenced_count; i++) {
		unsigned s = w->server_of[m->fenced[i]];

		trace(w, "server %u has to know first", s);
		tell_fenced(w, s);
	}
}

void fence_looks(struct world *w)
{
	struct master *m = &w->master;

	if (m->fence_map == NULL || !may_serve(w))
		return;
	for (unsigned i = 0; i < m->fenced_count; i++)
		if (chain_manager_harmless(m->manager, m->fenced[i], local(w, NODE_MASTER)))
			m->fenced[i--] = m->fenced[--m->fenced_count];
	if (m->fenced_count > 0)
		return;
	cluster_map_unref(m->fence_map);
	m->fence_map = NULL;
	m->planned_index = 0;
	chain_manager_hold_leases(m->manager, false);
	publish(w, true);
	consider_plan(w);
}

void fence_told(struct world *w, unsigned s, uint64_t version)
{
	struct master *m = &w->master;

	if (m->fence_map == NULL || version < m->fence_version)
		return;
	for (unsigned i = 0; i < m->fenced_count; i++)
		if (m->fenced[i] == w->id_of[s])
			m->fenced[i--] = m->fenced[--m->fenced_count];
	fence_looks(w);
}

static void settle(struct world *w, uint32_t target)
{
	trace(w, "the life of target %u is settled", target);
	if (w->disk_of[target] != DISKS_MAX)
		check_settled(w, &w->disks[w->disk_of[target]]);
}

void consider_plan(struct world *w)
{
	struct master *m = &w->master;
	const struct chain_plan *plan;

	if (m->planned_index != 0 || m->state_map == NULL || !may_serve(w))
		return;
	if (!chain_manager_plan(m->manager, m->state_map, local(w, NODE_MASTER), &plan))
		return;
	if (master_apply_plan(w, plan) != 0) {
		trace(w, "a plan does not fit the state");
		chain_manager_planned(m->manager);
		chain_manager_published(m->manager, false);
		return;
	}
	m->planned_index = m->applied;
	/* While chains change something breaks more often than by chance. */
	if (!w->healed && plan->change_count > 0 && chance(w, 8) == 0)
		schedule(w, w->now + chance(w, 300 * MS), EV_FAULT, NOWHERE)->number =
			FAULT_OF_CHANGE;
	trace(w, "the master plans %zu changes", plan->change_count);
	for (size_t i = 0; i < plan->life_count; i++)
		settle(w, plan->lives[i].target);
	chain_manager_planned(m->manager);
	master_state_changed(w);
	flush_begins(w);
}

/* ---- its beginning ---- */

void sim_master_start(struct world *w)
{
	struct master *m = &w->master;
	struct node *node = &w->nodes[NODE_MASTER];
	const struct state_start start = {.instance = 1, .chance = m->starts + 1};
	const uint64_t *servers;
	char error[256];
	size_t count;

	trace(w, "master starts");
	if (state_open(m->kv, &m->state, error, sizeof(error)) != 0 ||
	    state_apply_start(m->state, state_applied_index(m->state) + 1, &start, STATE_ID_GAP) !=
		    0 ||
	    kv_flush(m->kv) != 0)
		abort();
	for (unsigned c = 0; c < CLIENTS && w->options.fences && m->starts == 0; c++) {
		uint64_t id = w->clients[c].session;

		if (session_open_as(m->state, state_applied_index(m->state) + 1, id, 1, "m",
				    "client") != 0 ||
		    kv_flush(m->kv) != 0)
			abort();
	}
	for (unsigned i = 0; i < SESSIONS_MAX && w->options.older; i++)
		w->sessions[i].fenced = w->sessions[i].over_at != 0 ||
					state_session_is_fenced(m->state, w->sessions[i].id);
	fences_begin_life(w);
	w->manager_options.epoch_base = state_epoch_base(m->state);
	m->manager = chain_manager_new(&w->manager_options);
	if (m->manager == NULL)
		abort();
	m->applied = m->durable = state_applied_index(m->state);
	m->starts++;
	m->changes = 0;
	m->last_tick = 0;
	m->begun = local(w, NODE_MASTER);
	node->alive = node->powered = true;
	node->life++;
	master_state_changed(w);
	for (size_t i = 0; i < m->state_map->server_count; i++)
		chain_manager_restore(m->manager, m->state_map->servers[i].id,
				      local(w, NODE_MASTER));
	schedule(w, w->now + chance(w, 100 * MS), EV_TICK, NODE_MASTER);
	if (w->options.older && chance(w, 3) == 0)
		schedule(w, w->now + chance(w, 2 * MS), EV_STORE_IMAGE, NOWHERE);
	/* The last change may not have been told yet to those who have to know it first. */
	servers = state_fenced(m->state, &count);
	chain_manager_hold_leases(m->manager, w->options.older || count != 0);
	if (count == 0 || MANAGER_FAULTY(FORGET_FENCE))
		return;
	take_fenced(m, servers, count);
	m->planned_index = m->applied;
	chain_manager_hold_leases(m->manager, true);
	if (!w->options.older)
		fence_begins(w);
}

/* ---- is its store fit to serve? ---- */

static enum hearing_state heard_state(const void *user, uint32_t target)
{
	const struct world *w = user;
	unsigned d = target < TARGETS_MAX ? w->disk_of[target] : DISKS_MAX;

	return d != DISKS_MAX && w->master.streams[d / DISKS_EACH].conn != 0 ? HEARING_HERE
									     : HEARING_SILENT;
}

void hearing_looks(struct world *w)
{
	struct master *m = &w->master;
	struct heard heard;

	if (!w->options.older || m->heard || m->behind)
		return;
	heard = hearing_rules_count(m->state_map, heard_state, w);
	/* What is said first is a map that shows all of the state: nobody is renewed without one.
	 */
	if (m->durable != m->applied)
		return;
	if (!hearing_rules_enough(&heard, local(w, NODE_MASTER) - m->begun, HEAR_WAIT))
		return;
	trace(w, "the master has heard enough");
	m->heard = true;
	check_serves(w);
	check_ends(w);
	sessions_durable(w);
	if (m->planned_index != 0) {
		fence_begins(w);
		fence_looks(w);
		return;
	}
	chain_manager_hold_leases(m->manager, false);
	publish(w, false);
	consider_plan(w);
}

void master_is_behind(struct world *w)
{
	struct master *m = &w->master;

	trace(w, "the master's store is older than what a target has seen");
	m->behind = true;
	w->behind_since = w->now;
	chain_manager_hold_leases(m->manager, true);
	for (unsigned s = 0; s < SERVERS_MAX; s++) {
		if (m->streams[s].conn != 0)
			sim_conn_close(w, m->streams[s].conn, 1);
		m->streams[s].conn = m->streams[s].waiting = m->streams[s].wait_conn = 0;
	}
	for (unsigned c = 0; c < CLIENTS; c++) {
		if (m->clients[c] != 0)
			sim_conn_close(w, m->clients[c], 1);
		m->clients[c] = 0;
	}
}

bool knows_more(struct world *w, const struct event *said)
{
	for (unsigned i = 0; w->options.older && i < said->report_count; i++) {
		const struct store_seen *seen = &said->reports[i].seen;
		const struct state_seen is = {.life = seen->life,
					      .chance = seen->chance,
					      .version = seen->version,
					      .index = seen->index};
		enum state_seen_verdict verdict;

		if (state_check_seen(w->master.state, said->reports[i].uuid, &is, &verdict) != 0)
			abort();
		if (verdict != STATE_SEEN_FINE)
			return true;
	}
	return false;
}
