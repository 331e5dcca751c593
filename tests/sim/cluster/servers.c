#include "tests/sim/cluster/servers.h"

#define UNREACHABLE_NS (2 * SEC)

void server_time(struct world *w, unsigned s)
{
	EACH_DISK(w, s, disk)
	chain_env_time(disk->env, local(w, s), w->servers[s].lease_until);
}

/* ---- actions ---- */

static void commit(struct world *w, struct disk *disk, struct chain_work *request)
{
	int error = disk->down ? -EIO : model_commit(&disk->store, request);

	if (error == 0) {
		check_commit(w, disk, request);
		halves_end(history_of, w, request, w->now);
	}
	chain_committed(request, error, false);
}

static void say_report(struct world *w, unsigned s, const struct report *report)
{
	struct event *event = conn_message(w, w->servers[s].master.conn, 0, MSG_REPORT);

	if (event != NULL)
		event->report = *report;
}

static void report(struct world *w, unsigned s, const struct chain_action *action)
{
	const struct frame_header *header = &action->header;
	const struct report report = {.pool = POOL,
				      .partition = header->key.partition,
				      .epoch = header->epoch,
				      .target_id = (uint32_t)header->arg,
				      .kind = action->report};

	trace(w, "server %u partition %u epoch %llu reports %s of target %u", s, report.partition,
	      (unsigned long long)report.epoch,
	      action->report == CHAIN_CAUGHT_UP ? "equal" : "unfit", report.target_id);
	if (chain_reports_add(w->servers[s].reports, &report) != 0)
		abort();
	if (w->servers[s].registered)
		say_report(w, s, &report);
}

static bool alone_in(const struct disk *disk, const struct map_chain *chain)
{
	return chain->count > 0 && chain->members[0].target_id == disk->entry.target_id &&
	       (chain->count == 1 || chain->members[1].state != MEMBER_IN_SYNC);
}

void note_halves(struct world *w, const struct disk *disk, unsigned p)
{
	const struct cluster_map *map = w->servers[disk->server].map;

	if (map != NULL && alone_in(disk, cluster_map_chain(map, POOL, p)))
		halves_stay(history_of, w, &disk->store);
}

/* Whatever it alone had, others have by now, too. */
static bool is_copied(const struct world *w, const struct disk *disk)
{
	const struct cluster_map *map = w->servers[disk->server].map;

	for (unsigned p = 0; p < w->options.partitions; p++)
		if (disk->chains[p] != NULL && alone_in(disk, cluster_map_chain(map, POOL, p)) &&
		    !chain_count(disk->chains[p]).strict)
			return false;
	return true;
}

/* The one that was the last goes back in time while the master makes known that it is not the last
 * any more: it is refused, and may come a moment later. */
static void last_reports(struct world *w, struct disk *disk, const struct chain_action *action)
{
	struct event *event;

	if (w->last != disk || action->report != CHAIN_CAUGHT_UP || w->healed ||
	    !is_copied(w, disk))
		return;
	w->last = NULL;
	event = schedule(w, w->now + chance(w, 20 * MS), EV_FAULT, NOWHERE);
	event->a = disk_number(w, disk);
	event->number = FAULT_LAST_GOES_BACK_SOON;
}

static void execute(struct world *w, unsigned s, struct disk *disk,
		    const struct chain_action *action)
{
	switch (action->kind) {
	case CHAIN_PREPARE:
	case CHAIN_FLUSH:
	case CHAIN_FLUSH_ALL:
	case CHAIN_READ:
	case CHAIN_REMOVE:
	case CHAIN_WALK_READ:
		start_operation(w, disk, action);
		break;
	case CHAIN_COMMIT:
		commit(w, disk, action->request);
		break;
	case CHAIN_SEND:
		conn_frame(w, action->conn, 0, &action->header, action->payload);
		break;
	case CHAIN_ANSWER:
		if (is_client(conn_of(w, action->conn)->node[0]))
			check_answer(w, disk, &action->header);
		conn_frame(w, action->conn, 1, &action->header, action->payload);
		break;
	case CHAIN_REPORT:
		report(w, s, action);
		last_reports(w, disk, action);
		break;
	case CHAIN_ABORT:
		if (!disk->down && chance(w, 2) == 0) {
			(void)model_abort(&disk->store, action->request, MODEL_BLOCKS);
			note_halves(w, disk, action->request->key.partition);
		}
		break;
	case CHAIN_TROUBLE:
		break;
	}
}

void server_run(struct world *w, unsigned s)
{
	const struct chain_action *action;
	bool any = true;

	while (any) {
		any = false;
		EACH_DISK(w, s, disk)
		while ((action = chain_next(disk->env)) != NULL) {
			execute(w, s, disk, action);
			any = true;
		}
	}
}

/* ---- members by the map ---- */

unsigned server_by_id(const struct world *w, uint64_t id)
{
	return id == 0 || id >= SERVER_IDS_MAX ? SERVERS_MAX : w->server_of[id];
}

void tell_connections(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];
	bool wanted[SERVERS_MAX] = {false};

	EACH_DISK(w, s, disk)
	for (unsigned p = 0; p < w->options.partitions; p++) {
		uint64_t next =
			disk->chains[p] == NULL ? 0 : chain_next_server(disk->chains[p], NULL);
		unsigned peer = server_by_id(w, next);

		if (peer == SERVERS_MAX)
			continue;
		wanted[peer] = true;
		chain_connection(disk->chains[p],
				 server->out[peer].up ? server->out[peer].conn : 0);
	}
	for (unsigned peer = 0; peer < SERVERS_MAX; peer++) {
		struct way *way = &server->out[peer];

		if (wanted[peer] && !way->wanted) {
			way->quiet_since = local(w, s);
			way->retry_at = 0;
		}
		way->wanted = wanted[peer];
		if (way->wanted && !way->up && local(w, s) >= way->retry_at)
			way_connect(w, s, peer);
		if (!way->wanted && way->up) {
			sim_conn_close(w, way->conn, 0);
			*way = (struct way){0};
		}
	}
}

static void configure_chain(struct world *w, unsigned s, struct disk *disk, unsigned p)
{
	const struct cluster_map *map = w->servers[s].map;
	const struct map_pool *pool = cluster_map_pool(map, POOL);
	const struct map_chain *chain = &pool->chains[p];
	struct chain_config config = {
		.epoch = chain->epoch,
		.chunk_size = MODEL_BYTES,
		.count = chain->count,
		.self = cluster_map_chain_index(chain, disk->entry.target_id)};
	uint64_t noted;

	if (disk->chains[p] == NULL && config.self < 0)
		return;
	if (disk->chains[p] == NULL)
		disk->chains[p] = chain_new(disk->env, POOL, p);
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct map_target *target =
			cluster_map_target(map, chain->members[i].target_id);

		config.members[i].target_id = chain->members[i].target_id;
		config.members[i].server_id = target == NULL ? 0 : target->server_id;
		config.members[i].state = chain->members[i].state;
	}
	noted = disk->store.notes.epochs[p];
	chain_configure(disk->chains[p], &config);
	note_halves(w, disk, p);
	if (config.epoch < noted && chain_epoch(disk->chains[p]) == config.epoch)
		problem(w, "a member goes by an older chain than it had been in");
	if (chain_count(disk->chains[p]).outdated && !MANAGER_FAULTY(IGNORE_SEEN) &&
	    (chain->epoch != 0 || !disk->given_up))
		problem(w, "a member was told of an older chain than it had been in");
}

static void server_configure(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];

	if (server->map == NULL || server->id == 0)
		return;
	EACH_DISK(w, s, disk)
	for (unsigned p = 0; target_entry_is_in(&disk->entry) && p < w->options.partitions; p++)
		configure_chain(w, s, disk, p);
	tell_connections(w, s);
}

/* ---- the session with the master ---- */

static void fill_reports(struct world *w, unsigned s, struct event *event)
{
	EACH_DISK(w, s, disk)
	{
		struct disk_report *r = &event->reports[event->report_count++];

		r->disk = disk_number(w, disk);
		r->target_id = disk->entry.target_id;
		r->life = disk->life_said;
		r->full = disk->full_until > w->now;
		r->error = disk->down ? EIO : 0;
		memcpy(r->uuid, disk->uuid, sizeof(r->uuid));
		if (!FAULTY(SEEN_NOT_DURABLE) || disk->noted_life == w->nodes[s].life)
			r->seen = disk->store.notes.seen;
	}
}

/* ---- what targets remember of masters and maps (own_targets.c, disk/seen.c) ---- */

/* It is written before anything is done by it, and not waited for. */
static void note_map(struct world *w, struct disk *disk, const struct cluster_map *map)
{
	struct model_notes *notes = &disk->store.notes;

	if (disk->entry.target_id == 0 || seen_is_ahead(&notes->seen, map->version))
		return;
	for (unsigned p = 0; p < w->options.partitions; p++) {
		const struct map_chain *chain = &map->pools[0].chains[p];
		uint64_t epoch = notes->chains[p].epoch;

		if (seen_chain_is_news(&notes->seen, epoch != 0 ? &epoch : NULL, chain))
			notes->chains[p] = *chain;
	}
	if (map->version > notes->seen.version)
		notes->seen.version = map->version;
	model_noted(&disk->store);
}

static void note_master(struct world *w, unsigned s, const struct event *said)
{
	EACH_DISK(w, s, disk)
	{
		struct store_seen *seen = &disk->store.notes.seen;

		if (seen_overtakes(seen, said->master_life, said->master_chance))
			problem(w, "a target goes by a master that another one has overtaken");
		seen_registered(seen, said->master_life, said->master_chance, said->index);
		disk->noted_life = w->nodes[s].life;
		if (disk->entry.target_id != 0) {
			seen->server_id = w->servers[s].id;
			seen->target_id = disk->entry.target_id;
		}
		model_noted(&disk->store);
		if (w->servers[s].map != NULL)
			note_map(w, disk, w->servers[s].map);
	}
}

static bool is_overtaken(struct world *w, unsigned s, const struct event *said)
{
	EACH_DISK(w, s, disk)
	if (seen_overtakes(&disk->store.notes.seen, said->master_life, said->master_chance) &&
	    !FAULTY(TAKE_ANY_MASTER))
		return true;
	return false;
}

static bool is_ahead_of(struct world *w, unsigned s, const struct cluster_map *map)
{
	EACH_DISK(w, s, disk)
	if (seen_is_ahead(&disk->store.notes.seen, map->version) && !FAULTY(TAKE_ANY_MASTER))
		return true;
	return false;
}

void heartbeat(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];
	struct event *event = conn_message(w, server->master.conn, 0, MSG_HEARTBEAT);
	struct report reports[16];
	uint64_t now = local(w, s);
	size_t count;

	server->sent[++server->sequence % SENT_KEPT] = now;
	if (event == NULL)
		return;
	event->number = server->sequence;
	event->mark = server->map == NULL ? 0 : server->map->version;
	event->map_version = server->fence_version;
	fill_reports(w, s, event);
	for (unsigned peer = 0; peer < SERVERS_MAX; peer++) {
		const struct way *way = &server->out[peer];
		uint64_t since = way->up ? way->heard : way->quiet_since;

		if (way->wanted && now - since > UNREACHABLE_NS)
			event->unreachable[event->unreachable_count++] = w->id_of[peer];
	}
	count = chain_reports_next(server->reports, reports, 16);
	for (size_t i = 0; i < count; i++)
		say_report(w, s, &reports[i]);
}

/* The server has to do with another master while the one that it has asked answers: whose answer
 * comes second is not to count. Whom the server meets later hears of it. */
static void twin_met(struct world *w, unsigned s, const struct event *said)
{
	struct event answer = {.index = state_applied_index(w->twin.state)};
	struct state_life life;

	for (unsigned i = 0; i < said->report_count; i++) {
		const struct store_seen *seen = &said->reports[i].seen;
		const struct state_seen is = {.life = seen->life,
					      .chance = seen->chance,
					      .version = seen->version,
					      .index = seen->index};
		enum state_seen_verdict verdict;

		if (state_check_seen(w->twin.state, said->reports[i].uuid, &is, &verdict) != 0)
			abort();
		if (verdict == STATE_SEEN_FINE)
			continue;
		trace(w, "the other master is behind");
		state_close(w->twin.state);
		w->twin.state = NULL;
		return;
	}
	state_life(w->twin.state, &life);
	answer.master_life = life.number;
	answer.master_chance = life.chance;
	if (is_overtaken(w, s, &answer))
		return;
	trace(w, "server %u meets the other master", s);
	note_master(w, s, &answer);
}

void session_begins(struct world *w, unsigned s)
{
	struct event *event = conn_message(w, w->servers[s].master.conn, 0, MSG_REGISTER);

	if (event == NULL)
		return;
	fill_reports(w, s, event);
	if (w->twin.state != NULL && chance(w, 4) == 0)
		twin_met(w, s, event);
}

void session_registered(struct world *w, unsigned s, const struct event *event)
{
	struct server *server = &w->servers[s];

	if (w->options.older && is_overtaken(w, s, event)) {
		trace(w, "server %u refuses a master that another one has overtaken", s);
		sim_conn_close(w, server->master.conn, 0);
		return;
	}
	EACH_DISK(w, s, disk)
	for (unsigned i = 0; i < event->report_count; i++) {
		if (event->reports[i].disk != disk_number(w, disk))
			continue;
		/* One that may be in chains already cannot be refused alone. */
		if (disk->entry.target_id != 0 && event->reports[i].target_id == 0) {
			trace(w, "server %u: a target that it has is refused alone", s);
			sim_conn_close(w, server->master.conn, 0);
			return;
		}
		(void)target_entry_registered(&disk->entry, event->reports[i].target_id,
					      event->map_version);
	}
	server->id = event->number;
	server->registered = true;
	server->lease_ns = event->mark;
	if (w->options.older)
		note_master(w, s, event);
	server_configure(w, s);
	heartbeat(w, s);
}

static void note_index(struct world *w, unsigned s, uint64_t index)
{
	struct server *server = &w->servers[s];

	if (!w->options.older || local(w, s) - server->index_noted < 1 * SEC)
		return;
	server->index_noted = local(w, s);
	EACH_DISK(w, s, disk)
	{
		if (index <= disk->store.notes.seen.index)
			continue;
		disk->store.notes.seen.index = index;
		model_noted(&disk->store);
	}
}

void session_renewed(struct world *w, unsigned s, uint64_t sequence, uint64_t index)
{
	struct server *server = &w->servers[s];

	if (server->registered && sequence <= server->sequence &&
	    server->sequence - sequence < SENT_KEPT)
		server->lease_until = server->sent[sequence % SENT_KEPT] + server->lease_ns;
	if (server->registered)
		note_index(w, s, index);
}

/* As the worker does it: connections end, and the chains are told, before the map counts. */
static void server_fences(struct world *w, unsigned s)
{
	if (!w->options.fences)
		return;
	EACH_DISK(w, s, disk)
	chain_env_sessions(disk->env, w->servers[s].map);
	for (uint64_t id = 1; id <= w->conn_count; id++) {
		struct conn *c = conn_of(w, id);

		if (c->node[1] != s || !is_client(c->node[0]) || !c->open[1] ||
		    !is_over_at(w, s, c->session))
			continue;
		client_connections_leave(&w->servers[s].clients, name_of(c), id);
		EACH_DISK(w, s, disk)
		for (unsigned p = 0; p < w->options.partitions; p++)
			if (disk->chains[p] != NULL)
				chain_source_lost(disk->chains[p], id);
		sim_conn_close(w, id, 1);
	}
}

void server_fence_look(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];

	if (!w->options.fences || server->map == NULL || server->id == 0 ||
	    server->fence_version == server->map->version)
		return;
	EACH_DISK(w, s, disk)
	if (chain_env_fenced(disk->env) != 0)
		return;
	server->fence_version = server->map->version;
	if (server->registered)
		heartbeat(w, s);
}

void session_map(struct world *w, unsigned s, struct cluster_map *map)
{
	struct server *server = &w->servers[s];

	if (server->map != NULL && map->version < server->map->version)
		return;
	if (w->options.older && is_ahead_of(w, s, map)) {
		trace(w, "server %u has gone by a newer map", s);
		return;
	}
	cluster_map_unref(server->map);
	server->map = cluster_map_ref(map);
	EACH_DISK(w, s, disk)
	{
		if (w->options.older)
			note_map(w, disk, map);
		(void)target_entry_map(&disk->entry, map->version);
		if (target_entry_is_in(&disk->entry))
			disk->old = false;
	}
	chain_reports_map(server->reports, map);
	server_fences(w, s);
	server_configure(w, s);
}

void sim_session_remove(struct world *w, unsigned s, const struct event *event)
{
	EACH_DISK(w, s, disk)
	{
		struct event *done;

		if (disk->entry.target_id != event->number || disk->down)
			continue;
		/* The record goes at once, what is left of it later. */
		model_remove(&disk->store, &event->header.key);
		done = disk_begins(w, disk, CHAIN_REMOVE);
		done->header = event->header;
		done->conn = event->conn;
		done->number = event->mark;
	}
}

void removed_by_master(struct world *w, unsigned s, const struct event *event)
{
	struct disk *disk = &w->disks[event->a];
	struct chain *chain;
	struct event *told;

	if (disk->down)
		return;
	trace(w, "server %u removes chunk %u/%llu from target %u", s, event->header.key.partition,
	      (unsigned long long)event->header.key.file_id, disk->entry.target_id);
	chain = disk->chains[event->header.key.partition];
	if (chain == NULL || !chain_chunk_removed(chain, &event->header.key, event->header.epoch))
		return; /* the master asks again */
	told = conn_message(w, event->conn, 0, MSG_REMOVED);
	if (told == NULL)
		return;
	told->number = disk->entry.target_id;
	told->mark = event->number;
}

/* ---- life and death ---- */

void schedule_local(struct world *w, unsigned s, uint64_t after, enum event_kind kind)
{
	int64_t less = (int64_t)(after / NS_PER_MSEC) * w->nodes[s].drift;

	schedule(w, w->now + after - (uint64_t)less, kind, s);
}

void server_start(struct world *w, unsigned s)
{
	struct server *server = &w->servers[s];

	trace(w, "server %u starts", s);
	memset(server, 0, sizeof(*server));
	server->there = true;
	server->reports = chain_reports_new();
	if (server->reports == NULL)
		abort();
	w->nodes[s].alive = w->nodes[s].powered = true;
	w->nodes[s].life++;
	for (unsigned d = s * DISKS_EACH; d < (s + 1) * DISKS_EACH; d++) {
		struct disk *disk = &w->disks[d];

		if (!disk->used)
			continue;
		disk->store.notes_logged = w->options.older;
		disk->store.ops_kept = disk_ops.ops_kept;
		/* A refused one does not come nearer by being started again and again. */
		if (!disk->old || disk->life == disk->image.life)
			disk->life++;
		disk->life_said = chance(w, UINT32_MAX) << 32 | disk->life;
		disk->down = false;
		disk->entry = (struct target_entry){0};
		disk->env = chain_env_new(&disk_ops, disk, 0,
					  w->nodes[s].life << 44 | (uint64_t)(d + 1) << 36);
	}
	server_time(w, s);
	schedule_local(w, s, chance(w, SERVER_TICK), EV_TICK);
	schedule_local(w, s, chance(w, 20 * MS), EV_HEARTBEAT);
}

static void disk_process_ended(struct world *w, struct disk *disk)
{
	for (unsigned p = 0; p < PARTITIONS_MAX; p++) {
		chain_free(disk->chains[p]);
		disk->chains[p] = NULL;
	}
	drop_operations(w, disk);
	if (chain_env_operations(disk->env) != 0 || chain_env_requests(disk->env) != 0)
		problem(w, "something is still counted after the end");
	chain_env_free(disk->env);
	disk->env = NULL;
}

static void clients_forget(struct world *w, unsigned s)
{
	for (uint64_t id = 1; id <= w->conn_count; id++) {
		const struct conn *c = conn_of(w, id);

		if (c->node[1] == s && is_client(c->node[0]))
			client_connections_leave(&w->servers[s].clients, name_of(c), id);
	}
}

void server_kill(struct world *w, unsigned s, bool power)
{
	struct server *server = &w->servers[s];
	struct node *node = &w->nodes[s];

	trace(w, "server %u: %s", s, power ? "power off" : "killed");
	if (node->alive) {
		EACH_DISK(w, s, disk)
		disk_process_ended(w, disk);
		if (server->in_flight != 0)
			problem(w, "bytes are still counted as in flight");
		cluster_map_unref(server->map);
		server->map = NULL;
		chain_reports_free(server->reports);
		server->reports = NULL;
	}
	conns_end(w, s, power);
	clients_forget(w, s);
	if (node->alive)
		node->life++;
	node->alive = false;
	node->frozen_until = 0;
	server->registered = false;
	server->id = 0;
	if (power)
		node->powered = false;
	for (unsigned d = s * DISKS_EACH; d < (s + 1) * DISKS_EACH; d++) {
		if (!w->disks[d].used)
			continue;
		halves_stay(history_of, w, &w->disks[d].store);
		if (power)
			disk_power_cut(w, &w->disks[d]);
		check_process_ended(w, &w->disks[d], power);
	}
}

void disk_fails(struct world *w, struct disk *disk)
{
	if (disk->env == NULL || disk->down)
		return;
	trace(w, "disk %u fails", disk_number(w, disk));
	disk->down = true;
	server_time(w, disk->server);
	chain_store_failed(disk->env);
	server_run(w, disk->server);
	/* Predecessors learn of it by their connections. */
	for (uint64_t id = 1; id <= w->conn_count; id++)
		if (w->conns[id - 1].node[1] == disk->server &&
		    is_server(w->conns[id - 1].node[0])) {
			EACH_DISK(w, disk->server, other)
			for (unsigned p = 0; p < w->options.partitions; p++)
				if (other->chains[p] != NULL)
					chain_source_lost(other->chains[p], id);
			sim_conn_close(w, id, 1);
		}
	server_run(w, disk->server);
}

void disk_back(struct world *w, struct disk *disk)
{
	unsigned number = disk_number(w, disk);

	if (disk->env == NULL || !disk->down)
		return;
	/* Not before everything that the store was asked has come back. */
	for (size_t i = 0; i < w->heap_count; i++)
		if (w->heap[i].event->kind == EV_STORE && w->heap[i].event->a == number &&
		    w->heap[i].event->node == disk->server) {
			schedule(w, w->now + 5 * MS, EV_DISK_BACK, disk->server)->a = number;
			return;
		}
	trace(w, "disk %u works again", number);
	disk->down = false;
	halves_stay(history_of, w, &disk->store);
	server_time(w, disk->server);
	chain_store_back(disk->env);
	server_run(w, disk->server);
	for (uint64_t id = 1; id <= w->conn_count; id++)
		if (w->conns[id - 1].node[1] == disk->server && is_server(w->conns[id - 1].node[0]))
			sim_conn_close(w, id, 1);
}
