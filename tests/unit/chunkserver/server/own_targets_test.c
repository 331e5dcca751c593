/* Goal: a server that leaves waits while a chain needs one of its targets and has somebody else who
 * could go on, and only then. Method: maps made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "chunkserver/server/own_targets.h"

#define OURS       10u
#define OURS_TOO   11u
#define ELSEWHERE  20u
#define ELSEWHERE2 21u

static const uint32_t ids[] = {OURS, 0, OURS_TOO};
static struct map_chain chains[2];
static struct map_pool pools[] = {{.id = 1, .partitions = 2, .chains = chains}};
static struct cluster_map map = {.pool_count = 1, .pools = pools};

static bool is_needed(struct chain_member a, struct chain_member b, struct chain_member c)
{
	/* The first chain is of others. */
	chains[0] = (struct map_chain){
		.epoch = 1,
		.count = 2,
		.members = {{ELSEWHERE, MEMBER_IN_SYNC}, {ELSEWHERE2, MEMBER_IN_SYNC}}};
	chains[1] = (struct map_chain){.epoch = 1, .count = 3, .members = {a, b, c}};
	return own_targets_needed(ids, 3, &map);
}

#define IN_SYNC(id) ((struct chain_member){id, MEMBER_IN_SYNC})
#define SYNCING(id) ((struct chain_member){id, MEMBER_SYNCING})
#define OFFLINE(id) ((struct chain_member){id, MEMBER_OFFLINE})

static void test_a_chain_with_somebody_else_in_sync_needs_us_until_we_are_out(void **state)
{
	assert_true(is_needed(IN_SYNC(OURS), IN_SYNC(ELSEWHERE), SYNCING(ELSEWHERE2)));
	assert_true(is_needed(IN_SYNC(ELSEWHERE), SYNCING(OURS), OFFLINE(ELSEWHERE2)));
	assert_true(is_needed(IN_SYNC(ELSEWHERE), OFFLINE(OURS), SYNCING(OURS_TOO)));
	assert_false(is_needed(IN_SYNC(ELSEWHERE), OFFLINE(OURS), OFFLINE(OURS_TOO)));
}

static void test_a_chain_that_nobody_else_could_go_on_with_is_not_waited_for(void **state)
{
	assert_false(is_needed(IN_SYNC(OURS), SYNCING(ELSEWHERE), OFFLINE(ELSEWHERE2)));
	assert_false(is_needed(IN_SYNC(OURS), IN_SYNC(OURS_TOO), SYNCING(ELSEWHERE)));
}

static void test_chains_of_others_and_no_map_need_nobody(void **state)
{
	assert_false(is_needed(IN_SYNC(ELSEWHERE), IN_SYNC(ELSEWHERE2), SYNCING(30)));
	assert_false(own_targets_needed(ids, 3, NULL));
	assert_false(own_targets_needed(NULL, 0, &map));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chain_with_somebody_else_in_sync_needs_us_until_we_are_out),
		cmocka_unit_test(test_a_chain_that_nobody_else_could_go_on_with_is_not_waited_for),
		cmocka_unit_test(test_chains_of_others_and_no_map_need_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
