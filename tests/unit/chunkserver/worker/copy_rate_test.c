/* Goal: members are made equal as fast as the administrator or the clients allow, and no faster,
 * whatever the pieces; many workers share one budget. Method: virtual time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include "chunkserver/worker/copy_rate.h"
#include "common/os/clock.h"

#define MIB     (1u << 20)
#define TICK_NS (50 * NS_PER_MSEC)
#define START   (1000 * NS_PER_SEC)

/* Bytes that pass from @from on in @ticks when each tick asks for pieces until it is refused. */
static uint64_t passed(struct copy_rate *rate, uint64_t from, unsigned ticks, uint32_t piece,
		       uint64_t users)
{
	struct copy_rate_client user = {0};
	uint64_t bytes = 0;

	for (unsigned i = 0; i < ticks; i++) {
		uint64_t now = from + i * TICK_NS;

		if (users != UINT64_MAX)
			copy_rate_count(rate, &user, now, users / 20);
		for (unsigned n = 0; n < 100000 && copy_rate_take(rate, now, piece); n++)
			bytes += piece;
	}
	return bytes;
}

static void assert_about(uint64_t is, uint64_t wanted, uint64_t slack)
{
	assert_in_range(is, wanted > slack ? wanted - slack : 0, wanted + slack);
}

static void test_a_set_rate_is_kept_whatever_the_pieces(void **state)
{
	static const uint32_t pieces[] = {4096, 100000, MIB};

	for (unsigned i = 0; i < 3; i++) {
		struct copy_rate rate = {0};

		copy_rate_set(&rate, 50 * MIB, false);
		/* Clients do not change it. */
		assert_about(passed(&rate, START, 200, pieces[i], 500 * MIB), 500ull * MIB,
			     7ull * MIB);
	}
}

static void test_a_rate_below_one_piece_a_second_is_kept_too(void **state)
{
	struct copy_rate rate = {0};

	copy_rate_set(&rate, 100000, false);
	assert_about(passed(&rate, START, 20 * 100, MIB, UINT64_MAX), 100ull * 100000, MIB);
	/* But a higher one counts at once. */
	copy_rate_set(&rate, 100 * MIB, false);
	assert_about(passed(&rate, START + 100 * NS_PER_SEC, 20, MIB, UINT64_MAX), 100ull * MIB,
		     12ull * MIB);
}

static void test_nothing_passes_while_paused(void **state)
{
	struct copy_rate rate = {0};

	copy_rate_set(&rate, 0, true);
	assert_false(copy_rate_take(&rate, START, 1));
	copy_rate_set(&rate, 50 * MIB, true);
	assert_false(copy_rate_take(&rate, START, 1));
	copy_rate_set(&rate, 0, false);
	assert_true(copy_rate_take(&rate, START, MIB));
}

static void test_without_clients_there_is_no_limit(void **state)
{
	struct copy_rate rate = {0};
	struct copy_rate_client user = {0};

	for (unsigned i = 0; i < 10000; i++)
		assert_true(copy_rate_take(&rate, START, MIB));
	/* A client that asks without moving anything counts for a second. */
	copy_rate_count(&rate, &user, START, 0);
	assert_about(passed(&rate, START, 10, MIB, UINT64_MAX), 8ull * MIB, 4ull * MIB);
	for (unsigned i = 0; i < 10000; i++)
		assert_true(copy_rate_take(&rate, START + NS_PER_SEC, MIB));
}

static void test_with_clients_it_is_a_quarter_of_what_they_move_or_the_least(void **state)
{
	struct copy_rate rate = {0};

	assert_about(passed(&rate, START, 200, MIB, MIB), 10ull * COPY_RATE_LEAST, 4ull * MIB);
	/* The first second of it is not known yet. */
	passed(&rate, START + 10 * NS_PER_SEC, 20, MIB, 400 * MIB);
	assert_about(passed(&rate, START + 11 * NS_PER_SEC, 200, MIB, 400 * MIB), 1000ull * MIB,
		     120ull * MIB);
}

static void test_a_long_pause_gives_no_more_than_a_burst(void **state)
{
	struct copy_rate rate = {0};

	copy_rate_set(&rate, 100 * MIB, false);
	assert_about(passed(&rate, START, 1, 65536, UINT64_MAX), 10ull * MIB, MIB);
	assert_about(passed(&rate, START + 1000 * NS_PER_SEC, 1, 65536, UINT64_MAX), 10ull * MIB,
		     MIB);
}

static uint64_t window_bytes(struct copy_rate *rate, uint64_t now)
{
	uint64_t number = now / (NS_PER_SEC / COPY_RATE_WINDOWS);

	return atomic_load(&rate->windows[number % COPY_RATE_WINDOWS]) & 0xffffffffff;
}

static void test_requests_write_to_what_workers_share_only_now_and_then(void **state)
{
	struct copy_rate rate = {0};
	struct copy_rate_client user = {0};
	uint64_t asked = 0, moved = 0;
	unsigned changes = 0;

	for (unsigned i = 0; i < 10000; i++) {
		copy_rate_count(&rate, &user, START + i * 10000, 4096);
		changes += asked != rate.asked_ns || moved != window_bytes(&rate, START);
		asked = rate.asked_ns;
		moved = window_bytes(&rate, START);
	}
	assert_int_equal(changes, 10);
	copy_rate_tell(&rate, &user, START + 100 * NS_PER_MSEC);
	assert_int_equal(window_bytes(&rate, START), 10000 * 4096);
	/* Who asks after a pause is heard of at once. */
	copy_rate_count(&rate, &user, START + 10 * NS_PER_SEC, 0);
	assert_int_equal(atomic_load(&rate.asked_ns), START + 10 * NS_PER_SEC);
}

static struct copy_rate shared;
static _Atomic uint64_t taken;

static void *take_many(void *arg)
{
	struct copy_rate_client user = {0};

	for (unsigned i = 0; i < 20000; i++) {
		if (copy_rate_take(&shared, START + i / 100 * NS_PER_MSEC, 4096))
			atomic_fetch_add(&taken, 4096);
		copy_rate_count(&shared, &user, START + i / 100 * NS_PER_MSEC, 1);
	}
	copy_rate_tell(&shared, &user, START + 199 * NS_PER_MSEC);
	return NULL;
}

static void test_threads_share_one_budget(void **state)
{
	pthread_t threads[4];

	copy_rate_set(&shared, 100 * MIB, false);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_many, NULL), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* 200 ms and a burst. */
	assert_about(atomic_load(&taken), 30ull * MIB, MIB);
	/* And nothing of what users moved is lost. */
	assert_int_equal(window_bytes(&shared, START) +
				 window_bytes(&shared, START + NS_PER_SEC / COPY_RATE_WINDOWS),
			 4 * 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_set_rate_is_kept_whatever_the_pieces),
		cmocka_unit_test(test_a_rate_below_one_piece_a_second_is_kept_too),
		cmocka_unit_test(test_nothing_passes_while_paused),
		cmocka_unit_test(test_without_clients_there_is_no_limit),
		cmocka_unit_test(test_with_clients_it_is_a_quarter_of_what_they_move_or_the_least),
		cmocka_unit_test(test_a_long_pause_gives_no_more_than_a_burst),
		cmocka_unit_test(test_requests_write_to_what_workers_share_only_now_and_then),
		cmocka_unit_test(test_threads_share_one_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
