/* Goal: a heartbeat names each unreachable server once, and no more than there is room for, however
 * many workers say so. Method: the status of workers, made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "chunkserver/server/heartbeat.h"

static void test_a_server_that_two_workers_miss_is_named_once(void **state)
{
	static struct server_status status;
	static struct worker_status one = {.unreachable_count = 2, .unreachable = {7, 8}};
	static struct worker_status two = {.unreachable_count = 2, .unreachable = {8, 9}};

	heartbeat_add(&status, &one);
	heartbeat_add(&status, &two);
	assert_int_equal(status.unreachable_count, 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(status.unreachable[i], 7 + i);
}

static void test_what_there_is_no_room_for_is_left_out(void **state)
{
	static struct server_status status;

	for (uint64_t w = 0; w < 2; w++) {
		static struct worker_status one;

		one.unreachable_count = WORKER_UNREACHABLE_MAX - 10;
		one.catchup_count = WORKER_CATCHUPS_MAX - 10;
		for (uint64_t i = 0; i < one.unreachable_count; i++)
			one.unreachable[i] = 1 + w * WORKER_UNREACHABLE_MAX + i;
		for (uint32_t i = 0; i < one.catchup_count; i++)
			one.catchups[i].target_id = 1 + (uint32_t)w * WORKER_CATCHUPS_MAX + i;
		heartbeat_add(&status, &one);
	}
	assert_int_equal(status.unreachable_count, MASTER_UNREACHABLE_MAX);
	assert_int_equal(status.catchup_count, MASTER_CATCHUPS_MAX);
	/* Those of the first worker are all there. */
	assert_int_equal(status.unreachable[WORKER_UNREACHABLE_MAX - 11],
			 WORKER_UNREACHABLE_MAX - 10);
	assert_int_equal(status.catchups[WORKER_CATCHUPS_MAX - 10].target_id,
			 1 + WORKER_CATCHUPS_MAX);
}

static void test_without_workers_nothing_is_gone_by(void **state)
{
	static struct server_status status;
	static const struct workers none;
	struct heartbeat heartbeat = {.reports = chain_reports_new()};

	assert_non_null(heartbeat.reports);
	heartbeat_status(&heartbeat, &none, &status);
	assert_int_equal(status.map_version, 0);
	assert_int_equal(status.fence_version, 0);
	assert_int_equal(status.report_count, 0);
	assert_false(heartbeat_is_due(&heartbeat, &none));
	chain_reports_free(heartbeat.reports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_server_that_two_workers_miss_is_named_once),
		cmocka_unit_test(test_what_there_is_no_room_for_is_left_out),
		cmocka_unit_test(test_without_workers_nothing_is_gone_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
