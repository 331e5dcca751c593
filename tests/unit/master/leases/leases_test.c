/* leases_test - sessions' time and the sole client's lease, step by step.
 *
 * Goal: nobody is let in while a session that may have something under way by its lease is neither
 * back nor over; nobody hears of a lease that is not in the store; nobody waits for ever; a lone
 * client gets the lease, and keeps its session however long it was away. Method: single steps by
 * hand, with times made up. leases_sim_test runs many of them at random. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include "tests/unit/master/leases/leases_fixture.h"

static struct leases *make(void)
{
	struct leases *l;

	assert_int_equal(leases_create(&options, &l), 0);
	return l;
}

static void expect_action(struct leases *l, uint64_t now, enum lease_action_kind kind, uint64_t id)
{
	struct lease_action a;

	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, kind);
	assert_int_equal(a.id, id);
}

static void expect_none(struct leases *l, uint64_t now)
{
	struct lease_action a;

	assert_false(leases_next(l, now, &a));
}

/* Looks often, as the master does, so that no pause is seen. */
static bool run_until(struct leases *l, uint64_t *now, uint64_t until, struct lease_action *out)
{
	for (; *now < until; *now += 100 * MS)
		if (leases_next(l, *now, out))
			return true;
	return false;
}

/* One client, admitted as session 1, that has the lease of generation 9 and knows it. */
static struct leases *make_held(uint64_t now)
{
	struct leases *l = make();
	struct lease_action a;

	assert_int_equal(leases_arrive(l, 100), 0);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	assert_int_equal(leases_admitted(l, 1, true, now), 0);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	expect_none(l, now);
	leases_granted(l, 1, 9);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	expect_none(l, now);
	return l;
}

static void test_a_lone_client_is_granted_and_recalled_for_the_second(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;

	assert_int_equal(leases_arrive(l, 101), 0);
	leases_return(l, 1, 9); /* unasked: it may have crossed a grant */
	assert_true(leases_next(l, 4, &a));
	assert_int_equal(a.kind, LEASE_ACTION_RECALL);
	assert_true(a.number != 9);
	expect_none(l, 5);
	leases_return(l, 1, a.number + 7); /* of another recall */
	leases_return(l, 1, 9);            /* of a grant */
	expect_none(l, 5);
	leases_return(l, 1, a.number);
	assert_true(leases_next(l, 5, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 9);
	/* Nobody is let in before that is in the log. */
	expect_none(l, 6);
	leases_end_failed(l, 1, 6);
	expect_none(l, 7);
	expect_action(l, 6 + 2 * S, LEASE_ACTION_END, 1);
	leases_ended(l, 1, 9);
	expect_action(l, 6 + 2 * S, LEASE_ACTION_ADMIT, 101);
	assert_int_equal(leases_admitted(l, 2, true, 6 + 2 * S), 0);
	expect_none(l, 7 + 2 * S);
	leases_closed(l, 2);
	expect_action(l, 8 + 2 * S, LEASE_ACTION_GRANT, 1);
	leases_destroy(l);
}

static void test_a_lease_is_told_only_when_it_is_durable(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	leases_arrive(l, 100);
	expect_action(l, 1, LEASE_ACTION_ADMIT, 100);
	leases_admitted(l, 1, true, 1);
	expect_action(l, 1, LEASE_ACTION_GRANT, 1);
	assert_true(leases_renew(l, 1, 2));
	expect_none(l, 2);
	leases_grant_failed(l, 1, 3);
	expect_none(l, 4);
	/* It may be in the store all the same: nobody is let in before that is known. */
	leases_arrive(l, 101);
	expect_none(l, 5);
	expect_action(l, 3 + 2 * S, LEASE_ACTION_GRANT, 1);
	leases_granted(l, 1, 4);
	/* It was never told: so it need not be asked for. */
	assert_true(leases_next(l, 3 + 2 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 4);
	leases_ended(l, 1, 4);
	expect_action(l, 3 + 2 * S, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_a_silent_holder_delays_the_second_until_its_session_is_over(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	leases_disconnect(l, 1, now);
	leases_arrive(l, 101);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_true(now > 4400 * MS);
	assert_true(now < 4700 * MS);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 1);
	/* As long as the fence takes; and it is too late for the client. */
	assert_false(run_until(l, &now, 40 * S, &a));
	assert_false(leases_renew(l, 1, now));
	leases_close_failed(l, 1);
	expect_action(l, now, LEASE_ACTION_FENCE, 1);
	leases_closed(l, 1);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_admitted(l, 2, true, now);
	expect_action(l, now, LEASE_ACTION_GRANT, 2);
	leases_destroy(l);
}

static void test_a_holder_that_renews_but_does_not_return_is_fenced(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1, answered = 0;
	bool fenced = false;

	leases_arrive(l, 101);
	expect_action(l, now, LEASE_ACTION_RECALL, 1);
	for (; now < 30 * S && !fenced; now += 100 * MS) {
		if (leases_renew(l, 1, now))
			answered = now;
		if (leases_next(l, now, &a)) {
			assert_int_equal(a.kind, LEASE_ACTION_FENCE);
			assert_int_equal(a.id, 1);
			fenced = true;
		}
	}
	assert_true(fenced);
	assert_true(answered < 11 * S);
	assert_true(now > answered + options.lease_ns + options.margin_ns);
	leases_closed(l, 1);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_after_a_restart_the_stored_holder_has_the_lease(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 5;

	assert_int_equal(leases_restore(l, 7, false, now), 0);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	expect_none(l, now);
	/* It comes back: told to return at once. */
	leases_resume(l, 7, now);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_RECALL);
	leases_return(l, 7, a.number);
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_END);
	assert_int_equal(a.number, 3);
	leases_destroy(l);

	/* It never comes back. */
	l = make();
	leases_restore(l, 7, false, now);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	assert_true(run_until(l, &now, 10 * S, &a));
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_true(now > 4400 * MS);
	leases_destroy(l);

	/* Nobody has it, of one or of two. */
	l = make();
	leases_restore(l, 7, false, now);
	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_restore(l, 8, false, now);
	leases_arrive(l, 101);
	expect_action(l, now, LEASE_ACTION_ADMIT, 101);
	leases_destroy(l);
}

static void test_a_fence_that_had_begun_is_begun_again_after_a_restart(void **state)
{
	struct leases *l = make();
	uint64_t now = 5;

	leases_restore(l, 7, true, now);
	leases_restore_lease(l, 7, 3);
	leases_arrive(l, 100);
	expect_action(l, now, LEASE_ACTION_FENCE, 7);
	expect_none(l, now);
	assert_false(leases_renew(l, 7, now));
	leases_closed(l, 7);
	expect_action(l, now, LEASE_ACTION_ADMIT, 100);
	leases_destroy(l);
}

static void test_who_has_what_others_wait_for_ends_with_its_time(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;
	(void)state;

	/* Two sessions; one falls silent, with its stream open. */
	leases_restore(l, 1, false, now);
	leases_restore(l, 2, false, now);
	leases_resume(l, 1, now);
	leases_resume(l, 2, now);
	for (now = 500 * MS; now < 10 * S; now += 500 * MS) {
		assert_true(leases_renew(l, 2, now));
		expect_none(l, now);
	}
	leases_hurry(l, 1, now);
	expect_action(l, now, LEASE_ACTION_FENCE, 1);
	leases_destroy(l);

	/* Not before; and not because others once waited. */
	l = make();
	now = 1;
	leases_restore(l, 1, false, now);
	leases_restore(l, 2, false, now);
	leases_resume(l, 1, now);
	leases_resume(l, 2, now);
	leases_hurry(l, 1, now);
	assert_true(run_until(l, &now, 20 * S, &a) == false || a.id != 1);
	leases_destroy(l);
}

static void test_who_goes_with_something_under_way_is_fenced(void **state)
{
	struct leases *l = make_held(1);

	leases_fence(l, 1);
	assert_false(leases_renew(l, 1, 2));
	expect_action(l, 2, LEASE_ACTION_FENCE, 1);
	expect_none(l, 2);
	leases_closed(l, 1);
	assert_int_equal(leases_count(l), 0);
	leases_destroy(l);
}

static void test_a_pause_of_the_master_ends_nobody(void **state)
{
	struct leases *l = make_held(1);

	leases_arrive(l, 101);
	expect_action(l, 2, LEASE_ACTION_RECALL, 1);
	expect_none(l, 60 * S);
	assert_false(leases_lapsed(l, 1, 60 * S));
	/* Nor is it the holder's fault that nobody read its return. */
	assert_true(leases_renew(l, 1, 60 * S));
	leases_destroy(l);
}

static void test_a_client_that_is_alone_may_be_away_for_ever(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	leases_disconnect(l, 1, now);
	assert_false(run_until(l, &now, 3600 * S, &a));
	leases_resume(l, 1, now);
	/* What it had answered under its lease still counts: it is the same one. */
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	leases_destroy(l);
}

static void test_a_silent_client_renews_if_nobody_wanted_in(void **state)
{
	struct leases *l = make_held(1);
	struct lease_action a;
	uint64_t now = 1;

	assert_false(run_until(l, &now, 200 * S, &a));
	assert_true(leases_lapsed(l, 1, now));
	assert_true(leases_renew(l, 1, now));
	assert_true(leases_next(l, now, &a));
	assert_int_equal(a.kind, LEASE_ACTION_TELL);
	assert_int_equal(a.number, 9);
	leases_destroy(l);
}

static void test_of_several_sessions_the_dead_ones_are_fenced(void **state)
{
	struct leases *l = make();
	struct lease_action a;
	uint64_t now = 1;

	for (uint64_t i = 1; i <= 3; i++)
		leases_restore(l, i, false, now);
	for (uint64_t i = 1; i <= 3; i++)
		leases_resume(l, i, now);
	leases_disconnect(l, 2, now);
	for (; !leases_next(l, now, &a); now += 100 * MS)
		leases_renew(l, 1, now);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 2);
	assert_true(now > options.lease_ns + options.margin_ns);
	leases_closed(l, 2);
	/* Connected, and silent: it has more time. */
	for (; !leases_next(l, now, &a); now += 100 * MS)
		leases_renew(l, 1, now);
	assert_int_equal(a.kind, LEASE_ACTION_FENCE);
	assert_int_equal(a.id, 3);
	assert_true(now > options.lease_ns + options.session_timeout_ns);
	expect_none(l, now); /* one of them is not over yet */
	leases_closed(l, 3);
	expect_action(l, now, LEASE_ACTION_GRANT, 1);
	leases_destroy(l);
}

static void test_there_are_never_more_sessions_than_allowed(void **state)
{
	struct leases *l = make();
	struct lease_action a;

	for (uint64_t i = 0; i < options.sessions_max; i++) {
		assert_int_equal(leases_arrive(l, 100 + i), 0);
		if (!leases_next(l, 1, &a))
			continue;
		assert_int_equal(a.kind, LEASE_ACTION_ADMIT);
		leases_admitted(l, 1 + i, true, 1);
	}
	assert_true(leases_arrive(l, 500) < 0);
	leases_depart(l, 101);
	leases_destroy(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_lone_client_is_granted_and_recalled_for_the_second),
		cmocka_unit_test(test_a_lease_is_told_only_when_it_is_durable),
		cmocka_unit_test(test_a_silent_holder_delays_the_second_until_its_session_is_over),
		cmocka_unit_test(test_a_holder_that_renews_but_does_not_return_is_fenced),
		cmocka_unit_test(test_after_a_restart_the_stored_holder_has_the_lease),
		cmocka_unit_test(test_a_fence_that_had_begun_is_begun_again_after_a_restart),
		cmocka_unit_test(test_who_goes_with_something_under_way_is_fenced),
		cmocka_unit_test(test_who_has_what_others_wait_for_ends_with_its_time),
		cmocka_unit_test(test_a_pause_of_the_master_ends_nobody),
		cmocka_unit_test(test_a_client_that_is_alone_may_be_away_for_ever),
		cmocka_unit_test(test_a_silent_client_renews_if_nobody_wanted_in),
		cmocka_unit_test(test_of_several_sessions_the_dead_ones_are_fenced),
		cmocka_unit_test(test_there_are_never_more_sessions_than_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
