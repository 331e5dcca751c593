/* Goal: what is lost is told, and only that: of files that are gone, of sessions that are over, of
 * copies that have lost what they had. Method: as data_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/os/log.h"
#include "tests/sim/data/world.h"

static struct world world;
static uint8_t scratch[4 * MIB];

static int setup(void **state)
{
	world_open(&world, 1, 64 * MIB, 0);
	return 0;
}

static int teardown(void **state)
{
	world_end(&world);
	return 0;
}

static bool file_is_gone;
static unsigned asked_gone;

static void ask_gone(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer, void *arg)
{
	(void)user;
	assert_int_equal(ino, 5);
	assert_int_equal(file_id, 1);
	asked_gone++;
	answer(arg, file_is_gone);
}

/* Somebody else has removed the file, or copies have lost what they have answered. */
static void chunks_vanish(struct fake *f)
{
	for (unsigned i = 0; i < f->chunk_count; i++)
		f->chunks[i].version = 0;
}

static void test_what_was_removed_on_purpose_is_not_lost(void **state)
{
	struct data_file *file = open_file(&world, 1);

	world.data->ask_gone = ask_gone;
	data_file_set_ino(file, 5);
	for (int gone = 1; gone >= 0; gone--) {
		file_is_gone = gone;
		asked_gone = 0;
		assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
		assert_int_equal(write_now(&world, file, 40 * MIB, 4096, 1), 0);
		assert_int_equal(flush_now(&world, file, false), 0);
		chunks_vanish(world.fake);
		assert_int_equal(flush_now(&world, file, true), gone ? 0 : -EIO);
		assert_int_equal(asked_gone, 1);
		/* It is told once. */
		assert_int_equal(flush_now(&world, file, true), 0);
	}
	data_file_put(file);
}

static int failed_with;

static void on_failed(void *user, uint64_t ino, int error)
{
	assert_int_equal(ino, 5);
	failed_with = error;
}

static void test_a_closed_file_whose_copies_have_lost_it_is_told_of(void **state)
{
	struct data_file *file = open_file(&world, 1);

	world.data->failed = on_failed;
	data_file_set_ino(file, 5);
	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	data_file_put(file);
	run_for(&world, 10 * SEC);
	chunks_vanish(world.fake);
	failed_with = 0;
	run_for(&world, 30 * SEC);
	assert_int_equal(failed_with, -EIO);
	world.data->failed = NULL;
}

static data_gone_fn *later_answer;
static void *later_arg;

static void ask_gone_later(void *user, uint64_t ino, uint64_t file_id, data_gone_fn *answer,
			   void *arg)
{
	later_answer = answer;
	later_arg = arg;
}

/* Two programs have written to a file; what both have lost is found once. */
static void test_no_flush_says_that_all_is_well_before_a_loss_is_told(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result first = {0}, second = {0}, third = {0};

	world.data->ask_gone = ask_gone_later;
	data_file_set_ino(file, 5);
	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	chunks_vanish(world.fake);
	later_answer = NULL;
	data_flush(file, true, on_done, &first);
	run_for(&world, SEC);
	assert_non_null(later_answer);
	data_flush(file, true, on_done, &second);
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, true, on_done, &third);
	run_for(&world, SEC);
	assert_false(first.done || second.done || third.done);
	/* The master may wait for those that need not be durable. */
	assert_int_equal(flush_now(&world, file, false), 0);
	later_answer(later_arg, false);
	assert_true(first.done && second.done && third.done);
	assert_int_equal(first.error, -EIO);
	assert_int_equal(second.error, 0);
	assert_int_equal(third.error, 0);
	world.data->ask_gone = NULL;
	data_file_put(file);
}

/* Waiting, in flight, or about to be written by somebody who decided that before. */
static void test_what_is_not_answered_is_lost_with_its_session(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result flush = {0}, punch = {0}, late = {0}, durable = {0};
	unsigned writes;

	assert_int_equal(write_now(&world, file, 0, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, false), 0);
	world.fake->hold_commits = true;
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, false, on_done, &flush);
	run_for(&world, 100 * FAKE_MS);
	assert_int_equal(write_now(&world, file, 0, 8192, 3), 0); /* waits for the one before */
	data_punch(file, MIB, MIB + 8192, on_done, &punch);
	writes = world.fake->seen[FRAME_WRITE];
	data_set_session(world.data, 78);
	assert_true(data_lose(file) >= 8192);
	assert_true(data_lose(file) == 0);
	data_lose_all(world.data);
	data_write_within(file, 77, MIB, filled(&world, 4096, 4), false, on_done, &late);
	assert_true(late.done);
	assert_int_equal(late.error, -EIO);
	assert_true(wait_for(&world, &flush, 2 * SEC));
	assert_true(wait_for(&world, &punch, 2 * SEC));
	assert_int_equal(flush.error, -EIO);
	assert_int_equal(punch.error, -EIO);
	assert_false(data_dirty(file));
	run_for(&world, 10 * SEC);
	assert_int_equal(world.fake->seen[FRAME_WRITE], writes);
	assert_int_equal(world.fake->seen[FRAME_PUNCH], 0);
	/* What was answered is still to be made durable, and the file goes on. */
	world.fake->hold_commits = false;
	fake_commit_all(world.fake);
	late = (struct result){0};
	data_write_within(file, 78, MIB, filled(&world, 4096, 5), false, on_done, &late);
	assert_int_equal(late.error, 0);
	data_flush(file, true, on_done, &durable);
	assert_true(wait_for(&world, &durable, 2 * SEC));
	assert_int_equal(durable.error, 0);
	assert_int_equal(world.fake->seen[FRAME_WRITE], writes + 1);
	data_file_put(file);
}

/* It waits for an update of its chunk that is under way, or for which chunks there are. */
static void test_a_punch_that_is_not_begun_is_lost_with_its_session(void **state)
{
	struct data_file *file = open_file(&world, 1);
	struct result flush = {0}, waiting = {0}, listing = {0}, next = {0};

	assert_int_equal(write_now(&world, file, 60 * MIB, 4096, 1), 0);
	assert_int_equal(flush_now(&world, file, true), 0);
	world.fake->hold_commits = true;
	assert_int_equal(write_now(&world, file, 0, 4096, 2), 0);
	data_flush(file, false, on_done, &flush);
	run_for(&world, 100 * FAKE_MS);
	data_punch(file, 0, 4096, on_done, &waiting);
	data_punch(file, 50 * MIB, 100 * MIB, on_done, &listing);
	assert_false(waiting.done || listing.done);
	data_set_session(world.data, 78);
	assert_true(data_lose(file) > 0);
	assert_true(wait_for(&world, &waiting, 2 * SEC));
	assert_true(wait_for(&world, &listing, 2 * SEC));
	assert_int_equal(waiting.error, -EIO);
	assert_int_equal(listing.error, -EIO);
	world.fake->hold_commits = false;
	fake_commit_all(world.fake);
	run_for(&world, 10 * SEC);
	assert_int_equal(world.fake->seen[FRAME_PUNCH] + world.fake->seen[FRAME_TRUNCATE], 0);
	assert_int_equal(read_now(&world, file, 60 * MIB, 4096, scratch), 0);
	assert_true(all_are(scratch, 4096, 1));
	/* And the next session punches as ever. */
	data_punch(file, 50 * MIB, 100 * MIB, on_done, &next);
	assert_true(wait_for(&world, &next, 2 * SEC));
	assert_int_equal(next.error, 0);
	assert_int_equal(read_now(&world, file, 60 * MIB, 4096, scratch), 0);
	assert_true(all_are(scratch, 4096, 0));
	data_file_put(file);
}

#define CASE(name) WORLD_CASE(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_what_was_removed_on_purpose_is_not_lost),
		CASE(test_a_closed_file_whose_copies_have_lost_it_is_told_of),
		CASE(test_no_flush_says_that_all_is_well_before_a_loss_is_told),
		CASE(test_what_is_not_answered_is_lost_with_its_session),
		CASE(test_a_punch_that_is_not_begun_is_lost_with_its_session),
	};

	/* Faults are what this is about; thousands of lines about them help nobody. */
	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
