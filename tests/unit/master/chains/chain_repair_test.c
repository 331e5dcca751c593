/* chain_repair_test - substitutes, drains, balance, heads and failure domains.
 *
 * Goal: what repair.h promises. Method: as in chain_manager_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/unit/master/chains/chain_manager_rig.h"

static struct rig r;

#define begin(servers, copies, partitions) rig_begin(&r, servers, copies, partitions)
#define end()                              rig_finish(&r)
#define assert_chain(text)                 assert_string_equal(rig_chain(&r, 0), text)

static void test_a_missing_copy_is_made_anew_after_a_while(void **state)
{
	begin(4, 3, 8);
	r.catches_up = true;
	rig_lose(&r, 0);
	rig_run(&r, 15000);
	assert_false(rig_whole(&r));
	assert_true(rig_load(&r, 1) > 0);
	rig_run(&r, 20000);
	assert_true(rig_whole(&r));
	assert_int_equal(rig_load(&r, 1), 0);
	/* Back, it gets its part again. */
	rig_start(&r, 0);
	rig_run(&r, 30000);
	assert_true(rig_whole(&r));
	assert_in_range(rig_load(&r, 1), 4, 8);
	end();
}

static void test_nothing_is_made_anew_while_recovery_is_paused(void **state)
{
	begin(4, 3, 8);
	chain_manager_set_recovery(r.manager, true);
	rig_lose(&r, 0);
	rig_run(&r, 60000);
	assert_false(rig_whole(&r));
	assert_true(rig_load(&r, 1) > 0);
	chain_manager_set_recovery(r.manager, false);
	rig_run(&r, 30000);
	assert_true(rig_whole(&r));
	end();
}

static void test_a_member_that_gets_nearer_is_not_given_up(void **state)
{
	begin(3, 2, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 100);
	rig_start(&r, 0);
	for (int i = 0; i < 60; i++) {
		struct chain_manager_report said = rig_said(&r, 0, 1, true);

		rig_run(&r, 1000);
		chain_manager_progress(r.manager, &r.map, &said, r.now_ns);
	}
	assert_chain("2 1+");
	for (int i = 0; i < 21; i++) {
		struct chain_manager_report by_another = rig_said(&r, 0, 1, true);
		struct chain_manager_report of_another_epoch = by_another;

		by_another.server = 3;
		of_another_epoch.epoch++;
		rig_run(&r, 1000);
		chain_manager_progress(r.manager, &r.map, &by_another, r.now_ns);
		chain_manager_progress(r.manager, &r.map, &of_another_epoch, r.now_ns);
	}
	assert_chain("2 3+ 1-");
	end();
}

static void test_a_draining_target_is_emptied_without_a_copy_less(void **state)
{
	begin(4, 3, 16);
	r.catches_up = false;
	r.targets[0].draining = true;
	for (int i = 0; i < 600 && rig_load(&r, 1) > 0; i++) {
		uint32_t moving = 0;

		rig_run(&r, 100);
		for (uint32_t p = 0; p < 16; p++) {
			uint32_t in_sync = 0;

			for (uint32_t m = 0; m < r.chains[p].count; m++) {
				in_sync += r.chains[p].members[m].state == MEMBER_IN_SYNC ? 1 : 0;
				if (r.chains[p].members[m].state != MEMBER_SYNCING)
					continue;
				moving++;
				if (i % 3 == 0)
					rig_caught_up(&r, p, r.chains[p].members[m].target_id);
			}
			assert_true(in_sync >= 3);
		}
		assert_true(moving <= 2);
	}
	assert_int_equal(rig_load(&r, 1), 0);
	assert_true(r.last_fenced <= 1);
	end();
}

static void
test_a_draining_target_counts_among_those_that_are_waited_for_and_gets_nothing(void **state)
{
	rig_init(&r, 4, 1, 3, 8);
	r.targets[3].draining = true;
	rig_all_up(&r);
	assert_int_equal(r.chains[0].epoch, 1);
	assert_true(rig_whole(&r));
	assert_int_equal(rig_load(&r, 4), 0);
	rig_end(&r);
}

static void test_chains_of_a_later_line_begin_in_it(void **state)
{
	rig_init(&r, 3, 1, 3, 8);
	chain_manager_free(r.manager);
	r.options.epoch_base = UINT64_C(7) << 48;
	r.manager = chain_manager_new(&r.options);
	rig_all_up(&r);
	assert_int_equal(r.chains[7].epoch, (UINT64_C(7) << 48) + 1);
	rig_end(&r);
}

static void test_a_full_target_is_relieved_where_another_can_come(void **state)
{
	begin(4, 3, 4);
	r.target[1].report.full = true;
	rig_run(&r, 5000);
	assert_int_equal(rig_load(&r, 2), 0);
	assert_true(rig_whole(&r));
	end();
	begin(3, 3, 4);
	r.target[1].report.full = true;
	rig_run(&r, 5000);
	assert_int_equal(rig_load(&r, 2), 4);
	assert_true(rig_whole(&r));
	end();
}

static void test_balance_follows_capacity_and_comes_to_rest(void **state)
{
	unsigned changes;
	double sum = 0;

	begin(5, 3, 64);
	/* Two more servers come, of other sizes. */
	for (uint32_t s = 5; s < 7; s++) {
		r.servers[s].id = s + 1;
		r.targets[s] = (struct map_target){.id = s + 1, .server_id = s + 1};
		r.target[s].report = (struct liveness_report){
			.id = s + 1, .life = 1, .capacity = s == 5 ? 1u << 31 : 1u << 29};
		r.target[s].server = s;
		r.target[s].listed = true;
	}
	r.map.server_count = r.map.target_count = 7;
	rig_register(&r, 5);
	rig_register(&r, 6);
	rig_run(&r, 60000);
	assert_true(rig_whole(&r));
	for (uint32_t t = 0; t < 7; t++)
		sum += (double)r.target[t].report.capacity;
	for (uint32_t t = 0; t < 7; t++) {
		double fair = 192 * (double)r.target[t].report.capacity / sum;

		assert_true(rig_load(&r, t + 1) > fair * 0.9 - 2);
		assert_true(rig_load(&r, t + 1) < fair * 1.1 + 2);
	}
	changes = r.changes;
	rig_run(&r, 20000);
	assert_int_equal(r.changes, changes);
	end();
}

/* Somebody fills a disk with other files. What is left there counts, not how large the disk is: else
 * chains would come, be driven out as the disk gets full, and come again, for ever. */
static void test_what_others_put_on_a_disk_is_no_room(void **state)
{
	/* Of 1024 MiB an eighth is kept free; the other three have 896 MiB for chains. */
	static const struct {
		uint64_t foreign, load; /* 192 * room / (room + 3 * 896), and 64 at most */
	} cases[] = {{0, 48}, {307, 34}, {614, 18}, {921, 0}};
	unsigned changes;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		rig_init(&r, 4, 1, 3, 64);
		r.chain_bytes = (1 << 30) / 128; /* 48 of 128 on each */
		r.target[0].foreign = cases[i].foreign << 20;
		rig_all_up(&r);
		rig_run(&r, 60000);
		assert_true(rig_whole(&r));
		assert_false(r.target[0].report.full);
		changes = r.changes;
		rig_run(&r, 60000);
		assert_int_equal(r.changes, changes);
		assert_in_range(rig_load(&r, 1) + 2, cases[i].load, cases[i].load + 4);
		/* And all of it goes away again. */
		r.target[0].foreign = 0;
		rig_run(&r, 60000);
		assert_true(rig_whole(&r));
		assert_in_range(rig_load(&r, 1), 45, 51);
		end();
	}
}

static void test_a_disk_that_others_fill_rests_when_it_is_relieved(void **state)
{
	unsigned changes;

	rig_init(&r, 4, 1, 3, 64);
	r.chain_bytes = (1 << 30) / 128;
	rig_all_up(&r);
	r.target[0].foreign = (1 << 30) / 10 * 8;
	rig_run(&r, 60000);
	assert_true(rig_whole(&r));
	changes = r.changes;
	rig_run(&r, 60000);
	assert_int_equal(r.changes, changes);
	end();
}

static void test_sizes_that_are_not_known_move_nothing(void **state)
{
	unsigned changes;

	begin(4, 3, 16);
	changes = r.changes;
	r.target[3].report.capacity = 0;
	rig_run(&r, 10000);
	assert_int_equal(r.changes, changes);
	end();
}

static void test_heads_are_spread(void **state)
{
	uint32_t heads[4] = {0};

	begin(3, 3, 32);
	for (uint32_t p = 0; p < 32; p++)
		rig_set_chain(&r, p, 1, 2 + p % 2, 3 - p % 2);
	rig_run(&r, 30000);
	for (uint32_t p = 0; p < 32; p++)
		heads[r.chains[p].members[0].target_id]++;
	for (uint32_t t = 1; t <= 3; t++)
		assert_in_range(heads[t], 6, 14);
	assert_true(rig_whole(&r));
	end();
}

static void test_domains_are_kept_and_mended(void **state)
{
	const char *racks[] = {"a", "a", "b", "b", "c", "c"};

	rig_init(&r, 6, 1, 3, 16);
	r.pool.failure_domain = FAILURE_DOMAIN_RACK;
	for (uint32_t s = 0; s < 6; s++)
		snprintf(r.servers[s].rack, sizeof(r.servers[s].rack), "%s", racks[s]);
	rig_all_up(&r);
	for (int round = 0; round < 2; round++) {
		for (uint32_t p = 0; p < 16; p++)
			for (uint32_t i = 0; i < 3; i++)
				for (uint32_t j = 0; j < i; j++)
					assert_string_not_equal(
						racks[r.chains[p].members[i].target_id - 1],
						racks[r.chains[p].members[j].target_id - 1]);
		/* Without rack c, two copies in one rack are better than none; with it, not. */
		rig_lose(&r, 4);
		rig_lose(&r, 5);
		rig_run(&r, 60000);
		assert_true(rig_whole(&r));
		rig_start(&r, 4);
		rig_start(&r, 5);
		rig_run(&r, 60000);
		assert_true(rig_whole(&r));
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_missing_copy_is_made_anew_after_a_while),
		cmocka_unit_test(test_nothing_is_made_anew_while_recovery_is_paused),
		cmocka_unit_test(test_a_member_that_gets_nearer_is_not_given_up),
		cmocka_unit_test(test_a_draining_target_is_emptied_without_a_copy_less),
		cmocka_unit_test(
			test_a_draining_target_counts_among_those_that_are_waited_for_and_gets_nothing),
		cmocka_unit_test(test_chains_of_a_later_line_begin_in_it),
		cmocka_unit_test(test_a_full_target_is_relieved_where_another_can_come),
		cmocka_unit_test(test_balance_follows_capacity_and_comes_to_rest),
		cmocka_unit_test(test_what_others_put_on_a_disk_is_no_room),
		cmocka_unit_test(test_a_disk_that_others_fill_rests_when_it_is_relieved),
		cmocka_unit_test(test_sizes_that_are_not_known_move_nothing),
		cmocka_unit_test(test_heads_are_spread),
		cmocka_unit_test(test_domains_are_kept_and_mended),
	};

	return cmocka_run_group_tests_name("chain_repair", tests, NULL, NULL);
}
