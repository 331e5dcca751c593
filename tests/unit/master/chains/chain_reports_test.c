/* chain_reports_test - what members and clients say of each other, and what becomes of it.
 *
 * Goal: a report of equality or damage counts for the epoch that it is about, from who can know;
 * complaints that last part those who cannot talk, and nobody can drown them. Method: a cluster in
 * virtual time (chain_manager_rig.h). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/master/chains/chain_manager_rig.h"

static struct rig r;

#define begin(servers, copies, partitions) rig_begin(&r, servers, copies, partitions)
#define end()                              rig_finish(&r)
#define assert_chain(text)                 assert_string_equal(rig_chain(&r, 0), text)

static void begin_with_a_syncing_member(void)
{
	begin(3, 3, 1);
	r.catches_up = false;
	rig_kill(&r, 0);
	rig_run(&r, 100);
	rig_start(&r, 0);
	rig_run(&r, 100);
	assert_chain("2 3 1+");
}

/* ---- reports ---- */

static void say_caught_up(struct chain_manager_report said)
{
	chain_manager_caught_up(r.manager, &r.map, &said);
}

static void test_promotion_counts_for_the_epoch_only(void **state)
{
	struct chain_manager_report said;

	begin_with_a_syncing_member();
	said = rig_said(&r, 0, 1, true);
	said.epoch--;
	say_caught_up(said);
	rig_caught_up(&r, 0, 2);
	said.epoch++;
	said.partition = 99;
	say_caught_up(said);
	said.partition = 0;
	said.pool = 7;
	say_caught_up(said);
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	rig_caught_up(&r, 0, 1);
	rig_run(&r, 10);
	assert_chain("2 3 1");
	end();
}

static void test_only_the_tail_says_that_its_successor_is_equal(void **state)
{
	struct chain_manager_report said;

	begin_with_a_syncing_member();
	said = rig_said(&r, 0, 1, true);
	for (said.server = 0; said.server < 6; said.server++)
		if (said.server != 3)
			say_caught_up(said);
	rig_run(&r, 100);
	assert_chain("2 3 1+");
	end();
}

/* It would count for ever, or make what is said of this one be too late. */
static void test_a_report_of_an_epoch_to_come_is_not_kept(void **state)
{
	struct chain_manager_report said;

	begin_with_a_syncing_member();
	said = rig_said(&r, 0, 1, true);
	said.epoch = UINT64_MAX;
	say_caught_up(said);
	chain_manager_unfit(r.manager, &r.map,
			    &(struct chain_manager_report){
				    .server = 3, .pool = 1, .epoch = UINT64_MAX, .target = 3});
	rig_caught_up(&r, 0, 1);
	rig_run(&r, 10);
	assert_chain("2 3 1");
	rig_unfit(&r, 0, 2);
	rig_run(&r, 20);
	assert_chain("3 1 2+");
	end();
}

static void test_an_unfit_member_is_made_equal_unless_it_is_the_last(void **state)
{
	struct chain_manager_report said;

	begin(2, 2, 1);
	r.catches_up = false;
	said = rig_said(&r, 0, 1, false);
	said.epoch--;
	chain_manager_unfit(r.manager, &r.map, &said);
	rig_run(&r, 20);
	assert_chain("1 2");
	said = rig_said(&r, 0, 1, false);
	said.server = 2; /* about another */
	chain_manager_unfit(r.manager, &r.map, &said);
	rig_run(&r, 20);
	assert_chain("1 2");
	rig_unfit(&r, 0, 1);
	rig_run(&r, 20);
	assert_chain("2 1+");
	rig_unfit(&r, 0, 2);
	rig_run(&r, 20);
	assert_chain("2 1+");
	end();
}

/* ---- complaints ---- */

static void complain(uint32_t from, uint32_t about, uint64_t ms)
{
	for (uint64_t at = 0; at < ms; at += 500) {
		chain_manager_unreachable(r.manager, from, about, r.now_ns);
		rig_run(&r, 500);
	}
}

static void test_the_successor_goes_when_two_cannot_talk(void **state)
{
	begin(3, 3, 1);
	complain(1, 2, 1000);
	assert_chain("1 2 3");
	complain(1, 2, 1000);
	assert_chain("1 3 2-");
	assert_true(r.last_fenced == 1);
	/* Not back at once, but later. */
	rig_run(&r, 5000);
	assert_chain("1 3 2-");
	rig_run(&r, 8000);
	assert_chain("1 3 2");
	end();
}

static void test_the_one_of_most_complaints_goes(void **state)
{
	begin(4, 4, 1);
	r.chains[0].epoch++;
	for (uint32_t i = 0; i < 4; i++)
		r.chains[0].members[i].target_id = i + 1;
	for (int i = 0; i < 4; i++) {
		chain_manager_unreachable(r.manager, 4, 2, r.now_ns);
		complain(2, 3, 500);
	}
	assert_chain("1 3 4 2-");
	end();
}

static void test_a_crowd_of_clients_does_not_drown_what_servers_say(void **state)
{
	begin(3, 3, 1);
	for (int i = 0; i < 4; i++) {
		for (uint64_t session = 1; session <= 3000; session++)
			chain_manager_client_unreachable(r.manager, session, 3, r.now_ns);
		complain(1, 2, 500);
	}
	assert_chain("1 3 2-");
	end();
}

static void test_what_is_not_repeated_is_forgotten(void **state)
{
	begin(3, 3, 1);
	for (int i = 0; i < 5; i++)
		complain(1, 2, 500), rig_run(&r, 1500);
	assert_chain("1 2 3");
	end();
}

static void test_a_head_that_clients_cannot_reach_leads_no_more(void **state)
{
	begin(3, 3, 1);
	for (int i = 0; i < 4; i++) {
		chain_manager_client_unreachable(r.manager, 77, 1, r.now_ns);
		rig_run(&r, 500);
	}
	assert_chain("2 3 1");
	for (int i = 0; i < 8; i++) {
		chain_manager_client_unreachable(r.manager, 77, 2, r.now_ns);
		chain_manager_client_unreachable(r.manager, 77, 3, r.now_ns);
		chain_manager_client_unreachable(r.manager, 77, 1, r.now_ns);
		rig_run(&r, 500);
	}
	assert_chain("2 3 1");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_promotion_counts_for_the_epoch_only),
		cmocka_unit_test(test_only_the_tail_says_that_its_successor_is_equal),
		cmocka_unit_test(test_a_report_of_an_epoch_to_come_is_not_kept),
		cmocka_unit_test(test_an_unfit_member_is_made_equal_unless_it_is_the_last),
		cmocka_unit_test(test_the_successor_goes_when_two_cannot_talk),
		cmocka_unit_test(test_the_one_of_most_complaints_goes),
		cmocka_unit_test(test_a_crowd_of_clients_does_not_drown_what_servers_say),
		cmocka_unit_test(test_what_is_not_repeated_is_forgotten),
		cmocka_unit_test(test_a_head_that_clients_cannot_reach_leads_no_more),
	};

	return cmocka_run_group_tests_name("chain_reports", tests, NULL, NULL);
}
