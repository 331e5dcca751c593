/* conn_fixture.h - two ends of a connection for tests, on one loop in the test's thread unless the
 * test says otherwise. Callbacks only note what happened: cmocka's assertions may not leave a
 * callback of libuv. */
#ifndef CATENA_TESTS_UNIT_COMMON_NET_CONN_FIXTURE_H
#define CATENA_TESTS_UNIT_COMMON_NET_CONN_FIXTURE_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/os/clock.h"
#include "common/net/conn.h"
#include "common/net/conn_internal.h"
#include "common/os/log.h"
#include "tests/lib/random.h"
#include "tests/lib/tree.h"
#include "tests/lib/catena_ca.h"

#define MIB (1u << 20)

/* One end, and what it has seen. */
struct end {
	struct conn *conn;
	int ready, closed, drained;
	int error; /* of closed() */
	uint64_t frames, bytes;
	uint64_t wrong; /* frames that are not what they should be */
	struct tls_identity peer;
	void (*on_frame)(struct end *end, const struct frame_header *header, struct buf *payload);
	void (*on_ready)(struct end *end);
	void *test;
};

struct fixture {
	char dir[CA_PATH_MAX], ca[CA_PATH_MAX], other_ca[CA_PATH_MAX], log[CA_PATH_MAX];
	struct ca_files server, client, master, expired, stranger;
	SSL_CTX *server_tls, *client_tls, *master_tls, *expired_tls, *stranger_tls;
	uv_loop_t loop;
	struct buf_pool *pool;
	struct listener *listener;
	char address[64];
	struct end accepted; /* by the listener */
	struct end connected;
	struct conn_options accept_options;
	int accept_error;
	uint64_t random;
};

static struct fixture fx;

static inline uint32_t fx_random(uint32_t below)
{
	return (uint32_t)random_below(&fx.random, below);
}

/* ---- callbacks ---- */

static inline void fx_on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	struct end *end = user;

	end->ready++;
	end->peer = *peer;
	if (end->on_ready != NULL)
		end->on_ready(end);
}

static inline void fx_on_frame(struct conn *conn, void *user, const struct frame_header *header,
			       struct buf *payload)
{
	struct end *end = user;

	end->frames++;
	end->bytes += header->length;
	if ((payload == NULL) != (header->length == 0))
		end->wrong++;
	if (end->on_frame != NULL)
		end->on_frame(end, header, payload);
	else
		buf_unref(payload);
}

static inline void fx_on_closed(struct conn *conn, void *user, int error)
{
	struct end *end = user;

	end->closed++;
	end->error = error;
	end->conn = NULL;
}

static inline void fx_on_drained(struct conn *conn, void *user)
{
	((struct end *)user)->drained++;
}

static const struct conn_callbacks fx_callbacks = {fx_on_ready, fx_on_frame, fx_on_closed,
						   fx_on_drained};

static inline void fx_on_accepted(void *user, int fd)
{
	if (fx.accepted.conn != NULL) {
		close(fd);
		return;
	}
	fx.accept_error = conn_accept(&fx.accept_options, fd, &fx.accepted.conn);
}

/* ---- waiting ---- */

static inline void fx_on_tick(uv_timer_t *timer)
{
}

/* Runs the loop until *@counter is at least @value. False: not within @seconds. */
static inline bool fx_wait(const int *counter, int value, double seconds)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t)(seconds * (double)NS_PER_SEC);
	uv_timer_t tick;

	uv_timer_init(&fx.loop, &tick);
	uv_timer_start(&tick, fx_on_tick, 5, 5);
	while (*counter < value && clock_monotonic_ns() < end)
		uv_run(&fx.loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&fx.loop, UV_RUN_NOWAIT);
	return *counter >= value;
}

static inline bool fx_wait_frames(const uint64_t *counter, uint64_t value, double seconds)
{
	uint64_t end = clock_monotonic_ns() + (uint64_t)(seconds * (double)NS_PER_SEC);
	uv_timer_t tick;

	uv_timer_init(&fx.loop, &tick);
	uv_timer_start(&tick, fx_on_tick, 5, 5);
	while (*counter < value && clock_monotonic_ns() < end)
		uv_run(&fx.loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&fx.loop, UV_RUN_NOWAIT);
	return *counter >= value;
}

static inline void fx_run_for(double seconds)
{
	const int never = 0;

	fx_wait(&never, 1, seconds);
}

/* ---- set-up ---- */

static inline SSL_CTX *fx_context(const struct ca_files *files)
{
	char error[300];
	SSL_CTX *ctx;

	if (tls_context(&files->files, &ctx, error, sizeof(error)) < 0)
		ca_die(error);
	return ctx;
}

/* Once for all tests of a program: certificates, and the log in a file. */
static inline int fx_group_setup(void **state)
{
	const char *seed = getenv("SEED");

	fx.random = seed != NULL ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	printf("seed %llu (SEED= repeats it)\n", (unsigned long long)fx.random);
	ca_temp_dir(fx.dir);
	snprintf(fx.ca, sizeof(fx.ca), "%.200s/ca", fx.dir);
	snprintf(fx.other_ca, sizeof(fx.other_ca), "%.200s/other", fx.dir);
	snprintf(fx.log, sizeof(fx.log), "%.200s/log", fx.dir);
	/* The other CA claims to be of the same cluster: only the signature tells. */
	ca_init(fx.ca, "test-cluster");
	ca_init(fx.other_ca, "test-cluster");
	ca_issue(fx.ca, "chunkserver", "server-1", NULL, &fx.server);
	ca_issue(fx.ca, "client", "client-1", NULL, &fx.client);
	ca_issue(fx.ca, "master", "master-1", NULL, &fx.master);
	ca_issue(fx.ca, "client", "late", "--expired", &fx.expired);
	ca_issue(fx.other_ca, "client", "stranger", NULL, &fx.stranger);
	snprintf(fx.stranger.ca, sizeof(fx.stranger.ca), "%s", fx.client.ca);
	fx.server_tls = fx_context(&fx.server);
	fx.client_tls = fx_context(&fx.client);
	fx.master_tls = fx_context(&fx.master);
	fx.expired_tls = fx_context(&fx.expired);
	fx.stranger_tls = fx_context(&fx.stranger);
	return log_open(fx.log);
}

static inline int fx_group_teardown(void **state)
{
	SSL_CTX_free(fx.server_tls);
	SSL_CTX_free(fx.client_tls);
	SSL_CTX_free(fx.master_tls);
	SSL_CTX_free(fx.expired_tls);
	SSL_CTX_free(fx.stranger_tls);
	tree_remove(fx.dir);
	return 0;
}

/* Before each test: a loop and a listener that accepts one connection at a time. */
static inline int fx_setup(void **state)
{
	memset(&fx.accepted, 0, sizeof(fx.accepted));
	memset(&fx.connected, 0, sizeof(fx.connected));
	uv_loop_init(&fx.loop);
	if (buf_pool_create(256 * (size_t)MIB, &fx.pool) < 0 ||
	    listener_open(&fx.loop, "127.0.0.1:0", fx_on_accepted, NULL, &fx.listener) < 0)
		return -1;
	snprintf(fx.address, sizeof(fx.address), "127.0.0.1:%u", listener_port(fx.listener));
	fx.accept_options = (struct conn_options){
		.loop = &fx.loop,
		.tls = fx.server_tls,
		.pool = fx.pool,
		.callbacks = fx_callbacks,
		.user = &fx.accepted,
	};
	memset(&conn_log_rate, 0, sizeof(conn_log_rate));
	return truncate(fx.log, 0);
}

/* Everything has been given back, or this fails. */
static inline int fx_teardown(void **state)
{
	conn_close(fx.accepted.conn);
	conn_close(fx.connected.conn);
	listener_close(fx.listener);
	uv_run(&fx.loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&fx.loop) != 0 || buf_pool_used(fx.pool) != 0) {
		fprintf(stderr, "left over: handles, or %zu bytes of buffers\n",
			buf_pool_used(fx.pool));
		return -1;
	}
	buf_pool_destroy(fx.pool);
	return 0;
}

/* ---- doing things ---- */

static inline int fx_connect_as(SSL_CTX *tls, enum tls_role server_role)
{
	const struct conn_options options = {
		.loop = &fx.loop,
		.tls = tls,
		.pool = fx.pool,
		.callbacks = fx_callbacks,
		.user = &fx.connected,
		.server_role = server_role,
	};

	return conn_connect(&options, fx.address, &fx.connected.conn);
}

static inline void fx_connect(void)
{
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
	assert_true(fx_wait(&fx.connected.ready, 1, 5));
	assert_true(fx_wait(&fx.accepted.ready, 1, 5));
}

/* The payload of frame @id: every byte and checksum is a function of id and place. */
static inline uint8_t fx_byte(uint64_t id, uint32_t at)
{
	return (uint8_t)(id * 31 + at * 7 + (at >> 8));
}

static inline int fx_send(struct conn *conn, struct buf_pool *pool, uint64_t id, uint32_t offset,
			  uint32_t length)
{
	struct frame_header header = {
		.op = length == 0 ? FRAME_PING : FRAME_WRITE,
		.request_id = id,
		.key = {1, 2, 3, 4},
		.epoch = 5,
		.client_id = 6,
		.op_id = id + 1,
		.offset = length == 0 ? 0 : offset,
		.length = length,
	};
	struct buf *payload = NULL;
	int rc;

	if (length > 0) {
		payload = buf_get(pool, length);
		if (payload == NULL)
			return -ENOMEM;
		/* Not at the place that the receiver will choose. */
		payload->start = (offset + 17) % BLOCK_SIZE;
		payload->length = length;
		for (uint32_t i = 0; i < length; i++)
			buf_payload(payload)[i] = fx_byte(id, i);
		for (uint32_t i = 0; i < frame_crc_bytes(&header) / 4; i++)
			payload->crcs[i] = (uint32_t)(id * 1000 + i);
	}
	rc = conn_send(conn, &header, payload);
	buf_unref(payload);
	return rc;
}

/* True: the frame is what fx_send() sends for its request id. */
static inline bool fx_check(const struct frame_header *header, const struct buf *payload)
{
	if (header->op != (header->length == 0 ? FRAME_PING : FRAME_WRITE) || header->epoch != 5 ||
	    header->client_id != 6 || header->op_id != header->request_id + 1 ||
	    header->key.file_id != 3)
		return false;
	if (payload == NULL)
		return header->length == 0;
	if (payload->length != header->length || payload->start != header->offset % BLOCK_SIZE)
		return false;
	for (uint32_t i = 0; i < header->length; i++)
		if (buf_payload(payload)[i] != fx_byte(header->request_id, i))
			return false;
	for (uint32_t i = 0; i < frame_crc_bytes(header) / 4; i++)
		if (payload->crcs[i] != (uint32_t)(header->request_id * 1000 + i))
			return false;
	return true;
}

/* Lines of the log that contain @text; NULL: prints the log. */
static inline int fx_log_count(const char *text)
{
	FILE *file = fopen(fx.log, "r");
	char line[4096];
	int count = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (text == NULL)
			fprintf(stderr, "    %s", line);
		else
			count += strstr(line, text) != NULL;
	}
	if (file != NULL)
		fclose(file);
	return count;
}

/* @text is in exactly @count lines of the log. */
static inline void fx_assert_logged(const char *text, int count)
{
	if (fx_log_count(text) != count) {
		fprintf(stderr, "expected %d times in the log: %s\n", count, text);
		fx_log_count(NULL);
	}
	assert_int_equal(fx_log_count(text), count);
}
#endif
