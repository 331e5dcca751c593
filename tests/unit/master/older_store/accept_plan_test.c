/* Goal: of what a store says of its chains and what targets have gone by, the newest is taken, and
 * only who was heard goes on in-sync. Method: maps and tellings by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "master/state/chain_change.h"
#include "master/older_store/accept_decision.h"

#define IN_SYNC(id)                                                                                \
	{                                                                                          \
		(id), MEMBER_IN_SYNC                                                               \
	}
#define SYNCING(id)                                                                                \
	{                                                                                          \
		(id), MEMBER_SYNCING                                                               \
	}
#define OFFLINE(id)                                                                                \
	{                                                                                          \
		(id), MEMBER_OFFLINE                                                               \
	}
#define CHAIN(epoch_, ...)                                                                         \
	((struct map_chain){.epoch = (epoch_), .count = 3, .members = {__VA_ARGS__}})

#define CHANCE (UINT64_C(5) << 48 | 7)
#define LINE(times, chance)                                                                        \
	((uint64_t)(times) << ACCEPT_COUNT_SHIFT | (uint64_t)(chance) << EPOCH_LINE_SHIFT)

static struct map_chain chains[2];
static struct map_pool pools[1] = {{.id = 1, .partitions = 2, .chains = chains}};
static struct map_target targets[3] = {
	{.id = 1, .uuid = "one"}, {.id = 2, .uuid = "two"}, {.id = 3, .uuid = "three"}};
static struct cluster_map map = {
	.pool_count = 1, .target_count = 3, .pools = pools, .targets = targets};
static struct accept_plan *plan;

static int setup(void **state)
{
	chains[0] = CHAIN(10, IN_SYNC(1), IN_SYNC(2), IN_SYNC(3));
	chains[1] = (struct map_chain){0};
	plan = accept_plan_new(&map, CHANCE);
	return plan == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	accept_plan_free(plan);
	return 0;
}

static void heard(uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t ids[] = {a, b, c};

	for (unsigned i = 0; i < 3; i++)
		if (ids[i] != 0)
			assert_int_equal(accept_plan_heard(plan, ids[i]), 0);
}

static void told_by(uint32_t target, struct map_chain chain, uint64_t version)
{
	assert_int_equal(accept_plan_chain(plan, target, 1, 0, &chain, version), 0);
}

/* By all its members that go by it. */
static void told(struct map_chain chain, uint64_t version)
{
	for (uint32_t i = 0; i < chain.count; i++)
		if (chain.members[i].state != MEMBER_OFFLINE)
			told_by(chain.members[i].target_id, chain, version);
}

static void expect(enum accept_kind kind, struct map_chain chain)
{
	struct map_chain is;

	assert_int_equal(accept_plan_result(plan, 1, 0, &is), kind);
	assert_int_equal(is.epoch, LINE((chain.epoch >> ACCEPT_COUNT_SHIFT) + 1, 5));
	assert_int_equal(is.count, chain.count);
	for (uint32_t i = 0; i < is.count; i++) {
		assert_int_equal(is.members[i].target_id, chain.members[i].target_id);
		assert_int_equal(is.members[i].state, chain.members[i].state);
	}
}

static void what_nobody_has_seen_differently_stays(void **state)
{
	heard(1, 2, 3);
	told(chains[0], 5);
	assert_int_equal(accept_plan_missing(plan, 0), 0);
	expect(ACCEPT_SAME, chains[0]);
}

static void the_newest_that_anybody_has_gone_by_counts(void **state)
{
	heard(1, 2, 3);
	/* 1 died, and knows nothing of the rest; it is told last. */
	told(CHAIN(12, IN_SYNC(2), IN_SYNC(3), OFFLINE(1)), 8);
	told(CHAIN(11, IN_SYNC(2), IN_SYNC(3), IN_SYNC(1)), 7);
	told(chains[0], 9);
	expect(ACCEPT_NEWER, CHAIN(12, IN_SYNC(2), IN_SYNC(3), OFFLINE(1)));
}

static void who_was_being_made_equal_begins_anew(void **state)
{
	heard(1, 2, 3);
	told(CHAIN(13, IN_SYNC(2), SYNCING(1), OFFLINE(3)), 8);
	expect(ACCEPT_NEWER, CHAIN(13, IN_SYNC(2), OFFLINE(1), OFFLINE(3)));
}

static void who_is_not_heard_is_not_waited_for_by_those_who_are(void **state)
{
	heard(0, 2, 0);
	told(CHAIN(12, IN_SYNC(3), IN_SYNC(2), OFFLINE(1)), 8);
	assert_int_equal(accept_plan_missing(plan, 0), 1);
	assert_int_equal(accept_plan_missing(plan, 1), 3);
	assert_int_equal(accept_plan_missing(plan, 3), 0);
	expect(ACCEPT_NEWER, CHAIN(12, IN_SYNC(2), OFFLINE(3), OFFLINE(1)));
}

/* Who is heard has only what is old. */
static void nobody_old_goes_on_when_the_whole_copies_are_silent(void **state)
{
	struct map_chain last = CHAIN(12, IN_SYNC(2), IN_SYNC(3), OFFLINE(1));

	heard(1, 0, 0);
	told_by(1, last, 8);
	expect(ACCEPT_SILENT, last);
}

static void of_two_histories_the_longer_counts(void **state)
{
	heard(1, 2, 3);
	told(CHAIN(12, IN_SYNC(1), OFFLINE(2), OFFLINE(3)), 8);
	told(CHAIN(12, IN_SYNC(2), IN_SYNC(3), OFFLINE(1)), 9);
	told(CHAIN(12, IN_SYNC(3), OFFLINE(2), OFFLINE(1)), 7);
	expect(ACCEPT_NEWER, CHAIN(12, IN_SYNC(2), IN_SYNC(3), OFFLINE(1)));
}

/* In chains of another copy's master its number is another's. */
static void who_knows_nothing_of_a_chain_is_not_meant_by_it(void **state)
{
	struct map_chain later = CHAIN(12, IN_SYNC(3), IN_SYNC(2), OFFLINE(1));

	heard(1, 2, 3);
	told_by(2, later, 8);
	assert_int_equal(accept_plan_missing(plan, 0), 0); /* 2 has everything */
	expect(ACCEPT_NEWER, CHAIN(12, IN_SYNC(2), OFFLINE(3), OFFLINE(1)));
	/* Of what it has told at some time it is a member. */
	told_by(3, CHAIN(11, IN_SYNC(2), SYNCING(3), OFFLINE(1)), 7);
	expect(ACCEPT_NEWER, later);
}

/* By the numbers of the store everybody is who is meant. */
static void who_has_not_heard_of_its_first_chain_yet_is_in_it(void **state)
{
	heard(1, 2, 3);
	told_by(2, chains[0], 8);
	expect(ACCEPT_SAME, chains[0]);
}

/* An empty disk with the number of one that is not there would be the first, and the others made
 * equal to it. */
static void a_namesake_is_missing_where_it_would_be_the_only_one(void **state)
{
	struct map_chain later = CHAIN(12, IN_SYNC(3), OFFLINE(2), OFFLINE(1)), out;

	heard(1, 2, 3);
	told_by(2, later, 8);
	assert_int_equal(accept_plan_missing(plan, 0), 3);
	assert_int_equal(accept_plan_missing(plan, 3), 0);
	assert_int_equal(accept_plan_result(plan, 1, 0, &out), ACCEPT_SILENT);
	assert_int_equal(cluster_map_chain_index(&out, 3), -1);
}

/* By how far epochs have jumped nobody can tell which is the newer. */
static void of_two_accepted_lines_the_one_that_went_further_counts(void **state)
{
	struct map_chain further = CHAIN(LINE(1, 7) + 9, IN_SYNC(2), IN_SYNC(3), OFFLINE(1));

	heard(1, 2, 3);
	told(further, 500);
	told(CHAIN(LINE(1, 9) + 2, IN_SYNC(1), OFFLINE(2), OFFLINE(3)), 400);
	expect(ACCEPT_NEWER, further);
	/* The one that was accepted once more has come after both. */
	further = CHAIN(LINE(2, 1) + 1, IN_SYNC(3), OFFLINE(1), OFFLINE(2));
	told(further, 300);
	expect(ACCEPT_NEWER, further);
}

static void nobody_goes_on_in_an_epoch_that_was(void **state)
{
	struct map_chain out;

	heard(1, 2, 3);
	told(CHAIN(LINE(1, 9) + 2, IN_SYNC(1), OFFLINE(2), OFFLINE(3)), 400);
	told(CHAIN(LINE(1, 7) + 9, IN_SYNC(2), IN_SYNC(3), OFFLINE(1)), 500);
	assert_int_equal(accept_plan_result(plan, 1, 0, &out), ACCEPT_NEWER);
	assert_int_equal(out.epoch, LINE(2, 5));
	assert_int_equal(accept_plan_epoch(plan, 1, 0), LINE(1, 7) + 9);
	/* Nor would any be left. */
	out.epoch = UINT64_MAX;
	assert_int_equal(accept_plan_chain(plan, 1, 1, 0, &out, 1), -EINVAL);
}

static void copies_that_know_nothing_of_each_other_go_on_in_other_epochs(void **state)
{
	struct accept_plan *other = accept_plan_new(&map, CHANCE + (UINT64_C(1) << 48));
	struct map_chain a, b;

	assert_non_null(other);
	assert_int_equal(accept_plan_result(plan, 1, 0, &a), ACCEPT_SILENT);
	assert_int_equal(accept_plan_result(other, 1, 0, &b), ACCEPT_SILENT);
	assert_int_not_equal(a.epoch, b.epoch);
	accept_plan_free(other);
}

static void expect_clash(const char *with, const struct accept_target *all, size_t which)
{
	const char *is = accept_decision_clash(plan, all, 2, which);

	if (with == NULL)
		assert_null(is);
	else
		assert_string_equal(is, with);
}

static void a_number_is_one_targets(void **state)
{
	struct accept_target all[2] = {{.uuid = "one", .id = 1}, {.uuid = "new", .id = 4}};

	for (size_t i = 0; i < 2; i++)
		expect_clash(NULL, all, i);
	all[1].id = 2; /* as a master has numbered the store's second */
	expect_clash("two", all, 1);
	all[0].id = 5; /* the store knows it as 1 */
	expect_clash("one", all, 0);
	/* Masters on two copies have numbered one each. */
	all[0] = (struct accept_target){.uuid = "newer", .id = 4};
	all[1].id = 4;
	expect_clash("new", all, 0);
	expect_clash("newer", all, 1);
	/* No master has numbered them. */
	all[0].id = all[1].id = 0;
	for (size_t i = 0; i < 2; i++)
		expect_clash(NULL, all, i);
}

static void what_makes_no_sense_is_not_taken(void **state)
{
	struct map_chain out;
	struct map_chain wrong[] = {
		CHAIN(12, OFFLINE(2), OFFLINE(3), OFFLINE(1)),
		CHAIN(12, IN_SYNC(2), OFFLINE(3), IN_SYNC(1)),
		CHAIN(12, IN_SYNC(2), OFFLINE(3), SYNCING(1)),
		CHAIN(12, IN_SYNC(2), SYNCING(3), SYNCING(1)),
		CHAIN(12, IN_SYNC(2), IN_SYNC(3), IN_SYNC(2)),
		CHAIN(12, IN_SYNC(2), IN_SYNC(3), {1, 0}),
		CHAIN(12, IN_SYNC(2), IN_SYNC(3), {1, 4}),
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_int_equal(accept_plan_chain(plan, 1, 1, 0, &wrong[i], 1), -EINVAL);
	wrong[0].count = CHAIN_MEMBERS_MAX + 1;
	assert_int_equal(accept_plan_chain(plan, 1, 1, 0, &wrong[0], 1), -EINVAL);
	assert_int_equal(accept_plan_chain(plan, 1, 1, 2, &chains[0], 1), -EINVAL);
	assert_int_equal(accept_plan_chain(plan, 1, 2, 0, &chains[0], 1), -EINVAL);
	assert_int_equal(accept_plan_chain(plan, 1, 1, 0, &chains[1], 1), -EINVAL);
	assert_int_equal(accept_plan_result(plan, 1, 1, &out), ACCEPT_NOTHING);
	assert_int_equal(accept_plan_result(plan, 1, 2, &out), ACCEPT_NOTHING);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_nobody_has_seen_differently_stays),
		TEST(the_newest_that_anybody_has_gone_by_counts),
		TEST(who_was_being_made_equal_begins_anew),
		TEST(who_is_not_heard_is_not_waited_for_by_those_who_are),
		TEST(nobody_old_goes_on_when_the_whole_copies_are_silent),
		TEST(of_two_histories_the_longer_counts),
		TEST(who_knows_nothing_of_a_chain_is_not_meant_by_it),
		TEST(who_has_not_heard_of_its_first_chain_yet_is_in_it),
		TEST(a_namesake_is_missing_where_it_would_be_the_only_one),
		TEST(of_two_accepted_lines_the_one_that_went_further_counts),
		TEST(nobody_goes_on_in_an_epoch_that_was),
		TEST(copies_that_know_nothing_of_each_other_go_on_in_other_epochs),
		TEST(a_number_is_one_targets),
		TEST(what_makes_no_sense_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
