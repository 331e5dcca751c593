/* Goal: who has to know a map before the others is told of what it loses, and of nothing that takes
 * a place from somebody else. Method: maps by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "master/chains/fence_map.h"

enum { CHAINS = 4 };

static struct map_chain chains[CHAINS], shown_chains[CHAINS];
static struct map_pool pool = {.id = 1, .partitions = CHAINS, .chains = chains};
static struct map_pool shown_pool = {.id = 1, .partitions = CHAINS, .chains = shown_chains};
static struct map_target targets[] = {{.id = 1, .server_id = 11},
				      {.id = 2, .server_id = 12},
				      {.id = 3, .server_id = 13},
				      {.id = 4, .server_id = 11}};
static struct cluster_map next = {
	.pool_count = 1, .pools = &pool, .target_count = 4, .targets = targets};
static struct cluster_map shown = {
	.pool_count = 1, .pools = &shown_pool, .target_count = 4, .targets = targets};

static struct map_chain chain(uint64_t epoch, enum member_state one, enum member_state two)
{
	return (struct map_chain){
		.epoch = epoch, .count = 3, .members = {{3, MEMBER_IN_SYNC}, {1, one}, {2, two}}};
}

static int setup(void **state)
{
	for (unsigned p = 0; p < CHAINS; p++)
		chains[p] = shown_chains[p] = chain(5, MEMBER_IN_SYNC, MEMBER_IN_SYNC);
	chains[0] = chain(6, MEMBER_OFFLINE, MEMBER_IN_SYNC);
	chains[1] = chain(6, MEMBER_IN_SYNC, MEMBER_SYNCING);
	chains[2] = (struct map_chain){.epoch = 6, .count = 1, .members = {{3, MEMBER_IN_SYNC}}};
	return 0;
}

static void expect(unsigned p, uint64_t epoch)
{
	assert_int_equal(chains[p].epoch, epoch);
	if (epoch == 5)
		assert_memory_equal(&chains[p], &shown_chains[p], sizeof(chains[p]));
}

static void a_server_is_told_of_the_chains_that_it_loses(void **state)
{
	fence_map_restrict(&next, &shown, 11);
	expect(0, 6);
	expect(1, 5);
	expect(2, 6);
	expect(3, 5);
}

static void who_loses_nothing_is_told_nothing(void **state)
{
	fence_map_restrict(&next, &shown, 13);
	for (unsigned p = 0; p < CHAINS; p++)
		expect(p, 5);
}

static void one_that_is_only_out_of_step_has_lost_its_place(void **state)
{
	fence_map_restrict(&next, &shown, 12);
	expect(0, 5);
	expect(1, 6);
	expect(2, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_server_is_told_of_the_chains_that_it_loses, setup),
		cmocka_unit_test_setup(who_loses_nothing_is_told_nothing, setup),
		cmocka_unit_test_setup(one_that_is_only_out_of_step_has_lost_its_place, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
