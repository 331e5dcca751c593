/* placement_test - chains for the partitions of a pool.
 *
 * Goal: no chain has two members of one domain; targets get what their capacity says, within a
 * chain or two; heads and shared chains are spread; the same input always gives the same chains.
 * Method: fixed cases with pinned results, then seeded random clusters whose properties are
 * measured. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "master/chains/placement.h"

#define GIB (1ull << 30)

struct tally {
	uint32_t chains[64], heads[64], tails[64], shared[64][64];
};

/* Ids are 1 .. count. Fails when a chain is not as it must be. */
static void tally_up(const struct placement_target *targets, size_t count, uint32_t copies,
		     uint32_t partitions, const struct map_chain *chains, struct tally *t)
{
	memset(t, 0, sizeof(*t));
	for (uint32_t p = 0; p < partitions; p++) {
		assert_int_equal(chains[p].epoch, 1);
		assert_int_equal(chains[p].count, copies);
		for (uint32_t i = 0; i < copies; i++) {
			uint32_t a = chains[p].members[i].target_id;

			assert_in_range(a, 1, count);
			assert_int_equal(chains[p].members[i].state, MEMBER_IN_SYNC);
			t->chains[a]++;
			for (uint32_t j = 0; j < copies; j++) {
				uint32_t b = chains[p].members[j].target_id;

				t->shared[a][b]++;
				if (i != j)
					assert_true(targets[a - 1].domain != targets[b - 1].domain);
			}
		}
		t->heads[chains[p].members[0].target_id]++;
		t->tails[chains[p].members[copies - 1].target_id]++;
	}
}

static void spread(const uint32_t *values, size_t count, uint32_t *least, uint32_t *most)
{
	*least = UINT32_MAX;
	*most = 0;
	for (size_t i = 1; i <= count; i++) {
		if (values[i] < *least)
			*least = values[i];
		if (values[i] > *most)
			*most = values[i];
	}
}

static void test_three_equal_servers_share_everything(void **state)
{
	const struct placement_target targets[] = {{1, 1, GIB}, {2, 2, GIB}, {3, 3, GIB}};
	struct map_chain chains[96];
	struct tally t;
	uint32_t least, most;

	assert_int_equal(placement_compute(targets, 3, 3, 96, chains), 0);
	tally_up(targets, 3, 3, 96, chains, &t);
	spread(t.heads, 3, &least, &most);
	assert_int_equal(least, 32);
	assert_int_equal(most, 32);
	spread(t.tails, 3, &least, &most);
	assert_in_range(least, 31, 32);
	assert_in_range(most, 32, 33);
}

static void test_the_result_is_pinned_and_does_not_depend_on_order(void **state)
{
	const struct placement_target a[] = {
		{1, 1, GIB}, {2, 2, GIB}, {3, 3, 2 * GIB}, {4, 4, GIB}};
	const struct placement_target b[] = {
		{4, 4, GIB}, {3, 3, 2 * GIB}, {2, 2, GIB}, {1, 1, GIB}};
	struct map_chain one[8], two[8];
	const uint32_t pinned[8][2] = {{3, 1}, {2, 3}, {4, 3}, {1, 2},
				       {4, 1}, {3, 2}, {3, 4}, {1, 3}};

	assert_int_equal(placement_compute(a, 4, 2, 8, one), 0);
	assert_int_equal(placement_compute(b, 4, 2, 8, two), 0);
	assert_memory_equal(one, two, sizeof(one));
	for (int p = 0; p < 8; p++)
		for (int i = 0; i < 2; i++)
			assert_int_equal(one[p].members[i].target_id, pinned[p][i]);
}

static void test_too_few_domains_are_refused(void **state)
{
	const struct placement_target targets[] = {{1, 1, GIB}, {2, 1, GIB}, {3, 2, GIB}};
	const struct placement_target twice[] = {{1, 1, GIB}, {1, 2, GIB}};
	struct map_chain chains[4];

	assert_int_equal(placement_compute(targets, 3, 3, 4, chains), -ENODEV);
	assert_int_equal(placement_compute(targets, 1, 2, 4, chains), -ENODEV);
	assert_int_equal(placement_compute(targets, 3, 0, 4, chains), -EINVAL);
	assert_int_equal(placement_compute(targets, 3, 2, 0, chains), -EINVAL);
	assert_int_equal(placement_compute(twice, 2, 1, 4, chains), -EINVAL);
}

static void test_a_huge_server_gets_no_more_than_one_copy_of_each(void **state)
{
	const struct placement_target targets[] = {
		{1, 1, 1000 * GIB}, {2, 2, GIB}, {3, 3, GIB}, {4, 4, 2 * GIB}};
	struct map_chain chains[400];
	struct tally t;

	assert_int_equal(placement_compute(targets, 4, 2, 400, chains), 0);
	tally_up(targets, 4, 2, 400, chains, &t);
	assert_int_equal(t.chains[1], 400);
	assert_in_range(t.chains[2], 98, 102);
	assert_in_range(t.chains[4], 198, 202);
}

static void test_equal_targets_share_alike(void **state)
{
	struct placement_target targets[12];
	struct map_chain chains[1024];
	struct tally t;
	uint32_t least = UINT32_MAX, most = 0;

	for (uint32_t i = 0; i < 12; i++)
		targets[i] = (struct placement_target){i + 1, i, GIB};
	assert_int_equal(placement_compute(targets, 12, 3, 1024, chains), 0);
	tally_up(targets, 12, 3, 1024, chains, &t);
	for (int a = 1; a <= 12; a++)
		for (int b = 1; b <= 12; b++)
			if (a != b) {
				least = t.shared[a][b] < least ? t.shared[a][b] : least;
				most = t.shared[a][b] > most ? t.shared[a][b] : most;
			}
	/* 1024 * 3 pairs over 66 of them: 46.5 each. */
	assert_in_range(least, 43, 46);
	assert_in_range(most, 47, 50);
	spread(t.chains, 12, &least, &most);
	assert_int_equal(least, 256);
	assert_int_equal(most, 256);
	spread(t.heads, 12, &least, &most);
	assert_true(most - least <= 2);
}

static void test_random_clusters_get_what_their_capacity_says(void **state)
{
	const char *text = getenv("SEED");
	unsigned seed = text != NULL ? (unsigned)atoi(text) : (unsigned)time(NULL);

	print_message("SEED=%u\n", seed);
	srand(seed);
	for (int round = 0; round < 60; round++) {
		uint32_t count = 3 + (uint32_t)rand() % 30, copies = 1 + (uint32_t)rand() % 3;
		uint32_t partitions = 64 + (uint32_t)rand() % 400;
		struct placement_target targets[40];
		struct map_chain *chains = calloc(partitions, sizeof(*chains));
		double total = 0, share;
		struct tally t;
		bool fits = true;

		for (uint32_t i = 0; i < count; i++) {
			targets[i] = (struct placement_target){i + 1, i / (1 + (uint32_t)round % 2),
							       GIB * (1 + (uint64_t)rand() % 8)};
			total += (double)targets[i].capacity;
		}
		if (placement_compute(targets, count, copies, partitions, chains) == -ENODEV) {
			free(chains);
			continue;
		}
		tally_up(targets, count, copies, partitions, chains, &t);
		/* Where no server is too large for its share, shares are met. */
		for (uint32_t i = 0; i < count; i++)
			if (2 * (double)targets[i].capacity * copies * (1 + round % 2) > total)
				fits = false;
		for (uint32_t i = 0; fits && i < count; i++) {
			share = (double)targets[i].capacity / total * copies * partitions;
			if (t.chains[i + 1] < share - 2.5 || t.chains[i + 1] > share + 2.5)
				fail_msg("seed %u round %d: target %u is in %u chains, not %.1f",
					 seed, round, i + 1, t.chains[i + 1], share);
			if (t.heads[i + 1] > share / copies * 1.35 + 3)
				fail_msg("seed %u round %d: target %u leads %u chains of %.1f",
					 seed, round, i + 1, t.heads[i + 1], share / copies);
		}
		free(chains);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_equal_servers_share_everything),
		cmocka_unit_test(test_the_result_is_pinned_and_does_not_depend_on_order),
		cmocka_unit_test(test_too_few_domains_are_refused),
		cmocka_unit_test(test_a_huge_server_gets_no_more_than_one_copy_of_each),
		cmocka_unit_test(test_equal_targets_share_alike),
		cmocka_unit_test(test_random_clusters_get_what_their_capacity_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
