/* Goal: a report is repeated until the map says that the master has acted, and then never again;
 * however many there are, each has its turn. Method: maps made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "chunkserver/worker/chain_reports.h"

static struct map_chain chains[8];
static struct map_pool pools[] = {{.id = 1, .partitions = 8, .chains = chains}};
static struct cluster_map map = {.pool_count = 1, .pools = pools};

static struct report about(uint32_t partition, uint64_t epoch, uint32_t target, uint32_t kind)
{
	return (struct report){.pool = 1,
			       .partition = partition,
			       .epoch = epoch,
			       .target_id = target,
			       .kind = kind};
}

static int setup(void **state)
{
	memset(chains, 0, sizeof(chains));
	*state = chain_reports_new();
	return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	chain_reports_free(*state);
	chain_reports_free(NULL);
	return 0;
}

static void add(struct chain_reports *reports, struct report report)
{
	assert_int_equal(chain_reports_add(reports, &report), 0);
}

static void test_a_report_is_repeated_until_its_epoch_is_over(void **state)
{
	struct chain_reports *reports = *state;
	struct report out[4];

	add(reports, about(3, 7, 20, 1));
	for (unsigned i = 0; i < 3; i++) {
		chains[3].epoch = 5 + i; /* 5, 6 and 7 */
		chain_reports_map(reports, &map);
		assert_int_equal(chain_reports_next(reports, out, 4), 1);
		assert_int_equal(out[0].pool, 1);
		assert_int_equal(out[0].partition, 3);
		assert_int_equal(out[0].epoch, 7);
		assert_int_equal(out[0].target_id, 20);
		assert_int_equal(out[0].kind, 1);
	}
	chains[3].epoch = 8;
	chain_reports_map(reports, &map);
	assert_int_equal(chain_reports_next(reports, out, 4), 0);
}

static void test_the_last_epoch_counts(void **state)
{
	struct chain_reports *reports = *state;
	struct report out[4];

	add(reports, about(3, 7, 20, 1));
	add(reports, about(3, 9, 20, 1));
	add(reports, about(3, 8, 20, 1));
	assert_int_equal(chain_reports_next(reports, out, 4), 1);
	assert_int_equal(out[0].epoch, 9);
}

static void test_kinds_and_members_are_told_apart(void **state)
{
	struct chain_reports *reports = *state;

	add(reports, about(3, 7, 20, 1));
	add(reports, about(3, 7, 20, 2));
	add(reports, about(3, 7, 21, 2));
	add(reports, about(4, 7, 20, 1));
	assert_int_equal(chain_reports_count(reports), 4);
	chains[3].epoch = 8;
	chain_reports_map(reports, &map);
	assert_int_equal(chain_reports_count(reports), 1);
}

static void test_a_chain_that_is_no_more_is_not_reported(void **state)
{
	struct chain_reports *reports = *state;
	struct report other = {.pool = 9, .epoch = 1, .target_id = 1, .kind = 1};

	add(reports, other);
	add(reports, about(8, 1, 1, 1));
	chain_reports_map(reports, &map);
	assert_int_equal(chain_reports_count(reports), 0);
}

static void test_each_has_its_turn(void **state)
{
	struct chain_reports *reports = *state;
	unsigned seen[8] = {0};
	struct report out[3];

	for (uint32_t p = 0; p < 8; p++)
		add(reports, about(p, 1, 1, 1));
	for (unsigned round = 0; round < 8; round++) {
		assert_int_equal(chain_reports_next(reports, out, 3), 3);
		for (unsigned i = 0; i < 3; i++)
			seen[out[i].partition]++;
	}
	for (uint32_t p = 0; p < 8; p++)
		assert_int_equal(seen[p], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_report_is_repeated_until_its_epoch_is_over),
		TEST(test_the_last_epoch_counts),
		TEST(test_kinds_and_members_are_told_apart),
		TEST(test_a_chain_that_is_no_more_is_not_reported),
		TEST(test_each_has_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
