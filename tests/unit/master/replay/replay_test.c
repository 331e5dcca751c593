/* replay_test - a log that is kept, and applied once more.
 *
 * Goal: what a master does is kept whole through restarts, kills, failing stores and segments that
 * end, and applying it again comes to the same; whatever is not the same is found: an entry, a
 * result, a record of the store that no command has put there; a log that is damaged or has a gap is
 * told from that. Keeping it fails without harm.
 * Method: a store on disk with the local log and a keeper of small segments; what a kill leaves is
 * made by telling the keeper of entries whose batch does not come to the store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/os/log.h"
#include "tests/lib/tree.h"
#include "tests/unit/master/replay/replay_rig.h"
#include "tests/unit/master/replay/segment_edit.h"

/* ---- tests ---- */

static void test_what_was_done_comes_out_equal(void **state)
{
	char text[64];

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(100);
	rig_expect_equal(); /* the master goes on meanwhile */
	snprintf(text, sizeof(text), "to %llu are equal",
		 (unsigned long long)state_applied_index(rig.state));
	rig_expect_said(text);
	assert_int_equal(rig_replay(3), 0);
	rig_expect_said("request{session=16777217 request{id=1 time=1 create{");
	rig_expect_said("name=\"name-0\"");
}

static void test_it_goes_on_through_restarts_and_segments(void **state)
{
	uint64_t applied;
	char text[64];

	rig_start();
	rig_wait_for_checkpoint(1);
	for (unsigned i = 0; i < 3; i++) {
		rig_work(120);
		rig_stop();
		rig_start();
	}
	assert_true(rig_last_number() >= 4);
	rig_wait_for_checkpoint(rig_last_number() - 1);
	rig_work(50);
	applied = state_applied_index(rig.state);
	rig_stop();
	rig_expect_equal();
	snprintf(text, sizeof(text), "to %llu are equal", (unsigned long long)applied);
	rig_expect_said(text);
	assert_null(strstr(rig.said, "later checkpoints\n") == NULL
			    ? "none"
			    : strstr(rig.said, "of 0 later"));
}

static void test_only_so_much_is_kept(void **state)
{
	struct kept_part *parts;
	uint64_t size = 0;
	size_t count;

	rig_start();
	rig_wait_for_checkpoint(1);
	for (unsigned i = 0; i < 12; i++) {
		rig_work(300);
		rig_wait_for_checkpoint(rig_last_number());
	}
	for (int i = 0; i < 6000; i++) {
		count = rig_parts(&parts);
		size = 0;
		for (size_t k = 0; k < count; k++)
			size += parts[k].size;
		free(parts);
		if (size < 9 * SEGMENT_BYTES)
			break;
		usleep(10000);
	}
	assert_in_range(size, 4 * SEGMENT_BYTES, 9 * SEGMENT_BYTES);
	rig_stop();
	assert_true(rig_parts(&parts) > 0);
	assert_true(parts[0].number > 1);
	assert_true(parts[0].has_store);
	free(parts);
	rig_expect_equal();
}

/* The keeper is told of these, and the batch does not come to the store. */
static void tell_of_a_lost_batch(unsigned count, bool last_has_result)
{
	struct rig_turn turn = {.count = 0};
	uint64_t index = command_log_applied(rig.command_log);

	for (unsigned i = 0; i < count; i++)
		rig_add_request(&turn);
	pthread_mutex_lock(&rig.lock);
	state_batch_begin(rig.state);
	for (unsigned i = 0; i < count; i++) {
		struct command_result result = {0};

		rig_telling()->entry(rig_telling()->user, ++index, &turn.calls[i].command);
		if (i + 1 == count && !last_has_result)
			break;
		assert_int_equal(command_apply(rig.state, index, &turn.calls[i].command, &result),
				 0);
		rig_telling()->applied(rig_telling()->user, index, 0, &result);
		free(result.answer.reply);
	}
	if (last_has_result)
		rig_telling()->commit(rig_telling()->user);
	state_batch_abandon(rig.state);
	pthread_mutex_unlock(&rig.lock);
}

static void test_entries_that_the_store_does_not_have_are_undone(void **state)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	tell_of_a_lost_batch(3, true);
	rig_stop();
	rig_start();
	rig_work(20);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("has 3 entries besides that were undone");
	assert_null(strstr(rig.said, "differs"));
}

static void test_an_entry_with_which_the_master_ended_is_applied(void **state)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	tell_of_a_lost_batch(2, false);
	rig_stop();
	/* Before the next start, it is the last one; afterwards, one that was undone. */
	assert_int_equal(rig_replay(1), 0);
	rig_expect_said("has no result");
	rig_start();
	rig.names -= 2;
	rig.requests -= 2;
	rig_work(20);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("has no result");
}

static void test_an_entry_in_the_place_of_another_counts(void **state)
{
	const struct log_command first = {.kind = COMMAND_FENCES_OWED, .owed = true};
	const struct log_command second = {.kind = COMMAND_FENCES_OWED, .owed = false};
	struct command_result result = {0};
	uint64_t index;

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(10);
	index = state_applied_index(rig.state) + 1;
	state_batch_begin(rig.state);
	rig_telling()->entry(rig_telling()->user, index, &first);
	rig_telling()->entry(rig_telling()->user, index, &second);
	assert_int_equal(command_apply(rig.state, index, &second, &result), 0);
	rig_telling()->applied(rig_telling()->user, index, 0, &result);
	rig_telling()->commit(rig_telling()->user);
	assert_int_equal(state_batch_commit(rig.state), 0);
	rig_stop();
	rig_start();
	rig_work(10);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("has no result");
}

/* The same batch fails before its last entry has a result, or behind it, and is undone. */
static void fail_batch(unsigned count, bool last_has_result)
{
	tell_of_a_lost_batch(count, last_has_result);
	pthread_mutex_lock(&rig.lock);
	rig_telling()->undone(rig_telling()->user, command_log_applied(rig.command_log));
	pthread_mutex_unlock(&rig.lock);
	rig.names -= count;
	rig.requests -= count;
}

static void test_a_failing_store_undoes_and_goes_on(void **state)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(9);
	fail_batch(3, true);
	/* Attempts that lie side by side, and are not one. */
	fail_batch(1, false);
	rig.names += 7; /* what comes in its place is another */
	rig_work(1);
	fail_batch(2, false);
	fail_batch(2, false);
	rig_work(29);
	rig_stop();
	rig_expect_equal();
	assert_int_equal(rig_last_number(), 1);
}

static void test_a_write_that_fails_ends_the_run_and_nothing_else(void **state)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	rig.write_half = true;
	log_set_level(LOG_LEVEL_ERROR + 1);
	rig_work(20);
	assert_false(rig.write_half);
	assert_int_equal(rig_last_number(), 1);
	rig_stop();
	rig_expect_equal(); /* up to there, and nothing is torn */
	assert_null(strstr(rig.said, "cut off"));
	rig_start();
	rig_wait_for_checkpoint(2);
	rig_work(20);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("checkpoint 1 of");
	rig_expect_said("checkpoint 2 of");
}

static void wait_for_no_parts(void)
{
	struct kept_part *parts;
	size_t count = 1;

	for (int i = 0; i < 6000 && count > 0; i++) {
		usleep(10000);
		count = rig_parts(&parts);
		free(parts);
	}
	assert_int_equal(count, 0);
}

static void test_a_nearly_full_disk_ends_the_keeping_and_all_of_it_gives_way(void **state)
{
	uint64_t applied;

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(150);
	log_set_level(LOG_LEVEL_ERROR + 1);
	rig.space_low = true;
	/* The last segment gives way when it is not written any more: with the next batch that meets it. */
	for (int i = 0; i < 200; i++) {
		rig_work(2);
		usleep(10000);
	}
	wait_for_no_parts();
	applied = state_applied_index(rig.state);
	rig_work(20);
	assert_int_equal(state_applied_index(rig.state), applied + 20);
	assert_int_equal(rig_last_number(), 0);
	rig_stop();
	rig.space_low = false;
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	rig_stop();
	rig_expect_equal();
}

static void test_what_was_not_kept_is_a_gap_and_begins_a_run(void **state)
{
	const struct log_command command = {.kind = COMMAND_FENCES_OWED, .owed = true};
	struct command_result result = {0};

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	rig_stop();
	rig_open_state();
	assert_int_equal(
		command_apply(rig.state, state_applied_index(rig.state) + 1, &command, &result), 0);
	rig_stop();
	rig_start();
	rig_wait_for_checkpoint(2);
	rig_work(20);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("checkpoint 2 of");
}

static void test_a_life_that_was_not_kept_begins_a_run(void **state)
{
	struct state_start life = {.instance = 5, .chance = 99};
	char old[400];

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(20);
	/* An older store, and as many entries as the log has, but others. */
	snprintf(old, sizeof(old), "%s/old", rig.path);
	assert_int_equal(kv_checkpoint(rig.kv, old), 0);
	rig_work(2);
	rig_stop();
	tree_remove(rig.store);
	assert_int_equal(rename(old, rig.store), 0);
	rig_open_state();
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(state_apply_start(rig.state, state_applied_index(rig.state) + 1,
						   &life, STATE_ID_GAP),
				 0);
	rig_stop();
	rig_start();
	rig_wait_for_checkpoint(2);
	rig_stop();
	rig_expect_equal();
	rig_expect_said("checkpoint 2 of");
}

/* ---- what is not as it was ---- */

static void make_one_segment(void)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(40);
	rig_stop();
	rig_expect_equal();
}

static void test_a_changed_byte_is_damage(void **state)
{
	make_one_segment();
	segment_change(rig_segment_path(1), KEPT_ENTRY, 20, 30, false);
	assert_int_equal(rig_replay(1), -EBADMSG);
	assert_non_null(strstr(rig.error, "00000001.entries is damaged at"));
}

static void test_an_entry_that_is_another_differs(void **state)
{
	make_one_segment();
	segment_change_name(rig_segment_path(1), 20);
	rig_expect_difference(16);
	rig_expect_said(
		"entry 21 differs:\n- it changed the store in another way than here\n21 request{");
	rig_expect_said("its changes here:\n  put ");
}

static void test_another_result_differs(void **state)
{
	make_one_segment();
	segment_change(rig_segment_path(1), KEPT_RESULT, 20, 30, true); /* in the hash */
	rig_expect_difference(1);
	rig_expect_said("its bytes are not those");
}

static void test_a_record_that_no_command_has_put_is_found(void **state)
{
	uint32_t number;

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(50);
	rig_stop();
	rig_write_record(rig.store, FAMILY_REMOVALS, "key", 3, "value");
	rig_start();
	number = rig_last_number();
	rig_work(150);
	rig_wait_for_checkpoint(number + 1);
	rig_stop();
	rig_expect_difference(1);
	rig_expect_said("has other records than the entries before make");
}

static void test_a_checkpoint_that_is_another_is_found(void **state)
{
	char path[400];

	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(300);
	rig_wait_for_checkpoint(2);
	rig_stop();
	rig_expect_equal();
	snprintf(path, sizeof(path), "%s/00000001.store", rig.log);
	rig_write_record(path, FAMILY_XATTRS, "key", 3, "value");
	rig_expect_difference(1);
}

static void test_what_was_cut_off_is_said_and_no_difference(void **state)
{
	struct stat st;

	make_one_segment();
	assert_int_equal(stat(rig_segment_path(1), &st), 0);
	assert_int_equal(truncate(rig_segment_path(1), st.st_size - 5), 0);
	assert_int_equal(rig_replay(1), 0);
	rig_expect_said("of a record that was cut off");
	/* The master goes on in another run, since its last entry has no result. */
	rig_start();
	rig_wait_for_checkpoint(2);
	rig_stop();
	rig_expect_equal();
	assert_null(strstr(rig.said, "cut off"));
}

static void test_a_missing_segment_is_told(void **state)
{
	rig_start();
	rig_wait_for_checkpoint(1);
	rig_work(400);
	assert_true(rig_last_number() >= 3);
	rig_stop();
	assert_int_equal(unlink(rig_segment_path(2)), 0);
	assert_int_equal(rig_replay(1), -EBADMSG);
	assert_int_equal(unlink(rig_segment_path(1)), 0);
	for (uint32_t i = 1; i <= rig_last_number(); i++) {
		char path[400];

		snprintf(path, sizeof(path), "%s/%08u.store", rig.log, i);
		tree_remove(path);
	}
	assert_int_equal(rig_replay(1), -ENOENT);
}

int main(void)
{
#define with_master(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		with_master(test_what_was_done_comes_out_equal),
		with_master(test_it_goes_on_through_restarts_and_segments),
		with_master(test_only_so_much_is_kept),
		with_master(test_entries_that_the_store_does_not_have_are_undone),
		with_master(test_an_entry_with_which_the_master_ended_is_applied),
		with_master(test_an_entry_in_the_place_of_another_counts),
		with_master(test_a_failing_store_undoes_and_goes_on),
		with_master(test_a_write_that_fails_ends_the_run_and_nothing_else),
		with_master(test_a_nearly_full_disk_ends_the_keeping_and_all_of_it_gives_way),
		with_master(test_what_was_not_kept_is_a_gap_and_begins_a_run),
		with_master(test_a_life_that_was_not_kept_begins_a_run),
		with_master(test_a_changed_byte_is_damage),
		with_master(test_an_entry_that_is_another_differs),
		with_master(test_another_result_differs),
		with_master(test_a_record_that_no_command_has_put_is_found),
		with_master(test_a_checkpoint_that_is_another_is_found),
		with_master(test_what_was_cut_off_is_said_and_no_difference),
		with_master(test_a_missing_segment_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
