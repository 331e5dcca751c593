#include "tests/sim/chain/servers.h"
#include "tests/sim/chain/clients.h"

struct history *history_of(void *world, const struct chunk_key *key, uint32_t block)
{
	struct world *w = world;
	return key->file_id < REGISTERS ? &w->histories[key->partition][key->file_id][block] : NULL;
}

/* A connection's id says whose it is: clients' have this bit. */
#define CLIENT_CONN (1ull << 60)

/* ---- lookups of the chains ---- */

struct server_ctx {
	struct world *w;
	unsigned number;
};

static struct model_store *store_of(void *ctx)
{
	const struct server_ctx *c = ctx;

	return &c->w->servers[c->number].store;
}

static int look_info(void *ctx, const struct chunk_key *key, struct chunk_info *info)
{
	return model_info(store_of(ctx), key, info);
}

static int look_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	return model_get_digest(store_of(ctx), key, digest);
}

static int look_presence(void *ctx, const struct chunk_key *key, uint8_t *bitmap, uint32_t *bytes)
{
	return model_presence(store_of(ctx), key, bitmap, bytes);
}

static int look_checksums(void *ctx, const struct chunk_key *key, uint32_t count, uint32_t *crcs,
			  uint8_t *bitmap)
{
	return model_checksums(store_of(ctx), key, count, crcs, bitmap);
}

static int look_scan(void *ctx, uint32_t pool, uint32_t partition, const struct chunk_key *after,
		     struct chunk_key *out, int max)
{
	return model_scan(store_of(ctx), pool, partition, after, out, max);
}

bool *damage_of(struct server *s, const struct chunk_key *key)
{
	return &s->damaged[model_slot(&s->store, key)];
}

static int do_complete(void *ctx, const struct chunk_key *key, const struct chunk_info *info)
{
	const struct server_ctx *c = ctx;

	*damage_of(&c->w->servers[c->number], key) = false; /* all of it is new */
	return model_complete(store_of(ctx), key, info);
}

static uint64_t look_free(void *ctx)
{
	const struct server_ctx *c = ctx;

	uint64_t until = c->w->servers[c->number].no_space_until;

	/* Every other time it does not see it coming. */
	return until > c->w->now && until % 2 == 0 ? 0 : 1ull << 40;
}

static uint64_t count_in_flight(void *ctx, int64_t delta)
{
	const struct server_ctx *c = ctx;

	c->w->in_flight += (uint64_t)delta;
	return c->w->in_flight;
}

static uint64_t look_epoch(void *ctx, uint32_t pool, uint32_t partition)
{
	const struct model_store *store = store_of(ctx);

	(void)pool;
	return store->notes.epochs[partition];
}

static void look_set_epoch(void *ctx, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	struct model_store *store = store_of(ctx);

	(void)pool;
	store->notes.epochs[partition] = epoch;
}

struct chain_ops world_ops = {
	.store = {.info = look_info,
		  .digest = look_digest,
		  .presence = look_presence,
		  .checksums = look_checksums,
		  .scan = look_scan,
		  .complete = do_complete,
		  .buffer = model_buffer},
	.free_bytes = look_free,
	.in_flight = count_in_flight,
	.epoch = look_epoch,
	.set_epoch = look_set_epoch,
};

static struct server_ctx contexts[SERVERS];

/* ---- wires ---- */

uint64_t in_order(struct world *w, uint64_t *last)
{
	uint64_t time = w->now + latency(w);

	if (time <= *last)
		time = *last + 1;
	*last = time;
	return time;
}

void wire_break(struct world *w, unsigned from, unsigned to)
{
	struct wire *wire = &w->wires[from][to];

	if (!wire->up)
		return;
	wire->up = false;
	wire->generation++;
	schedule(w, w->now + chance(w, 5 * MS), EV_LOST_BY_OPENER, from, to)->number =
		wire->opener_id;
	schedule(w, w->now + chance(w, 5 * MS), EV_LOST_BY_OTHER, from, to)->number =
		wire->other_id;
	schedule(w, w->now + between(w, 1 * MS, 20 * MS), EV_CONNECT, from, to);
}

static void tell_connections(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];

	for (unsigned p = 0; p < PARTITIONS; p++) {
		uint64_t next = chain_next_server(s->chains[p], NULL);
		const struct wire *wire = next == 0 ? NULL : &w->wires[number][next - 1];

		chain_connection(s->chains[p], wire != NULL && wire->up ? wire->opener_id : 0);
	}
}

static void send_frame(struct world *w, unsigned from, const struct chain_action *action)
{
	for (unsigned to = 0; to < SERVERS; to++) {
		struct wire *wire = &w->wires[from][to];
		struct event *event;

		if (!wire->up || wire->opener_id != action->conn)
			continue;
		event = schedule(w, in_order(w, &wire->last[0]), EV_FRAME, from, to);
		event->generation = wire->generation;
		event->header = action->header;
		event->payload = action->payload == NULL ? NULL : buf_ref(action->payload);
		return;
	}
}

static void send_answer(struct world *w, unsigned from, const struct chain_action *action)
{
	struct event *event = NULL;

	if ((action->conn & CLIENT_CONN) != 0) {
		unsigned number = (unsigned)(action->conn >> 8) & 0xff;
		struct client *client = &w->clients[number];

		if ((action->conn >> 16 & 0xffffffff) != client->generation[from])
			return;
		event = schedule(w, in_order(w, &client->last[from][1]), EV_TELL, number, from);
		event->generation = client->generation[from];
	}
	for (unsigned opener = 0; opener < SERVERS && event == NULL; opener++) {
		struct wire *wire = &w->wires[opener][from];

		if (!wire->up || wire->other_id != action->conn)
			continue;
		event = schedule(w, in_order(w, &wire->last[1]), EV_REPLY, opener, from);
		event->generation = wire->generation;
	}
	if (event == NULL)
		return;
	event->header = action->header;
	event->payload = action->payload == NULL ? NULL : buf_ref(action->payload);
}

/* ---- the store ---- */

static void start_operation(struct world *w, unsigned number, const struct chain_action *action)
{
	struct server *s = &w->servers[number];
	uint64_t time = w->now + (chance(w, 4) == 0 ? between(w, 1 * MS, 8 * MS)
						    : between(w, 5 * US, 500 * US));
	struct event *event;

	/* Some are under way when the chain changes. */
	if (w->options.slow && action->kind == CHAIN_PREPARE && chance(w, 30) == 0)
		time += chance(w, 60 * MS);
	event = schedule(w, time, EV_STORE, number, 0);
	event->generation = s->incarnation;
	event->action = action->kind;
	event->request = action->request;
	event->number = action->serial;
	event->header = action->header;
	event->mark = model_now(&s->store);
}

/* To the master, who takes it up when it next looks. */
static void reported(struct world *w, const struct chain_action *action)
{
	struct report *report = &w->reports[action->header.key.partition];

	report->kind = action->report;
	report->epoch = action->header.epoch;
	report->target = (uint32_t)action->header.arg;
}

static void commit(struct world *w, struct server *s, struct chain_work *request)
{
	int error = s->store_down ? -EIO : model_commit(&s->store, request);

	if (error == 0)
		halves_end(history_of, w, request, w->now);
	chain_committed(request, error, false);
}

static void execute(struct world *w, unsigned number, const struct chain_action *action)
{
	struct server *s = &w->servers[number];

	switch (action->kind) {
	case CHAIN_PREPARE:
	case CHAIN_FLUSH:
	case CHAIN_READ:
	case CHAIN_REMOVE:
	case CHAIN_WALK_READ:
	case CHAIN_FLUSH_ALL:
		start_operation(w, number, action);
		break;
	case CHAIN_COMMIT:
		commit(w, s, action->request);
		break;
	case CHAIN_SEND:
		send_frame(w, number, action);
		break;
	case CHAIN_ANSWER:
		send_answer(w, number, action);
		break;
	case CHAIN_ABORT:
		if (w->options.slow && !s->store_down && chance(w, 2) == 0)
			(void)model_abort(&s->store, action->request, MODEL_BLOCKS);
		break;
	case CHAIN_TROUBLE:
		break;
	case CHAIN_REPORT:
		reported(w, action);
		break;
	}
}

void server_run(struct world *w, unsigned number)
{
	const struct chain_action *action;

	while ((action = chain_next(w->servers[number].env)) != NULL)
		execute(w, number, action);
}

void server_time(struct world *w, unsigned number)
{
	chain_env_time(w->servers[number].env, w->now, w->servers[number].lease_until);
}

static struct buf *read_blocks(struct server *s, const struct chunk_key *key, uint32_t offset,
			       uint32_t range, uint64_t *version)
{
	const struct model_chunk *chunk = model_chunk(&s->store, key);
	uint32_t first = offset / BLOCK_SIZE, end = model_length(chunk) / BLOCK_SIZE;

	if (end > first + range / BLOCK_SIZE)
		end = first + range / BLOCK_SIZE;
	*version = chunk->version;
	return end > first ? model_payload(chunk->blocks + first, end - first) : NULL;
}

/* The members are asked one after another, from the head on. */
static void removal_next(struct world *w, unsigned temporary)
{
	const struct chain_config *chain = &w->removals[temporary].chain;

	schedule(w, w->now + chance(w, 30 * MS), EV_REMOVE,
		 (unsigned)chain->members[w->removals[temporary].done].server_id - 1, temporary);
}

void removal_begin(struct world *w, unsigned temporary)
{
	w->removals[temporary].done = 0;
	w->removals[temporary].chain = w->configs[temporary % PARTITIONS];
	removal_next(w, temporary);
}

static void removed_by_master(struct world *w, struct event *event)
{
	struct server *s = &w->servers[event->a];
	unsigned temporary = event->b;

	trace(w, "server %u has removed chunk %u/%llu", event->a, event->header.key.partition,
	      (unsigned long long)event->header.key.file_id);
	if (!chain_chunk_removed(s->chains[event->header.key.partition], &event->header.key,
				 w->removals[temporary].chain.epoch)) {
		schedule(w, w->now + 50 * MS, EV_REMOVE, event->a, temporary);
		return;
	}
	/* When the chain has changed meanwhile, one may have got it back from another that had not
	 * removed it yet, and that was not before it. */
	if (w->removals[temporary].chain.epoch != w->configs[temporary % PARTITIONS].epoch)
		removal_begin(w, temporary);
	else if (++w->removals[temporary].done < w->removals[temporary].chain.count)
		removal_next(w, temporary);
}

void operation_ended(struct world *w, struct event *event)
{
	struct server *s = &w->servers[event->a];
	int error = s->store_down ? -EIO : 0;
	uint64_t version = 0;
	struct buf *buf;

	if (event->request == NULL && event->action == CHAIN_REMOVE) {
		removed_by_master(w, event);
		return;
	}
	switch (event->action) {
	case CHAIN_PREPARE:
		if (error == 0 && s->no_space_until > w->now && event->request->op == FRAME_WRITE)
			error = -ENOSPC;
		else if (error == 0 && event->request->op != FRAME_CATCHUP_DATA &&
			 *damage_of(s, &event->request->key))
			error = -EBADMSG;
		/* Nobody takes a failed disk out of its chains here, so that the others' copies
		 * would count. */
		chain_prepared(event->request, error,
			       error == -ENOSPC &&
				       model_broken_off(&s->store, event->request, error, w->now));
		break;
	case CHAIN_FLUSH:
		if (error == 0)
			model_flushed(&s->store, event->mark);
		chain_flushed(event->request, error);
		break;
	case CHAIN_READ:
		if (error == 0 && *damage_of(s, &event->request->key))
			error = -EBADMSG;
		buf = error != 0 ? NULL
				 : read_blocks(s, &event->request->key, event->request->offset,
					       event->request->length, &version);
		chain_read_done(event->request, error, buf, version);
		break;
	case CHAIN_REMOVE:
		for (uint32_t i = 0; error == 0 && i < event->request->key_count; i++)
			model_remove(&s->store, &event->request->keys[i]);
		chain_remove_done(event->request, error);
		break;
	case CHAIN_WALK_READ:
		if (error == 0 && *damage_of(s, &event->header.key))
			error = -EBADMSG;
		buf = error != 0 ? NULL
				 : read_blocks(s, &event->header.key, event->header.offset,
					       event->header.range, &version);
		if (error == 0 && buf == NULL)
			error = -EIO; /* removed meanwhile */
		chain_walk_read_done(s->env, event->number, error, buf, event->header.offset);
		break;
	case CHAIN_FLUSH_ALL:
		if (error == 0)
			model_flushed(&s->store, event->mark);
		chain_all_flushed(s->env, event->number, error);
		break;
	default:
		abort();
	}
}

/* ---- life and death ---- */

void server_configure(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];

	for (unsigned p = 0; p < PARTITIONS; p++) {
		struct chain_config config = w->configs[p];

		config.self = -1;
		for (int i = 0; i < (int)config.count; i++)
			if (config.members[i].target_id == number + 1)
				config.self = i;
		chain_configure(s->chains[p], &config);
		/* What had come since the chain was decided, or is broken off now. */
		if (config.self == 0 &&
		    (config.count == 1 || config.members[1].state != MEMBER_IN_SYNC)) {
			note_mixture(w, number, p);
			halves_stay(history_of, w, &s->store);
		}
		if (chain_count(s->chains[p]).outdated)
			problem(w, "a member was told of an older chain than it had been in");
	}
	tell_connections(w, number);
}

void server_hears_sessions(struct world *w, unsigned number)
{
	if (w->sessions != NULL)
		chain_env_sessions(w->servers[number].env, w->sessions);
}

void server_start(struct world *w, unsigned number)
{
	struct server *s = &w->servers[number];

	trace(w, "server %u starts", number);
	s->alive = true;
	s->incarnation++;
	s->store_down = false;
	s->lease_until = NEVER;
	contexts[number] = (struct server_ctx){w, number};
	s->env = chain_env_new(&world_ops, &contexts[number], 0,
			       s->incarnation << 40 | (uint64_t)(number + 1) << 32);
	for (unsigned p = 0; p < PARTITIONS; p++)
		s->chains[p] = chain_new(s->env, POOL, p);
	server_time(w, number);
	server_hears_sessions(w, number);
	server_configure(w, number);
	server_run(w, number);
	schedule(w, w->now + chance(w, 20 * MS), EV_TICK, number, 0)->generation = s->incarnation;
	for (unsigned other = 0; other < SERVERS; other++)
		if (other != number && !w->wires[number][other].up)
			schedule(w, w->now + chance(w, 5 * MS), EV_CONNECT, number, other);
}

/* What the store was working on goes with the process. */
static void drop_operations(struct world *w, unsigned number)
{
	const struct chain_action *action;

	for (size_t i = 0; i < w->heap_count; i++) {
		struct event *event = w->heap[i].event;

		if (event->kind != EV_STORE || event->a != number)
			continue;
		event->kind = EV_FREE;
		if (event->request == NULL && event->action == CHAIN_REMOVE)
			event->kind = EV_REMOVE; /* the master says it again */
		else if (event->action == CHAIN_PREPARE)
			chain_prepared(event->request, -ECANCELED, false);
		else if (event->action == CHAIN_FLUSH)
			chain_flushed(event->request, -ECANCELED);
		else if (event->action == CHAIN_READ)
			chain_read_done(event->request, -ECANCELED, NULL, 0);
		else if (event->action == CHAIN_REMOVE)
			chain_remove_done(event->request, -ECANCELED);
		else if (event->action == CHAIN_FLUSH_ALL)
			chain_all_flushed(w->servers[number].env, event->number, -ECANCELED);
		else
			chain_walk_read_done(w->servers[number].env, event->number, -ECANCELED,
					     NULL, 0);
	}
	while ((action = chain_next(w->servers[number].env)) != NULL)
		if (action->kind == CHAIN_PREPARE || action->kind == CHAIN_COMMIT)
			abort();
}

void server_kill(struct world *w, unsigned number, bool power)
{
	struct server *s = &w->servers[number];

	if (s->alive) {
		halves_stay(history_of, w, &s->store);
		for (unsigned p = 0; p < PARTITIONS; p++)
			chain_free(s->chains[p]);
		drop_operations(w, number);
		if (chain_env_operations(s->env) != 0 || chain_env_requests(s->env) != 0)
			problem(w, "something is still counted after the end");
		chain_env_free(s->env);
		s->env = NULL;
		s->alive = false;
		s->incarnation++;
	}
	for (unsigned other = 0; other < SERVERS; other++) {
		wire_break(w, number, other);
		wire_break(w, other, number);
	}
	for (unsigned c = 0; c < CLIENTS; c++)
		w->clients[c].generation[number]++;
	if (power && s->store.log_count > 0)
		model_power_cut(&s->store, chance(w, s->store.log_count + 1),
				w->random * chance(w, 2));
	else if (power)
		model_power_cut(&s->store, 0, 0);
}

void make_unsure(struct world *w, unsigned number)
{
	struct model_store *store = &w->servers[number].store;

	for (unsigned i = 0; i < store->count; i++)
		if (store->chunks[i]->exists && chance(w, 8) == 0) {
			store->chunks[i]->unsure = true;
			model_changed(store, store->chunks[i]);
		}
}

/* ---- events of servers ---- */

void frame_arrived(struct world *w, struct event *event)
{
	const struct wire *wire = &w->wires[event->a][event->b];
	struct server *s = &w->servers[event->b];
	struct chain_source source = {.conn = wire->other_id,
				      .request_id = event->header.request_id,
				      .server_id = event->a + 1};
	struct chain *chain = s->chains[event->header.key.partition];

	if (event->header.op == FRAME_PING) {
		struct chain_action answer = {.conn = source.conn, .header = event->header};

		answer.header.flags = FRAME_REPLY;
		answer.header.arg = chain_probe(chain);
		send_answer(w, event->b, &answer);
		return;
	}
	chain_frame(chain, &source, &event->header, event->payload);
	event->payload = NULL;
}

void client_asks(struct world *w, struct event *event)
{
	struct server *s = &w->servers[event->b];
	struct chain_source source = {.conn = CLIENT_CONN | event->generation << 16 |
					      (uint64_t)event->a << 8 | event->b,
				      .request_id = event->header.request_id};

	chain_frame(s->chains[event->header.key.partition], &source, &event->header,
		    event->payload);
	event->payload = NULL;
}

void try_connect(struct world *w, unsigned from, unsigned to)
{
	struct wire *wire = &w->wires[from][to];

	if (wire->up || !w->servers[from].alive)
		return;
	if (!w->servers[to].alive || w->servers[to].frozen_until > w->now) {
		schedule(w, w->now + between(w, 1 * MS, 20 * MS), EV_CONNECT, from, to);
		return;
	}
	wire->up = true;
	wire->generation++;
	wire->opener_id = ++w->ids;
	wire->other_id = ++w->ids;
	wire->last[0] = wire->last[1] = 0;
	server_time(w, from);
	tell_connections(w, from);
	server_run(w, from);
}

void connection_lost(struct world *w, const struct event *event)
{
	unsigned number = event->kind == EV_LOST_BY_OPENER ? event->a : event->b;
	struct server *s = &w->servers[number];

	for (unsigned p = 0; p < PARTITIONS; p++) {
		if (event->kind == EV_LOST_BY_OTHER)
			chain_source_lost(s->chains[p], event->number);
	}
	if (event->kind == EV_LOST_BY_OPENER)
		tell_connections(w, number);
}
