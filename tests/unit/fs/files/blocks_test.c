/* blocks_test - st_blocks of files with holes.
 *
 * Goal: programs that copy holes (cp, tar) and those that count space (du) are told what is there,
 * the chains are asked only about files that may have holes, and only when something has changed.
 * Method: as in ops_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"

static blkcnt_t blocks_of(uint64_t ino)
{
	ops_getattr(fresh(), ino, NULL);
	assert_int_equal(last.error, 0);
	return last.attr.st_blocks;
}

static void test_a_file_without_holes_is_full_and_nobody_is_asked(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	do_write(file, &fi, "0123456789", 10);
	later(2);
	do_truncate(file, 15);
	assert_int_equal(blocks_of(file), 1);
	assert_int_equal(count_events("list"), 0);
	do_close(file, &fi);
}

static void test_of_a_file_with_a_hole_the_chains_are_asked_once(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "data", 500000);
	do_close(file, &fi);
	later(2);
	assert_int_equal(blocks_of(file), 8);
	assert_true(last.timeout > 0);
	assert_int_equal(count_events("list"), 1);
	assert_int_equal(blocks_of(file), 8);
	assert_int_equal(count_events("list"), 1);
	do_open(file, O_WRONLY, &fi);
	do_write(file, &fi, "more", 100000);
	do_close(file, &fi);
	later(2);
	assert_int_equal(blocks_of(file), 16);
	assert_int_equal(count_events("list"), 2);
}

static void test_the_master_is_told_of_a_hole(void **state)
{
	struct fuse_file_info fi;
	struct inode *inode;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "data", 500000);
	do_close(file, &fi);
	later(2);
	inode = inode_table_get(fs->inodes, file);
	assert_true(inode->attr.sparse);
	assert_false(inode->local.sparse);
	inode_put(fs->inodes, inode);
}

static void test_extending_and_punching_make_holes_and_emptying_ends_them(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_truncate(file, 100000);
	do_close(file, &fi);
	assert_int_equal(blocks_of(file), 0);
	do_truncate(file, 0);
	do_open(file, O_WRONLY, &fi);
	do_write(file, &fi, "0123456789", 0);
	later(2);
	forget_events();
	assert_int_equal(blocks_of(file), 1);
	assert_int_equal(count_events("list"), 0);
	ops_fallocate(fresh(), file, 3, 0, 10, &fi);
	assert_int_equal(last.error, 0);
	do_close(file, &fi);
	later(2);
	assert_int_equal(blocks_of(file), 0);
	assert_int_equal(count_events("list"), 1);
}

static void test_the_kernel_asks_again_as_long_as_it_is_not_known(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "data", 500000);
	do_close(file, &fi);
	ops_lookup(fresh(), 1, "file");
	assert_int_equal(last.error, 0);
	assert_true(last.entry.attr_timeout <= 0);
	assert_true(last.entry.entry_timeout > 0);
	/* What is on its way to the chains is counted, but not for good. */
	assert_true(blocks_of(file) > 0);
	assert_true(last.timeout <= 0);
	later(2);
	blocks_of(file);
	assert_true(last.timeout > 0);
}

static void test_what_came_to_the_chains_behind_their_answer_counts(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "data", 500000);
	chunks.list_misses = true;
	assert_true(blocks_of(file) > 0);
	assert_true(last.timeout <= 0);
	chunks.list_misses = false;
	assert_int_equal(blocks_of(file), 8);
	assert_true(last.timeout > 0);
	do_close(file, &fi);
}

static void test_when_the_chains_say_nothing_the_file_counts_as_full(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "data", 500000);
	do_close(file, &fi);
	later(2);
	chunks.list_error = -ETIMEDOUT;
	assert_int_equal(blocks_of(file), (500004 + 511) / 512);
	assert_true(last.timeout <= 0);
	chunks.list_error = 0;
	assert_int_equal(blocks_of(file), 8);
}

static void test_a_file_that_may_be_mapped_is_never_said_to_be_nothing_but_a_hole(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_truncate(file, 100000);
	assert_int_equal(blocks_of(file), 8);
	do_close(file, &fi);
	assert_int_equal(blocks_of(file), 0);
}

static void test_what_was_stored_in_mapped_pages_is_written_back_before_data_is_sought(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	fs->session = (struct fuse_session *)&master; /* only that there is one */
	assert_int_equal(lease_return_start(fs->lease_return), 0);
	do_truncate(file, 100000);
	forget_events();
	ops_lseek(fresh(), file, 0, SEEK_DATA, &fi);
	for (unsigned i = 0; i < 1000 && __atomic_load_n(&last.answers, __ATOMIC_ACQUIRE) == 0; i++)
		usleep(1000);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "pages seek");
	do_close(file, &fi);
	forget_events();
	do_open(file, O_RDONLY, &fi);
	ops_lseek(fresh(), file, 0, SEEK_DATA, &fi);
	assert_string_equal(history(), "seek");
	do_close(file, &fi);
	fs->session = NULL;
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_a_file_without_holes_is_full_and_nobody_is_asked),
		WITH_FS(test_of_a_file_with_a_hole_the_chains_are_asked_once),
		WITH_FS(test_the_master_is_told_of_a_hole),
		WITH_FS(test_extending_and_punching_make_holes_and_emptying_ends_them),
		WITH_FS(test_the_kernel_asks_again_as_long_as_it_is_not_known),
		WITH_FS(test_what_came_to_the_chains_behind_their_answer_counts),
		WITH_FS(test_when_the_chains_say_nothing_the_file_counts_as_full),
		WITH_FS(test_a_file_that_may_be_mapped_is_never_said_to_be_nothing_but_a_hole),
		WITH_FS(test_what_was_stored_in_mapped_pages_is_written_back_before_data_is_sought),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
