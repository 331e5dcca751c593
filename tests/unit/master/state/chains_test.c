/* chains_test.c - chains, lives, draining and the speed of recovery in the master's state.
 *
 * Goal: chains change all together or not at all, an epoch never means two things, and what is no
 * chain is refused; the map's version grows with every change of it and only then; all of it
 * survives a restart as it was.
 * Method: chains against a state on the memory twin, compared through state_map(). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/cluster_map.h"
#include "master/chains/manager.h"
#include "tests/lib/state_fixture.h"

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	fixture_end(&f);
	return 0;
}

static uint64_t map_version(void)
{
	return f.state->counters.map_version;
}

static void fill_changes(struct chain_change changes[FIXTURE_PARTITIONS], uint64_t epoch)
{
	memset(changes, 0, FIXTURE_PARTITIONS * sizeof(*changes));
	for (unsigned p = 0; p < FIXTURE_PARTITIONS; p++) {
		struct map_chain *chain = &changes[p].chain;

		changes[p].pool = 1;
		changes[p].partition = p;
		chain->epoch = epoch;
		chain->count = 3;
		for (unsigned m = 0; m < 3; m++) {
			chain->members[m].target_id = 1 + (p + m) % 3;
			chain->members[m].state = m == 2 ? MEMBER_SYNCING : MEMBER_IN_SYNC;
		}
	}
}

static int apply(const struct chain_change *changes, size_t count)
{
	return state_apply_chains(f.state, ++f.index, changes, count, NULL, 0, NULL, 0);
}

static void chains_change_one_by_one_or_all_at_once(void **state)
{
	struct chain_change changes[FIXTURE_PARTITIONS];
	struct cluster_map *map;
	uint64_t version;

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 1);
	version = map_version();
	assert_int_equal(apply(changes, FIXTURE_PARTITIONS), 0);
	assert_int_equal(map_version(), version + 1);
	fill_changes(changes, 2);
	changes[3].chain.members[2].state = MEMBER_IN_SYNC;
	assert_int_equal(apply(&changes[3], 1), 0);
	assert_int_equal(map_version(), version + 2);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	for (unsigned p = 0; p < FIXTURE_PARTITIONS; p++) {
		const struct map_chain *chain = cluster_map_chain(map, 1, p);

		assert_int_equal(chain->epoch, p == 3 ? 2 : 1);
		assert_int_equal(chain->count, 3);
		assert_int_equal(chain->members[1].target_id, 1 + (p + 1) % 3);
		assert_int_equal(chain->members[2].state, p == 3 ? MEMBER_IN_SYNC : MEMBER_SYNCING);
	}
	cluster_map_unref(map);
}

static void who_has_to_know_first_is_kept_until_the_next_change(void **state)
{
	const uint64_t fenced[] = {5, 7};
	struct chain_life life = {1, 3};
	struct chain_change changes[FIXTURE_PARTITIONS];
	const uint64_t *kept;
	size_t count;

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 1);
	assert_int_equal(state_apply_chains(f.state, ++f.index, changes, FIXTURE_PARTITIONS, NULL,
					    0, fenced, 2),
			 0);
	/* No change. */
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, &life, 1, NULL, 0), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	kept = state_fenced(f.state, &count);
	assert_int_equal(count, 2);
	assert_int_equal(kept[0], 5);
	assert_int_equal(kept[1], 7);
	fill_changes(changes, 2);
	assert_int_equal(apply(changes, FIXTURE_PARTITIONS), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	(void)state_fenced(f.state, &count);
	assert_int_equal(count, 0);
}

static void lives_are_stored_with_the_chains_or_not_at_all(void **state)
{
	struct chain_life lives[] = {{1, 7}, {3, 9}}, unknown[] = {{2, 5}, {4, 1}};
	struct chain_change changes[FIXTURE_PARTITIONS];
	uint64_t version;

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 1);
	assert_int_equal(state_apply_chains(f.state, ++f.index, changes, FIXTURE_PARTITIONS, lives,
					    2, NULL, 0),
			 0);
	version = map_version();
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, unknown, 2, NULL, 0),
			 -EINVAL);
	assert_int_equal(state_target_life(f.state, "uuid-2"), 0);
	assert_int_equal(state_apply_chains(f.state, ++f.index, NULL, 0, unknown, 1, NULL, 0), 0);
	/* Nobody else has to know. */
	assert_int_equal(map_version(), version);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_target_life(f.state, "uuid-1"), 7);
	assert_int_equal(state_target_life(f.state, "uuid-2"), 5);
	assert_int_equal(state_target_life(f.state, "uuid-3"), 9);
	/* A registration does not touch them. */
	assert_int_equal(do_register(&f, "b", "uuid-1", NULL), 0);
	assert_int_equal(state_target_life(f.state, "uuid-1"), 7);
}

static void an_epoch_never_means_two_things(void **state)
{
	struct chain_change changes[FIXTURE_PARTITIONS];

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 2);
	assert_int_equal(apply(changes, FIXTURE_PARTITIONS), -EINVAL);
	fill_changes(changes, 1);
	assert_int_equal(apply(changes, FIXTURE_PARTITIONS), 0);
	assert_int_equal(apply(&changes[3], 1), -EINVAL);
	changes[3].chain.epoch = 3;
	assert_int_equal(apply(&changes[3], 1), -EINVAL);
	changes[3].chain.epoch = 2;
	changes[4] = changes[3];
	assert_int_equal(apply(&changes[3], 2), -EINVAL);
	assert_int_equal(apply(&changes[3], 1), 0);
}

static void nonsense_about_chains_is_refused(void **state)
{
	struct chain_change changes[FIXTURE_PARTITIONS], one;

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 1);
#define REFUSED(change_)                                                                           \
	do {                                                                                       \
		one = changes[5];                                                                  \
		change_;                                                                           \
		assert_int_equal(apply(&one, 1), -EINVAL);                                         \
	} while (0)
	REFUSED(one.pool = 2);
	REFUSED(one.partition = FIXTURE_PARTITIONS);
	REFUSED(one.chain.count = 0);
	REFUSED(one.chain.count = CHAIN_MEMBERS_MAX + 1);
	REFUSED(one.chain.members[0].target_id = 4);
	REFUSED(one.chain.members[0].target_id = 0);
	REFUSED(one.chain.members[1].target_id = one.chain.members[0].target_id);
	REFUSED(one.chain.members[0].state = MEMBER_SYNCING);
	REFUSED(one.chain.members[0].state = MEMBER_OFFLINE);
	REFUSED(one.chain.members[1].state = MEMBER_SYNCING); /* two of them */
	REFUSED(one.chain.members[1].state = MEMBER_OFFLINE); /* before one syncing */
	REFUSED(one.chain.members[2].state = (enum member_state)4);
	REFUSED(one.chain.members[2].state = (enum member_state)0);
	assert_int_equal(f.state->cluster.pools[0].chains[5].epoch, 0);
}

static void draining_and_recovery_are_kept(void **state)
{
	const uint32_t ids[] = {2, 3}, unknown[] = {1, 9};
	const struct state_recovery slow = {.rate = 12345, .paused = true};
	struct state_recovery recovery;
	struct cluster_map *map;
	uint64_t version;

	assert_int_equal(fixture_three_targets(&f), 0);
	version = map_version();
	assert_int_equal(state_apply_drain(f.state, ++f.index, unknown, 2, true), -ENOENT);
	assert_int_equal(state_apply_drain(f.state, ++f.index, ids, 2, true), 0);
	assert_int_equal(map_version(), version + 1);
	assert_int_equal(state_apply_drain(f.state, ++f.index, &ids[1], 1, false), 0);
	assert_int_equal(state_apply_recovery(f.state, ++f.index, &slow), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	map = state_map(f.state);
	assert_false(cluster_map_target(map, 1)->draining);
	assert_true(cluster_map_target(map, 2)->draining);
	assert_false(cluster_map_target(map, 3)->draining);
	cluster_map_unref(map);
	state_recovery(f.state, &recovery);
	assert_int_equal(recovery.rate, 12345);
	assert_true(recovery.paused);
}

static void chains_that_the_store_failed_have_no_effect(void **state)
{
	struct chain_change changes[FIXTURE_PARTITIONS];

	assert_int_equal(fixture_three_targets(&f), 0);
	fill_changes(changes, 1);
	kv_memory_fail_write(f.kv, 1, EIO);
	assert_int_equal(apply(changes, FIXTURE_PARTITIONS), -EIO);
	assert_int_equal(kv_recover(f.kv), 0);
	assert_int_equal(state_reload(f.state), 0);
	assert_int_equal(f.state->cluster.pools[0].chains[0].epoch, 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chains_change_one_by_one_or_all_at_once),
		TEST(who_has_to_know_first_is_kept_until_the_next_change),
		TEST(lives_are_stored_with_the_chains_or_not_at_all),
		TEST(an_epoch_never_means_two_things),
		TEST(nonsense_about_chains_is_refused),
		TEST(draining_and_recovery_are_kept),
		TEST(chains_that_the_store_failed_have_no_effect),
	};

	return cmocka_run_group_tests_name("chains", tests, NULL, NULL);
}
