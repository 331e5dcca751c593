/* chain_manager_damage_test - targets that lack what they had flushed.
 *
 * Goal: such a target is never the source of the others, whoever comes first and whatever else is
 * wrong with it, and counts like any other once the chains reflect its damage. Method: as in
 * chain_manager_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "tests/unit/master/chains/chain_manager_rig.h"

static struct rig r;

/* One chain of 1, 2 and so on. */
static void begin(uint32_t servers)
{
	rig_init(&r, servers, 1, servers, 1);
	rig_all_up(&r);
	assert_true(rig_whole(&r));
	rig_set_chain(&r, 0, 1, 2, servers > 2 ? 3 : 0);
	rig_run(&r, 20);
}

static void end(void)
{
	if (r.broken != NULL)
		fail_msg("%s", r.broken);
	rig_end(&r);
}

#define assert_chain(text) assert_string_equal(rig_chain(&r, 0), text)

static int start_damaged(uint32_t s)
{
	r.target[s].report.damaged = true;
	return rig_start(&r, s);
}

static void test_a_damaged_target_is_behind_the_others_until_it_is_made_equal(void **state)
{
	begin(3);
	r.catches_up = false;
	rig_kill(&r, 0);
	assert_int_equal(start_damaged(0), 0);
	assert_false(rig_beat(&r, 0, false)); /* not before everybody is ahead of it */
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	assert_int_equal(r.stored_life[0], 2);
	assert_true(rig_beat(&r, 0, false));
	/* It registers again in this life, or the master has forgotten it: nothing new. */
	assert_int_equal(rig_register(&r, 0), 0);
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	r.catches_up = true;
	rig_run(&r, 200);
	assert_chain("2 3 1");
	/* From now on it counts, also as the last. */
	rig_kill(&r, 1);
	rig_kill(&r, 2);
	rig_run(&r, 200);
	assert_int_equal(rig_register(&r, 0), 0);
	rig_run(&r, 100);
	assert_true(rig_in_sync(&r.chains[0], 1));
	end();
}

static void test_damage_that_shows_when_all_start_makes_nobody_the_source(void **state)
{
	/* Whichever comes first. */
	for (uint32_t first = 0; first < 3; first++) {
		begin(3);
		r.catches_up = false;
		for (uint32_t s = 0; s < 3; s++)
			rig_kill(&r, s);
		rig_run(&r, 3000);
		assert_chain("1 2 3");
		for (uint32_t i = 0; i < 3; i++) {
			uint32_t s = (first + i) % 3;

			assert_int_equal(s == 0 ? start_damaged(s) : rig_start(&r, s), 0);
			rig_run(&r, 20);
			assert_true(s != 0 || !rig_in_sync(&r.chains[0], 1));
		}
		rig_run(&r, 4000);
		assert_chain("2 3 1+");
		r.catches_up = true;
		rig_run(&r, 200);
		assert_chain("2 3 1");
		end();
	}
}

static void test_a_damaged_target_is_never_the_last(void **state)
{
	begin(2);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 200);
	assert_chain("2 1-");
	rig_kill(&r, 1);
	rig_run(&r, 200);
	assert_int_equal(start_damaged(1), -ESTALE);
	/* Not with a failing disk either, which is settled for others. */
	r.target[1].report.error = EIO;
	assert_int_equal(rig_register(&r, 1), -ESTALE);
	r.target[1].report.error = 0;
	assert_int_equal(rig_start(&r, 0), 0);
	rig_run(&r, 5000);
	assert_chain("2 1-");
	assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, 2), 0);
	assert_int_equal(rig_register(&r, 1), 0);
	r.catches_up = true;
	rig_run(&r, 5000);
	assert_chain("2 1");
	end();
}

static void test_of_two_damaged_ones_an_administrator_chooses(void **state)
{
	for (uint32_t chosen = 1; chosen <= 2; chosen++) {
		begin(2);
		for (uint32_t s = 0; s < 2; s++)
			rig_kill(&r, s);
		rig_run(&r, 200);
		assert_int_equal(start_damaged(0), 0); /* the other one may have everything */
		assert_int_equal(start_damaged(1), -ESTALE);
		rig_run(&r, 5000);
		assert_chain("2 1-");
		assert_int_equal(chain_manager_accept_data_loss(r.manager, &r.map, 1, 0, chosen),
				 0);
		rig_run(&r, 1000);
		assert_int_equal(rig_register(&r, 1), 0);
		rig_run(&r, 10000);
		if (chosen == 1) /* the one rule that the administrator breaks */
			r.broken = NULL;
		assert_int_equal(r.chains[0].members[0].target_id, chosen);
		assert_int_equal(rig_count(&r, MEMBER_IN_SYNC), 2);
		assert_true(rig_beat(&r, 0, false));
		assert_true(rig_beat(&r, 1, false));
		end();
	}
}

static void test_damage_with_a_failing_disk_is_still_damage(void **state)
{
	begin(2);
	r.catches_up = false;
	for (uint32_t s = 0; s < 2; s++)
		rig_kill(&r, s);
	rig_run(&r, 200);
	r.target[0].report.error = EIO;
	assert_int_equal(start_damaged(0), 0);
	assert_int_equal(rig_start(&r, 1), 0);
	rig_run(&r, 5000);
	assert_chain("2 1-");
	r.target[0].report.error = 0;
	rig_beat(&r, 0, false);
	rig_run(&r, 20000);
	assert_chain("2 1+");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_damaged_target_is_behind_the_others_until_it_is_made_equal),
		cmocka_unit_test(test_damage_that_shows_when_all_start_makes_nobody_the_source),
		cmocka_unit_test(test_a_damaged_target_is_never_the_last),
		cmocka_unit_test(test_of_two_damaged_ones_an_administrator_chooses),
		cmocka_unit_test(test_damage_with_a_failing_disk_is_still_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
