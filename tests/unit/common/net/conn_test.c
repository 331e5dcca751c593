/* Goal: frames arrive once, whole and in order, whatever their sizes and whoever sends them from
 * which thread; the end of a connection is told once and gives everything back; a connection can
 * change its loop in full flow.
 *
 * Method: both ends in this process over loopback with certificates of a fresh CA. Every byte and
 * checksum of a frame is computed from its request id, so the receiver can verify it alone. The
 * teardown of every test checks that no handle and no buffer is left. */
#include "tests/unit/common/net/conn_fixture.h"
#include <pthread.h>
#include <stdatomic.h>
#include "common/net/conn_internal.h"

/* ---- one loop ---- */

static uint64_t next_id;

/* Checks the frame, and that it is the next. */
static void check_in_order(struct end *end, const struct frame_header *header, struct buf *payload)
{
	if (!fx_check(header, payload) || header->request_id != end->frames - 1)
		end->wrong++;
	buf_unref(payload);
}

static void echo(struct end *end, const struct frame_header *header, struct buf *payload)
{
	if (!fx_check(header, payload) || conn_send(end->conn, header, payload) != 0)
		end->wrong++;
	buf_unref(payload);
}

static uint32_t any_length(void)
{
	static const uint32_t edges[] = {0,     1,       4095,  4096,      4097,     8191,  8192,
					 8193,  16383,   16384, 16385,     32768,    65536, 100000,
					 16280, MIB - 1, MIB,   16384 * 8, 16384 * 9};

	switch (fx_random(4)) {
	case 0:
		return edges[fx_random(sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return fx_random(MIB) + 1;
	default:
		return fx_random(9000);
	}
}

static void test_frames_of_all_sizes_and_offsets_come_back_as_sent(void **state)
{
	const uint64_t count = 600;

	fx_connect();
	fx.accepted.on_frame = echo;
	fx.connected.on_frame = check_in_order;
	for (uint64_t id = 0; id < count; id++) {
		assert_int_equal(
			fx_send(fx.connected.conn, fx.pool, id, fx_random(1 << 20), any_length()),
			0);
		/* Now and then all at once, now and then one by one. */
		if (fx_random(8) == 0)
			assert_true(fx_wait_frames(&fx.connected.frames, id + 1, 30));
	}
	assert_true(fx_wait_frames(&fx.connected.frames, count, 30));
	assert_int_equal(fx.connected.wrong, 0);
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(fx.accepted.frames, count);
	assert_int_equal(conn_queued(fx.connected.conn), 0);
}

static void test_every_length_near_a_record_boundary_arrives(void **state)
{
	uint64_t id = 0;

	fx_connect();
	fx.accepted.on_frame = check_in_order;
	for (uint32_t base = 8192; base <= 32768; base *= 2) {
		conn_batch_begin();
		for (uint32_t length = base - 130; length < base + 130; length += 13)
			assert_int_equal(fx_send(fx.connected.conn, fx.pool, id++, length, length),
					 0);
		conn_batch_end();
	}
	assert_true(fx_wait_frames(&fx.accepted.frames, id, 30));
	assert_int_equal(fx.accepted.wrong, 0);
}

static void test_both_ends_know_who_the_other_is(void **state)
{
	fx_connect();
	assert_int_equal(fx.accepted.peer.role, TLS_ROLE_CLIENT);
	assert_string_equal(fx.accepted.peer.name, "client-1");
	assert_int_equal(fx.connected.peer.role, TLS_ROLE_CHUNKSERVER);
	assert_string_equal(fx.connected.peer.name, "server-1");
	assert_string_equal(fx.connected.peer.cluster, fx.accepted.peer.cluster);
	assert_ptr_not_equal(conn_identity(fx.accepted.conn), NULL);
	assert_string_equal(conn_peer_name(fx.connected.conn), fx.address);
}

static void test_frames_sent_before_the_handshake_wait_for_it(void **state)
{
	fx.accepted.on_frame = check_in_order;
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
	for (uint64_t id = 0; id < 5; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, 50000), 0);
	assert_true(conn_queued(fx.connected.conn) > 250000);
	assert_true(fx_wait_frames(&fx.accepted.frames, 5, 30));
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(fx.connected.drained, 1);
}

static void test_a_batch_waits_for_its_end_and_then_goes_out(void **state)
{
	fx_connect();
	fx.accepted.on_frame = check_in_order;
	conn_batch_begin();
	conn_batch_begin();
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 0, 0, 10), 0);
	conn_batch_end();
	assert_true(conn_queued(fx.connected.conn) > 0);
	conn_batch_end();
	assert_int_equal(conn_queued(fx.connected.conn), 0);
	assert_true(fx_wait_frames(&fx.accepted.frames, 1, 30));
	assert_int_equal(fx.accepted.wrong, 0);
	fx_run_for(0.05);
	assert_int_equal(fx.connected.drained, 0);
}

static int key_updates;

static void on_tls_message(int writing, int version, int type, const void *data, size_t size,
			   SSL *ssl, void *arg)
{
	if (!writing && type == SSL3_RT_HANDSHAKE && *(const uint8_t *)data == SSL3_MT_KEY_UPDATE)
		key_updates++;
}

static void test_new_keys_are_made_on_the_way(void **state)
{
	fx_connect();
	key_updates = 0;
	SSL_set_msg_callback(fx.accepted.conn->ssl, on_tls_message);
	fx.accepted.on_frame = echo;
	fx.connected.on_frame = check_in_order;
	fx.accepted.conn->tx.key_limit = 3;
	fx.connected.conn->tx.key_limit = 5;
	for (uint64_t id = 0; id < 200; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, fx_random(60000)), 0);
	assert_true(fx_wait_frames(&fx.connected.frames, 200, 30));
	assert_int_equal(fx.connected.wrong, 0);
	assert_in_range(key_updates, 20, 400);
}

static void test_a_paused_end_gets_nothing_and_later_everything(void **state)
{
	fx_connect();
	fx.accepted.on_frame = check_in_order;
	conn_pause(fx.accepted.conn, true);
	for (uint64_t id = 0; id < 40; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, MIB), 0);
	fx_run_for(0.1);
	assert_int_equal(fx.accepted.frames, 0);
	assert_true(conn_queued(fx.connected.conn) > 0);
	assert_int_equal(fx.connected.drained, 0);
	conn_pause(fx.accepted.conn, false);
	assert_true(fx_wait_frames(&fx.accepted.frames, 40, 30));
	assert_true(fx_wait(&fx.connected.drained, 1, 30));
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(conn_queued(fx.connected.conn), 0);
}

static void pause_after_each(struct end *end, const struct frame_header *header,
			     struct buf *payload)
{
	check_in_order(end, header, payload);
	conn_pause(end->conn, true);
}

static void test_pausing_inside_a_callback_stops_before_the_next_frame(void **state)
{
	fx_connect();
	fx.accepted.on_frame = pause_after_each;
	conn_batch_begin();
	for (uint64_t id = 0; id < 20; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, (uint32_t)id * 700), 0);
	conn_batch_end();
	for (uint64_t id = 0; id < 20; id++) {
		assert_true(fx_wait_frames(&fx.accepted.frames, id + 1, 30));
		fx_run_for(0.01);
		assert_int_equal(fx.accepted.frames, id + 1);
		conn_pause(fx.accepted.conn, false);
	}
	assert_int_equal(fx.accepted.wrong, 0);
}

/* ---- the end ---- */

static void test_closing_is_told_to_the_peer_as_an_orderly_end(void **state)
{
	fx_connect();
	conn_close(fx.connected.conn);
	fx.connected.conn = NULL;
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.accepted.error, 0);
	fx_run_for(0.05);
	assert_int_equal(fx.accepted.closed, 1);
	assert_int_equal(fx.connected.closed, 0);
}

static void test_what_was_sent_before_closing_still_arrives(void **state)
{
	fx_connect();
	fx.accepted.on_frame = check_in_order;
	conn_batch_begin();
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 0, 0, 3000), 0);
	conn_close(fx.connected.conn);
	conn_batch_end();
	fx.connected.conn = NULL;
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.accepted.frames, 1);
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(fx.accepted.error, 0);
}

static void test_a_peer_that_dies_is_an_error(void **state)
{
	fx_connect();
	/* What the kernel does for a killed process: no close notification. */
	shutdown(fx.connected.conn->fd, SHUT_RDWR);
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.accepted.error, -ECONNRESET);
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
}

static void test_closing_with_a_full_queue_gives_everything_back(void **state)
{
	fx_connect();
	conn_pause(fx.accepted.conn, true);
	for (uint64_t id = 0; id < 64; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, MIB), 0);
	fx_run_for(0.02);
	assert_true(conn_queued(fx.connected.conn) > 0);
	conn_ref(fx.connected.conn);
	conn_close(fx.connected.conn);
	assert_int_equal(buf_pool_used(fx.pool), 0);
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 99, 0, 100), -EPIPE);
	conn_unref(fx.connected.conn);
	fx.connected.conn = NULL;
	conn_pause(fx.accepted.conn, false);
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.accepted.error, -ECONNRESET);
}

static void close_here(struct end *end, const struct frame_header *header, struct buf *payload)
{
	buf_unref(payload);
	conn_close(end->conn);
	end->conn = NULL;
}

static void test_closing_inside_the_frame_callback_ends_the_callbacks(void **state)
{
	fx_connect();
	fx.accepted.on_frame = close_here;
	conn_batch_begin();
	for (uint64_t id = 0; id < 10; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, 1000), 0);
	conn_batch_end();
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
	assert_int_equal(fx.accepted.frames, 1);
	assert_int_equal(fx.accepted.closed, 0);
}

static void close_when_ready(struct end *end)
{
	conn_close(end->conn);
	end->conn = NULL;
}

static void test_closing_inside_the_ready_callback_is_allowed(void **state)
{
	fx.connected.on_ready = close_when_ready;
	assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
	assert_true(fx_wait(&fx.accepted.closed, 1, 30));
	assert_int_equal(fx.connected.closed, 0);
	assert_int_equal(fx.connected.ready, 1);
}

static void test_closing_at_any_moment_of_the_handshake_leaves_nothing(void **state)
{
	for (int turns = 0; turns < 12; turns++) {
		memset(&fx.accepted, 0, sizeof(fx.accepted));
		memset(&fx.connected, 0, sizeof(fx.connected));
		assert_int_equal(fx_connect_as(fx.client_tls, TLS_ROLE_CHUNKSERVER), 0);
		for (int i = 0; i < turns; i++)
			uv_run(&fx.loop, UV_RUN_NOWAIT);
		conn_close(fx.connected.conn);
		fx.connected.conn = NULL;
		fx_run_for(0.02);
		assert_int_equal(fx.connected.closed, 0);
		conn_close(fx.accepted.conn);
		fx.accepted.conn = NULL;
	}
}

/* ---- memory for payloads ---- */

static struct buf *kept[16];
static int kept_count;

static void keep(struct end *end, const struct frame_header *header, struct buf *payload)
{
	if (!fx_check(header, payload))
		end->wrong++;
	kept[kept_count++] = payload;
}

static void test_an_empty_pool_pauses_receiving_until_memory_comes_back(void **state)
{
	struct buf_pool *small;

	kept_count = 0;
	assert_int_equal(buf_pool_create(3 * MIB + MIB / 2, &small), 0);
	fx.accept_options.pool = small;
	fx_connect();
	fx.accepted.on_frame = keep;
	for (uint64_t id = 0; id < 10; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, 0, MIB), 0);
	for (uint64_t got = 3; got <= 10; got++) {
		assert_true(fx_wait_frames(&fx.accepted.frames, got, 30));
		fx_run_for(0.01);
		assert_int_equal(fx.accepted.frames, got);
		buf_unref(kept[got - 3]);
	}
	buf_unref(kept[8]);
	buf_unref(kept[9]);
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(fx.accepted.closed, 0);
	conn_close(fx.accepted.conn);
	fx.accepted.conn = NULL;
	buf_pool_destroy(small);
}

static void test_a_starved_connection_can_be_closed(void **state)
{
	struct buf_pool *small;

	assert_int_equal(buf_pool_create(8192, &small), 0);
	fx.accept_options.pool = small;
	fx_connect();
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 0, 0, MIB), 0);
	fx_run_for(0.02);
	assert_int_equal(fx.accepted.frames, 0);
	conn_close(fx.accepted.conn);
	fx.accepted.conn = NULL;
	buf_pool_destroy(small);
}

/* ---- several loops and threads ---- */

/* A loop with a thread of its own, to which a conn can be handed. */
struct worker {
	uv_loop_t loop;
	uv_async_t wake;
	pthread_t thread;
	pthread_mutex_t lock;
	struct conn *handed; /* under the lock */
	bool stop;
	struct end end;
	_Atomic uint64_t frames;
};

static struct worker worker;

static void worker_frame(struct end *end, const struct frame_header *header, struct buf *payload)
{
	if (!fx_check(header, payload) || header->request_id != next_id++ ||
	    conn_send(end->conn, header, payload) != 0)
		end->wrong++;
	buf_unref(payload);
	atomic_fetch_add(&worker.frames, 1);
}

static void on_worker_wake(uv_async_t *async)
{
	struct conn *conn;
	bool stop;

	pthread_mutex_lock(&worker.lock);
	conn = worker.handed;
	worker.handed = NULL;
	stop = worker.stop;
	pthread_mutex_unlock(&worker.lock);
	if (conn != NULL) {
		worker.end.conn = conn;
		if (conn_attach(conn, &worker.loop, &fx_callbacks, &worker.end) != 0)
			worker.end.wrong++;
	}
	if (stop) {
		conn_close(worker.end.conn);
		worker.end.conn = NULL;
		uv_close((uv_handle_t *)&worker.wake, NULL);
	}
}

static void *worker_main(void *arg)
{
	uv_run(&worker.loop, UV_RUN_DEFAULT);
	return NULL;
}

static void worker_start(void)
{
	memset(&worker, 0, sizeof(worker));
	next_id = 0;
	worker.end.on_frame = worker_frame;
	pthread_mutex_init(&worker.lock, NULL);
	uv_loop_init(&worker.loop);
	uv_async_init(&worker.loop, &worker.wake, on_worker_wake);
	pthread_create(&worker.thread, NULL, worker_main, NULL);
}

static void worker_stop(void)
{
	pthread_mutex_lock(&worker.lock);
	worker.stop = true;
	pthread_mutex_unlock(&worker.lock);
	uv_async_send(&worker.wake);
	pthread_join(worker.thread, NULL);
	assert_int_equal(uv_loop_close(&worker.loop), 0);
	pthread_mutex_destroy(&worker.lock);
}

static int hand_over_after;

/* The first frames are served here; then the conn goes to the worker, in the middle of the data. */
static void serve_then_hand_over(struct end *end, const struct frame_header *header,
				 struct buf *payload)
{
	struct conn *conn = end->conn;

	if (!fx_check(header, payload) || header->request_id != next_id++ ||
	    conn_send(conn, header, payload) != 0)
		end->wrong++;
	buf_unref(payload);
	if (end->frames < (uint64_t)hand_over_after)
		return;
	end->conn = NULL;
	conn_detach(conn);
	pthread_mutex_lock(&worker.lock);
	worker.handed = conn;
	pthread_mutex_unlock(&worker.lock);
	uv_async_send(&worker.wake);
}

static void hand_over_with_data_in_flight(uint32_t length, int after)
{
	const uint64_t count = 60;

	worker_start();
	hand_over_after = after;
	memset(&fx.accepted, 0, sizeof(fx.accepted));
	memset(&fx.connected, 0, sizeof(fx.connected));
	fx_connect();
	fx.accepted.on_frame = serve_then_hand_over;
	fx.connected.on_frame = check_in_order;
	conn_batch_begin();
	for (uint64_t id = 0; id < count; id++)
		assert_int_equal(fx_send(fx.connected.conn, fx.pool, id, (uint32_t)id, length), 0);
	conn_batch_end();
	assert_true(fx_wait_frames(&fx.connected.frames, count, 30));
	worker_stop();
	assert_int_equal(fx.accepted.frames, after);
	assert_int_equal(worker.frames, count - (uint64_t)after);
	assert_int_equal(fx.connected.wrong + fx.accepted.wrong + worker.end.wrong, 0);
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
}

static void test_a_connection_moves_to_another_loop_with_data_in_flight(void **state)
{
	hand_over_with_data_in_flight(100, 1);
	hand_over_with_data_in_flight(100, 7);
	hand_over_with_data_in_flight(50000, 1);
	hand_over_with_data_in_flight(MIB, 3);
}

static void detach_when_ready(struct end *end)
{
	conn_detach(end->conn);
}

static void test_a_detached_connection_can_be_closed(void **state)
{
	fx.accepted.on_ready = detach_when_ready;
	fx_connect();
	assert_int_equal(fx_send(fx.connected.conn, fx.pool, 0, 0, MIB), 0);
	fx_run_for(0.02);
	assert_int_equal(fx.accepted.frames, 0);
	conn_close(fx.accepted.conn);
	fx.accepted.conn = NULL;
	assert_true(fx_wait(&fx.connected.closed, 1, 30));
}

#define SENDERS    4
#define PER_SENDER 400

struct sender {
	pthread_t thread;
	struct conn *conn;
	struct buf_pool *pool;
	unsigned number;
	uint32_t random;
	int failed;
};

static void *send_many(void *arg)
{
	struct sender *sender = arg;

	for (uint64_t i = 0; i < PER_SENDER; i++) {
		uint32_t length;

		sender->random = sender->random * 1664525 + 1013904223;
		length =
			sender->random >> 28 == 0 ? sender->random % 300000 : sender->random % 6000;
		if (fx_send(sender->conn, sender->pool, sender->number * 1000000ull + i, length,
			    length) != 0)
			sender->failed++;
	}
	return NULL;
}

static uint64_t seen[SENDERS];

/* In order for each sender. */
static void check_senders(struct end *end, const struct frame_header *header, struct buf *payload)
{
	uint64_t number = header->request_id / 1000000;

	if (number >= SENDERS || header->request_id % 1000000 != seen[number]++ ||
	    !fx_check(header, payload))
		end->wrong++;
	/* Something to do for the other direction, from the loop. */
	if (conn_send(end->conn, header, payload) != 0)
		end->wrong++;
	buf_unref(payload);
}

static void test_four_threads_send_at_once_and_keep_their_order(void **state)
{
	struct sender senders[SENDERS];

	memset(seen, 0, sizeof(seen));
	fx_connect();
	fx.accepted.on_frame = check_senders;
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){
			.conn = fx.connected.conn,
			.pool = fx.pool,
			.number = i,
			.random = fx_random(1u << 30),
		};
		pthread_create(&senders[i].thread, NULL, send_many, &senders[i]);
	}
	assert_true(fx_wait_frames(&fx.connected.frames, SENDERS * PER_SENDER, 30));
	for (unsigned i = 0; i < SENDERS; i++) {
		pthread_join(senders[i].thread, NULL);
		assert_int_equal(senders[i].failed, 0);
	}
	assert_int_equal(fx.accepted.wrong, 0);
	assert_int_equal(fx.connected.wrong, 0);
}

static atomic_bool go_on;

static void *send_until_refused(void *arg)
{
	struct sender *sender = arg;
	uint64_t id = 0;
	int rc = 0;

	while (rc == 0 && atomic_load(&go_on)) {
		rc = fx_send(sender->conn, sender->pool, id++, 0, 20000);
		while (rc == 0 && conn_queued(sender->conn) > 8 * MIB && atomic_load(&go_on))
			sched_yield();
	}
	sender->failed = rc;
	conn_unref(sender->conn);
	return NULL;
}

static void test_closing_while_threads_send_is_safe(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct sender senders[2];

		memset(&fx.accepted, 0, sizeof(fx.accepted));
		memset(&fx.connected, 0, sizeof(fx.connected));
		fx_connect();
		atomic_store(&go_on, true);
		for (unsigned i = 0; i < 2; i++) {
			senders[i] = (struct sender){
				.conn = conn_ref(fx.connected.conn),
				.pool = fx.pool,
			};
			pthread_create(&senders[i].thread, NULL, send_until_refused, &senders[i]);
		}
		fx_run_for(0.001 * round);
		if (round % 2 == 0) {
			conn_close(fx.connected.conn);
			fx.connected.conn = NULL;
		} else {
			/* The peer goes away under the senders' hands. */
			conn_close(fx.accepted.conn);
			fx.accepted.conn = NULL;
			assert_true(fx_wait(&fx.connected.closed, 1, 30));
			assert_int_not_equal(fx.connected.error, -ETIMEDOUT);
		}
		for (unsigned i = 0; i < 2; i++) {
			pthread_join(senders[i].thread, NULL);
			assert_int_equal(senders[i].failed, -EPIPE);
		}
		assert_true(round % 2 != 0 || fx_wait(&fx.accepted.closed, 1, 30));
		conn_close(fx.accepted.conn);
		fx.accepted.conn = NULL;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_frames_of_all_sizes_and_offsets_come_back_as_sent),
		TEST(test_every_length_near_a_record_boundary_arrives),
		TEST(test_both_ends_know_who_the_other_is),
		TEST(test_frames_sent_before_the_handshake_wait_for_it),
		TEST(test_a_batch_waits_for_its_end_and_then_goes_out),
		TEST(test_new_keys_are_made_on_the_way),
		TEST(test_a_paused_end_gets_nothing_and_later_everything),
		TEST(test_pausing_inside_a_callback_stops_before_the_next_frame),
		TEST(test_closing_is_told_to_the_peer_as_an_orderly_end),
		TEST(test_what_was_sent_before_closing_still_arrives),
		TEST(test_a_peer_that_dies_is_an_error),
		TEST(test_closing_with_a_full_queue_gives_everything_back),
		TEST(test_closing_inside_the_frame_callback_ends_the_callbacks),
		TEST(test_closing_inside_the_ready_callback_is_allowed),
		TEST(test_closing_at_any_moment_of_the_handshake_leaves_nothing),
		TEST(test_an_empty_pool_pauses_receiving_until_memory_comes_back),
		TEST(test_a_starved_connection_can_be_closed),
		TEST(test_a_connection_moves_to_another_loop_with_data_in_flight),
		TEST(test_a_detached_connection_can_be_closed),
		TEST(test_four_threads_send_at_once_and_keep_their_order),
		TEST(test_closing_while_threads_send_is_safe),
	};

	return cmocka_run_group_tests(tests, fx_group_setup, fx_group_teardown);
}
