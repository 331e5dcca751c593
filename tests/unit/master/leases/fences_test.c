/* fences_test - when is nothing left of a session that was ended.
 *
 * Goal: a fence is complete when every chain has been clean once, at an epoch that everybody of it
 * knew of, and not before; nothing that is dead delays it for ever; what it went on without gets no
 * lease before it is clean. Method: single steps by hand, on maps of two chains; the same with
 * whole clusters in trouble is simulated in tests/sim/cluster/cluster_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "master/leases/fences.h"

#define S       NS_PER_SEC
#define OVERDUE (10 * S)
#define SESSION 7u

/* Fails this call; 0: none. */
static unsigned fail_calloc;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	if (fail_calloc != 0 && --fail_calloc == 0)
		return NULL;
	return __real_calloc(count, size);
}

/* Target n is of server 10 * n. */
static struct map_chain chains[2];
static struct map_pool pools[1] = {{.id = 1,
				    .copies = 3,
				    .partitions = 2,
				    .chunk_size = CHUNK_SIZE_DEFAULT,
				    .chains = chains}};
static struct map_target targets[4];
static uint64_t over[2];
static struct cluster_map map;

static bool alive[5]; /* servers, by target: has a lease */
static uint64_t now;
static struct fences *f;

static int setup(void **state)
{
	for (uint32_t i = 0; i < 4; i++) {
		targets[i] = (struct map_target){.id = i + 1, .server_id = 10 * (i + 1)};
		alive[i + 1] = true;
	}
	for (unsigned i = 0; i < 2; i++)
		chains[i] = (struct map_chain){.epoch = 1,
					       .count = 3,
					       .members = {{1 + i, MEMBER_IN_SYNC},
							   {2 + i, MEMBER_IN_SYNC},
							   {4 - 3 * i, MEMBER_OFFLINE}}};
	over[0] = SESSION;
	map = (struct cluster_map){.pool_count = 1,
				   .target_count = 4,
				   .pools = pools,
				   .targets = targets,
				   .fenced = over,
				   .session_floor = 1};
	now = S;
	f = fences_new(OVERDUE, false);
	return f == NULL ? -1 : 0;
}

static int teardown(void **state)
{
	fences_free(f);
	return 0;
}

static void shown(uint64_t version)
{
	assert_int_equal(fences_map(f, &map, version, now), 0);
}

static void acknowledges(uint32_t target, uint64_t version)
{
	assert_int_equal(fences_acknowledged(f, 10 * target, version), 0);
}

static bool harmless(void *user, uint64_t server)
{
	return !alive[server / 10];
}

static bool next(struct fence_action *out)
{
	now += NS_PER_MSEC;
	return fences_next(f, now, harmless, NULL, out);
}

static void expect_none(void)
{
	struct fence_action a;

	assert_false(next(&a));
}

static void expect_complete(uint64_t session)
{
	struct fence_action a;

	assert_true(next(&a));
	assert_int_equal(a.kind, FENCE_COMPLETE);
	assert_int_equal(a.session, session);
	expect_none();
}

static void begin(uint64_t version)
{
	shown(version);
	expect_none();
	assert_int_equal(fences_begin(f, SESSION), 0);
	assert_true(fences_busy(f));
	map.fenced_count = 1;
	shown(version + 1);
}

static void count_owed(void *user, uint32_t pool, uint32_t partition, bool owed)
{
	*(unsigned *)user |= owed ? 1u << partition : 0;
}

/* A bit each. */
static unsigned owed_chains(void)
{
	unsigned owed = 0;

	fences_each_chain(f, count_owed, &owed);
	return owed;
}

static void test_all_in_sync_members_have_to_acknowledge(void **state)
{
	begin(4);
	acknowledges(1, 5);
	acknowledges(3, 5);
	expect_none();
	acknowledges(2, 4); /* of the map before */
	expect_none();
	acknowledges(2, 5);
	expect_complete(SESSION);
	assert_false(fences_busy(f));
	assert_false(fences_owed(f));
	fences_end(f, SESSION);
	expect_none();
}

static void test_a_fence_that_is_not_shown_yet_is_not_complete(void **state)
{
	shown(4);
	for (uint32_t t = 1; t <= 4; t++)
		acknowledges(t, 4);
	assert_int_equal(fences_begin(f, SESSION), 0);
	expect_none();
	shown(5); /* still without it */
	for (uint32_t t = 1; t <= 4; t++)
		acknowledges(t, 5);
	expect_none();
	map.fenced_count = 1;
	shown(6);
	expect_none();
	for (uint32_t t = 1; t <= 4; t++)
		acknowledges(t, 6);
	expect_complete(SESSION);
}

static void test_one_that_was_shown_before_it_was_told_counts(void **state)
{
	map.fenced_count = 1;
	shown(4);
	for (uint32_t t = 1; t <= 4; t++)
		acknowledges(t, 4);
	assert_int_equal(fences_begin(f, SESSION), 0);
	expect_none();
	shown(4); /* told again */
	expect_complete(SESSION);
}

static void test_an_acknowledgement_of_an_earlier_epoch_does_not_count(void **state)
{
	begin(4);
	acknowledges(2, 5);
	acknowledges(3, 5);
	/* The head is cut off. It is taken out, but what it has passed on may be pending at 2. */
	alive[1] = false;
	expect_none();
	chains[0] = (struct map_chain){
		.epoch = 2, .count = 2, .members = {{2, MEMBER_IN_SYNC}, {1, MEMBER_OFFLINE}}};
	shown(6);
	expect_none();
	acknowledges(2, 6);
	expect_complete(SESSION);
	assert_false(fences_owed(f));
}

static void test_a_chain_that_was_clean_stays_so(void **state)
{
	begin(4);
	acknowledges(2, 5);
	acknowledges(3, 5);
	expect_none(); /* the second chain is done */
	chains[1].epoch = 2;
	chains[1].members[0].target_id = 4;
	chains[1].members[2].target_id = 2;
	shown(6);
	acknowledges(1, 5);
	expect_complete(SESSION);
}

static void test_an_ended_lease_counts_only_when_nobody_can_serve(void **state)
{
	begin(4);
	alive[1] = false;
	acknowledges(2, 5);
	acknowledges(3, 5);
	expect_none();
	alive[2] = false; /* chain 0 is dark now; chain 1 was done before */
	expect_complete(SESSION);
	assert_true(fences_owed(f));
	/* Nobody of it has a lease before both are clean, nor becomes one of them. */
	assert_int_equal(owed_chains(), 1);
	assert_false(fences_may_renew(f, 10));
	assert_false(fences_may_renew(f, 20));
	assert_true(fences_may_renew(f, 30));
	acknowledges(1, 0);
	expect_none();
	assert_false(fences_may_renew(f, 20));
	acknowledges(1, 5);
	expect_none();
	assert_true(fences_may_renew(f, 10));
	assert_true(fences_may_renew(f, 20));
	assert_int_equal(owed_chains(), 0);
	assert_false(fences_owed(f));
}

static void test_a_member_that_stays_away_is_not_owed_when_it_is_out(void **state)
{
	begin(4);
	alive[1] = alive[2] = alive[3] = false;
	expect_complete(SESSION);
	acknowledges(2, 5);
	acknowledges(3, 5);
	expect_none();
	assert_true(fences_may_renew(f, 30));
	assert_false(fences_may_renew(f, 20));
	chains[0] = (struct map_chain){
		.epoch = 2, .count = 2, .members = {{2, MEMBER_IN_SYNC}, {1, MEMBER_OFFLINE}}};
	shown(6);
	expect_none();
	assert_false(fences_may_renew(f, 20));
	acknowledges(2, 6);
	expect_none();
	assert_true(fences_may_renew(f, 20));
}

static void test_what_a_former_life_has_owed_is_owed(void **state)
{
	fences_free(f);
	f = fences_new(OVERDUE, true);
	assert_false(fences_may_renew(f, 10));
	shown(9);
	expect_none();
	assert_false(fences_may_renew(f, 20));
	for (uint32_t t = 1; t <= 3; t++)
		acknowledges(t, t == 3 ? 8 : 9);
	expect_none();
	assert_true(fences_may_renew(f, 10));
	assert_false(fences_may_renew(f, 20)); /* its other chain has not */
	assert_false(fences_may_renew(f, 30));
	acknowledges(3, 9);
	expect_none();
	assert_true(fences_may_renew(f, 20));
	assert_false(fences_owed(f));
}

/* Chains of other pools come, and memory is out halfway. */
static void test_what_is_owed_is_not_forgotten_without_memory(void **state)
{
	static struct map_chain more[1];

	begin(4);
	alive[1] = alive[2] = false;
	acknowledges(3, 5);
	expect_none();
	alive[3] = false;
	expect_complete(SESSION);
	assert_true(fences_owed(f));
	more[0] = chains[1];
	map.pools = (struct map_pool[]){pools[0], {.id = 2, .partitions = 1, .chains = more}};
	map.pool_count = 2;
	fail_calloc = 2;
	assert_int_equal(fences_map(f, &map, 6, now), -ENOMEM);
	assert_int_equal(fail_calloc, 0);
	assert_false(fences_has_map(f));
	assert_true(fences_owed(f));
	assert_false(fences_may_renew(f, 10));
	expect_none();
	shown(6);
	assert_true(fences_has_map(f));
	assert_int_equal(owed_chains(), 3);
	assert_false(fences_may_renew(f, 10));
	for (uint32_t t = 1; t <= 3; t++)
		acknowledges(t, 6);
	expect_none();
	assert_true(fences_may_renew(f, 10));
	assert_false(fences_owed(f));
}

static void test_a_restarted_server_has_to_acknowledge_again(void **state)
{
	begin(4);
	acknowledges(1, 5);
	acknowledges(1, 0);
	acknowledges(2, 5);
	acknowledges(3, 5);
	expect_none();
	acknowledges(1, 5);
	expect_complete(SESSION);
}

static void test_who_is_late_is_taken_out_if_another_is_not(void **state)
{
	struct fence_action a;

	begin(4);
	acknowledges(2, 5);
	acknowledges(3, 5);
	now += OVERDUE - S;
	expect_none();
	now += 2 * S;
	assert_true(next(&a));
	assert_int_equal(a.kind, FENCE_EXPEL);
	assert_int_equal(a.partition, 0);
	assert_int_equal(a.epoch, 1);
	assert_int_equal(a.target, 1);
	assert_int_equal(a.server, 10);
	expect_none();
	now += OVERDUE + S;
	assert_true(next(&a));
	assert_int_equal(a.kind, FENCE_EXPEL);
	/* Nobody else has: there is nothing to be gained. */
	acknowledges(2, 0);
	now += OVERDUE + S;
	expect_none();
}

static void test_several_sessions_are_each_told_once(void **state)
{
	begin(4);
	over[1] = SESSION + 2;
	assert_int_equal(fences_begin(f, SESSION + 2), 0);
	map.fenced_count = 2;
	shown(6);
	for (uint32_t t = 1; t <= 3; t++)
		acknowledges(t, 5);
	expect_complete(SESSION);
	for (uint32_t t = 1; t <= 3; t++)
		acknowledges(t, 6);
	expect_complete(SESSION + 2);
	/* Its closing has failed. */
	assert_int_equal(fences_begin(f, SESSION), 0);
	expect_complete(SESSION);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_in_sync_members_have_to_acknowledge),
		TEST(test_a_fence_that_is_not_shown_yet_is_not_complete),
		TEST(test_one_that_was_shown_before_it_was_told_counts),
		TEST(test_an_acknowledgement_of_an_earlier_epoch_does_not_count),
		TEST(test_a_chain_that_was_clean_stays_so),
		TEST(test_an_ended_lease_counts_only_when_nobody_can_serve),
		TEST(test_a_member_that_stays_away_is_not_owed_when_it_is_out),
		TEST(test_what_a_former_life_has_owed_is_owed),
		TEST(test_what_is_owed_is_not_forgotten_without_memory),
		TEST(test_a_restarted_server_has_to_acknowledge_again),
		TEST(test_who_is_late_is_taken_out_if_another_is_not),
		TEST(test_several_sessions_are_each_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
