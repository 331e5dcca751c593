/* meta_hold_test - calls of the master that wait behind one that is held.
 *
 * Goal: what is held goes in its order, with its own in front; nobody waits for it for ever, and a
 * new session or the end of the mount ends it as it ends all else. Method: meta_fixture.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/fs/session/meta_fixture.h"

static atomic_uint went;

static void go(void *user)
{
	call_by(meta_call_now, CATENA__REQUEST__OP_STATFS, user);
	atomic_fetch_add(&went, 1);
}

static bool three_done(void)
{
	return done_ok + done_absent + done_failed == 3;
}

static bool six_done(void)
{
	return done_ok + done_absent + done_failed == 6;
}

static void test_what_is_held_goes_in_its_order_with_its_own_in_front(void **state)
{
	const uint32_t expected[] = {CATENA__REQUEST__OP_GETATTR, CATENA__REQUEST__OP_STATFS,
				     CATENA__REQUEST__OP_UNLINK,  CATENA__REQUEST__OP_STATFS,
				     CATENA__REQUEST__OP_UNLINK,  CATENA__REQUEST__OP_GETATTR};
	struct meta_hold *first, *second;
	atomic_uint held = 0, other = 0;
	(void)state;

	went = 0;
	first = meta_hold(meta, go, NULL);
	call(CATENA__REQUEST__OP_UNLINK, &held);
	second = meta_hold(meta, go, NULL);
	call_later(CATENA__REQUEST__OP_UNLINK, &held);
	call(CATENA__REQUEST__OP_GETATTR, &held);
	call_by(meta_call_now, CATENA__REQUEST__OP_GETATTR, &other);
	assert_true(wait_for(one_done));
	assert_int_equal(other, 1);
	meta_hold_release(meta, second);
	usleep(50000);
	assert_int_equal(held, 0);
	assert_int_equal(went, 0);
	meta_hold_release(meta, first);
	assert_int_equal(went, 2);
	assert_true(wait_for(six_done));
	assert_int_equal(held, 3);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(master.ops[i], expected[i]);
		assert_int_equal(master.ids[i], i + 1);
	}
	/* Afterwards nothing waits. */
	done_ok = done_absent = done_failed = 0;
	call(CATENA__REQUEST__OP_GETATTR, &held);
	assert_true(wait_for(one_done));
}

static void test_nobody_waits_for_ever_for_what_is_held(void **state)
{
	uint64_t began = clock_monotonic_ns();
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	atomic_uint held = 0;
	(void)state;

	went = 0;
	call(CATENA__REQUEST__OP_GETATTR, &held);
	while (held == 0 && clock_monotonic_ns() < began + 3 * META_HOLD_MAX_NS)
		usleep(10000);
	assert_int_equal(held, 1);
	assert_true(clock_monotonic_ns() >= began + META_HOLD_MAX_NS);
	assert_int_equal(went, 0);
	meta_hold_release(meta, hold);
	assert_int_equal(went, 1);
}

static void test_in_a_new_session_held_changes_fail_too(void **state)
{
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	atomic_uint unlink = 0, getattr = 0;
	(void)state;

	went = 0;
	call(CATENA__REQUEST__OP_UNLINK, &unlink);
	call(CATENA__REQUEST__OP_GETATTR, &getattr);
	pthread_mutex_lock(&master.lock);
	master.forget_sessions = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	for (unsigned i = 0; i < 5000 && unlink == 0; i++)
		usleep(1000);
	assert_int_equal(unlink, 1);
	assert_int_equal(done_unanswered, 1);
	assert_int_equal(getattr, 0);
	meta_hold_release(meta, hold);
	assert_true(wait_for(three_done));
	assert_int_equal(getattr, 1);
	assert_int_equal(seen(&master.requests), 2);
}

static void test_closing_ends_what_is_held(void **state)
{
	atomic_uint held = 0;
	struct meta_hold *hold = meta_hold(meta, go, NULL);
	(void)state;

	call(CATENA__REQUEST__OP_GETATTR, &held);
	meta_close(meta, true);
	meta = NULL;
	assert_int_equal(held, 1);
	assert_int_equal(done_unanswered, 1);
	free(hold); /* nobody will release it */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SESSION(test_what_is_held_goes_in_its_order_with_its_own_in_front),
		IN_SESSION(test_nobody_waits_for_ever_for_what_is_held),
		IN_SESSION(test_in_a_new_session_held_changes_fail_too),
		IN_SESSION(test_closing_ends_what_is_held),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
