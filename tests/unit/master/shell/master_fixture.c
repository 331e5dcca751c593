#include "tests/unit/master/shell/master_fixture.h"
#include "tests/lib/rpc_end.h"

struct fixture fx;

static void *fixture_tick(void *arg)
{
	while (!atomic_load(&fx.stop)) {
		usleep(20000);
		master_tick(fx.master);
	}
	return NULL;
}

int fixture_start(void)
{
	char error[512] = "", listen[32];

	snprintf(listen, sizeof(listen), "127.0.0.1:%u", fx.port);
	free(fx.config.listen);
	fx.config.listen = strdup(listen);
	if (master_start(&fx.config, &fx.master, error, sizeof(error)) != 0) {
		fprintf(stderr, "master: %s\n", error);
		return -1;
	}
	fx.port = rpc_server_port(fx.master->rpc);
	atomic_store(&fx.stop, false);
	return pthread_create(&fx.ticker, NULL, fixture_tick, NULL);
}

void fixture_stop(void)
{
	atomic_store(&fx.stop, true);
	pthread_join(fx.ticker, NULL);
	master_stop(fx.master);
	fx.master = NULL;
}

static int setup(uint64_t serving_lease_ns)
{
	char error[512] = "";

	snprintf(fx.data, sizeof(fx.data), "%s/data", fx.dir);
	fx.port = 0;
	memset(&fx.config, 0, sizeof(fx.config));
	if (conf_defaults(master_options, &fx.config, error, sizeof(error)) != 0)
		return -1;
	fx.config.data = strdup(fx.data);
	fx.config.ca = strdup(fx.master_cert.ca);
	fx.config.cert = strdup(fx.master_cert.cert);
	fx.config.key = strdup(fx.master_cert.key);
	fx.config.client_lease_ns = NS_PER_SEC;
	fx.config.serving_lease_ns = serving_lease_ns;
	fx.config.partitions = 16;
	fx.config.chunk_size = 1 << 20;
	fx.config.initial_targets = 3;
	if (master_init(&fx.config, error, sizeof(error)) != 0) {
		fprintf(stderr, "init: %s\n", error);
		return -1;
	}
	return fixture_start();
}

int fixture_setup(void **state)
{
	return setup(NS_PER_SEC / 2);
}

int fixture_setup_calm(void **state)
{
	return setup(60 * NS_PER_SEC);
}

int fixture_teardown(void **state)
{
	if (fx.master != NULL)
		fixture_stop();
	conf_free(master_options, &fx.config);
	tree_remove(fx.data);
	return 0;
}

int fixture_group_setup(void **state)
{
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	ca_temp_dir(fx.dir);
	ca_init(fx.dir, CLUSTER);
	ca_issue(fx.dir, "master", "m1", NULL, &fx.master_cert);
	ca_issue(fx.dir, "client", "laptop", NULL, &fx.client_cert);
	ca_issue(fx.dir, "admin", "admin", NULL, &fx.admin_cert);
	for (int i = 0; i < SERVERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "store-%d", i + 1);
		ca_issue(fx.dir, "chunkserver", name, NULL, &fx.server_certs[i]);
	}
	rpc_init();
	return 0;
}

int fixture_group_teardown(void **state)
{
	rpc_end();
	tree_remove(fx.dir);
	return 0;
}

/* ---- peers ---- */

static void peer_message(void *user, const uint8_t *data, size_t size)
{
	struct peer *p = user;

	pthread_mutex_lock(&p->lock);
	p->bytes = realloc(p->bytes, p->size + size + 1);
	memcpy(p->bytes + p->size, data, size);
	p->size += size;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static void peer_closed(void *user, int error)
{
	struct peer *p = user;

	pthread_mutex_lock(&p->lock);
	p->closed = true;
	p->error = error;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

struct peer *peer_open(const struct ca_files *cert, const char *path)
{
	static const struct rpc_stream_events events = {peer_message, peer_closed};
	struct peer *p = calloc(1, sizeof(*p));
	char target[32], error[256];
	struct rpc_client_options options = {
		.target = target, .tls = cert->files, .server_role = TLS_ROLE_MASTER};

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	snprintf(target, sizeof(target), "127.0.0.1:%u", fx.port);
	if (rpc_client_open(&options, &p->client, error, sizeof(error)) != 0 ||
	    rpc_stream_open(p->client, path, &events, p, PATIENCE_MS * NS_PER_MSEC, &p->stream) !=
		    0)
		abort();
	return p;
}

void peer_close(struct peer *p)
{
	rpc_client_close(p->client);
	rpc_stream_unref(p->stream);
	free(p->bytes);
	free(p);
}

void peer_send(struct peer *p, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *data = malloc(size + 1);

	protobuf_c_message_pack(message, data);
	rpc_stream_send(p->stream, data, size);
	free(data);
}

static void *peer_wait(struct peer *p, const ProtobufCMessageDescriptor *type, peer_test *test,
		       uint64_t arg, unsigned ms, bool forget)
{
	uint64_t end_ns = clock_monotonic_ns() + ms * NS_PER_MSEC;
	ProtobufCMessage *message = NULL;
	bool in_time = true;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		message = protobuf_c_message_unpack(type, NULL, p->size, p->bytes);
		if (test(message, arg) || !in_time)
			break;
		protobuf_c_message_free_unpacked(message, NULL);
		message = NULL;
		in_time = cond_wait_until(&p->changed, &p->lock, end_ns);
	}
	if (message != NULL && !test(message, arg)) {
		protobuf_c_message_free_unpacked(message, NULL);
		message = NULL;
	}
	if (message != NULL && forget)
		p->size = 0;
	pthread_mutex_unlock(&p->lock);
	return message;
}

void *peer_wait_for(struct peer *p, const ProtobufCMessageDescriptor *type, peer_test *test,
		    uint64_t arg, unsigned ms)
{
	return peer_wait(p, type, test, arg, ms, false);
}

void *peer_take(struct peer *p, const ProtobufCMessageDescriptor *type, peer_test *test,
		uint64_t arg, unsigned ms)
{
	return peer_wait(p, type, test, arg, ms, true);
}

bool peer_wait_closed(struct peer *p)
{
	bool closed = false;

	for (unsigned i = 0; i < PATIENCE_MS && !closed; i++) {
		usleep(1000);
		pthread_mutex_lock(&p->lock);
		closed = p->closed;
		pthread_mutex_unlock(&p->lock);
	}
	return closed;
}

void peer_forget(struct peer *p)
{
	pthread_mutex_lock(&p->lock);
	p->size = 0;
	pthread_mutex_unlock(&p->lock);
}

bool has_opened(const void *message, uint64_t n)
{
	return ((const Catena__ClientPush *)message)->n_opened >= n;
}

bool has_grants(const void *message, uint64_t n)
{
	return ((const Catena__ClientPush *)message)->n_grants >= n;
}

bool has_recalls(const void *message, uint64_t n)
{
	return ((const Catena__ClientPush *)message)->n_recalls >= n;
}

bool has_reply(const void *message, uint64_t id)
{
	const Catena__ClientPush *push = message;

	for (size_t i = 0; i < push->n_replies; i++)
		if (push->replies[i]->id == id)
			return true;
	return false;
}

/* ---- what a client sends ---- */

void send_open(struct peer *p, uint64_t session, uint64_t secret)
{
	Catena__SessionOpen open = CATENA__SESSION_OPEN__INIT, *opens[1] = {&open};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;

	open.protocol = 1;
	open.mount = "host:/mnt";
	open.session_id = session;
	open.session_secret = secret;
	batch.n_open = 1;
	batch.open = opens;
	peer_send(p, &batch.base);
}

struct peer *client_open_stream(uint64_t session, uint64_t secret)
{
	struct peer *p = peer_open(&fx.client_cert, "/catena.Master/Session");

	send_open(p, session, secret);
	return p;
}

void send_requests(struct peer *p, Catena__Request **requests, size_t count)
{
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;

	batch.n_requests = count;
	batch.requests = requests;
	peer_send(p, &batch.base);
}

void send_create(struct peer *p, uint64_t id, const char *name, bool durable)
{
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;

	request.id = id;
	request.durable = durable;
	request.time = 1000000000;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	create.parent = 1;
	create.mode = 0100644;
	create.exclusive = true;
	create.name.data = (uint8_t *)name;
	create.name.len = strlen(name);
	send_requests(p, requests, 1);
}

void send_grow(struct peer *p, uint64_t id, const Catena__Attr *attr, uint64_t size)
{
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;

	request.id = id;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	setattr.ino = attr->ino;
	setattr.file_id = attr->file_id;
	setattr.mask = CATENA__SET_MASK__SET_GROW;
	setattr.size = size;
	send_requests(p, requests, 1);
}

void send_unlink(struct peer *p, uint64_t id, const char *name)
{
	Catena__Request request = CATENA__REQUEST__INIT, *requests[1] = {&request};
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;

	request.id = id;
	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	unlink.parent = 1;
	unlink.name.data = (uint8_t *)name;
	unlink.name.len = strlen(name);
	send_requests(p, requests, 1);
}

void send_renew(struct peer *p, uint64_t sequence)
{
	Catena__Renew renew = CATENA__RENEW__INIT, *renews[1] = {&renew};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;

	renew.sequence = sequence;
	batch.n_renews = 1;
	batch.renews = renews;
	peer_send(p, &batch.base);
}

const Catena__Reply *find_reply(const Catena__ClientPush *push, uint64_t id)
{
	for (size_t i = 0; i < push->n_replies; i++)
		if (push->replies[i]->id == id)
			return push->replies[i];
	return NULL;
}
