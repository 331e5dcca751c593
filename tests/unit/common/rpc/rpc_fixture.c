#include "tests/unit/common/rpc/rpc_fixture.h"
#include "tests/lib/rpc_end.h"

#define ECHO "/catena.Test/Echo"

char dir[CA_PATH_MAX], other_dir[CA_PATH_MAX];
struct ca_files server_files, client_files, admin_files;

/* ---- a server that echoes, refuses, delays ---- */

struct test_server *the_server;

static int on_open(void *server_user, struct rpc_stream *stream, const struct tls_identity *peer,
		   void **stream_user)
{
	struct test_server *s = server_user;

	if (peer->role != TLS_ROLE_CLIENT || strcmp(peer->cluster, "test") != 0 ||
	    strcmp(peer->name, "mount-1") != 0)
		return -EACCES;
	*stream_user = s;
	atomic_fetch_add(&s->opened, 1);
	return 0;
}

static void on_message(void *stream_user, struct rpc_stream *stream, const uint8_t *data,
		       size_t size)
{
	struct test_server *s = stream_user;

	while (atomic_load(&s->hold))
		usleep(1000);
	s->stream = stream;
	atomic_fetch_add(&s->messages, 1);
	atomic_fetch_add(&s->in_turn, 1);
	atomic_fetch_add(&s->bytes, size);
	memcpy(s->last, data, size < sizeof(s->last) ? size : sizeof(s->last));
	if (!atomic_load(&s->mute))
		rpc_stream_send(stream, data, size);
	if (atomic_load(&s->close_on_end) && size == 3 && memcmp(data, "end", 3) == 0)
		rpc_stream_close(stream);
}

static void on_closed(void *stream_user, struct rpc_stream *stream, int error)
{
	struct test_server *s = stream_user;

	atomic_fetch_add(&s->closed, 1);
}

static void on_turn(void *user)
{
	struct test_server *s = user;

	atomic_fetch_add(&s->turns, 1);
	atomic_store(&s->in_turn, 0);
}

static void on_plain(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		     const uint8_t *data, size_t size)
{
	if (size == 4 && memcmp(data, "fail", 4) == 0)
		rpc_call_reply(call, -EUCLEAN, NULL, 0);
	else
		rpc_call_reply(call, 0, data, size);
}

static void on_later(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		     const uint8_t *data, size_t size)
{
	struct test_server *s = server_user;

	pthread_mutex_lock(&s->lock);
	s->later = call;
	pthread_mutex_unlock(&s->lock);
}

static const struct rpc_stream_handler echo_handler = {on_open, on_message, on_closed};
static const struct rpc_method methods[] = {
	{.path = ECHO, .stream = &echo_handler},
	{.path = PLAIN, .unary = on_plain},
	{.path = LATER, .unary = on_later},
	{0},
};

int start_server_on(struct test_server *s, uint16_t port, const struct ca_files *files, char *error,
		    size_t size)
{
	char address[32];
	struct rpc_server_options options = {.listen = address,
					     .tls = files->files,
					     .methods = methods,
					     .turn = on_turn,
					     .user = s};

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	return rpc_server_start(&options, &s->rpc, error, size);
}

int setup(void **state)
{
	char error[256];

	the_server = calloc(1, sizeof(*the_server));
	if (start_server_on(the_server, 0, &server_files, error, sizeof(error)) != 0) {
		fprintf(stderr, "%s\n", error);
		return -1;
	}
	return 0;
}

int teardown(void **state)
{
	rpc_server_stop(the_server->rpc);
	free(the_server);
	return 0;
}

/* ---- a client that records ---- */

static void record_message(void *user, const uint8_t *data, size_t size)
{
	struct record *r = user;

	pthread_mutex_lock(&r->lock);
	r->bytes = realloc(r->bytes, r->size + size + 1);
	memcpy(r->bytes + r->size, data, size);
	r->size += size;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void record_closed(void *user, int error)
{
	struct record *r = user;

	pthread_mutex_lock(&r->lock);
	r->closed++;
	r->error = error;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static const struct rpc_stream_events record_events = {record_message, record_closed};

int open_client(struct record *r, uint16_t port, const struct ca_files *files)
{
	char target[32], error[256];
	struct rpc_client_options options = {
		.target = target, .tls = files->files, .server_role = TLS_ROLE_MASTER};

	memset(r, 0, sizeof(*r));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	return rpc_client_open(&options, &r->client, error, sizeof(error));
}

int open_stream(struct record *r, uint64_t timeout_ns)
{
	return rpc_stream_open(r->client, ECHO, &record_events, r, timeout_ns, &r->stream);
}

bool wait_for(struct record *r, size_t size)
{
	uint64_t end_ns = clock_monotonic_ns() + 30 * NS_PER_SEC;
	bool in_time = true;

	pthread_mutex_lock(&r->lock);
	while (in_time && !(size != 0 ? r->size >= size : r->closed != 0))
		in_time = cond_wait_until(&r->changed, &r->lock, end_ns);
	pthread_mutex_unlock(&r->lock);
	return in_time;
}

void close_record(struct record *r)
{
	rpc_client_close(r->client);
	rpc_stream_unref(r->stream);
	free(r->bytes);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
}

bool wait_count(atomic_int *count, int want)
{
	for (int i = 0; i < 30000 && atomic_load(count) != want; i++)
		usleep(1000);
	return atomic_load(count) == want;
}

int group_setup(void **state)
{
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	ca_temp_dir(dir);
	snprintf(other_dir, sizeof(other_dir), "%.240s/other", dir);
	ca_init(dir, "test");
	ca_init(other_dir, "test");
	ca_issue(dir, "master", "master", NULL, &server_files);
	ca_issue(dir, "client", "mount-1", NULL, &client_files);
	ca_issue(dir, "admin", "admin", NULL, &admin_files);
	rpc_init();
	return 0;
}

int group_teardown(void **state)
{
	rpc_end();
	tree_remove(dir);
	return 0;
}
