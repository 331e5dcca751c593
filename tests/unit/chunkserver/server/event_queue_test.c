/* Goal: what threads post comes to the loop, all of it, each thread's reports in its order; after
 * the end nothing wakes the loop, and nothing is lost. Method: threads that post at the same
 * time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include "chunkserver/server/event_queue.h"

#define THREADS 4u
#define REPORTS 1000u

static uv_loop_t loop;
static struct event_queue queue;
static unsigned wakes, reports_seen, removals_seen, next_of[THREADS];
static bool placed_seen, changed_seen;

static void take(void)
{
	struct events events;

	event_queue_take(&queue, &events);
	placed_seen |= events.placed;
	changed_seen |= events.changed;
	while (events.reports != NULL) {
		struct event_report *event = events.reports;

		events.reports = event->next;
		assert_int_equal(event->report.epoch, next_of[event->report.partition]++);
		reports_seen++;
		free(event);
	}
	while (events.removals != NULL) {
		struct event_removal *removal = events.removals;

		events.removals = removal->next;
		removals_seen++;
		free(removal);
	}
}

static void on_wake(uv_async_t *async)
{
	assert_ptr_equal(async->data, &loop);
	wakes++;
	take();
}

static int setup(void **state)
{
	wakes = reports_seen = removals_seen = 0;
	placed_seen = changed_seen = false;
	for (unsigned i = 0; i < THREADS; i++)
		next_of[i] = 0;
	if (uv_loop_init(&loop) < 0)
		return -1;
	return event_queue_open(&queue, &loop, on_wake, &loop);
}

static int teardown(void **state)
{
	uv_run(&loop, UV_RUN_DEFAULT);
	event_queue_destroy(&queue);
	return uv_loop_close(&loop);
}

static void *post_reports(void *user)
{
	struct report report = {.pool = 1, .partition = (uint32_t)(uintptr_t)user};

	for (report.epoch = 0; report.epoch < REPORTS; report.epoch++)
		event_queue_post_report(&queue, &report);
	return NULL;
}

static void test_reports_of_a_thread_come_in_their_order(void **state)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_reports, (void *)i), 0);
	while (reports_seen < THREADS * REPORTS)
		uv_run(&loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(reports_seen, THREADS * REPORTS);
	event_queue_close(&queue);
}

static void test_each_kind_wakes_the_loop(void **state)
{
	event_queue_post_changed(&queue);
	uv_run(&loop, UV_RUN_ONCE);
	assert_true(changed_seen && !placed_seen);
	changed_seen = false;
	event_queue_post_placed(&queue);
	uv_run(&loop, UV_RUN_ONCE);
	assert_true(placed_seen && !changed_seen);
	event_queue_post_removal(&queue, calloc(1, sizeof(struct event_removal)));
	uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(removals_seen, 1);
	assert_int_equal(wakes, 3);
	event_queue_close(&queue);
}

static void test_what_comes_after_the_end_can_still_be_taken(void **state)
{
	struct report report = {.pool = 1};

	event_queue_close(&queue);
	event_queue_post_report(&queue, &report);
	event_queue_post_removal(&queue, calloc(1, sizeof(struct event_removal)));
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(wakes, 0);
	take();
	assert_int_equal(reports_seen, 1);
	assert_int_equal(removals_seen, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reports_of_a_thread_come_in_their_order),
		TEST(test_each_kind_wakes_the_loop),
		TEST(test_what_comes_after_the_end_can_still_be_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
