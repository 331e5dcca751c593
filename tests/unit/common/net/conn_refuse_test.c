/* Goal: whoever may not come in stays out, whatever is sent does no harm, each refusal is one line
 * in the log that names the peer and the reason, and the listener goes on serving.
 *
 * Method: the peer is a conn with the wrong certificate, or a thread with a plain socket or a stock
 * SSL that sends what no conn would. After every refusal a good client connects. */
#include "tests/unit/common/net/conn_fixture.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include "common/base/bytes.h"

/* ---- a peer that is not ours ---- */

struct raw {
	pthread_t thread;
	uint16_t port;
	SSL_CTX *tls; /* NULL: plain text */
	const void *data;
	size_t size;
	int hang_ms; /* stay silent for so long before closing; else wait for the end */
	/* What happened. */
	bool connected, shook_hands;
	size_t got;
	uint8_t answer[4096];
};

static int raw_socket(uint16_t port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval patience = {.tv_sec = 30};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void raw_plain(struct raw *raw, int fd)
{
	ssize_t n;

	if (raw->size > 0)
		(void)!send(fd, raw->data, raw->size, MSG_NOSIGNAL);
	if (raw->hang_ms > 0)
		usleep((useconds_t)raw->hang_ms * 1000);
	while ((n = recv(fd, raw->answer, sizeof(raw->answer), 0)) > 0)
		raw->got += (size_t)n;
}

static void raw_tls(struct raw *raw, int fd)
{
	SSL *ssl = SSL_new(raw->tls);
	int n;

	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) == 1) {
		raw->shook_hands = true;
		if (raw->size > 0)
			SSL_write(ssl, raw->data, (int)raw->size);
		while ((n = SSL_read(ssl, raw->answer + raw->got,
				     (int)(sizeof(raw->answer) - raw->got))) > 0)
			raw->got += (size_t)n;
	}
	ERR_clear_error();
	SSL_free(ssl);
}

static void *raw_main(void *arg)
{
	struct raw *raw = arg;
	int fd = raw_socket(raw->port);

	if (fd < 0)
		return NULL;
	raw->connected = true;
	if (raw->tls == NULL)
		raw_plain(raw, fd);
	else
		raw_tls(raw, fd);
	close(fd);
	return NULL;
}

static void raw_start(struct raw *raw)
{
	raw->port = listener_port(fx.listener);
	pthread_create(&raw->thread, NULL, raw_main, raw);
}

/* The server has to refuse it; returns the error that it closed with. */
static int raw_refused(struct raw *raw)
{
	bool ended;

	raw_start(raw);
	ended = fx_wait(&fx.accepted.closed, 1, 30);
	pthread_join(raw->thread, NULL);
	assert_true(raw->connected);
	assert_true(ended);
	return fx.accepted.error;
}

static void good_client_still_served(void)
{
	memset(&fx.accepted, 0, sizeof(fx.accepted));
	memset(&fx.connected, 0, sizeof(fx.connected));
	fx_connect();
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 1, 0, 5000), 0);
	assert_true(fx_wait_frames(&fx.accepted.frames, 1, 30));
}

/* ---- before the handshake is done ---- */

static void test_plain_text_is_refused_with_a_word(void **state)
{
	static const char *const texts[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"hello, is this the master? I would like to talk to it in plain text\n",
		"\x16\x03\x01\xff\xff\x01 an endless record",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct raw raw = {.data = texts[i], .size = strlen(texts[i])};

		memset(&fx.accepted, 0, sizeof(fx.accepted));
		assert_int_equal(raw_refused(&raw), -EPROTO);
		assert_int_equal(fx.accepted.ready, 0);
		assert_int_equal(fx.accepted.closed, 1);
	}
	fx_assert_logged("handshake failed", 3);
	fx_assert_logged("does not speak TLS", 3);
	fx_assert_logged("peer=127.0.0.1:", 3);
	good_client_still_served();
}

static void test_random_bytes_are_refused(void **state)
{
	for (int round = 0; round < 30; round++) {
		uint8_t noise[3000];
		struct raw raw = {.data = noise, .size = 6 + fx_random(sizeof(noise) - 5)};

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)fx_random(256);
		if (round % 2 == 0)
			memcpy(noise, "\x16\x03\x01\x00\x80\x01", 6); /* like a ClientHello */
		/* Where it is too short, the end of the stream ends it. */
		raw.hang_ms = 1;
		memset(&fx.accepted, 0, sizeof(fx.accepted));
		fx.accept_options.handshake_timeout_ns = 50 * NS_PER_MSEC;
		assert_int_not_equal(raw_refused(&raw), 0);
		assert_int_equal(fx.accepted.ready, 0);
	}
	fx.accept_options.handshake_timeout_ns = 0;
	/* The log cannot be flooded: 5 lines a second, and this takes less than 3. */
	assert_in_range(fx_log_count("handshake failed"), 1, 15);
	good_client_still_served();
}

static void test_a_client_without_certificate_is_refused(void **state)
{
	struct raw raw = {.tls = SSL_CTX_new(TLS_client_method())};
	int error = raw_refused(&raw);

	SSL_CTX_free(raw.tls);
	assert_int_equal(error, -EACCES);
	assert_int_equal(fx.accepted.ready, 0);
	assert_int_equal(raw.got, 0);
	fx_assert_logged("the peer has no certificate", 1);
	good_client_still_served();
}

static void test_older_tls_is_refused(void **state)
{
	struct raw raw = {.tls = SSL_CTX_new(TLS_client_method())};
	int error;

	SSL_CTX_set_max_proto_version(raw.tls, TLS1_2_VERSION);
	error = raw_refused(&raw);
	SSL_CTX_free(raw.tls);
	assert_int_equal(error, -EPROTO);
	assert_false(raw.shook_hands);
	fx_assert_logged("unsupported protocol", 1);
	good_client_still_served();
}

/* Both ends hear that the certificate is not accepted. */
static void refused_as(SSL_CTX *tls, const char *reason)
{
	assert_int_equal(fx_connect_as(tls, TLS_ROLE_CHUNKSERVER), 0);
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
	assert_int_equal(fx.accepted.error, -EACCES);
	assert_int_equal(fx.accepted.ready, 0);
	assert_int_equal(fx.connected.error, -EACCES);
	fx_assert_logged(reason, 1);
	fx_assert_logged("the peer does not accept our certificate", 1);
	good_client_still_served();
}

static void test_a_certificate_of_another_ca_is_refused(void **state)
{
	refused_as(fx.stranger_tls, "the peer's certificate is not accepted: unable to get local "
				    "issuer certificate");
}

static void test_an_expired_certificate_is_refused(void **state)
{
	refused_as(fx.expired_tls,
		   "the peer's certificate is not accepted: certificate has expired");
}

static void test_a_server_of_another_role_is_refused_by_the_client(void **state)
{
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_MASTER), 0);
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
	assert_int_equal(fx.connected.error, -EACCES);
	assert_int_equal(fx.connected.ready, 0);
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.accepted.ready, 0);
	fx_assert_logged("hostname mismatch", 1);
	good_client_still_served();
}

static void test_a_silent_client_is_let_go_after_the_timeout(void **state)
{
	struct raw raw = {.hang_ms = 1};
	uint64_t from = clock_monotonic_ns();

	fx.accept_options.handshake_timeout_ns = 100 * NS_PER_MSEC;
	assert_int_equal(raw_refused(&raw), -ETIMEDOUT);
	assert_in_range(clock_monotonic_ns() - from, 90 * NS_PER_MSEC, 3000 * NS_PER_MSEC);
	fx_assert_logged("no answer in time", 1);
	fx.accept_options.handshake_timeout_ns = 0;
	good_client_still_served();
}

static void test_a_silent_server_is_given_up_after_the_timeout(void **state)
{
	struct conn_options options = {
		.loop = &fx.loop,
		.tls = fx.client_tls,
		.pool = fx.pool,
		.callbacks = fx_callbacks,
		.user = &fx.connected,
		.server_role = TLS_ROLE_MASTER,
		.handshake_timeout_ns = 100 * NS_PER_MSEC,
	};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[64];
	bool ended;

	/* It listens, and never accepts. */
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	assert_int_equal(listen(fd, 5), 0);
	getsockname(fd, (struct sockaddr *)&at, &size);
	snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(at.sin_port));
	assert_int_equal(conn_connect(&options, address, &fx.connected.conn), 0);
	ended = fx_wait(&fx.connected.closed, 1, 30);
	close(fd);
	assert_true(ended);
	assert_int_equal(fx.connected.error, -ETIMEDOUT);
}

/* ---- frames that no correct peer sends ---- */

static void bad_frame(const void *data, size_t size, int error, const char *reason)
{
	struct raw raw = {.tls = fx.client_tls, .data = data, .size = size};

	memset(&fx.accepted, 0, sizeof(fx.accepted));
	assert_int_equal(raw_refused(&raw), error);
	assert_int_equal(fx.accepted.ready, 1);
	assert_int_equal(fx.accepted.frames, 0);
	fx_assert_logged(reason, 1);
	fx_assert_logged("role=client name=client-1", 1);
	assert_int_equal(buf_pool_used(fx.pool), 0);
	good_client_still_served();
}

static const struct frame_header good_header = {
	.op = FRAME_WRITE,
	.request_id = 1,
	.length = 4096,
	.op_id = 1,
	.client_id = 1,
};

static void test_a_header_with_a_wrong_checksum_ends_the_connection(void **state)
{
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_encode(&good_header, bytes);
	bytes[20] ^= 1;
	bad_frame(bytes, sizeof(bytes), -EBADMSG, "header does not match its checksum");
}

static void test_garbage_instead_of_a_frame_ends_the_connection(void **state)
{
	uint8_t bytes[4000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)fx_random(256);
	bytes[0] = 'x';
	bad_frame(bytes, sizeof(bytes), -EBADMSG, "connection ended");
}

static void test_an_overlong_length_ends_the_connection(void **state)
{
	struct frame_header header = good_header;
	uint8_t bytes[FRAME_HEADER_BYTES];

	header.length = FRAME_PAYLOAD_MAX + 1;
	frame_header_encode(&header, bytes);
	bad_frame(bytes, sizeof(bytes), -EINVAL, "payload too long");
}

static void test_a_payload_above_the_connections_own_limit_is_refused(void **state)
{
	struct frame_header header = good_header;
	uint8_t bytes[FRAME_HEADER_BYTES];

	fx.accept_options.receive_max = 8192;
	header.length = 8193;
	frame_header_encode(&header, bytes);
	bad_frame(bytes, sizeof(bytes), -EMSGSIZE, "payload longer than allowed here");
	fx.accept_options.receive_max = 0;
}

static void test_a_connection_cut_within_a_frame_gives_its_buffer_back(void **state)
{
	uint8_t bytes[FRAME_HEADER_BYTES + 100];
	struct raw raw = {.tls = fx.client_tls, .data = bytes, .size = sizeof(bytes)};

	memset(bytes, 0, sizeof(bytes));
	frame_header_encode(&good_header, bytes);
	raw_start(&raw);
	assert_true(fx_wait(&fx.accepted.ready, 1, 30));
	fx_run_for(0.05);
	assert_true(buf_pool_used(fx.pool) > 0);
	conn_close(fx.accepted.conn);
	fx.accepted.conn = NULL;
	assert_int_equal(buf_pool_used(fx.pool), 0);
	pthread_join(raw.thread, NULL);
	assert_int_equal(fx.accepted.frames, 0);
}

static void echo(struct end *end, const struct frame_header *header, struct buf *payload)
{
	conn_send(end->conn, header, payload);
	buf_unref(payload);
	conn_close(end->conn);
	end->conn = NULL;
}

static void test_a_stock_tls_client_can_talk_frames(void **state)
{
	uint8_t bytes[FRAME_HEADER_BYTES + 4096 + 4];
	struct raw raw = {.tls = fx.client_tls, .data = bytes, .size = sizeof(bytes)};

	frame_header_encode(&good_header, bytes);
	for (size_t i = FRAME_HEADER_BYTES; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 3);
	fx.accepted.on_frame = echo;
	raw_start(&raw);
	assert_true(fx_wait_frames(&fx.accepted.frames, 1, 30));
	pthread_join(raw.thread, NULL);
	assert_int_equal(raw.got, sizeof(raw.answer));
	assert_memory_equal(raw.answer, bytes, sizeof(raw.answer));
}

/* ---- addresses ---- */

static void test_nobody_listening_is_connection_refused(void **state)
{
	struct conn_options options = {
		.loop = &fx.loop,
		.tls = fx.client_tls,
		.pool = fx.pool,
		.callbacks = fx_callbacks,
		.user = &fx.connected,
		.server_role = TLS_ROLE_CHUNKSERVER,
	};
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char address[64];
	bool ended;

	/* Bound, so that nobody else gets the port, but not listening. */
	assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
	getsockname(fd, (struct sockaddr *)&at, &size);
	snprintf(address, sizeof(address), "localhost:%u", ntohs(at.sin_port));
	assert_int_equal(conn_connect(&options, address, &fx.connected.conn), 0);
	assert_int_equal(fx.connected.closed, 0);
	ended = fx_wait(&fx.connected.closed, 1, 30);
	close(fd);
	assert_true(ended);
	assert_int_equal(fx.connected.error, -ECONNREFUSED);
}

static void test_bad_addresses_are_refused_at_once(void **state)
{
	static const char *const bad[] = {
		"",           "host",   "host:",    ":7000x", "host:70000",
		"1.2.3.4:-1", "::1:80", "host:1 2", ":80",
	};
	struct listener *listener;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(fx.address, sizeof(fx.address), "%s", bad[i]);
		assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), -EINVAL);
	}
	assert_int_equal(fx.connected.closed, 0);
	assert_int_equal(listener_open(&fx.loop, "127.0.0.1", fx_on_accepted, NULL, &listener),
			 -EINVAL);
	snprintf(fx.address, sizeof(fx.address), "127.0.0.1:%u", listener_port(fx.listener));
	assert_int_equal(listener_open(&fx.loop, fx.address, fx_on_accepted, NULL, &listener),
			 -EADDRINUSE);
	assert_int_equal(listener_open(&fx.loop, "203.0.113.9:0", fx_on_accepted, NULL, &listener),
			 -EADDRNOTAVAIL);
}

static void test_a_name_is_resolved_and_every_address_tried(void **state)
{
	/* localhost may be ::1 first, where nobody listens. */
	snprintf(fx.address, sizeof(fx.address), "localhost:%u", listener_port(fx.listener));
	fx_connect();
}

static void test_closing_while_a_name_is_looked_up_leaves_nothing(void **state)
{
	snprintf(fx.address, sizeof(fx.address), "localhost:%u", listener_port(fx.listener));
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
	conn_close(fx.connected.conn);
	fx.connected.conn = NULL;
	fx_run_for(0.05);
	assert_int_equal(fx.connected.closed, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_plain_text_is_refused_with_a_word),
		TEST(test_random_bytes_are_refused),
		TEST(test_a_client_without_certificate_is_refused),
		TEST(test_older_tls_is_refused),
		TEST(test_a_certificate_of_another_ca_is_refused),
		TEST(test_an_expired_certificate_is_refused),
		TEST(test_a_server_of_another_role_is_refused_by_the_client),
		TEST(test_a_silent_client_is_let_go_after_the_timeout),
		TEST(test_a_silent_server_is_given_up_after_the_timeout),
		TEST(test_a_header_with_a_wrong_checksum_ends_the_connection),
		TEST(test_garbage_instead_of_a_frame_ends_the_connection),
		TEST(test_an_overlong_length_ends_the_connection),
		TEST(test_a_payload_above_the_connections_own_limit_is_refused),
		TEST(test_a_connection_cut_within_a_frame_gives_its_buffer_back),
		TEST(test_a_stock_tls_client_can_talk_frames),
		TEST(test_nobody_listening_is_connection_refused),
		TEST(test_bad_addresses_are_refused_at_once),
		TEST(test_a_name_is_resolved_and_every_address_tried),
		TEST(test_closing_while_a_name_is_looked_up_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
