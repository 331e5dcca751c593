/* meta_lane_test - commands for whose answers no program waits.
 *
 * Goal: they have consecutive numbers, and their owners hear of their end once, in order; they are sent
 * again until they are durable, and so is what else was done as the sole client; nothing else is.
 * Method: a master of the test's own behind the real RPC layer, which answers the lane by its number.
 * Each request counts as one command of its log. */
#include "tests/unit/fs/session/meta_fixture.h"

static int with_lanes(void **state)
{
	char error[256] = "";
	int rc = setup(state);

	if (rc != 0)
		return rc;
	meta_close(meta, true);
	pthread_mutex_lock(&master.lock);
	master.lanes = true;
	master.requests = 0;
	master.resumes = 0;
	pthread_mutex_unlock(&master.lock);
	return open_meta(0, error, sizeof(error));
}

static bool all_three_done(void)
{
	return done_ok + done_absent + done_failed == 3;
}
static bool resumed(void)
{
	return seen(&master.resumes) == 1;
}
static bool granted(void)
{
	return grants == 1;
}
static bool told_of_loss(void)
{
	return forgettings == 1;
}
static bool another_session(void)
{
	return sessions == 3;
}
static bool asked_again(void)
{
	return seen(&master.requests) >= 4;
}

/* The number of the lane of the request that came as @i. */
static uint64_t number_of(unsigned i)
{
	uint64_t number;

	pthread_mutex_lock(&master.lock);
	number = master.numbers[i];
	pthread_mutex_unlock(&master.lock);
	return number;
}

static uint64_t id_of(unsigned i)
{
	uint64_t id;

	pthread_mutex_lock(&master.lock);
	id = master.ids[i];
	pthread_mutex_unlock(&master.lock);
	return id;
}

/* Two of the lane and a question; all answered. */
static void make_three(void)
{
	call_later(CATENA__REQUEST__OP_UNLINK, NULL);
	call_later(CATENA__REQUEST__OP_UNLINK, NULL);
	call(CATENA__REQUEST__OP_STATFS, NULL);
	assert_true(wait_for(all_three_done));
}

static void test_they_are_numbered_and_end_without_replies(void **state)
{
	(void)state;
	make_three();
	assert_int_equal(done_ok, 3);
	assert_int_equal(done_unanswered, 2);
	assert_int_equal(number_of(0), 1);
	assert_int_equal(number_of(1), 2);
	assert_int_equal(number_of(2), 0);
}

static void test_a_refusal_is_told_and_the_rest_is_done(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	master.refused_lane = 2;
	pthread_mutex_unlock(&master.lock);
	make_three();
	assert_int_equal(done_ok, 2);
	assert_int_equal(done_failed, 1);
	assert_int_equal(done_unanswered, 1);
}

static void test_what_is_not_durable_is_sent_again_and_told_once(void **state)
{
	(void)state;
	make_three();
	master_break();
	assert_true(wait_for(resumed));
	/* The question is not: its answer is what counts. */
	call(CATENA__REQUEST__OP_STATFS, NULL);
	assert_true(wait_for(asked_again));
	usleep(20000);
	assert_int_equal(seen(&master.requests), 6);
	assert_int_equal(number_of(3), 1);
	assert_int_equal(id_of(3), id_of(0));
	assert_int_equal(number_of(4), 2);
	assert_int_equal(done_ok, 4);
	assert_int_equal(forgettings, 0);
}

static void test_what_is_durable_is_not_sent_again(void **state)
{
	(void)state;
	make_three();
	tell_durable(2); /* all three came together: their index is that of the last */
	master_break();
	assert_true(wait_for(resumed));
	call(CATENA__REQUEST__OP_STATFS, NULL);
	assert_true(wait_for(asked_again));
	assert_int_equal(number_of(3), 1);
	tell_durable(100);
	pthread_mutex_lock(&master.lock);
	master.resumes = 0;
	master.requests = 0;
	pthread_mutex_unlock(&master.lock);
	usleep(20000);
	master_break();
	assert_true(wait_for(resumed));
	usleep(20000);
	assert_int_equal(seen(&master.requests), 0);
}

static void test_the_sole_client_repeats_what_it_was_told(void **state)
{
	(void)state;
	call(CATENA__REQUEST__OP_UNLINK, NULL); /* another client may be there */
	send_lease(true, 5);
	assert_true(wait_for(granted));
	call(CATENA__REQUEST__OP_UNLINK, NULL);
	call(CATENA__REQUEST__OP_STATFS, NULL);
	assert_true(wait_for(all_three_done));
	master_break();
	assert_true(wait_for(resumed));
	assert_true(wait_for(asked_again));
	usleep(20000);
	assert_int_equal(seen(&master.requests), 4);
	assert_int_equal(id_of(3), 2);
	assert_int_equal(done_ok, 3);
	/* Only what would not come again is asked for. */
	assert_int_equal(master.commands_told, 1);
}

/* It would get others, and what was done with the first ones would be lost. */
static void test_what_takes_numbers_is_answered_when_it_is_durable(void **state)
{
	(void)state;
	send_lease(true, 5);
	assert_true(wait_for(granted));
	call(CATENA__REQUEST__OP_CREATE, NULL);
	call(CATENA__REQUEST__OP_UNLINK, NULL);
	call(CATENA__REQUEST__OP_STATFS, NULL);
	assert_true(wait_for(all_three_done));
	pthread_mutex_lock(&master.lock);
	assert_true(master.asked_durable[0]);
	assert_false(master.asked_durable[1]);
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed));
	assert_true(wait_for(asked_again));
	usleep(20000);
	assert_int_equal(seen(&master.requests), 4);
	assert_int_equal(id_of(3), id_of(1));
}

static void test_another_end_than_was_told_is_a_loss(void **state)
{
	(void)state;
	make_three();
	pthread_mutex_lock(&master.lock);
	master.refused_lane = 1;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(told_of_loss));
	assert_int_equal(done_ok, 3);
	assert_int_equal(done_failed, 0);
}

static void test_a_new_session_begins_a_lane(void **state)
{
	(void)state;
	make_three();
	pthread_mutex_lock(&master.lock);
	master.forget_sessions = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(another_session));
	call_later(CATENA__REQUEST__OP_UNLINK, NULL);
	assert_true(wait_for(asked_again));
	usleep(20000);
	/* What was answered in the old session is its affair. */
	assert_int_equal(seen(&master.requests), 4);
	assert_int_equal(number_of(3), 1);
	assert_int_equal(id_of(3), 1);
}

#define WITH_LANES(test) cmocka_unit_test_setup_teardown(test, with_lanes, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LANES(test_they_are_numbered_and_end_without_replies),
		WITH_LANES(test_a_refusal_is_told_and_the_rest_is_done),
		WITH_LANES(test_what_is_not_durable_is_sent_again_and_told_once),
		WITH_LANES(test_what_is_durable_is_not_sent_again),
		WITH_LANES(test_the_sole_client_repeats_what_it_was_told),
		WITH_LANES(test_what_takes_numbers_is_answered_when_it_is_durable),
		WITH_LANES(test_another_end_than_was_told_is_a_loss),
		WITH_LANES(test_a_new_session_begins_a_lane),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
