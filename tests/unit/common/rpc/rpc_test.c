/* rpc_test - streams and unary calls over gRPC.
 *
 * Goal: messages arrive whole and in order also when they are joined; every end (of a stream, a
 * client, a server, a call), in every state, calls back exactly once, hangs nothing and leaks
 * nothing (run under ASan too). Method: rpc_fixture.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include "tests/unit/common/rpc/rpc_fixture.h"

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
	for (int i = 0; i < 4; i++, total += 1 << 20)
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

/* ---- turns ---- */

static void test_a_message_is_followed_by_a_turn(void **state)
{
	struct record r;

	assert_int_equal(open_client(&r, rpc_server_port(the_server->rpc), &client_files), 0);
	assert_int_equal(open_stream(&r, DEADLINE), 0);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(rpc_stream_send(r.stream, "a", 1), 0);
		assert_true(wait_for(&r, i));
		assert_true(wait_count(&the_server->turns, (int)i));
	}
	close_record(&r);
}

static void test_messages_of_several_streams_share_a_turn(void **state)
{
	enum { CLIENTS = 6 };
	struct record r[CLIENTS];
	int before;

	for (int i = 0; i < CLIENTS; i++) {
		assert_int_equal(
			open_client(&r[i], rpc_server_port(the_server->rpc), &client_files), 0);
		assert_int_equal(open_stream(&r[i], DEADLINE), 0);
		assert_int_equal(rpc_stream_send(r[i].stream, "a", 1), 0);
		assert_true(wait_for(&r[i], 1));
	}
	/* A turn may have more than one of these, too, and its end comes after the answers. */
	assert_true(wait_count(&the_server->in_turn, 0));
	before = the_server->turns;
	/* What comes while the thread is busy is ready together. */
	atomic_store(&the_server->hold, true);
	for (int i = 0; i < CLIENTS; i++)
		assert_int_equal(rpc_stream_send(r[i].stream, "b", 1), 0);
	usleep(100000);
	atomic_store(&the_server->hold, false);
	for (int i = 0; i < CLIENTS; i++)
		assert_true(wait_for(&r[i], 2));
	assert_int_equal(the_server->messages, 2 * CLIENTS);
	assert_true(wait_count(&the_server->in_turn, 0));
	assert_true(the_server->turns - before < CLIENTS - 1);
	for (int i = 0; i < CLIENTS; i++)
		close_record(&r[i]);
}

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
		cmocka_unit_test(test_a_dead_address_fails_in_time_and_a_new_server_is_found),
		cmocka_unit_test(test_a_silent_peer_fails_in_time),
		with_server(test_a_message_is_followed_by_a_turn),
		with_server(test_messages_of_several_streams_share_a_turn),
		with_server(test_an_occupied_port_is_said_so),
		with_server(test_a_client_may_close_in_any_state),
		cmocka_unit_test(test_a_server_may_stop_in_any_state),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
