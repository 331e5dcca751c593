/* Goal: a periodic thread does its rounds when they are due, loses no kick and ends when it is told
 * to; waits for a condition variable end at their time. Method: a round that counts, says when it
 * is due next, and can be held. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/periodic_thread.h"

#define PATIENCE_NS (20 * NS_PER_SEC)
#define LATER_NS    (3600 * NS_PER_SEC)

static atomic_uint rounds;
static atomic_bool held, inside;
static uint64_t period_ns;

static uint64_t count_round(void *user)
{
	atomic_store(&inside, true);
	while (atomic_load(&held))
		usleep(1000);
	atomic_store(&inside, false);
	atomic_fetch_add((atomic_uint *)user, 1);
	return clock_monotonic_ns() + period_ns;
}

static bool rounds_reach(unsigned count)
{
	uint64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;

	while (atomic_load(&rounds) < count && clock_monotonic_ns() < end_ns)
		usleep(1000);
	return atomic_load(&rounds) >= count;
}

static struct periodic_thread *start(uint64_t first_ns, uint64_t every_ns)
{
	struct periodic_thread *thread = NULL;

	atomic_store(&rounds, 0);
	period_ns = every_ns;
	assert_int_equal(periodic_thread_start(count_round, &rounds, first_ns, &thread), 0);
	return thread;
}

static void test_rounds_come_by_themselves(void **state)
{
	struct periodic_thread *thread = start(0, NS_PER_MSEC);

	assert_true(rounds_reach(5));
	periodic_thread_stop(thread);
}

static void test_a_kick_begins_a_round_before_its_time(void **state)
{
	struct periodic_thread *thread = start(clock_monotonic_ns() + LATER_NS, LATER_NS);

	assert_int_equal(atomic_load(&rounds), 0);
	periodic_thread_kick(thread);
	assert_true(rounds_reach(1));
	periodic_thread_kick(thread);
	assert_true(rounds_reach(2));
	periodic_thread_stop(thread);
	assert_int_equal(atomic_load(&rounds), 2);
}

static void test_a_kick_during_a_round_is_not_lost(void **state)
{
	struct periodic_thread *thread;

	atomic_store(&held, true);
	thread = start(0, LATER_NS);
	while (!atomic_load(&inside))
		usleep(1000);
	periodic_thread_kick(thread);
	periodic_thread_kick(thread);
	atomic_store(&held, false);
	assert_true(rounds_reach(2));
	periodic_thread_stop(thread);
	assert_int_equal(atomic_load(&rounds), 2);
}

static void test_no_round_begins_after_the_end(void **state)
{
	struct periodic_thread *thread = start(UINT64_MAX, 0);

	periodic_thread_stop(thread);
	assert_int_equal(atomic_load(&rounds), 0);
	periodic_thread_stop(NULL);
}

static void test_a_wait_ends_at_its_time(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
	uint64_t end_ns = clock_monotonic_ns() + 20 * NS_PER_MSEC;

	pthread_mutex_lock(&lock);
	assert_false(cond_wait_until(&cond, &lock, 0));
	while (cond_wait_until(&cond, &lock, end_ns))
		;
	assert_true(clock_monotonic_ns() >= end_ns);
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rounds_come_by_themselves),
		cmocka_unit_test(test_a_kick_begins_a_round_before_its_time),
		cmocka_unit_test(test_a_kick_during_a_round_is_not_lost),
		cmocka_unit_test(test_no_round_begins_after_the_end),
		cmocka_unit_test(test_a_wait_ends_at_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
