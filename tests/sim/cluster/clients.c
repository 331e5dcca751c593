#include "tests/sim/cluster/clients.h"

#define CLIENT_TICK (250 * MS)

/* ---- attempts ---- */

/* The oldest update that is open; NULL: none is. */
static struct op *oldest_of(struct client *client, const struct chunk_key *key)
{
	struct op *oldest = NULL;

	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++) {
		struct op *op = &client->ops[i];

		if (op->state != OP_IDLE && op->op_id != 0 &&
		    chunk_key_equal(&op->route.key, key) &&
		    (oldest == NULL || op->op_id < oldest->op_id))
			oldest = op;
	}
	return oldest;
}

static void op_retry(struct world *w, unsigned c, struct op *op)
{
	struct event *event;

	op->state = OP_RETRY;
	op->route.tried_count = 0;
	op->route.to_tail = false;
	op->attempt = ++w->ids;
	event = schedule(w, w->now + route_backoff_ns(op->attempts++) + chance(w, 1 * MS), EV_RETRY,
			 NODE_CLIENT + c);
	event->a = (unsigned)(op - w->clients[c].ops);
	event->number = op->attempt;
}

static void op_put(struct world *w, unsigned c, struct op *op)
{
	struct client *client = &w->clients[c];
	uint64_t numbers[MODEL_BLOCKS];
	struct event *event;

	op->state = OP_SENT;
	op->attempt = ++w->ids;
	op->sends++;
	event = conn_message(w, client->to[op->server].conn, 0, MSG_FRAME);
	if (event == NULL)
		return;
	event->header = (struct frame_header){
		.op = op->route.op,
		.flags = (uint16_t)((op->durable ? FRAME_DURABLE : 0) |
				    (op->closing ? FRAME_CLOSING : 0)),
		.request_id = op->attempt << 8 | (uint64_t)(op - client->ops),
		.key = op->route.key,
		.epoch = op->epoch,
		.client_id = client->session,
		.op_id = op->op_id,
		.answered = op->op_id == 0 ? 0 : oldest_of(client, &op->route.key)->op_id - 1,
	};
	if (op->route.op != FRAME_FLUSH && op->route.op != FRAME_STAT)
		event->header.offset = op->first * BLOCK_SIZE;
	if (op->route.op == FRAME_WRITE) {
		event->header.length = op->blocks * BLOCK_SIZE;
		for (uint32_t i = 0; i < op->blocks; i++)
			numbers[i] = op->value;
		event->payload = model_payload(numbers, op->blocks);
	} else if (op->route.op == FRAME_READ || op->route.op == FRAME_PUNCH) {
		event->header.range = op->blocks * BLOCK_SIZE;
	}
}

struct asking {
	struct world *w;
	unsigned client;
};

/* Any load: so that any member is chosen. */
static int load_of_server(void *user, uint64_t server_id)
{
	struct asking *asking = user;
	unsigned s = asking->w->server_of[server_id];

	if (asking->w->clients[asking->client].down_since[s] != 0)
		return -1;
	return (int)chance(asking->w, 4) * 6;
}

static void op_done(struct world *w, unsigned c, struct op *op, const struct frame_header *answer,
		    const struct buf *payload);

void op_route(struct world *w, unsigned c, struct op *op)
{
	struct client *client = &w->clients[c];
	struct asking asking = {w, c};
	struct route route;
	int rc = client->map == NULL
			 ? -EAGAIN
			 : route_choose(client->map, &op->route, load_of_server, &asking, &route);

	if (rc == -EIO) {
		op->failed = true;
		op_done(w, c, op, NULL, NULL);
		return;
	}
	if (rc < 0) {
		op_retry(w, c, op);
		return;
	}
	op->epoch = route.epoch;
	op->target_id = route.target_id;
	op->server = w->server_of[route.server_id];
	op->state = OP_WAITING;
	if (client->to[op->server].up)
		op_put(w, c, op);
	else
		way_connect(w, NODE_CLIENT + c, op->server);
}

static void other_member(struct world *w, unsigned c, struct op *op)
{
	if (op->route.tried_count < CHAIN_MEMBERS_MAX)
		op->route.tried[op->route.tried_count++] = op->target_id;
	op_route(w, c, op);
}

static void op_lost(struct world *w, unsigned c, struct op *op)
{
	if (route_to_any(&op->route))
		other_member(w, c, op);
	else
		op_retry(w, c, op);
}

/* ---- what to do ---- */

static void choose_kind(struct world *w, struct op *op)
{
	struct route_request *r = &op->route;
	uint64_t dice = chance(w, 100);

	r->key.pool = POOL;
	r->key.partition = (uint32_t)chance(w, w->options.partitions);
	r->key.file_id = FILE_EXACT;
	/* Where lists are to get full. */
	if (w->options.narrow && chance(w, 2) == 0)
		r->key.partition = 0;
	r->op = dice < 45   ? FRAME_WRITE
		: dice < 85 ? FRAME_READ
		: dice < 95 ? FRAME_FLUSH
			    : FRAME_STAT;
	if (chance(w, 6) == 0) {
		r->key.file_id = FILE_MIXED;
		r->op = dice < 25   ? FRAME_PUNCH
			: dice < 35 ? FRAME_TRUNCATE
			: dice < 70 ? FRAME_WRITE
				    : FRAME_READ;
	} else if (chance(w, 10) == 0 && !w->healed && w->temporary < REMOVALS_MAX) {
		r->key.file_id = FILE_TEMPORARY + w->temporary;
		r->key.partition = w->temporary % w->options.partitions;
		r->op = FRAME_WRITE;
	}
	op->durable = r->op != FRAME_READ && r->op != FRAME_STAT && chance(w, 5) == 0;
}

static void history_begins(struct world *w, struct op *op)
{
	uint32_t end = op->route.op == FRAME_TRUNCATE ? MODEL_BLOCKS : op->first + op->blocks;

	for (uint32_t b = op->first; b < end; b++) {
		struct history *h = history_of(w, &op->route.key, b);

		if (h == NULL)
			continue;
		op->entries[b] = h->count;
		*history_add(h) = (struct entry){.write = true,
						 .value = op->value,
						 .begun = w->now,
						 .ended = NEVER,
						 .durable = NEVER};
	}
}

static void op_begin(struct world *w, unsigned c, unsigned slot)
{
	struct client *client = &w->clients[c];
	struct op *op = &client->ops[slot];

	memset(op, 0, sizeof(*op));
	choose_kind(w, op);
	op->first = (uint32_t)chance(w, MODEL_BLOCKS);
	op->blocks = 1 + (uint32_t)chance(w, MODEL_BLOCKS - op->first < 4 ? MODEL_BLOCKS - op->first
									  : 4);
	op->route.offset = op->first * BLOCK_SIZE;
	op->begun = w->now;
	op->state = OP_WAITING;
	if (frame_is_update(op->route.op)) {
		op->op_id = ++client->last_op_id;
		if (op->route.op == FRAME_WRITE)
			op->value = ++w->values;
		history_begins(w, op);
	}
	if (op->route.key.file_id >= FILE_TEMPORARY)
		w->temporary_ops++;
	op_route(w, c, op);
}

/* A temporary file is closed by all and unlinked. */
static void consider_removal(struct world *w)
{
	if (w->temporary_ops > 0 || w->temporary_idle == 0 || w->temporary == REMOVALS_MAX ||
	    w->now < w->temporary_idle + 500 * MS)
		return;
	w->master.jobs[w->master.job_count++].temporary = w->temporary++;
	w->temporary_idle = 0;
}

static void client_issues(struct world *w, unsigned c)
{
	struct client *client = &w->clients[c];
	bool busy = w->now < w->busy_until;

	if (!client->waits)
		for (unsigned slot = 0; slot < OUTSTANDING; slot++)
			if (client->ops[slot].state == OP_IDLE && chance(w, 2) == 0 &&
			    client->map != NULL)
				op_begin(w, c, slot);
	if (!busy && chance(w, 24) == 0)
		w->busy_until = w->now + between(w, 10 * MS, 200 * MS);
	if (!w->ending)
		schedule(w, w->now + chance(w, busy ? 6 * MS : 250 * MS), EV_ISSUE,
			 NODE_CLIENT + c);
	consider_removal(w);
}

/* ---- what came of it ---- */

static void update_done(struct world *w, const struct op *op, uint64_t session)
{
	uint32_t end = op->route.op == FRAME_TRUNCATE ? MODEL_BLOCKS : op->first + op->blocks;

	for (uint32_t b = op->first; b < end; b++) {
		struct history *h = history_of(w, &op->route.key, b);

		if (h == NULL || op->failed)
			continue;
		h->entries[op->entries[b]].ended = w->now;
		h->entries[op->entries[b]].deadline = session_of(w, session)->over_at;
		if (op->durable)
			h->entries[op->entries[b]].durable = w->now;
	}
}

static void read_done(struct world *w, const struct op *op, const struct buf *payload)
{
	for (uint32_t i = 0; i < op->blocks && !op->failed; i++) {
		struct history *h = history_of(w, &op->route.key, op->first + i);
		uint64_t value = 0;

		if (h == NULL)
			continue;
		if (payload != NULL && i < payload->length / BLOCK_SIZE)
			memcpy(&value, buf_payload(payload) + i * sizeof(value), sizeof(value));
		*history_add(h) = (struct entry){
			.value = value, .begun = op->begun, .ended = w->now, .durable = NEVER};
	}
}

static void flush_done(struct world *w, const struct op *op)
{
	for (uint32_t block = 0; block < MODEL_BLOCKS && !op->failed; block++) {
		struct history *h = history_of(w, &op->route.key, block);

		for (size_t i = 0; h != NULL && i < h->count; i++) {
			struct entry *e = &h->entries[i];

			if (e->write && e->ended <= op->begun && e->durable == NEVER && !e->exposed)
				e->durable = w->now;
		}
	}
}

/* As fs/chains/ops.c does it. */
static void chunk_close(struct world *w, unsigned c, const struct chunk_key *key)
{
	struct client *client = &w->clients[c];
	unsigned slot = OUTSTANDING;

	while (slot < OUTSTANDING + CLOSINGS && client->ops[slot].state != OP_IDLE)
		slot++;
	if (slot == OUTSTANDING + CLOSINGS) {
		problem(w, "chunks are not closed");
		return;
	}
	client->ops[slot] = (struct op){
		.closing = true,
		.durable = true,
		.route = {.op = FRAME_TRUNCATE, .key = *key, .offset = MODEL_BYTES},
		.first = MODEL_BLOCKS,
		.op_id = ++client->last_op_id,
		.begun = w->now,
		.state = OP_WAITING,
	};
	op_route(w, c, &client->ops[slot]);
}

static void update_over(struct world *w, unsigned c, const struct op *op,
			const struct frame_header *answer)
{
	struct op *other = oldest_of(&w->clients[c], &op->route.key);
	bool lingers = op->lingers;

	if (answer != NULL && answer->status == FRAME_OK)
		lingers = lingers || (answer->flags & FRAME_CROWDED) != 0;
	else if (!op->closing)
		lingers = lingers || op->sends > (answer == NULL ? 0 : 1);
	if (!lingers)
		return;
	if (other != NULL)
		other->lingers = true;
	else
		chunk_close(w, c, &op->route.key);
}

static void op_done(struct world *w, unsigned c, struct op *op, const struct frame_header *answer,
		    const struct buf *payload)
{
	const struct route_request *r = &op->route;

	op->state = OP_IDLE;
	if (frame_is_update(r->op))
		update_over(w, c, op, answer);
	w->done++;
	trace(w,
	      "client %u: %s%s%s op %llu chunk %u/%llu blocks %u+%u value %llu version %llu since "
	      "%.3f",
	      c, frame_op_name(r->op), op->durable ? " DURABLE" : "", op->failed ? " FAILED" : "",
	      (unsigned long long)op->op_id, r->key.partition, (unsigned long long)r->key.file_id,
	      op->first, op->blocks, (unsigned long long)op->value,
	      (unsigned long long)(answer == NULL ? 0 : answer->version),
	      (double)op->begun / (double)MS);
	if (r->key.file_id >= FILE_TEMPORARY && !op->closing && --w->temporary_ops == 0)
		w->temporary_idle = w->now;
	if (frame_is_update(r->op))
		update_done(w, op, w->clients[c].session);
	else if (r->op == FRAME_READ)
		read_done(w, op, payload);
	else if (r->op == FRAME_FLUSH)
		flush_done(w, op);
}

static void op_answered(struct world *w, unsigned c, struct op *op,
			const struct frame_header *header, const struct buf *payload)
{
	int error;

	switch (route_judge(&op->route, header->status, &error)) {
	case ROUTE_DONE:
		if (error != 0 && op->closing) {
			op_retry(w, c, op);
			break;
		}
		op->failed = error != 0;
		if (error != 0 && error != -ENOSPC && !w->options.damage)
			problem(w, "a request failed for no reason");
		op_done(w, c, op, header, payload);
		break;
	case ROUTE_OTHER_MEMBER:
		other_member(w, c, op);
		break;
	case ROUTE_BAD_COPY:
		if (op->route.bad_count < CHAIN_MEMBERS_MAX)
			op->route.bad[op->route.bad_count++] = op->target_id;
		op->route.to_tail = false;
		op_route(w, c, op);
		break;
	case ROUTE_ASK_TAIL:
		op->route.to_tail = true;
		op_route(w, c, op);
		break;
	case ROUTE_RETRY:
	case ROUTE_SEND_AGAIN:
		op_retry(w, c, op);
		break;
	}
}

/* Its session is over: what it has under way is lost to it. */
static void client_is_over(struct world *w, unsigned c)
{
	struct client *client = &w->clients[c];

	if (client->waits)
		return;
	trace(w, "client %u hears that its session is over", c);
	client->waits = true;
	for (unsigned i = 0; i < OUTSTANDING; i++)
		if (client->ops[i].state != OP_IDLE)
			op_given_up(w, &client->ops[i], client->session);
	for (unsigned i = OUTSTANDING; i < OUTSTANDING + CLOSINGS; i++)
		client->ops[i].state = OP_IDLE;
	for (unsigned s = 0; s < SERVERS_MAX; s++) {
		uint64_t conn = client->to[s].conn;

		if (!client->to[s].up)
			continue;
		way_lost(w, NODE_CLIENT + c, s);
		sim_conn_close(w, conn, 0);
	}
}

static void client_begins_anew(struct world *w, unsigned c)
{
	struct client *client = &w->clients[c];

	if (!client->waits || client->next_session == 0)
		return;
	client->session = client->next_session;
	client->next_session = client->last_op_id = 0;
	client->waits = false;
	trace(w, "client %u has session %llu", c, (unsigned long long)client->session);
}

static void client_told(struct world *w, unsigned c, const struct event *event)
{
	struct client *client = &w->clients[c];
	unsigned slot = event->header.request_id & 0xff;
	uint64_t attempt = event->header.request_id >> 8;
	struct op *op = &client->ops[slot % (OUTSTANDING + CLOSINGS)];

	if (event->header.request_id == PING_ID || op->state != OP_SENT || op->attempt != attempt)
		return;
	if (event->header.status == FRAME_STATUS_FENCED)
		client_is_over(w, c);
	else
		op_answered(w, c, op, &event->header, event->payload);
}

/* ---- connections and maps ---- */

static void client_map(struct world *w, unsigned c, struct cluster_map *map)
{
	struct client *client = &w->clients[c];

	if (client->map != NULL && client->map->version > map->version &&
	    client->map_of == w->master.starts)
		return;
	client->map_of = w->master.starts;
	cluster_map_unref(client->map);
	client->map = cluster_map_ref(map);
	if (w->options.fences && cluster_map_session_over(map, client->session))
		client_is_over(w, c);
	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++) {
		struct op *op = &client->ops[i];
		const struct map_chain *chain =
			cluster_map_chain(map, POOL, op->route.key.partition);

		if (op->state == OP_RETRY ||
		    (op->state != OP_IDLE && chain != NULL && chain->epoch != op->epoch))
			op_route(w, c, op);
	}
}

static void client_lost(struct world *w, unsigned c, unsigned peer)
{
	struct client *client = &w->clients[c];

	way_lost(w, NODE_CLIENT + c, peer);
	if (peer == NODE_MASTER)
		return;
	if (client->down_since[peer] == 0)
		client->down_since[peer] = w->now;
	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++) {
		struct op *op = &client->ops[i];

		if ((op->state == OP_WAITING || op->state == OP_SENT) && op->server == peer)
			op_lost(w, c, op);
	}
}

static void client_connected(struct world *w, unsigned c, unsigned peer, uint64_t conn)
{
	struct client *client = &w->clients[c];

	way_up(w, NODE_CLIENT + c, peer, conn);
	if (peer == NODE_MASTER) {
		(void)conn_message(w, conn, 0, MSG_REGISTER);
		return;
	}
	client->down_since[peer] = 0;
	for (unsigned i = 0; i < OUTSTANDING + CLOSINGS; i++)
		if (client->ops[i].state == OP_WAITING && client->ops[i].server == peer)
			op_put(w, c, &client->ops[i]);
}

static void client_complains(struct world *w, unsigned c, unsigned s)
{
	struct client *client = &w->clients[c];
	const struct map_server *server =
		client->map == NULL ? NULL : cluster_map_server(client->map, w->id_of[s]);
	struct event *event;

	if (server == NULL || !server->online || client->down_since[s] == 0 ||
	    w->now - client->down_since[s] < 1 * SEC)
		return;
	event = conn_message(w, client->master.conn, 0, MSG_COMPLAINT);
	if (event != NULL)
		event->number = w->id_of[s];
}

static void client_tick(struct world *w, unsigned c)
{
	struct client *client = &w->clients[c];
	unsigned node = NODE_CLIENT + c;

	client_begins_anew(w, c);
	for (unsigned s = 0; s < SERVERS_MAX; s++) {
		if (way_watch(w, node, s))
			client_lost(w, c, s);
		client_complains(w, c, s);
	}
	if (way_watch(w, node, NODE_MASTER))
		client_lost(w, c, NODE_MASTER);
	if (!client->master.up && local(w, node) >= client->master.retry_at)
		way_connect(w, node, NODE_MASTER);
	schedule(w, w->now + CLIENT_TICK, EV_TICK, node);
}

void at_client(struct world *w, struct event *event)
{
	unsigned c = event->node - NODE_CLIENT;
	struct client *client = &w->clients[c];
	struct op *op;

	switch (event->kind) {
	case EV_MESSAGE:
		way_heard(w, event->node, conn_of(w, event->conn)->node[1]);
		if (event->message == MSG_MAP)
			client_map(w, c, event->map);
		else
			client_told(w, c, event);
		break;
	case EV_CONNECTED:
		client_connected(w, c, event->a, event->conn);
		break;
	case EV_REFUSED:
		client_lost(w, c, event->a);
		break;
	case EV_CLOSED:
		if (way_of(w, event->node, conn_of(w, event->conn)->node[1])->conn == event->conn)
			client_lost(w, c, conn_of(w, event->conn)->node[1]);
		break;
	case EV_ISSUE:
		client_issues(w, c);
		break;
	case EV_RETRY:
		op = &client->ops[event->a];
		if (op->state == OP_RETRY && op->attempt == event->number)
			op_route(w, c, op);
		break;
	case EV_TICK:
		client_tick(w, c);
		break;
	default:
		abort();
	}
}
