#include "tests/lib/fake_chain.h"

uint64_t fake_random(struct fake *f)
{
	return random_u64(&f->rng);
}

bool fake_chance(struct fake *f, unsigned of_thousand)
{
	return of_thousand > 0 && fake_random(f) % 1000 < of_thousand;
}

static struct fake *fake_of(struct chains_transport *t)
{
	return (struct fake *)t;
}

/* ---- events ---- */

void fake_conn_unref(struct fake_conn *conn)
{
	if (conn != NULL && --conn->refs == 0)
		free(conn);
}

struct fake_event *fake_post(struct fake *f, enum fake_event_kind kind, uint64_t at,
			     struct fake_conn *conn)
{
	struct fake_event *event = calloc(1, sizeof(*event)), **to = &f->events;

	event->at = at;
	event->order = ++f->order;
	event->kind = kind;
	event->conn = conn;
	if (conn != NULL)
		conn->refs++;
	while (*to != NULL && (*to)->at <= at)
		to = &(*to)->next;
	event->next = *to;
	*to = event;
	return event;
}

uint64_t fake_delay(struct fake *f)
{
	return 50000 + (f->delay_max > 0 ? fake_random(f) % f->delay_max : 0);
}

void fake_answer(struct fake_conn *conn, const struct frame_header *request, uint32_t status,
		 const struct frame_header *answer, struct buf *payload)
{
	struct fake *f = conn->fake;
	struct fake_event *event;
	uint64_t at = f->now + fake_delay(f);

	if (conn->cut || !conn->open) {
		buf_unref(payload);
		return;
	}
	if (at < conn->to_client_ns)
		at = conn->to_client_ns;
	conn->to_client_ns = at;
	event = fake_post(f, FAKE_TO_CLIENT, at, conn);
	event->header = answer != NULL ? *answer : (struct frame_header){0};
	event->header.op = request->op;
	event->header.flags = FRAME_REPLY;
	if (f->crowded && status == FRAME_OK && frame_is_update(request->op) &&
	    (request->flags & FRAME_CLOSING) == 0)
		event->header.flags |= FRAME_CROWDED;
	event->header.request_id = request->request_id;
	event->header.key = request->key;
	event->header.status = status;
	event->header.offset = request->op == FRAME_READ ? request->offset : 0;
	event->header.length = payload == NULL ? 0 : payload->length;
	event->payload = payload;
}

void fake_cut(struct fake_conn *conn, int error)
{
	struct fake_event *event;

	if (conn->cut)
		return;
	conn->cut = true;
	if (!conn->open)
		return;
	event = fake_post(conn->fake, FAKE_CLOSED, conn->fake->now + 1000, conn);
	event->error = error;
}

/* ---- what tests do to the world ---- */

struct cluster_map *fake_map(struct fake *f)
{
	struct cluster_map *map = cluster_map_alloc();

	map->version = ++f->map_version;
	strcpy(map->cluster, FAKE_CLUSTER);
	map->instance = FAKE_INSTANCE;
	map->pool_count = 1;
	map->pools = calloc(1, sizeof(*map->pools));
	map->server_count = FAKE_SERVERS;
	map->servers = calloc(FAKE_SERVERS, sizeof(*map->servers));
	map->target_count = FAKE_SERVERS;
	map->targets = calloc(FAKE_SERVERS, sizeof(*map->targets));
	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		struct map_server *server = &map->servers[i];

		server->id = i + 1;
		server->workers = FAKE_WORKERS;
		server->online = f->servers[i].up;
		snprintf(server->name, MAP_NAME_MAX, "server-%u", i);
		snprintf(server->address, MAP_NAME_MAX, "%u", i);
		snprintf(server->host, MAP_NAME_MAX, "host-%u", i);
		snprintf(server->rack, MAP_NAME_MAX, "rack-%u", i / 2);
		map->targets[i].id = i + 1;
		map->targets[i].server_id = i + 1;
	}
	map->pools[0] = (struct map_pool){
		.id = FAKE_POOL,
		.copies = FAKE_SERVERS,
		.partitions = FAKE_PARTITIONS,
		.chunk_size = FAKE_CHUNK,
		.chains = calloc(FAKE_PARTITIONS, sizeof(struct map_chain)),
	};
	for (unsigned p = 0; p < FAKE_PARTITIONS; p++) {
		struct map_chain *chain = &map->pools[0].chains[p];

		chain->epoch = f->epochs[p];
		chain->count = f->epochs[p] == 0 ? 0 : FAKE_SERVERS;
		for (unsigned i = 0; i < chain->count; i++) {
			chain->members[i].target_id = (f->rotation[p] + i) % FAKE_SERVERS + 1;
			chain->members[i].state = MEMBER_IN_SYNC;
		}
	}
	return map;
}

void fake_commit_all(struct fake *f)
{
	for (unsigned i = 0; i < f->chunk_count; i++)
		while (f->chunks[i].pending != NULL)
			fake_commit(f, &f->chunks[i]);
}

void fake_change_chain(struct fake *f, unsigned partition)
{
	f->epochs[partition]++;
	f->rotation[partition] = (f->rotation[partition] + 1) % FAKE_SERVERS;
}

void fake_kill(struct fake *f, unsigned server)
{
	f->servers[server].up = false;
	for (struct fake_conn *conn = f->conns; conn != NULL; conn = conn->next)
		if (conn->server == server)
			fake_cut(conn, -ECONNRESET);
}

/* ---- the transport ---- */

static int fake_start(struct chains_transport *t, void (*tick)(void *user, unsigned loop),
		      void *user)
{
	fake_of(t)->tick = tick;
	fake_of(t)->user = user;
	fake_of(t)->started = true;
	return 0;
}

static void fake_stop(struct chains_transport *t)
{
	fake_of(t)->started = false;
}

static void fake_destroy(struct chains_transport *t)
{
}

uint64_t fake_now(struct chains_transport *t)
{
	return fake_of(t)->now;
}

static void fake_wake(struct chains_transport *t, unsigned loop, uint64_t at_ns)
{
	struct fake *f = fake_of(t);

	if (at_ns < f->wanted[loop])
		f->wanted[loop] = at_ns;
	if (!f->inline_ticks || f->in_tick)
		return;
	f->in_tick = true;
	for (unsigned i = 0; i < FAKE_LOOPS; i++) {
		while (f->wanted[i] <= f->now) {
			f->wanted[i] = UINT64_MAX;
			f->tick(f->user, i);
		}
	}
	f->in_tick = false;
}

static int fake_connect(struct chains_transport *t, unsigned loop, const char *address,
			struct chains_link *link, void **out)
{
	struct fake *f = fake_of(t);
	struct fake_conn *conn = calloc(1, sizeof(*conn));

	f->connects++;
	conn->fake = f;
	conn->link = link;
	conn->refs = 2; /* the client's loop, and our list */
	conn->loop = loop;
	conn->server = (unsigned)atoi(address);
	conn->open = true;
	conn->next = f->conns;
	f->conns = conn;
	*out = conn;
	if (!f->servers[conn->server].up)
		fake_post(f, FAKE_CLOSED, f->now + FAKE_MS, conn)->error = -ECONNREFUSED;
	else if (f->servers[conn->server].frozen)
		fake_post(f, FAKE_CLOSED, f->now + 5000 * FAKE_MS, conn)->error = -ETIMEDOUT;
	else
		fake_post(f, FAKE_READY, f->now + FAKE_MS, conn);
	return 0;
}

static void fake_close(void *arg)
{
	struct fake_conn *conn = arg;

	conn->open = false;
	/* The server may still read what it has got. */
	if (fake_random(conn->fake) % 2 == 0)
		conn->cut = true;
	fake_conn_unref(conn);
}

static int fake_send(void *arg, const struct frame_header *header, struct buf *payload)
{
	struct fake_conn *conn = arg;
	struct fake *f = conn->fake;
	struct fake_event *event;
	uint64_t at = f->now + fake_delay(f);

	if (!conn->open)
		return -EPIPE;
	if (at < conn->to_server_ns)
		at = conn->to_server_ns;
	conn->to_server_ns = at;
	event = fake_post(f, FAKE_TO_SERVER, at, conn);
	event->header = *header;
	/* By reference, as the real one: whoever changes it meanwhile is found out. */
	event->payload = payload == NULL ? NULL : buf_ref(payload);
	return 0;
}

static void fake_ref(void *conn)
{
	((struct fake_conn *)conn)->refs++;
}

static void fake_unref(void *conn)
{
	fake_conn_unref(conn);
}

static void fake_batch(bool begin)
{
	static int depth;

	depth += begin ? 1 : -1;
	if (depth < 0) {
		fprintf(stderr, "fake_chain: a batch ends that was not begun\n");
		abort();
	}
}

const struct chains_transport_ops fake_ops = {
	.start = fake_start,
	.stop = fake_stop,
	.destroy = fake_destroy,
	.now = fake_now,
	.wake = fake_wake,
	.connect = fake_connect,
	.close = fake_close,
	.send = fake_send,
	.ref = fake_ref,
	.unref = fake_unref,
	.batch = fake_batch,
};

struct fake *fake_new(uint64_t seed)
{
	struct fake *f = calloc(1, sizeof(*f));

	f->base = (struct chains_transport){.ops = &fake_ops, .loops = FAKE_LOOPS};
	buf_pool_create(0, &f->pool);
	f->rng = seed;
	f->now = 1000 * FAKE_MS;
	f->delay_max = FAKE_MS / 2;
	f->stuck_partition = UINT32_MAX;
	for (unsigned i = 0; i < FAKE_LOOPS; i++)
		f->wanted[i] = UINT64_MAX;
	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		f->servers[i].up = true;
		f->servers[i].space = UINT64_C(1) << 40;
	}
	for (unsigned p = 0; p < FAKE_PARTITIONS; p++) {
		f->epochs[p] = 1;
		f->rotation[p] = p % FAKE_SERVERS;
	}
	return f;
}

static void fake_event_free(struct fake_event *event)
{
	buf_unref(event->payload);
	fake_conn_unref(event->conn);
	free(event);
}

bool fake_free(struct fake *f)
{
	bool clean;

	while (f->events != NULL) {
		struct fake_event *event = f->events;

		f->events = event->next;
		fake_event_free(event);
	}
	for (unsigned i = 0; i < f->chunk_count; i++) {
		while (f->chunks[i].pending != NULL) {
			struct fake_update *u = f->chunks[i].pending;

			f->chunks[i].pending = u->next;
			fake_update_free(u);
		}
		free(f->chunks[i].data);
		free(f->chunks[i].durable);
	}
	while (f->conns != NULL) {
		struct fake_conn *conn = f->conns;

		f->conns = conn->next;
		fake_conn_unref(conn);
	}
	clean = buf_pool_used(f->pool) == 0;
	if (clean)
		buf_pool_destroy(f->pool);
	free(f);
	return clean;
}

static void fake_run_event(struct fake *f, struct fake_event *event)
{
	struct fake_conn *conn = event->conn;
	struct tls_identity peer = {.role = TLS_ROLE_CHUNKSERVER};

	switch (event->kind) {
	case FAKE_READY:
		snprintf(peer.name, sizeof(peer.name), "server-%u", conn->server);
		if (conn->open && !conn->cut)
			chains_link_ready(conn->link, &peer);
		break;
	case FAKE_CLOSED:
		conn->cut = true;
		if (!conn->open)
			break;
		conn->open = false;
		chains_link_closed(conn->link, event->error);
		fake_conn_unref(conn);
		break;
	case FAKE_TO_SERVER:
		if (conn->cut || !f->servers[conn->server].up)
			break;
		if (f->servers[conn->server].frozen) {
			struct fake_event *again =
				fake_post(f, FAKE_TO_SERVER, f->now + 10 * FAKE_MS, conn);

			again->header = event->header;
			again->payload = event->payload;
			event->payload = NULL;
			break;
		}
		fake_frame_arrives(conn, &event->header, event->payload);
		break;
	case FAKE_TO_CLIENT:
		if (!conn->open || conn->cut)
			break;
		chains_link_frame(conn->link, &event->header, event->payload);
		event->payload = NULL;
		break;
	case FAKE_COMMIT:
		fake_commit(f, event->chunk);
		break;
	}
}

bool fake_step(struct fake *f, uint64_t until)
{
	unsigned loop = f->wanted[1] < f->wanted[0] ? 1 : 0;
	struct fake_event *event = f->events;

	if (f->wanted[loop] != UINT64_MAX && (event == NULL || f->wanted[loop] < event->at)) {
		if (f->wanted[loop] > until)
			return false;
		if (f->wanted[loop] > f->now)
			f->now = f->wanted[loop];
		f->wanted[loop] = UINT64_MAX;
		f->tick(f->user, loop);
		return true;
	}
	if (event == NULL || event->at > until)
		return false;
	if (event->at > f->now)
		f->now = event->at;
	f->events = event->next;
	fake_run_event(f, event);
	fake_event_free(event);
	return true;
}
