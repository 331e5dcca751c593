/* rpc_fixture.h - a server that echoes, refuses and delays, and clients that record, in one process
 * on loopback with certificates made here; what the tests of rpc share. */
#ifndef CATENA_TESTS_UNIT_COMMON_RPC_RPC_FIXTURE_H
#define CATENA_TESTS_UNIT_COMMON_RPC_RPC_FIXTURE_H
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define ECHO     "/catena.Test/Echo"
#define PLAIN    "/catena.Test/Plain"
#define LATER    "/catena.Test/Later"
#define DEADLINE (5 * NS_PER_SEC)

static char dir[CA_PATH_MAX], other_dir[CA_PATH_MAX];
static struct ca_files server_files, client_files, admin_files;

/* ---- a server that echoes, refuses, delays ---- */

struct test_server {
	struct rpc_server *rpc;
	atomic_int opened, closed;
	atomic_bool hold;         /* message callbacks wait while it is set */
	atomic_bool close_on_end; /* close the stream when a message says "end" */
	atomic_bool mute;         /* answers nothing; the test does, on this stream: */
	struct rpc_stream *stream;
	atomic_ulong bytes;
	char last[32];
	struct rpc_call *later;
	pthread_mutex_t lock;
};

static struct test_server *the_server;

static inline int on_open(void *server_user, struct rpc_stream *stream,
			  const struct tls_identity *peer, void **stream_user)
{
	struct test_server *s = server_user;

	if (peer->role != TLS_ROLE_CLIENT || strcmp(peer->cluster, "test") != 0 ||
	    strcmp(peer->name, "mount-1") != 0)
		return -EACCES;
	*stream_user = s;
	atomic_fetch_add(&s->opened, 1);
	return 0;
}

static inline void on_message(void *stream_user, struct rpc_stream *stream, const uint8_t *data,
			      size_t size)
{
	struct test_server *s = stream_user;

	while (atomic_load(&s->hold))
		usleep(1000);
	s->stream = stream;
	atomic_fetch_add(&s->bytes, size);
	memcpy(s->last, data, size < sizeof(s->last) ? size : sizeof(s->last));
	if (!atomic_load(&s->mute))
		rpc_stream_send(stream, data, size);
	if (atomic_load(&s->close_on_end) && size == 3 && memcmp(data, "end", 3) == 0)
		rpc_stream_close(stream);
}

static inline void on_closed(void *stream_user, struct rpc_stream *stream, int error)
{
	struct test_server *s = stream_user;

	atomic_fetch_add(&s->closed, 1);
}

static inline void on_plain(void *server_user, struct rpc_call *call,
			    const struct tls_identity *peer, const uint8_t *data, size_t size)
{
	if (size == 4 && memcmp(data, "fail", 4) == 0)
		rpc_call_reply(call, -EUCLEAN, NULL, 0);
	else
		rpc_call_reply(call, 0, data, size);
}

static inline void on_later(void *server_user, struct rpc_call *call,
			    const struct tls_identity *peer, const uint8_t *data, size_t size)
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

static inline int start_server_on(struct test_server *s, uint16_t port,
				  const struct ca_files *files, char *error, size_t size)
{
	char address[32];
	struct rpc_server_options options = {
		.listen = address, .tls = files->files, .methods = methods, .user = s};

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	return rpc_server_start(&options, &s->rpc, error, size);
}

static inline int setup(void **state)
{
	char error[256];

	the_server = calloc(1, sizeof(*the_server));
	if (start_server_on(the_server, 0, &server_files, error, sizeof(error)) != 0) {
		fprintf(stderr, "%s\n", error);
		return -1;
	}
	return 0;
}

static inline int teardown(void **state)
{
	rpc_server_stop(the_server->rpc);
	free(the_server);
	return 0;
}

/* ---- a client that records ---- */

struct record {
	struct rpc_client *client;
	struct rpc_stream *stream;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *bytes;
	size_t size;
	int closed, error;
};

static inline void record_message(void *user, const uint8_t *data, size_t size)
{
	struct record *r = user;

	pthread_mutex_lock(&r->lock);
	r->bytes = realloc(r->bytes, r->size + size + 1);
	memcpy(r->bytes + r->size, data, size);
	r->size += size;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static inline void record_closed(void *user, int error)
{
	struct record *r = user;

	pthread_mutex_lock(&r->lock);
	r->closed++;
	r->error = error;
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static const struct rpc_stream_events record_events = {record_message, record_closed};

static inline int open_client(struct record *r, uint16_t port, const struct ca_files *files)
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

static inline int open_stream(struct record *r, uint64_t timeout_ns)
{
	return rpc_stream_open(r->client, ECHO, &record_events, r, timeout_ns, &r->stream);
}

/* Waits for @size bytes (or, with 0, for the end). False: not within 8 s. */
static inline bool wait_for(struct record *r, size_t size)
{
	uint64_t end_ns = clock_monotonic_ns() + 8 * NS_PER_SEC;
	bool in_time = true;

	pthread_mutex_lock(&r->lock);
	while (in_time && !(size != 0 ? r->size >= size : r->closed != 0))
		in_time = cond_wait_until(&r->changed, &r->lock, end_ns);
	pthread_mutex_unlock(&r->lock);
	return in_time;
}

static inline void close_record(struct record *r)
{
	rpc_client_close(r->client);
	rpc_stream_unref(r->stream);
	free(r->bytes);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
}

static inline bool wait_count(atomic_int *count, int want)
{
	for (int i = 0; i < 5000 && atomic_load(count) != want; i++)
		usleep(1000);
	return atomic_load(count) == want;
}

static inline int group_setup(void **state)
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

static inline int group_teardown(void **state)
{
	rpc_shutdown();
	tree_remove(dir);
	return 0;
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#endif
