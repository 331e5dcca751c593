#include "tests/unit/common/net/conn_fixture.h"

struct fixture fx;

uint32_t fx_random(uint32_t below)
{
	return (uint32_t)random_below(&fx.random, below);
}

/* ---- callbacks ---- */

static void fx_on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	struct end *end = user;

	end->ready++;
	end->peer = *peer;
	if (end->on_ready != NULL)
		end->on_ready(end);
}

static void fx_on_frame(struct conn *conn, void *user, const struct frame_header *header,
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

static void fx_on_closed(struct conn *conn, void *user, int error)
{
	struct end *end = user;

	end->closed++;
	end->error = error;
	end->conn = NULL;
}

static void fx_on_drained(struct conn *conn, void *user)
{
	((struct end *)user)->drained++;
}

const struct conn_callbacks fx_callbacks = {fx_on_ready, fx_on_frame, fx_on_closed, fx_on_drained};

void fx_on_accepted(void *user, int fd)
{
	if (fx.accepted.conn != NULL) {
		close(fd);
		return;
	}
	fx.accept_error = conn_accept(&fx.accept_options, fd, &fx.accepted.conn);
}

/* ---- waiting ---- */

static void fx_on_tick(uv_timer_t *timer)
{
}

bool fx_wait(const int *counter, int value, double seconds)
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

bool fx_wait_frames(const uint64_t *counter, uint64_t value, double seconds)
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

void fx_run_for(double seconds)
{
	const int never = 0;

	fx_wait(&never, 1, seconds);
}

/* ---- set-up ---- */

static SSL_CTX *fx_context(const struct ca_files *files)
{
	char error[300];
	SSL_CTX *ctx;

	if (tls_context(&files->files, &ctx, error, sizeof(error)) < 0)
		ca_die(error);
	return ctx;
}

int fx_group_setup(void **state)
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

int fx_group_teardown(void **state)
{
	SSL_CTX_free(fx.server_tls);
	SSL_CTX_free(fx.client_tls);
	SSL_CTX_free(fx.master_tls);
	SSL_CTX_free(fx.expired_tls);
	SSL_CTX_free(fx.stranger_tls);
	tree_remove(fx.dir);
	return 0;
}

int fx_setup(void **state)
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

int fx_teardown(void **state)
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

int fx_connect_as(SSL_CTX *tls, enum tls_role server_role)
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

void fx_connect(void)
{
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
	assert_true(fx_wait(&fx.connected.ready, 1, 30));
	assert_true(fx_wait(&fx.accepted.ready, 1, 30));
}

/* The payload of frame @id: every byte and checksum is a function of id and place. */
static uint8_t fx_byte(uint64_t id, uint32_t at)
{
	return (uint8_t)(id * 31 + at * 7 + (at >> 8));
}

int fx_send(struct conn *conn, struct buf_pool *pool, uint64_t id, uint32_t offset, uint32_t length)
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

bool fx_check(const struct frame_header *header, const struct buf *payload)
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

int fx_log_count(const char *text)
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

void fx_assert_logged(const char *text, int count)
{
	if (fx_log_count(text) != count) {
		fprintf(stderr, "expected %d times in the log: %s\n", count, text);
		fx_log_count(NULL);
	}
	assert_int_equal(fx_log_count(text), count);
}
