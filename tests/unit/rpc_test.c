/* rpc_test - streams and unary calls over gRPC with mutual TLS.
 *
 * Goal: messages arrive whole and in order also when they are joined; whoever has no right
 * certificate gets nothing and is told why; every end (of a stream, a client, a server, a call), in
 * every state, calls back exactly once, hangs nothing and leaks nothing (run under ASan too).
 * Method: a server and clients in one process on loopback, certificates made here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/log.h"
#include "common/rpc_internal.h"
#include "tests/tree.h"
#include "tests/unit/catena_ca.h"

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

static int start_server_on(struct test_server *s, uint16_t port, const struct ca_files *files,
			   char *error, size_t size)
{
	char address[32];
	struct rpc_server_options options = {
		.listen = address, .tls = files->files, .methods = methods, .user = s};

	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	snprintf(address, sizeof(address), "127.0.0.1:%u", port);
	return rpc_server_start(&options, &s->rpc, error, size);
}

static int setup(void **state)
{
	char error[256];

	the_server = calloc(1, sizeof(*the_server));
	if (start_server_on(the_server, 0, &server_files, error, sizeof(error)) != 0) {
		fprintf(stderr, "%s\n", error);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
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

static int open_client(struct record *r, uint16_t port, const struct ca_files *files)
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

static int open_stream(struct record *r, uint64_t timeout_ns)
{
	return rpc_stream_open(r->client, ECHO, &record_events, r, timeout_ns, &r->stream);
}

/* Waits for @size bytes (or, with 0, for the end). False: not within 8 s. */
static bool wait_for(struct record *r, size_t size)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 8;
	pthread_mutex_lock(&r->lock);
	while (rc == 0 && !(size != 0 ? r->size >= size : r->closed != 0))
		rc = pthread_cond_timedwait(&r->changed, &r->lock, &until);
	pthread_mutex_unlock(&r->lock);
	return rc == 0;
}

static void close_record(struct record *r)
{
	rpc_client_close(r->client);
	rpc_stream_unref(r->stream);
	free(r->bytes);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
}

static bool wait_count(atomic_int *count, int want)
{
	for (int i = 0; i < 5000 && atomic_load(count) != want; i++)
		usleep(1000);
	return atomic_load(count) == want;
}

/* ---- streams ---- */

static void test_messages_come_back_in_order_and_joined(void **state)
{
	enum { COUNT = 20000 };
	struct record r;
	uint64_t got;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_int_equal(rpc_stream_send(r.stream, &i, sizeof(i)), 0);
	assert_true(wait_for(&r, COUNT * sizeof(uint64_t)));
	for (uint64_t i = 0; i < COUNT; i++) {
		memcpy(&got, r.bytes + i * sizeof(got), sizeof(got));
		assert_int_equal(got, i);
	}
	rpc_stream_close(r.stream);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.closed, 1);
	assert_int_equal(r.error, 0);
	assert_int_equal(rpc_stream_send(r.stream, "x", 1), -EPIPE);
	assert_true(wait_count(&the_server->closed, 1));
	close_record(&r);
	assert_int_equal(r.closed, 1);
}

struct sender {
	struct record *record;
	uint64_t number;
};

static void *send_many(void *arg)
{
	struct sender *s = arg;

	for (uint64_t i = 0; i < 5000; i++) {
		uint64_t words[2] = {s->number, i};

		while (rpc_stream_send(s->record->stream, words, sizeof(words)) == -ENOBUFS)
			usleep(100);
	}
	return NULL;
}

static void test_several_threads_may_send_on_one_stream(void **state)
{
	enum { THREADS = 4 };
	struct record r;
	struct sender senders[THREADS];
	pthread_t threads[THREADS];
	uint64_t next[THREADS] = {0};

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (uint64_t i = 0; i < THREADS; i++) {
		senders[i] = (struct sender){&r, i};
		pthread_create(&threads[i], NULL, send_many, &senders[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_true(wait_for(&r, THREADS * 5000 * 16));
	for (size_t at = 0; at < r.size; at += 16) {
		uint64_t words[2];

		memcpy(words, r.bytes + at, sizeof(words));
		assert_true(words[0] < THREADS);
		assert_int_equal(words[1], next[words[0]]++);
	}
	close_record(&r);
	assert_int_equal(r.closed, 1);
	assert_int_equal(r.error, -ECANCELED);
}

static void test_what_was_sent_before_close_arrives(void **state)
{
	struct record r;
	uint8_t *big = calloc(1, 1 << 20);
	unsigned long total = 0;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (int i = 0; i < 8; i++, total += 1 << 20)
		assert_int_equal(rpc_stream_send(r.stream, big, 1 << 20), 0);
	assert_int_equal(rpc_stream_send(r.stream, "goodbye", 7), 0);
	rpc_stream_close(r.stream);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, 0);
	assert_true(wait_count(&the_server->closed, 1));
	assert_int_equal(atomic_load(&the_server->bytes), total + 7);
	assert_memory_equal(the_server->last, "goodbye", 7);
	close_record(&r);
	free(big);
}

static void test_a_server_may_end_a_stream(void **state)
{
	struct record r;

	atomic_store(&the_server->close_on_end, true);
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_int_equal(rpc_stream_send(r.stream, "end", 3), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, 0);
	assert_int_equal(r.size, 3);
	assert_true(wait_count(&the_server->closed, 1));
	close_record(&r);
}

/* ---- a read that waits for an answer to begin with ---- */

static bool alternates(struct rpc_stream *s)
{
	bool yes;

	pthread_mutex_lock(&s->lock);
	yes = s->alternations >= RPC_ALTERNATIONS;
	pthread_mutex_unlock(&s->lock);
	return yes;
}

/* The client sends a byte; true: the server has it, although nobody sends anything more. */
static bool asked(struct record *r)
{
	unsigned long before = atomic_load(&the_server->bytes);

	if (rpc_stream_send(r->stream, "?", 1) != 0)
		return false;
	for (int i = 0; i < 5000 && atomic_load(&the_server->bytes) == before; i++)
		usleep(1000);
	return atomic_load(&the_server->bytes) == before + 1;
}

static bool answered(struct record *r)
{
	size_t before = r->size; /* nothing is on its way */

	return rpc_stream_send(the_server->stream, "!", 1) == 0 && wait_for(r, before + 1);
}

static void test_who_waits_for_each_answer_is_read_with_it(void **state)
{
	struct record r;

	atomic_store(&the_server->mute, true);
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 20; i++) {
			assert_true(asked(&r));
			assert_true(answered(&r));
		}
		assert_true(alternates(r.stream));
		assert_true(alternates(the_server->stream));
		/* Neither side waits for the other when it turns out different. */
		if (round == 0) {
			assert_true(answered(&r));
			assert_true(answered(&r));
			assert_false(alternates(r.stream));
		} else if (round == 1) {
			assert_true(asked(&r));
			assert_true(asked(&r));
			assert_true(asked(&r));
			assert_false(alternates(the_server->stream));
			assert_true(answered(&r));
		}
	}
	assert_true(asked(&r));
	rpc_stream_close(r.stream);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, 0);
	assert_true(wait_count(&the_server->closed, 1));
	close_record(&r);
}

static void test_a_peer_that_does_not_read_fills_a_bounded_queue(void **state)
{
	struct record r;
	uint8_t *big = calloc(1, 1 << 20);
	int rc = 0, sent = 0;

	atomic_store(&the_server->hold, true);
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	while (sent < 200 && (rc = rpc_stream_send(r.stream, big, 1 << 20)) == 0)
		sent++;
	assert_int_equal(rc, -ENOBUFS);
	assert_in_range(sent, 64, 90);
	atomic_store(&the_server->hold, false);
	close_record(&r);
	free(big);
}

static void test_too_large_a_message_is_refused(void **state)
{
	struct record r;
	uint8_t *big = calloc(1, RPC_MESSAGE_MAX + 1);
	uint8_t *reply;
	size_t size;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_int_equal(rpc_stream_send(r.stream, big, RPC_MESSAGE_MAX + 1), -EMSGSIZE);
	assert_int_equal(rpc_stream_send(r.stream, big, RPC_MESSAGE_MAX), 0);
	assert_true(wait_for(&r, RPC_MESSAGE_MAX));
	assert_int_equal(
		rpc_call_wait(r.client, PLAIN, big, RPC_MESSAGE_MAX + 1, DEADLINE, &reply, &size),
		-EMSGSIZE);
	close_record(&r);
	free(big);
}

/* ---- unary ---- */

static void test_a_call_is_answered_or_fails_with_the_servers_errno(void **state)
{
	struct record r;
	uint8_t *reply = NULL;
	size_t size = 0;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(rpc_call_wait(r.client, PLAIN, "hello", 5, DEADLINE, &reply, &size), 0);
	assert_int_equal(size, 5);
	assert_memory_equal(reply, "hello", 5);
	free(reply);
	assert_int_equal(rpc_call_wait(r.client, PLAIN, "", 0, DEADLINE, &reply, &size), 0);
	assert_int_equal(size, 0);
	free(reply);
	assert_int_equal(rpc_call_wait(r.client, PLAIN, "fail", 4, DEADLINE, &reply, &size),
			 -EUCLEAN);
	assert_int_equal(
		rpc_call_wait(r.client, "/catena.Test/None", "", 0, DEADLINE, &reply, &size),
		-ENOSYS);
	close_record(&r);
}

static void on_later_done(void *user, int status, const uint8_t *data, size_t size)
{
	*(_Atomic int *)user = status == 0 ? (int)size : status;
}

static struct rpc_call *wait_later(struct test_server *s, int ms)
{
	struct rpc_call *call = NULL;

	for (int i = 0; i < ms && call == NULL; i++) {
		usleep(1000);
		pthread_mutex_lock(&s->lock);
		call = s->later;
		s->later = NULL;
		pthread_mutex_unlock(&s->lock);
	}
	return call;
}

static void test_a_late_reply_counts_until_the_deadline(void **state)
{
	struct record r;
	struct rpc_call *call;
	atomic_int result = 1;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(rpc_call(r.client, LATER, "", 0, DEADLINE, on_later_done, &result), 0);
	call = wait_later(the_server, 5000);
	assert_non_null(call);
	rpc_call_reply(call, 0, "12345", 5);
	assert_true(wait_count(&result, 5));

	assert_int_equal(rpc_call(r.client, LATER, "", 0, NS_PER_SEC / 5, on_later_done, &result),
			 0);
	call = wait_later(the_server, 5000);
	assert_non_null(call);
	assert_true(wait_count(&result, -ETIMEDOUT));
	rpc_call_reply(call, 0, "12345", 5);
	close_record(&r);
}

/* ---- who may not ---- */

static void expect_refused(const struct ca_files *files, int error, const char *word)
{
	struct record r;
	uint64_t start = clock_monotonic_ns();
	char refusal[256];

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, error);
	assert_true(clock_monotonic_ns() - start < 3 * NS_PER_SEC);
	rpc_client_refusal(r.client, refusal, sizeof(refusal));
	if (strstr(refusal, word) == NULL)
		fail_msg("'%s' does not say '%s'", refusal, word);
	close_record(&r);
	assert_int_equal(r.closed, 1);
}

static void test_certificates_of_another_ca_are_refused(void **state)
{
	struct ca_files stranger;

	/* Trusts our CA, but is not of it: the server refuses. */
	ca_issue(other_dir, "client", "mount-1", NULL, &stranger);
	stranger.files.ca = client_files.ca;
	expect_refused(&stranger, -EACCES, "certificate");
	/* Trusts only its own: refuses the server. */
	stranger.files.ca = stranger.ca;
	expect_refused(&stranger, -EACCES, "certificate");
	assert_int_equal(atomic_load(&the_server->opened), 0);
}

static void test_an_expired_certificate_is_refused(void **state)
{
	struct ca_files expired;

	ca_issue(dir, "client", "mount-2", "--expired", &expired);
	expect_refused(&expired, -EACCES, "certificate");
	assert_int_equal(atomic_load(&the_server->opened), 0);
}

static void test_a_wrong_role_is_refused_by_the_handler(void **state)
{
	expect_refused(&admin_files, -EACCES, "");
	assert_int_equal(atomic_load(&the_server->closed), 0);
}

static void test_a_server_of_another_role_is_refused(void **state)
{
	struct test_server fake;
	struct ca_files files;
	struct record r;
	char error[256], refusal[256];

	ca_issue(dir, "chunkserver", "cs", NULL, &files);
	assert_int_equal(start_server_on(&fake, 0, &files, error, sizeof(error)), 0);
	assert_int_equal(open_client(&r, rpc_server_port(fake.rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, -EACCES);
	rpc_client_refusal(r.client, refusal, sizeof(refusal));
	assert_non_null(strstr(refusal, "another role"));
	close_record(&r);
	rpc_server_stop(fake.rpc);
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		return -1;
	return fd;
}

/* Handshakes with OpenSSL itself and reads: true when the server talks to us. */
static bool raw_tls(int version, bool with_certificate)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const unsigned char alpn[] = "\x02h2";
	int fd = connect_to(rpc_server_port(the_server->rpc));
	SSL *ssl;
	char byte;
	bool ok;

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, version);
	if (with_certificate) {
		SSL_CTX_use_certificate_file(ctx, client_files.cert, SSL_FILETYPE_PEM);
		SSL_CTX_use_PrivateKey_file(ctx, client_files.key, SSL_FILETYPE_PEM);
	}
	ssl = SSL_new(ctx);
	SSL_set_alpn_protos(ssl, alpn, 3);
	SSL_set_fd(ssl, fd);
	/* The server of HTTP/2 speaks first, when it likes us. */
	ok = SSL_connect(ssl) == 1 && SSL_read(ssl, &byte, 1) == 1;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return ok;
}

static void test_only_tls_1_3_with_a_certificate_gets_an_answer(void **state)
{
	assert_true(raw_tls(TLS1_3_VERSION, true));
	assert_false(raw_tls(TLS1_2_VERSION, true));
	assert_false(raw_tls(TLS1_3_VERSION, false));
}

static void test_plain_text_gets_no_answer(void **state)
{
	int fd = connect_to(rpc_server_port(the_server->rpc));
	char answer[256];
	ssize_t n;

	assert_true(write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18);
	n = read(fd, answer, sizeof(answer));
	/* Nothing, or a TLS alert: record type 21. */
	assert_true(n <= 0 || answer[0] == 21);
	close(fd);
}

/* ---- connections that fail, and ends ---- */

static void test_a_dead_address_fails_in_time_and_a_new_server_is_found(void **state)
{
	struct test_server late;
	struct record r;
	char error[256];
	uint16_t port;
	uint64_t start;

	assert_int_equal(start_server_on(&late, 0, &server_files, error, sizeof(error)), 0);
	port = rpc_server_port(late.rpc);
	rpc_server_stop(late.rpc);

	start = clock_monotonic_ns();
	assert_int_equal(open_client(&r, port, &client_files), 0);
	assert_int_equal(open_stream(&r, NS_PER_SEC / 2), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, -EHOSTUNREACH);
	assert_in_range(clock_monotonic_ns() - start, NS_PER_SEC / 2, NS_PER_SEC);
	rpc_stream_unref(r.stream);
	r.closed = 0;

	/* Waits through failing attempts, and is there soon after the server is. */
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	usleep(700000);
	assert_int_equal(start_server_on(&late, port, &server_files, error, sizeof(error)), 0);
	start = clock_monotonic_ns();
	assert_int_equal(rpc_stream_send(r.stream, "hello", 5), 0);
	assert_true(wait_for(&r, 5));
	assert_true(clock_monotonic_ns() - start < 2 * NS_PER_SEC);

	/* The server goes: the stream ends; a call then fails at once. */
	rpc_server_stop(late.rpc);
	assert_true(wait_for(&r, 0));
	assert_int_not_equal(r.error, 0);
	{
		uint8_t *reply;
		size_t size;

		assert_int_equal(rpc_call_wait(r.client, PLAIN, "", 0, DEADLINE, &reply, &size),
				 -EHOSTUNREACH);
	}
	close_record(&r);
}

static void test_a_silent_peer_fails_in_time(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t length = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct record r;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&addr, &length);
	assert_int_equal(open_client(&r, ntohs(addr.sin_port), &client_files), 0);
	assert_int_equal(open_stream(&r, NS_PER_SEC / 2), 0);
	assert_true(wait_for(&r, 0));
	assert_int_equal(r.error, -EHOSTUNREACH);
	close_record(&r);
	close(fd);
}

static void test_an_occupied_port_is_said_so(void **state)
{
	struct test_server second;
	char error[256];

	assert_int_equal(start_server_on(&second, rpc_server_port(the_server->rpc), &server_files,
					 error, sizeof(error)),
			 -EADDRINUSE);
	assert_non_null(strstr(error, "in use"));
}

static void test_a_client_may_close_in_any_state(void **state)
{
	struct record r;
	atomic_int result = 1;

	/* Not yet connected. */
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	close_record(&r);
	assert_int_equal(r.closed, 1);
	/* The stream closed by the user while connecting. */
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	rpc_stream_close(r.stream);
	assert_true(wait_for(&r, 0));
	close_record(&r);
	/* Nothing ever opened. */
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	r.stream = NULL;
	close_record(&r);
	/* With messages under way and a call unanswered. */
	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (int i = 0; i < 1000; i++)
		rpc_stream_send(r.stream, "0123456789", 10);
	assert_int_equal(rpc_call(r.client, LATER, "", 0, DEADLINE, on_later_done, &result), 0);
	close_record(&r);
	assert_int_equal(r.closed, 1);
	assert_int_equal(atomic_load(&result), -ECANCELED);
	{
		struct rpc_call *call = wait_later(the_server, 100);

		/* It may have been cancelled before it came to the server. */
		if (call != NULL)
			rpc_call_reply(call, 0, "", 0);
	}
}

static void test_a_server_may_stop_in_any_state(void **state)
{
	struct test_server s;
	struct record r[3];
	struct rpc_call *call;
	atomic_int result = 1;
	char error[256];

	assert_int_equal(start_server_on(&s, 0, &server_files, error, sizeof(error)), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(open_client(&r[i], rpc_server_port(s.rpc), &client_files), 0);
		assert_int_equal(open_stream(&r[i], DEADLINE), 0);
		for (int j = 0; j < 100; j++)
			rpc_stream_send(r[i].stream, "0123456789", 10);
	}
	assert_true(wait_for(&r[0], 1));
	assert_int_equal(rpc_call(r[0].client, LATER, "", 0, DEADLINE, on_later_done, &result), 0);
	call = wait_later(&s, 5000);
	assert_non_null(call);
	rpc_server_stop(s.rpc);
	assert_int_equal(atomic_load(&s.opened), atomic_load(&s.closed));
	assert_true(wait_for(&r[0], 0));
	/* A reply after the end goes nowhere. */
	rpc_call_reply(call, 0, "late", 4);
	for (int i = 0; i < 3; i++)
		close_record(&r[i]);
	assert_true(atomic_load(&result) < 0);
}

static int group_setup(void **state)
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

static int group_teardown(void **state)
{
	rpc_shutdown();
	tree_remove(dir);
	return 0;
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_server(test_messages_come_back_in_order_and_joined),
		with_server(test_several_threads_may_send_on_one_stream),
		with_server(test_what_was_sent_before_close_arrives),
		with_server(test_a_server_may_end_a_stream),
		with_server(test_who_waits_for_each_answer_is_read_with_it),
		with_server(test_a_peer_that_does_not_read_fills_a_bounded_queue),
		with_server(test_too_large_a_message_is_refused),
		with_server(test_a_call_is_answered_or_fails_with_the_servers_errno),
		with_server(test_a_late_reply_counts_until_the_deadline),
		with_server(test_certificates_of_another_ca_are_refused),
		with_server(test_an_expired_certificate_is_refused),
		with_server(test_a_wrong_role_is_refused_by_the_handler),
		with_server(test_a_server_of_another_role_is_refused),
		with_server(test_only_tls_1_3_with_a_certificate_gets_an_answer),
		with_server(test_plain_text_gets_no_answer),
		cmocka_unit_test(test_a_dead_address_fails_in_time_and_a_new_server_is_found),
		cmocka_unit_test(test_a_silent_peer_fails_in_time),
		with_server(test_an_occupied_port_is_said_so),
		with_server(test_a_client_may_close_in_any_state),
		cmocka_unit_test(test_a_server_may_stop_in_any_state),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
