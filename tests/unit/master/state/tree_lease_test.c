/* tree_lease_test - the tree lease and the end of sessions in the master's state.
 *
 * Goal: what was answered under a lease is done under that very lease or not at all; a fenced
 * session changes nothing, and nobody begins before it is closed; all that is so after a restart,
 * after a power cut, and after failed writes. Method: single steps by hand, each also with the
 * state opened anew in between; a script with write number n failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/state_fixture.h"

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	bool sound = state_is_sound(&f);

	fixture_end(&f);
	return sound ? 0 : -1;
}

/* A create that was answered under @generation. */
static int create_under(uint64_t generation, const char *name)
{
	FIXTURE_REQUEST(CreateReq, CREATE_REQ, CREATE);
	request.create = &req;
	request.lease_generation = generation;
	req.parent = ROOT_INO;
	req.name = bytes_of(name);
	req.mode = S_IFREG | 0644;
	return fixture_send(&f, &request);
}

static uint64_t grant(uint64_t session)
{
	uint64_t generation = 0;

	assert_int_equal(state_apply_lease_grant(f.state, ++f.index, session, &generation), 0);
	assert_true(generation != 0);
	return generation;
}

static int open_session(uint64_t id)
{
	return session_open_as(f.state, f.index + 1, id, 1, "m", "n");
}

static uint64_t holder(void)
{
	uint64_t generation;

	return state_tree_lease(f.state, &generation);
}

/* ---- generations ---- */

static void what_was_answered_under_a_lease_is_done_under_that_one_only(void **state)
{
	uint64_t first, second;

	assert_int_equal(create_under(1, "none"), -ESTALE);
	first = grant(f.session);
	assert_int_equal(create_under(first, "a"), 0);
	assert_int_equal(create_under(first + 1, "b"), -ESTALE);
	assert_int_equal(create_under(0, "c"), 0);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, first), 0);
	assert_int_equal(create_under(first, "d"), -ESTALE);
	second = grant(f.session);
	assert_true(second > first);
	assert_int_equal(create_under(first, "e"), -ESTALE);
	assert_int_equal(create_under(second, "f"), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), -ENOENT);
	assert_int_equal(do_lookup(&f, ROOT_INO, "d"), -ENOENT);
	assert_int_equal(do_lookup(&f, ROOT_INO, "e"), -ENOENT);
}

static void a_repetition_is_answered_as_before_and_a_refusal_too(void **state)
{
	uint64_t generation = grant(f.session);

	assert_int_equal(create_under(generation, "a"), 0);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, generation), 0);
	/* It was done before the lease ended. */
	f.request_id--;
	assert_int_equal(create_under(generation, "a"), 0);
	assert_int_equal(create_under(generation, "b"), -ESTALE);
	f.request_id--;
	assert_int_equal(create_under(generation, "b"), -ESTALE);
	grant(f.session);
	f.request_id--;
	assert_int_equal(create_under(generation, "b"), -ESTALE);
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), -ENOENT);
}

static void a_lease_holds_over_a_restart_and_its_number_never_returns(void **state)
{
	uint64_t first = grant(f.session), again;

	assert_int_equal(grant(f.session), first);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(holder(), f.session);
	assert_int_equal(create_under(first, "a"), 0);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, first + 1), 0);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session + 1, first), 0);
	assert_int_equal(holder(), f.session);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, first), 0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(holder(), 0);
	assert_int_equal(create_under(first, "b"), -ESTALE);
	/* A late copy of its end ends no other. */
	again = grant(f.session);
	assert_true(again > first);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, first), 0);
	assert_int_equal(create_under(again, "b"), 0);
}

static void a_grant_that_was_not_durable_has_not_been(void **state)
{
	uint64_t first, second;

	assert_int_equal(kv_flush(f.kv), 0);
	first = grant(f.session);
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(holder(), 0);
	assert_int_equal(create_under(first, "a"), -ESTALE);
	second = grant(f.session);
	assert_int_equal(kv_flush(f.kv), 0);
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(create_under(second, "a"), 0);
}

static void only_who_is_alone_gets_the_lease_and_nobody_begins_beside_it(void **state)
{
	uint64_t generation = 0;

	assert_int_equal(state_apply_lease_grant(f.state, f.index + 1, 999, &generation), -ENOENT);
	generation = grant(f.session);
	assert_int_equal(open_session(8), -EBUSY);
	assert_int_equal(state_apply_lease_end(f.state, ++f.index, f.session, generation), 0);
	assert_int_equal(open_session(8), 0);
	f.index++;
	assert_int_equal(state_apply_lease_grant(f.state, f.index + 1, 8, &generation), -EBUSY);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, f.session, NULL, 0), 0);
	assert_true(grant(8) > generation);
	f.session = 8;
}

/* ---- fences ---- */

static void a_fenced_session_changes_nothing(void **state)
{
	uint64_t generation = grant(f.session), ino;

	assert_int_equal(create_under(generation, "a"), 0);
	ino = reply_ino(&f);
	assert_int_equal(do_open(&f, ino, false), 0);
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, f.session), 0);
	for (int round = 0; round < 2; round++) {
		assert_true(state_session_is_fenced(f.state, f.session));
		assert_int_equal(create_under(generation, "b"), -ESTALE);
		assert_int_equal(create_under(0, "b"), -ESTALE);
		assert_int_equal(do_unlink(&f, ROOT_INO, "a"), -ESTALE);
		assert_int_equal(do_lookup(&f, ROOT_INO, "a"), -ESTALE);
		assert_int_equal(state_session_check(f.state, f.session, FIXTURE_SECRET), -ENOENT);
		assert_int_equal(
			state_apply_lease_grant(f.state, f.index + 1, f.session, &generation),
			-ENOENT);
		/* What it has stays until it is closed, and nobody begins. */
		assert_int_equal(session_open_total(f.state, ino), 1);
		assert_int_equal(holder(), f.session);
		assert_int_equal(open_session(8), -EBUSY);
		assert_int_equal(fixture_reopen(&f), 0);
	}
	/* Once more, after a restart in the middle. */
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, f.session), 0);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, f.session, NULL, 0), 0);
	assert_int_equal(session_open_total(f.state, ino), 0);
	assert_int_equal(create_under(generation, "b"), -ESTALE);
	assert_int_equal(open_session(8), 0);
	f.index++;
	f.session = 8;
	assert_int_equal(do_lookup(&f, ROOT_INO, "a"), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "b"), -ENOENT);
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, 999), -ENOENT);
}

static void assert_ended(const uint64_t *ids, size_t count, uint64_t floor)
{
	struct cluster_map *map = state_map(f.state);
	const uint64_t *ended;
	size_t n;

	assert_int_equal(state_session_floor(f.state), floor);
	ended = state_ended_sessions(f.state, &n);
	assert_int_equal(n, count);
	assert_non_null(map);
	assert_int_equal(map->session_floor, floor);
	assert_int_equal(map->fenced_count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(ended[i], ids[i]);
		assert_int_equal(map->fenced[i], ids[i]);
	}
	cluster_map_unref(map);
}

static void the_map_names_fenced_sessions_until_the_floor_has_passed_them(void **state)
{
	const uint64_t both[] = {9, 11};
	uint64_t version;

	f.session = 7;
	for (uint64_t id = 8; id <= 12; id++) {
		assert_int_equal(open_session(id), 0);
		f.index++;
	}
	assert_ended(NULL, 0, 7);
	version = state_map_version(f.state);
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, 11), 0);
	assert_true(state_map_version(f.state) > version);
	assert_int_equal(state_apply_session_fence(f.state, ++f.index, 9), 0);
	assert_ended(both, 2, 7);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 9, NULL, 0), 0);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 11, NULL, 0), 0);
	assert_ended(both, 2, 7);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_ended(both, 2, 7);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 7, NULL, 0), 0);
	assert_ended(both, 2, 8);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 8, NULL, 0), 0);
	assert_ended(&both[1], 1, 10);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_ended(&both[1], 1, 10);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 10, NULL, 0), 0);
	assert_ended(NULL, 0, 12);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_ended(NULL, 0, 12);
	assert_int_equal(state_apply_session_close(f.state, ++f.index, 12, NULL, 0), 0);
	assert_ended(NULL, 0, 13);
}

static void what_is_owed_is_known_after_a_restart(void **state)
{
	assert_false(state_fences_owed(f.state));
	assert_int_equal(state_apply_fences_owed(f.state, ++f.index, true), 0);
	assert_true(state_fences_owed(f.state));
	assert_int_equal(fixture_reopen(&f), 0);
	assert_true(state_fences_owed(f.state));
	assert_int_equal(state_apply_fences_owed(f.state, ++f.index, false), 0);
	assert_false(state_fences_owed(f.state));
	assert_int_equal(fixture_reopen(&f), 0);
	assert_false(state_fences_owed(f.state));
}

/* ---- failing writes ---- */

#define SCRIPT_STEPS 6

static int script_step(int n, uint64_t *generation)
{
	switch (n) {
	case 0:
		return state_apply_lease_grant(f.state, f.index + 1, 7, generation);
	case 1:
		return state_apply_lease_end(f.state, f.index + 1, 7, *generation);
	case 2:
		return open_session(8);
	case 3:
		return state_apply_session_fence(f.state, f.index + 1, 7);
	case 4:
		return state_apply_session_close(f.state, f.index + 1, 7, NULL, 0);
	default:
		return state_apply_lease_grant(f.state, f.index + 1, 8, generation);
	}
}

static bool run_with_failure(int nth)
{
	uint64_t generation = 0;
	bool failed = false;

	kv_memory_fail_write(f.kv, nth, nth % 2 == 0 ? EIO : ENOSPC);
	for (int n = 0; n < SCRIPT_STEPS; n++) {
		int rc = script_step(n, &generation);

		if (rc != 0) {
			failed = true;
			assert_int_equal(kv_recover(f.kv), 0);
			f.index = state_applied_index(f.state);
			rc = script_step(n, &generation);
		}
		assert_int_equal(rc, 0);
		f.index = state_applied_index(f.state);
		assert_true(state_is_sound(&f));
	}
	assert_int_equal(generation, 2);
	assert_int_equal(holder(), 8);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(holder(), 8);
	assert_ended(NULL, 0, 8);
	return failed;
}

static void a_command_that_the_store_failed_has_no_effect(void **state)
{
	bool failed = true;

	for (int nth = 1; failed; nth++) {
		assert_true(nth < 100);
		fixture_end(&f);
		assert_int_equal(fixture_init(&f, UINT64_MAX), 0);
		failed = run_with_failure(nth);
	}
}

static void a_damaged_lease_is_refused(void **state)
{
	struct kv_batch *batch = kv_batch_new();
	struct state *second;
	uint8_t key[META_KEY_MAX];
	char error[128];

	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LEASE, 0), "?", 1);
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	assert_int_equal(state_open(f.kv, &second, error, sizeof(error)), -EUCLEAN);
	kv_batch_clear(batch);
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_LEASE, 0));
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_ENDED, 5), "??", 2);
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	assert_int_equal(state_open(f.kv, &second, error, sizeof(error)), -EUCLEAN);
	kv_batch_clear(batch);
	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_ENDED, 5));
	assert_int_equal(kv_write(f.kv, batch, false), 0);
	kv_batch_free(batch);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_answered_under_a_lease_is_done_under_that_one_only),
		TEST(a_repetition_is_answered_as_before_and_a_refusal_too),
		TEST(a_lease_holds_over_a_restart_and_its_number_never_returns),
		TEST(a_grant_that_was_not_durable_has_not_been),
		TEST(only_who_is_alone_gets_the_lease_and_nobody_begins_beside_it),
		TEST(a_fenced_session_changes_nothing),
		TEST(the_map_names_fenced_sessions_until_the_floor_has_passed_them),
		TEST(what_is_owed_is_known_after_a_restart),
		TEST(a_command_that_the_store_failed_has_no_effect),
		TEST(a_damaged_lease_is_refused),
	};

	return cmocka_run_group_tests_name("leases", tests, NULL, NULL);
}
