/* session_lane_test.c - commands of a session's lane, and requests that come when space is short.
 *
 * Goal: what is done has a number and no reply, and is not done again; what is refused is told the same
 * each time; a gap is refused; all of it over restarts and power cuts. Who asks again for what was done
 * hears that it was, also when there is no space any more.
 * Method: the state machine on the memory twin of the store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/state_fixture.h"

static struct fixture f;
static struct state_answer answer;
static Catena__Reply *reply;

static int setup(void **state)
{
	int rc = fixture_init(&f, UINT64_MAX);

	f.request_id = 100; /* those below are the tests' own */
	return rc;
}

static void forget_answer(void)
{
	free(answer.reply);
	answer = (struct state_answer){0};
	catena__reply__free_unpacked(reply, NULL);
	reply = NULL;
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	forget_answer();
	fixture_end(&f);
	return sound ? 0 : -1;
}

/* What the state says of a create of @name; the answer is in @answer and @reply. */
static int create(uint64_t id, uint64_t lane, const char *name, bool no_space)
{
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__CreateReq req = CATENA__CREATE_REQ__INIT;
	struct state_request command = {
		.session = f.session, .no_space = no_space, .message = &request};
	int rc;

	forget_answer();
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &req;
	request.id = id;
	request.lane = lane;
	req.parent = ROOT_INO;
	req.name = bytes_of(name);
	req.mode = S_IFREG | 0644;
	req.exclusive = true;
	rc = state_apply_request(f.state, f.index + 1, &command, &answer);
	f.index = state_applied_index(f.state);
	if (rc == 0 && answer.reply != NULL)
		reply = catena__reply__unpack(NULL, answer.reply_size, answer.reply);
	return rc;
}

static void assert_done(uint64_t id, uint64_t lane, const char *name)
{
	assert_int_equal(create(id, lane, name, false), 0);
	assert_null(answer.reply);
	assert_int_equal(answer.lane, lane);
}

static void assert_refused(uint64_t id, uint64_t lane, const char *name, int error)
{
	assert_int_equal(create(id, lane, name, false), 0);
	assert_non_null(reply);
	assert_int_equal(reply->id, id);
	assert_int_equal(reply->error, error);
	assert_int_equal(answer.lane, lane);
}

static void what_is_done_has_a_number_and_is_not_done_again(void **state)
{
	assert_done(1, 1, "a");
	assert_done(2, 2, "b");
	assert_int_equal(do_unlink(&f, ROOT_INO, "a"), 0);
	for (int i = 0; i < 2; i++) {
		assert_done(1, 1, "a");
		assert_done(2, 2, "b");
		assert_int_equal(do_lookup(&f, ROOT_INO, "a"), -ENOENT);
		assert_int_equal(fixture_reopen(&f), 0);
	}
}

static void a_refusal_is_kept_and_the_lane_goes_on(void **state)
{
	assert_done(1, 1, "a");
	assert_refused(2, 2, "a", EEXIST);
	assert_done(3, 3, "b");
	assert_int_equal(do_unlink(&f, ROOT_INO, "a"), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	/* It is not done now, though it could be. */
	assert_refused(2, 2, "a", EEXIST);
	assert_done(3, 3, "b");
}

static void a_gap_is_refused_and_nothing_is_done(void **state)
{
	assert_done(1, 1, "a");
	assert_int_equal(create(3, 3, "c", false), -EPROTO);
	assert_null(answer.reply);
	assert_int_equal(do_lookup(&f, ROOT_INO, "c"), -ENOENT);
	assert_done(2, 2, "b");
	assert_done(3, 3, "c");
}

static void after_a_power_cut_it_goes_on_where_the_store_is(void **state)
{
	assert_done(1, 1, "a");
	assert_int_equal(kv_flush(f.kv), 0);
	assert_done(2, 2, "b");
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_reopen(&f), 0);
	f.index = state_applied_index(f.state);
	assert_int_equal(create(3, 3, "c", false), -EPROTO);
	assert_done(1, 1, "a");
	assert_done(2, 2, "b");
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), 0);
}

static void the_next_session_begins_with_the_first_number(void **state)
{
	uint64_t next;

	assert_done(1, 1, "a");
	assert_int_equal(state_apply_session_close(f.state, ++f.index, f.session, NULL, 0), 0);
	assert_int_equal(
		state_apply_session_open(f.state, ++f.index, FIXTURE_SECRET, "", "", &next), 0);
	/* Nothing of the old one is left to be read. */
	assert_int_equal(fixture_reopen(&f), 0);
	f.session = next;
	assert_done(1, 1, "b");
}

static void a_session_that_is_over_does_nothing(void **state)
{
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, f.session), 0);
	assert_int_equal(create(1, 1, "a", false), 0);
	assert_int_equal(reply->error, ESTALE);
	assert_int_equal(answer.lane, 0);
}

static void without_space_only_what_is_new_is_refused(void **state)
{
	assert_int_equal(create(1, 0, "a", false), 0);
	assert_int_equal(reply->error, 0);
	assert_int_equal(create(1, 0, "a", true), 0);
	assert_int_equal(reply->error, 0);
	assert_int_equal(create(2, 0, "b", true), 0);
	assert_int_equal(reply->error, ENOSPC);
	/* It was not done, so it may be done later. */
	assert_int_equal(create(2, 0, "b", false), 0);
	assert_int_equal(reply->error, 0);
	/* What deletes has no word for that. */
	assert_int_equal(do_unlink(&f, ROOT_INO, "b"), 0);
}

static void without_space_the_lane_goes_on(void **state)
{
	assert_int_equal(create(1, 1, "a", true), 0);
	assert_int_equal(reply->error, ENOSPC);
	assert_int_equal(answer.lane, 1);
	assert_done(2, 2, "b");
	assert_refused(1, 1, "a", ENOSPC);
}

#define WITH_STATE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STATE(what_is_done_has_a_number_and_is_not_done_again),
		WITH_STATE(a_refusal_is_kept_and_the_lane_goes_on),
		WITH_STATE(a_gap_is_refused_and_nothing_is_done),
		WITH_STATE(after_a_power_cut_it_goes_on_where_the_store_is),
		WITH_STATE(the_next_session_begins_with_the_first_number),
		WITH_STATE(a_session_that_is_over_does_nothing),
		WITH_STATE(without_space_only_what_is_new_is_refused),
		WITH_STATE(without_space_the_lane_goes_on),
	};

	return cmocka_run_group_tests_name("lane of a session", tests, NULL, NULL);
}
