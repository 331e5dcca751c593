/* meta_test - the mount's session with a master that misbehaves on command.
 *
 * Goal: every call ends exactly once, whatever happens to streams and sessions; what was sent is
 * sent again under the same id after a break, and nothing that changes is repeated in a new
 * session; the lease is believed as long as renewals are answered and no longer. Method:
 * meta_fixture.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/unit/fs/session/meta_fixture.h"

/* ---- calls ---- */

static bool thousand_done(void)
{
	return done_ok + done_absent == 1000;
}

static bool all_told(void)
{
	bool yes;

	pthread_mutex_lock(&master.lock);
	yes = master.answered == 1000;
	pthread_mutex_unlock(&master.lock);
	return yes;
}

static void test_every_call_is_answered_once_in_the_order_sent(void **state)
{
	static atomic_uint calls[1000];
	unsigned absent = 0;
	(void)state;

	assert_int_equal(sessions, 1);
	assert_int_equal(meta_default_pool(meta), 3);
	for (unsigned i = 0; i < 1000; i++) {
		if (i % 7 < 5)
			call_later(CATENA__REQUEST__OP_UNLINK, &calls[i]);
		else if (i % 2 == 0)
			call(CATENA__REQUEST__OP_GETATTR, &calls[i]);
		else
			call(CATENA__REQUEST__OP_LOOKUP, &calls[i]);
		absent += i % 7 >= 5 && i % 2 != 0 ? 1 : 0;
	}
	assert_true(wait_for(thousand_done));
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(calls[i], 1);
	assert_int_equal(done_ok, 1000 - absent);
	assert_int_equal(done_absent, absent);
	assert_int_equal(seen(&master.requests), 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(master.ids[i], i + 1);
	/* The master may forget its replies. */
	assert_true(wait_for(all_told));
}

static void test_a_call_that_nobody_waits_for_is_sent_all_the_same(void **state)
{
	static atomic_uint calls;
	(void)state;

	call_later(CATENA__REQUEST__OP_UNLINK, &calls);
	assert_true(wait_for(one_done));
	assert_int_equal(calls, 1);
}

static bool ten_seen(void)
{
	return seen(&master.requests) >= 10;
}
static bool resumed(void)
{
	return seen(&master.resumes) >= 1;
}
static bool resumed_twice(void)
{
	return seen(&master.resumes) >= 2;
}
static bool resumed_three_times(void)
{
	return seen(&master.resumes) >= 3;
}
static uint64_t seen_long(const uint64_t *value)
{
	uint64_t copy;

	pthread_mutex_lock(&master.lock);
	copy = *value;
	pthread_mutex_unlock(&master.lock);
	return copy;
}
static bool twenty_seen(void)
{
	return seen(&master.requests) >= 20;
}
static bool ten_done(void)
{
	return done_ok + done_absent + done_failed >= 10;
}

static void test_a_broken_stream_is_resumed_and_what_has_no_answer_sent_again(void **state)
{
	static atomic_uint calls[10];
	(void)state;

	memset(calls, 0, sizeof(calls));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		(i % 2 ? call : call_later)(CATENA__REQUEST__OP_UNLINK, &calls[i]);
	assert_true(wait_for(ten_seen));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = false;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed));
	assert_true(wait_for(ten_done));
	assert_true(wait_for(twenty_seen));
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(calls[i], 1);
		assert_int_equal(master.ids[i], i + 1);
		assert_int_equal(master.ids[10 + i], i + 1);
	}
	assert_int_equal(done_ok, 10);
	assert_int_equal(sessions, 1);
	assert_int_equal(seen(&master.opens), 1);
}

static void
test_a_resuming_mount_tells_which_commands_were_done_and_hears_of_lost_ones(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		call(CATENA__REQUEST__OP_UNLINK, NULL);
	/* These only ask, and leave no trace at the master. */
	for (unsigned i = 0; i < 7; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	master_break();
	assert_true(wait_for(resumed));
	assert_int_equal(seen_long(&master.commands_told), 3);
	assert_int_equal(atomic_load(&forgettings), 0);
	pthread_mutex_lock(&master.lock);
	master.forget_commands = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed_twice));
	for (unsigned i = 0; i < 1000 && atomic_load(&forgettings) == 0; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&forgettings), 1);
	/* Told once: what it is told of next time was done since. */
	pthread_mutex_lock(&master.lock);
	master.forget_commands = false;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(resumed_three_times));
	assert_int_equal(seen_long(&master.commands_told), 0);
	assert_int_equal(sessions, 1);
}

static bool two_sessions(void)
{
	return sessions == 2;
}

static void other_master(bool forgets_sessions)
{
	pthread_mutex_lock(&master.lock);
	master.life++;
	master.forget_sessions = forgets_sessions;
	pthread_mutex_unlock(&master.lock);
	master_break();
}

static void test_another_master_is_asked_anew_and_may_have_lost_what_was_done(void **state)
{
	uint64_t generation = meta_generation(meta);
	(void)state;

	master_break();
	assert_true(wait_for(resumed));
	assert_int_equal(atomic_load(&restarts), 0);
	assert_int_equal(meta_generation(meta), generation);
	other_master(false);
	assert_true(wait_for(resumed_twice));
	for (unsigned i = 0; i < 1000 && atomic_load(&restarts) == 0; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&restarts), 1);
	assert_int_equal(atomic_load(&forgettings), 0);
	assert_true(meta_generation(meta) > generation);
	/* Of a session that is gone nobody knows what was lost. */
	other_master(true);
	assert_true(wait_for(two_sessions));
	assert_int_equal(atomic_load(&forgettings), 1);
}

static void test_in_a_new_session_changes_fail_and_queries_are_repeated(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 5; i++) {
		call(CATENA__REQUEST__OP_UNLINK, NULL);
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	}
	assert_true(wait_for(ten_seen));
	pthread_mutex_lock(&master.lock);
	master.hold_replies = false;
	master.forget_sessions = true;
	pthread_mutex_unlock(&master.lock);
	master_break();
	assert_true(wait_for(two_sessions));
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 5);
	assert_int_equal(done_failed, 5);
	assert_int_equal(done_unanswered, 5);
	assert_int_equal(seen(&master.opens), 2);
	/* Numbered from one again. */
	assert_int_equal(seen(&master.requests), 15);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(master.ids[10 + i], i + 1);
		assert_int_equal(master.ops[10 + i], CATENA__REQUEST__OP_GETATTR);
	}
}

static void test_calls_without_a_connection_wait_for_one(void **state)
{
	(void)state;
	master_break();
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

static void test_garbage_from_the_master_ends_the_stream_not_the_mount(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	rpc_stream_send(master.stream, "\x12\xff\xff\xff\xff\x0f garbage", 14);
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(resumed));
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

static void test_answers_to_nothing_are_passed_over(void **state)
{
	Catena__Reply reply = CATENA__REPLY__INIT, *list[1] = {&reply};
	Catena__ClientPush message = CATENA__CLIENT_PUSH__INIT;
	(void)state;

	message.n_replies = 1;
	message.replies = list;
	pthread_mutex_lock(&master.lock);
	push(master.stream, &message);
	reply.id = 1u << 30;
	push(master.stream, &message);
	reply.id = UINT64_MAX;
	push(master.stream, &message);
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_done));
	assert_int_equal(done_ok, 10);
}

/* ---- the lease ---- */

static bool granted_once(void)
{
	return grants >= 1;
}
static bool is_sole(void)
{
	return meta_sole(meta);
}
static bool is_lost(void)
{
	return losts >= 1;
}
static bool is_recalled(void)
{
	return recalls >= 1;
}
static bool is_returned(void)
{
	return seen(&master.returns) >= 1;
}
static bool renewed_often(void)
{
	return seen(&master.renews) >= 12;
}

static void test_the_lease_lasts_while_renewals_are_answered_and_ends_with_them(void **state)
{
	uint64_t generation = meta_generation(meta);
	(void)state;

	assert_false(meta_sole(meta));
	send_lease(true, 1);
	assert_true(wait_for(granted_once));
	assert_true(wait_for(renewed_often)); /* far longer than one lease */
	assert_true(meta_sole(meta));
	assert_int_equal(meta_generation(meta), generation + 1);
	pthread_mutex_lock(&master.lock);
	master.hold_renews = true;
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(is_lost));
	assert_false(meta_sole(meta));
	assert_int_equal(meta_generation(meta), generation + 2);
	/* The same grant again, once we are heard: a new generation. */
	pthread_mutex_lock(&master.lock);
	master.hold_renews = false;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 20 && !meta_sole(meta); i++) {
		usleep(100000);
		send_lease(true, 1);
	}
	assert_true(wait_for(is_sole));
	assert_int_equal(meta_generation(meta), generation + 3);
}

static void test_the_lease_ends_while_the_machine_sleeps(void **state)
{
	uint64_t generation;
	(void)state;

	send_lease(true, 1);
	assert_true(wait_for(is_sole));
	assert_true(meta_lease_left_ns(meta) > 0 && meta_lease_left_ns(meta) <= LEASE_NS);
	generation = meta_generation(meta);
	pthread_mutex_lock(&master.lock);
	master.hold_renews = true;
	pthread_mutex_unlock(&master.lock);
	slept_ns += LEASE_NS;
	/* At once, whatever the session's thread has noticed. */
	assert_false(meta_sole(meta));
	assert_int_equal(meta_lease_left_ns(meta), 0);
	assert_true(wait_for(is_lost));
	assert_int_equal(meta_generation(meta), generation + 1);
}

static void test_a_recall_is_answered_with_its_sequence(void **state)
{
	(void)state;
	send_lease(true, 5);
	assert_true(wait_for(is_sole));
	send_lease(false, 6);
	assert_true(wait_for(is_recalled));
	assert_false(meta_sole(meta));
	assert_int_equal(seen(&master.returns), 0);
	meta_lease_return(meta);
	assert_true(wait_for(is_returned));
	assert_int_equal(master.returned_sequence, 6);
	meta_lease_return(meta); /* nothing is held any more */
	usleep(20000);
	assert_int_equal(seen(&master.returns), 1);
}

static void test_a_broken_stream_ends_the_lease(void **state)
{
	(void)state;
	send_lease(true, 1);
	assert_true(wait_for(is_sole));
	master_break();
	assert_true(wait_for(is_lost));
	assert_true(wait_for(resumed));
	assert_false(meta_sole(meta));
}

/* ---- ends ---- */

static void test_closing_says_goodbye_and_ends_what_waits(void **state)
{
	(void)state;
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	for (unsigned i = 0; i < 10; i++)
		call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(ten_seen));
	meta_close(meta, true);
	meta = NULL;
	assert_int_equal(done_unanswered, 10);
	assert_int_equal(done_failed, 10);
	assert_int_equal(seen(&master.goodbyes), 1);
	assert_int_equal(seen(&master.goodbye), 1);
}

static void test_closing_says_when_something_may_be_under_way(void **state)
{
	(void)state;
	meta_close(meta, false);
	meta = NULL;
	assert_int_equal(seen(&master.goodbyes), 1);
	assert_int_not_equal(seen(&master.goodbye), 1);
}

static void test_what_belongs_to_a_session_is_not_sent_in_another(void **state)
{
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	uint64_t session = meta_session_id(meta);
	(void)state;

	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	meta_call_within(meta, session, true, &request, note_done, NULL);
	assert_true(wait_for(one_done));
	meta_call_within(meta, session + 1, true, &request, note_done, NULL);
	assert_int_equal(done_failed, 1);
	assert_int_equal(done_unanswered, 1);
	assert_int_equal(seen(&master.requests), 1);
}

static bool one_failed(void)
{
	return done_failed == 1;
}

static void test_a_soft_mount_gives_up_waiting(void **state)
{
	char error[256];
	uint64_t began;
	(void)state;

	meta_close(meta, true);
	assert_int_equal(open_meta(300 * NS_PER_MSEC, error, sizeof(error)), 0);
	pthread_mutex_lock(&master.lock);
	master.hold_replies = true;
	pthread_mutex_unlock(&master.lock);
	began = clock_monotonic_ns();
	call(CATENA__REQUEST__OP_GETATTR, NULL);
	assert_true(wait_for(one_failed));
	assert_true(clock_monotonic_ns() - began >= 300 * NS_PER_MSEC);
	assert_true(clock_monotonic_ns() - began < 2 * NS_PER_SEC);
}

static bool all_servers_told(void)
{
	return master.unreachable_count == META_UNREACHABLE_MAX;
}
static bool no_servers_told(void)
{
	return master.unreachable_count == 0;
}

static void test_servers_out_of_reach_are_told_while_they_are(void **state)
{
	(void)state;
	atomic_store(&lost_servers, 1000);
	assert_true(wait_for(all_servers_told));
	assert_true(master.unreachable[0] == UINT64_MAX);
	assert_true(master.unreachable[63] == UINT64_MAX - 63);
	atomic_store(&lost_servers, 0);
	assert_true(wait_for(no_servers_told));
}

/* The numbers that it knows mean other files there; as before, it goes on when its own is back. */
static void test_a_cluster_that_was_made_anew_is_not_taken_for_the_old_one(void **state)
{
	static atomic_uint calls[1];
	(void)state;

	pthread_mutex_lock(&master.lock);
	master.instance++;
	pthread_mutex_unlock(&master.lock);
	master_break();
	call(CATENA__REQUEST__OP_GETATTR, &calls[0]);
	assert_true(wait_for(resumed_twice)); /* by the master only: asked again and again */
	assert_int_equal(seen(&master.requests), 0);
	assert_int_equal(done_ok, 0);
	assert_int_equal(sessions, 1);
	pthread_mutex_lock(&master.lock);
	master.instance--;
	pthread_mutex_unlock(&master.lock);
	assert_true(wait_for(one_done));
	assert_int_equal(sessions, 1);
}

/* setup() has waited for the session and for nothing else. */
static void test_a_session_that_is_open_has_its_map(void **state)
{
	(void)state;
	assert_int_equal(maps, 1);
}

static void test_who_cannot_be_reached_or_refuses_is_told_in_one_line(void **state)
{
	struct meta_options options = {
		.masters = "127.0.0.1:1",
		.tls = client_files.files,
		.callbacks = {note_map, note_session, note_granted, note_recalled, note_lost,
			      note_unreachable, note_restarted},
	};
	struct meta *other = NULL;
	char error[512] = "";
	(void)state;

	assert_int_not_equal(meta_open(&options, 700 * NS_PER_MSEC, &other, error, sizeof(error)),
			     0);
	assert_non_null(strstr(error, "127.0.0.1:1"));
	assert_null(strchr(error, '\n'));
	options.masters = master.address;
	options.tls = admin_files.files; /* of this cluster, but not a client's */
	assert_int_equal(meta_open(&options, PATIENCE, &other, error, sizeof(error)), -EACCES);
	assert_non_null(strstr(error, "client"));
	options.tls = client_files.files;
	pthread_mutex_lock(&master.lock);
	master.refuse_sessions = true;
	pthread_mutex_unlock(&master.lock);
	assert_int_equal(meta_open(&options, PATIENCE, &other, error, sizeof(error)), -EACCES);
	assert_non_null(strstr(error, "too many clients"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SESSION(test_a_session_that_is_open_has_its_map),
		IN_SESSION(test_every_call_is_answered_once_in_the_order_sent),
		IN_SESSION(test_a_call_that_nobody_waits_for_is_sent_all_the_same),
		IN_SESSION(test_a_broken_stream_is_resumed_and_what_has_no_answer_sent_again),
		IN_SESSION(
			test_a_resuming_mount_tells_which_commands_were_done_and_hears_of_lost_ones),
		IN_SESSION(test_another_master_is_asked_anew_and_may_have_lost_what_was_done),
		IN_SESSION(test_in_a_new_session_changes_fail_and_queries_are_repeated),
		IN_SESSION(test_calls_without_a_connection_wait_for_one),
		IN_SESSION(test_garbage_from_the_master_ends_the_stream_not_the_mount),
		IN_SESSION(test_answers_to_nothing_are_passed_over),
		IN_SESSION(test_the_lease_lasts_while_renewals_are_answered_and_ends_with_them),
		IN_SESSION(test_the_lease_ends_while_the_machine_sleeps),
		IN_SESSION(test_a_recall_is_answered_with_its_sequence),
		IN_SESSION(test_a_broken_stream_ends_the_lease),
		IN_SESSION(test_closing_says_goodbye_and_ends_what_waits),
		IN_SESSION(test_closing_says_when_something_may_be_under_way),
		IN_SESSION(test_what_belongs_to_a_session_is_not_sent_in_another),
		IN_SESSION(test_a_soft_mount_gives_up_waiting),
		IN_SESSION(test_servers_out_of_reach_are_told_while_they_are),
		IN_SESSION(test_a_cluster_that_was_made_anew_is_not_taken_for_the_old_one),
		IN_SESSION(test_who_cannot_be_reached_or_refuses_is_told_in_one_line),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
