#include "tests/sim/cluster/master.h"
#include "tests/sim/cluster/older.h"

#define MASTER_TICK    (100 * MS)
#define MASTER_PAUSE   (500 * MS)
#define STREAM_SILENCE (6 * SEC)

/* ---- chunkservers ---- */

static size_t targets_said(struct world *w, const struct event *event, struct liveness_report *out)
{
	for (unsigned i = 0; i < event->report_count; i++) {
		const struct disk_report *r = &event->reports[i];

		out[i] = (struct liveness_report){
			.id = r->target_id,
			.life = r->life,
			.seen_life = state_target_life(w->master.state, r->uuid),
			.capacity = 1ull << 40,
			.full = r->full,
			.error = r->error,
		};
	}
	return event->report_count;
}

/* New servers wait until it is known that the store is none of former times. */
static bool is_early(struct world *w, const struct event *event)
{
	const char *uuids[DISKS_EACH];

	for (unsigned i = 0; i < event->report_count; i++)
		uuids[i] = event->reports[i].uuid;
	return !may_serve(w) &&
	       !hearing_rules_take(w->master.state_map, uuids, event->report_count);
}

static void register_arrived(struct world *w, unsigned s, struct event *event)
{
	struct master *m = &w->master;
	struct state_registered_target targets[DISKS_EACH] = {0};
	struct map_server server = {.workers = 1};
	struct state_registration registration = {
		.server = &server, .targets = targets, .target_count = event->report_count};

	if (!m->behind && knows_more(w, event))
		master_is_behind(w);
	if (m->behind) {
		sim_conn_close(w, event->conn, 1);
		return;
	}
	if (is_early(w, event)) {
		sim_conn_close(w, event->conn, 1);
		return;
	}
	snprintf(server.name, sizeof(server.name), "s%u", s);
	snprintf(server.address, sizeof(server.address), "s%u:1", s);
	snprintf(server.host, sizeof(server.host), "h%u", s);
	for (unsigned i = 0; i < event->report_count; i++)
		memcpy(targets[i].uuid, event->reports[i].uuid, sizeof(targets[i].uuid));
	state_registration_read(m->state, &registration);
	if (state_apply_register(m->state, m->applied + 1, &registration) != 0)
		abort();
	m->applied++;
	m->streams[s].waiting = m->applied;
	m->streams[s].wait_conn = event->conn;
	m->streams[s].said = *event;
	m->streams[s].said.payload = NULL;
	m->streams[s].said.map = NULL;
	master_state_changed(w);
	flush_begins(w);
}

static void find_ids(struct world *w, unsigned s, struct event *said)
{
	const struct cluster_map *map = w->master.state_map;

	for (size_t i = 0; i < map->server_count; i++)
		if (strcmp(map->servers[i].name + 1, (char[]){(char)('0' + s), 0}) == 0) {
			if (map->servers[i].id >= SERVER_IDS_MAX)
				abort();
			w->id_of[s] = map->servers[i].id;
			w->server_of[map->servers[i].id] = s;
		}
	for (unsigned r = 0; r < said->report_count; r++)
		for (size_t i = 0; i < map->target_count; i++)
			if (strcmp(map->targets[i].uuid, said->reports[r].uuid) == 0) {
				said->reports[r].target_id = map->targets[i].id;
				if (map->targets[i].id >= TARGETS_MAX)
					abort();
				w->disk_of[map->targets[i].id] = said->reports[r].disk;
			}
}

static bool fence_has(const struct world *w, unsigned s)
{
	for (unsigned i = 0; i < w->master.fenced_count; i++)
		if (w->master.fenced[i] == w->id_of[s])
			return true;
	return false;
}

/* Its registration is durable. */
static void registered(struct world *w, unsigned s)
{
	struct master *m = &w->master;
	struct liveness_report targets[DISKS_EACH];
	struct event *said = &m->streams[s].said, *event;
	struct state_life life;
	uint64_t conn = m->streams[s].wait_conn;
	bool refused[DISKS_EACH];
	size_t count, taken = 0;

	m->streams[s].waiting = m->streams[s].wait_conn = 0;
	if (!conn_of(w, conn)->open[1])
		return;
	if (m->streams[s].conn != 0 && m->streams[s].conn != conn)
		sim_conn_close(w, m->streams[s].conn, 1);
	m->streams[s].conn = conn;
	m->streams[s].unanswered = 0;
	m->streams[s].heard = local(w, NODE_MASTER);
	find_ids(w, s, said);
	trace(w, "server %u registers", s);
	count = targets_said(w, said, targets);
	chain_manager_check(m->manager, m->state_map, targets, count, refused);
	for (size_t i = 0; i < count; i++) {
		if (!refused[i]) {
			targets[taken++] = targets[i];
			continue;
		}
		trace(w, "target %u is refused: an old copy of a disk", targets[i].id);
		said->reports[i].target_id = 0;
	}
	if (taken == 0) {
		sim_conn_close(w, conn, 1);
		m->streams[s].conn = 0;
		return;
	}
	if (chain_manager_registered(m->manager, w->id_of[s], targets, taken,
				     local(w, NODE_MASTER)) != 0)
		abort();
	fences_told(w, s, 0);
	event = conn_message(w, conn, 1, MSG_REGISTERED);
	if (event == NULL)
		return;
	state_life(m->state, &life);
	event->master_life = life.number;
	event->master_chance = life.chance;
	event->index = m->durable;
	event->number = w->id_of[s];
	event->mark = w->manager_options.lease_ns;
	event->map_version = shown_version_of(m->state_map->version);
	event->report_count = said->report_count;
	memcpy(event->reports, said->reports, sizeof(event->reports));
	if (m->fence_map != NULL && fence_has(w, s))
		tell_fenced(w, s);
	else if (m->fence_map != NULL)
		send_map_to_server(w, s, m->map);
	else if (m->planned_index != 0 && may_serve(w))
		send_map_to_server(w, s, m->map); /* a plan has come before it just now */
	hearing_looks(w);
}

static void log_flushed(struct world *w, uint64_t index)
{
	struct master *m = &w->master;
	bool planned = m->planned_index != 0 && m->planned_index <= index;

	m->flushing = false;
	m->durable = index;
	/* The map shows all of the state. */
	if (m->applied != m->durable) {
		flush_begins(w);
		return;
	}
	if (may_serve(w))
		sessions_durable(w);
	if (planned && m->fence_map == NULL && may_serve(w))
		fence_begins(w);
	for (unsigned s = 0; s < SERVERS_MAX; s++)
		if (m->streams[s].waiting != 0)
			registered(w, s);
	/* Copies from before the first placement are rare otherwise. */
	if (w->options.older && w->partitions[0].epoch == 0 && chance(w, 3) == 0)
		store_copied(w);
	if (m->fence_map != NULL)
		fence_looks(w);
	else if (may_serve(w) && m->planned_index == 0)
		publish(w, false);
	consider_plan(w);
}

static void renew(struct world *w, unsigned s, uint64_t sequence)
{
	struct event *event = conn_message(w, w->master.streams[s].conn, 1, MSG_RENEW);

	w->master.streams[s].unanswered = 0;
	if (event == NULL)
		return;
	event->number = sequence;
	event->index = w->master.durable;
}

static void heartbeat_arrived(struct world *w, unsigned s, const struct event *event)
{
	struct master *m = &w->master;
	struct liveness_report targets[DISKS_EACH];
	size_t count = targets_said(w, event, targets);

	if (m->streams[s].conn != event->conn)
		return;
	for (unsigned i = 0; i < event->unreachable_count; i++)
		chain_manager_unreachable(m->manager, w->id_of[s], event->unreachable[i],
					  local(w, NODE_MASTER));
	fence_told(w, s, event->mark);
	fences_told(w, s, event->map_version);
	if (!chain_manager_heartbeat(m->manager, w->id_of[s], event->a != 0, targets, count,
				     local(w, NODE_MASTER)))
		m->streams[s].unanswered = event->number;
	else
		renew(w, s, event->number);
}

/* What was not answered because of a decision that is known by now. */
static void renew_late(struct world *w)
{
	struct master *m = &w->master;

	for (unsigned s = 0; s < SERVERS_MAX; s++)
		if (m->streams[s].conn != 0 && m->streams[s].unanswered != 0 &&
		    chain_manager_renew_late(m->manager, w->id_of[s], local(w, NODE_MASTER)))
			renew(w, s, m->streams[s].unanswered);
}

static void report_arrived(struct world *w, unsigned s, const struct event *event)
{
	const struct report *r = &event->report;
	struct chain_manager_report said = {.server = w->id_of[s],
					    .pool = r->pool,
					    .partition = r->partition,
					    .epoch = r->epoch,
					    .target = r->target_id};

	if (w->master.streams[s].conn != event->conn)
		return;
	if (r->kind == CHAIN_CAUGHT_UP)
		chain_manager_caught_up(w->master.manager, w->master.state_map, &said);
	else
		chain_manager_unfit(w->master.manager, w->master.state_map, &said);
	consider_plan(w);
}

static void stream_closed(struct world *w, uint64_t conn)
{
	struct master *m = &w->master;

	for (unsigned s = 0; s < SERVERS_MAX; s++) {
		if (m->streams[s].conn != conn)
			continue;
		m->streams[s].conn = 0;
		chain_manager_disconnected(m->manager, w->id_of[s], local(w, NODE_MASTER));
	}
	for (unsigned c = 0; c < CLIENTS; c++)
		if (m->clients[c] == conn)
			m->clients[c] = 0;
}

/* ---- removal of chunks ---- */

static unsigned stream_of(struct world *w, uint32_t target)
{
	unsigned d = w->disk_of[target];

	if (d == DISKS_MAX || w->master.streams[d / DISKS_EACH].conn == 0 ||
	    !chain_manager_online(w->master.manager, w->id_of[d / DISKS_EACH],
				  local(w, NODE_MASTER)))
		return SERVERS_MAX;
	return d / DISKS_EACH;
}

/* The members are asked one after another, from the head on (master/cluster/removals.h). */
static void job_asks(struct world *w, struct removal_job *job)
{
	unsigned s = stream_of(w, job->targets[job->done]);
	struct event *event =
		s == SERVERS_MAX ? NULL : conn_message(w, w->master.streams[s].conn, 1, MSG_REMOVE);

	if (event == NULL)
		return;
	event->number = job->targets[job->done];
	event->mark = (uint64_t)(job - w->master.jobs) << 32 | (job->asked_at / US & UINT32_MAX);
	event->header.epoch = job->epoch;
	event->header.key = (struct chunk_key){.pool = POOL,
					       .partition = job->temporary % w->options.partitions,
					       .file_id = FILE_TEMPORARY + job->temporary};
}

static void job_begins(struct world *w, struct removal_job *job, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->members[i].state != MEMBER_OFFLINE &&
		    stream_of(w, chain->members[i].target_id) == SERVERS_MAX)
			return;
	job->asked_at = w->now;
	job->epoch = chain->epoch;
	job->count = job->done = 0;
	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->members[i].state != MEMBER_OFFLINE)
			job->targets[job->count++] = chain->members[i].target_id;
	job_asks(w, job);
}

static void removals_look(struct world *w)
{
	struct master *m = &w->master;

	for (unsigned i = 0; i < m->job_count && m->map != NULL && may_serve(w); i++) {
		struct removal_job *job = &m->jobs[i];

		if (!job->over && (job->asked_at == 0 || w->now > job->asked_at + 2 * SEC))
			job_begins(
				w, job,
				&m->map->pools[0].chains[job->temporary % w->options.partitions]);
	}
}

static void removed_arrived(struct world *w, const struct event *event)
{
	struct removal_job *job = &w->master.jobs[(event->mark >> 32) % REMOVALS_MAX];

	if ((event->mark & UINT32_MAX) != (job->asked_at / US & UINT32_MAX) || job->over ||
	    job->done == job->count || job->targets[job->done] != event->number)
		return;
	job->done++;
	/* All have to answer about the same chain. */
	if (w->master.state_map == NULL ||
	    w->master.state_map->pools[0].chains[job->temporary % w->options.partitions].epoch !=
		    job->epoch) {
		job->asked_at = 0;
		return;
	}
	job->over = job->done == job->count;
	if (job->over)
		trace(w, "chunk %u/%u is removed", job->temporary % w->options.partitions,
		      FILE_TEMPORARY + job->temporary);
	else
		job_asks(w, job);
}

/* ---- events ---- */

static void probe(struct world *w, uint64_t server, uint64_t now)
{
	struct event *event = schedule(w, w->now + latency(w), EV_PROBE, NOWHERE);

	event->number = server;
	event->mark = now;
}

static void master_tick(struct world *w)
{
	struct master *m = &w->master;
	uint64_t now = local(w, NODE_MASTER), server;

	if (m->last_tick != 0 && now - m->last_tick > MASTER_PAUSE)
		chain_manager_paused(m->manager, now - m->last_tick);
	m->last_tick = now;
	for (unsigned s = 0; s < SERVERS_MAX; s++) {
		uint64_t conn = m->streams[s].conn;

		if (conn != 0 && now - m->streams[s].heard > STREAM_SILENCE) {
			sim_conn_close(w, conn, 1);
			stream_closed(w, conn);
		}
	}
	while (may_serve(w) && chain_manager_readmit(m->manager, m->state_map, &server)) {
		uint64_t conn = m->streams[w->server_of[server]].conn;

		sim_conn_close(w, conn, 1);
		stream_closed(w, conn);
	}
	while (chain_manager_probe(m->manager, now, &server))
		probe(w, server, now);
	hearing_looks(w);
	fence_looks(w);
	consider_plan(w);
	removals_look(w);
	if (may_serve(w))
		fences_ticked(w);
	renew_late(w);
	if (may_serve(w) && m->durable == m->applied && m->fence_map == NULL && online_changed(w))
		publish(w, false);
	schedule(w, w->now + MASTER_TICK, EV_TICK, NODE_MASTER);
}

void probe_arrives(struct world *w, const struct event *event)
{
	struct event *probed;
	unsigned s = event->number >= SERVER_IDS_MAX ? SERVERS_MAX : w->server_of[event->number];

	if (s == SERVERS_MAX || !w->nodes[s].powered || w->nodes[s].alive ||
	    is_cut(w, NODE_MASTER, s) || is_cut(w, s, NODE_MASTER))
		return;
	probed = schedule(w, w->now + latency(w), EV_PROBED, NODE_MASTER);
	probed->number = event->number;
	probed->mark = event->mark;
}

static void client_says(struct world *w, unsigned c, struct event *event)
{
	switch (event->message) {
	case MSG_REGISTER:
		if (w->master.behind) {
			sim_conn_close(w, event->conn, 1);
			break;
		}
		w->master.clients[c] = event->conn;
		send_map(w, event->conn, w->master.map);
		break;
	case MSG_FRAME: /* a ping: it renews its session */
		event->header.flags = FRAME_REPLY;
		conn_frame(w, event->conn, 1, &event->header, NULL);
		break;
	default:
		chain_manager_client_unreachable(w->master.manager, c + 1, event->number,
						 local(w, NODE_MASTER));
		break;
	}
}

static void master_message(struct world *w, struct event *event)
{
	unsigned from = conn_of(w, event->conn)->node[0];

	if (is_client(from)) {
		client_says(w, from - NODE_CLIENT, event);
		return;
	}
	if (w->master.streams[from].conn == event->conn)
		w->master.streams[from].heard = local(w, NODE_MASTER);
	switch (event->message) {
	case MSG_REGISTER:
		register_arrived(w, from, event);
		break;
	case MSG_HEARTBEAT:
		heartbeat_arrived(w, from, event);
		break;
	case MSG_REPORT:
		report_arrived(w, from, event);
		break;
	case MSG_REMOVED:
		removed_arrived(w, event);
		break;
	default:
		abort();
	}
}

void at_master(struct world *w, struct event *event)
{
	switch (event->kind) {
	case EV_MESSAGE:
		master_message(w, event);
		break;
	case EV_CLOSED:
		stream_closed(w, event->conn);
		consider_plan(w);
		break;
	case EV_SYNCED:
		log_flushed(w, event->number);
		break;
	case EV_PROBED:
		trace(w, "nobody listens at server %u", w->server_of[event->number]);
		chain_manager_refused(w->master.manager, event->number, event->mark);
		consider_plan(w);
		break;
	case EV_TICK:
		master_tick(w);
		break;
	default:
		abort();
	}
}
