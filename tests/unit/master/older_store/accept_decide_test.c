/* Goal: an accepted store knows which processes have forgotten nothing, and has all chains of a
 * pool or none. Method: a state on the memory twin, tellings by hand, the decision applied. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/cluster_map.h"
#include "master/state/chain_change.h"
#include "master/older_store/accept_decision.h"
#include "master/chains/manager.h"
#include "tests/lib/state_fixture.h"

#define PARTITIONS  16u
#define LIFE(count) (UINT64_C(9) << 32 | (count))

static struct fixture f;
static struct cluster_map *map;
static struct accept_plan *plan;
static struct accept_decision decision;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	accept_decision_free(&decision);
	accept_plan_free(plan);
	cluster_map_unref(map);
	plan = NULL;
	map = NULL;
	fixture_end(&f);
	return 0;
}

static struct map_server server_of(uint32_t target)
{
	struct map_server server = {.workers = 1, .id = target};

	snprintf(server.name, sizeof(server.name), "s%u", target);
	snprintf(server.address, sizeof(server.address), "s%u:1", target);
	return server;
}

/* Targets 1 to @count, a server for each. */
static void register_targets(uint32_t count)
{
	for (uint32_t t = 1; t <= count; t++) {
		struct map_server server = server_of(t);
		struct state_registered_target target = {0};

		snprintf(target.uuid, sizeof(target.uuid), "uuid-%u", t);
		assert_int_equal(do_register_server(&f, &server, &target, 1), 0);
	}
}

static struct map_chain chain_of(uint64_t epoch)
{
	return (struct map_chain){
		.epoch = epoch,
		.count = 3,
		.members = {{1, MEMBER_IN_SYNC}, {2, MEMBER_IN_SYNC}, {3, MEMBER_IN_SYNC}}};
}

static void begin_plan(void)
{
	map = state_map(f.state);
	assert_non_null(map);
	plan = accept_plan_new(map, 77);
	assert_non_null(plan);
}

/* All of @partitions, by a newer map and all members. */
static void told(uint32_t partitions, const struct map_chain *chain)
{
	for (uint32_t p = 0; p < partitions; p++)
		for (uint32_t m = 0; m < chain->count; m++)
			assert_int_equal(accept_plan_chain(plan, chain->members[m].target_id,
							   map->pools[0].id, p, chain, 99),
					 0);
}

static struct accept_target target_of(uint32_t id, uint64_t life, bool settled)
{
	struct accept_target target = {.id = id, .heard = true, .life = life, .settled = settled};

	snprintf(target.uuid, sizeof(target.uuid), "uuid-%u", id);
	target.server = server_of(id);
	target.seen = (struct state_seen){.life = 50, .chance = 1, .version = UINT64_MAX >> 20};
	assert_int_equal(accept_plan_heard(plan, id), 0);
	return target;
}

static void accept_it(const struct accept_target *targets, size_t count)
{
	assert_int_equal(accept_decision_make(plan, f.state, targets, count, &decision), 0);
	assert_int_equal(fixture_accept(&f, &decision.accept), 0);
	assert_int_equal(fixture_reopen(&f), 0);
}

static void who_has_gone_on_since_is_known_from_who_began_anew(void **state)
{
	struct chain_life lives[] = {{1, LIFE(1)}, {2, LIFE(1)}, {3, LIFE(7)}};
	struct chain_change changes[PARTITIONS];
	struct map_chain later = chain_of(5);
	struct accept_target targets[5];
	uint64_t life;

	register_targets(3);
	for (uint32_t p = 0; p < PARTITIONS; p++)
		changes[p] = (struct chain_change){1, p, chain_of(1)};
	assert_int_equal(
		state_apply_chains(f.state, ++f.index, changes, PARTITIONS, lives, 3, NULL, 0), 0);
	begin_plan();
	told(PARTITIONS, &later);
	targets[0] = target_of(1, LIFE(3), true);
	targets[1] = target_of(2, LIFE(4), false);
	targets[2] = target_of(3, LIFE(6), false); /* an old copy of its disk */
	targets[3] = target_of(4, LIFE(2), true);  /* has come since */
	targets[4] = target_of(5, LIFE(2), false); /* likewise */
	accept_it(targets, 5);
	assert_int_equal(state_target_life(f.state, "uuid-1"), LIFE(3));
	life = state_target_life(f.state, "uuid-2");
	assert_true(life != 0 && life != LIFE(4));
	assert_false(chain_life_is_old(LIFE(4), life));
	assert_true(chain_life_is_old(LIFE(6), state_target_life(f.state, "uuid-3")));
	assert_int_equal(state_target_life(f.state, "uuid-4"), LIFE(2));
	life = state_target_life(f.state, "uuid-5");
	assert_true(life != 0 && life != LIFE(2));
	assert_false(chain_life_is_old(LIFE(2), life));
}

/* Another store was accepted, and had registered a target that has gone by no chain of it yet. Who
 * has, and is not heard now, must find that its chains are older. */
static void an_acceptance_that_is_known_by_its_life_alone_counts(void **state)
{
	struct map_chain later = chain_of(5);
	struct accept_target targets[2];
	struct cluster_map *after;

	register_targets(3);
	begin_plan();
	told(PARTITIONS, &later);
	targets[0] = target_of(1, LIFE(1), true);
	targets[1] = target_of(2, LIFE(1), true);
	targets[1].seen.life = 3 * ACCEPT_LIFE_GAP + 2;
	accept_it(targets, 2);
	after = state_map(f.state);
	for (uint32_t p = 0; p < PARTITIONS; p++)
		assert_int_equal(after->pools[0].chains[p].epoch >> ACCEPT_COUNT_SHIFT, 4);
	cluster_map_unref(after);
}

static void a_pool_has_all_its_chains_or_none(void **state)
{
	struct map_chain later = chain_of(5);
	struct accept_target targets[2];
	struct cluster_map *after;

	register_targets(3);
	begin_plan();
	assert_int_equal(accept_plan_unknown(plan), 0);
	told(3, &later);
	assert_int_equal(accept_plan_unknown(plan), PARTITIONS - 3);
	targets[0] = target_of(1, LIFE(1), true);
	targets[1] = target_of(2, LIFE(1), true);
	accept_it(targets, 2);
	assert_int_equal(decision.unknown, PARTITIONS - 3);
	after = state_map(f.state);
	for (uint32_t p = 0; p < PARTITIONS; p++) {
		const struct map_chain *chain = &after->pools[0].chains[p];

		assert_true(chain->epoch >= UINT64_C(1) << ACCEPT_COUNT_SHIFT);
		assert_int_equal(chain->members[0].state, MEMBER_IN_SYNC);
		assert_true(chain->members[0].target_id == 1 || chain->members[0].target_id == 2);
		assert_int_equal(chain->count, p < 3 ? 3 : 1);
	}
	cluster_map_unref(after);
}

static void chains_that_no_target_can_take_are_counted(void **state)
{
	struct map_chain later = chain_of(5);
	struct accept_target targets[2];

	register_targets(3);
	begin_plan();
	told(3, &later);
	targets[0] = target_of(1, LIFE(1), true);
	targets[1] = target_of(2, LIFE(1), true);
	targets[0].server.id = 0; /* no master has given them one */
	targets[1].server.id = 0;
	assert_int_equal(accept_decision_make(plan, f.state, targets, 2, &decision), 0);
	assert_int_equal(decision.unknown, 0);
	assert_int_equal(decision.stranded, PARTITIONS - 3);
}

static void a_pool_that_nobody_knows_chains_of_is_placed_later(void **state)
{
	struct accept_target targets[3];
	struct chain_change change;

	register_targets(3);
	begin_plan();
	for (uint32_t i = 0; i < 3; i++)
		targets[i] = target_of(i + 1, LIFE(1), true);
	accept_it(targets, 3);
	assert_int_equal(decision.unknown, 0);
	assert_int_equal(decision.accept.chain_count, 0);
	/* Who was not heard may know former ones: those that are placed then are of a later line. */
	change = (struct chain_change){1, 0, chain_of(1)};
	assert_int_equal(state_apply_chains(f.state, ++f.index, &change, 1, NULL, 0, NULL, 0),
			 -EINVAL);
	change.chain.epoch = state_epoch_base(f.state) + 1;
	assert_true(change.chain.epoch >> ACCEPT_COUNT_SHIFT >= 1);
	assert_int_equal(state_apply_chains(f.state, ++f.index, &change, 1, NULL, 0, NULL, 0), 0);
}

/* Whoever is missing has gone by epochs that must not come again. */
static void a_pool_begins_empty_when_somebody_is_missing_who_may_know_it(void **state)
{
	struct accept_target target;

	register_targets(3);
	begin_plan();
	target = target_of(1, LIFE(1), true);
	accept_it(&target, 1);
	assert_int_equal(decision.unknown, PARTITIONS);
	assert_int_equal(decision.accept.chain_count, PARTITIONS);
	assert_true(decision.chains[0].chain.epoch >= UINT64_C(1) << ACCEPT_COUNT_SHIFT);
}

/* They are in chains that are told, and come when they come. */
static void numbers_that_chains_name_do_not_come_again(void **state)
{
	struct map_chain later = {
		.epoch = 5, .count = 2, .members = {{1, MEMBER_IN_SYNC}, {9, MEMBER_IN_SYNC}}};
	struct accept_target targets[1];
	struct map_server server = server_of(7);
	struct state_registered_target target = {.uuid = "uuid-new"};

	register_targets(3);
	begin_plan();
	told(PARTITIONS, &later);
	targets[0] = target_of(1, LIFE(1), true);
	accept_it(targets, 1);
	assert_int_equal(do_register_server(&f, &server, &target, 1), 0);
	assert_int_equal(state_target_id(f.state, "uuid-new"), 10);
}

/* Masters on two copies have given the same number to two servers. */
static void servers_are_who_they_are_by_name(void **state)
{
	struct map_chain later = chain_of(5);
	struct accept_target targets[3];

	register_targets(3);
	begin_plan();
	told(PARTITIONS, &later);
	targets[0] = target_of(4, LIFE(1), true);
	targets[0].server = server_of(2);
	targets[0].server.id = 9; /* known by another number */
	targets[1] = target_of(5, LIFE(1), true);
	targets[1].server.id = 3; /* another's */
	targets[2] = target_of(6, LIFE(1), true);
	targets[2].server.id = 3; /* likewise */
	accept_it(targets, 3);
	assert_int_equal(state_server_id(f.state, "s2"), 2);
	assert_int_equal(state_server_id(f.state, "s3"), 3);
	assert_int_equal(state_server_id(f.state, "s5"), 10);
	assert_int_equal(state_server_id(f.state, "s6"), 11);
	assert_int_equal(state_target_id(f.state, "uuid-6"), 6);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_has_gone_on_since_is_known_from_who_began_anew),
		TEST(numbers_that_chains_name_do_not_come_again),
		TEST(servers_are_who_they_are_by_name),
		TEST(an_acceptance_that_is_known_by_its_life_alone_counts),
		TEST(a_pool_has_all_its_chains_or_none),
		TEST(chains_that_no_target_can_take_are_counted),
		TEST(a_pool_begins_empty_when_somebody_is_missing_who_may_know_it),
		TEST(a_pool_that_nobody_knows_chains_of_is_placed_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
