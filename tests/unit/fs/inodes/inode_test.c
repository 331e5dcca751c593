/* inode_test - what programs see of an inode: the master's word and, over it, our own writes.
 *
 * Goal: an answer that is overtaken never undoes a newer one; sizes and times of writes are seen at
 * once, told to the master once, and forgotten exactly when the master has them; the table keeps
 * what is in use and is bounded otherwise. Method: single steps, in the orders that can happen. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/duration.h"
#include "fs/inodes/inode_gate.h"
#include "fs/inodes/inode.h"

static struct inode_table *table;
static struct inode *inode;
static struct attr attr;

static int setup(void **state)
{
	(void)state;
	if (inode_table_create(100, &table) != 0)
		return -1;
	inode = inode_table_get(table, 5);
	attr = (struct attr){.ino = 5,
			     .mode = S_IFREG | 0644,
			     .nlink = 1,
			     .size = 1000,
			     .allocated = 1000,
			     .mtime = 100,
			     .ctime = 100,
			     .atime = 100,
			     .file_id = 50,
			     .version = 10};
	pthread_mutex_lock(&inode->lock);
	inode_attr_apply(inode, &attr, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pthread_mutex_unlock(&inode->lock);
	inode_put(table, inode);
	inode_table_destroy(table);
	return 0;
}

static void test_an_overtaken_answer_changes_nothing(void **state)
{
	struct attr old = attr, newer = attr;
	(void)state;

	newer.version = 12;
	newer.size = 3000;
	old.version = 11;
	old.size = 2000;
	inode_attr_apply(inode, &newer, 1);
	inode_attr_apply(inode, &old, 1);
	assert_int_equal(inode_size(inode), 3000);
	assert_true(inode_exact(inode, true, 1));
}

static void test_a_new_generation_is_believed_whatever_its_version(void **state)
{
	struct attr restored = attr;
	(void)state;

	restored.version = 3; /* a master that lost what was never durable */
	restored.size = 10;
	inode_attr_apply(inode, &restored, 2);
	assert_int_equal(inode_size(inode), 10);
	assert_true(inode_exact(inode, true, 2));
	assert_false(inode_exact(inode, true, 1));
	assert_false(inode_exact(inode, false, 2));
}

static void test_an_answer_of_an_older_lease_is_not_exact(void **state)
{
	struct attr late = attr;
	(void)state;

	inode_attr_apply(inode, &attr, 7);
	late.version = 11;
	inode_attr_apply(inode, &late, 6);
	assert_false(inode_exact(inode, true, 7));
}

static void test_a_write_is_seen_at_once_and_told_once(void **state)
{
	struct inode_update update;
	struct attr answer = attr;
	struct stat st;
	(void)state;

	inode_wrote(inode, 900, 1500, 200, true);
	inode_stat(inode, &st);
	assert_int_equal(st.st_size, 1500);
	assert_int_equal(st.st_mtim.tv_nsec, 200);
	assert_int_equal(st.st_ctim.tv_nsec, 200);
	assert_int_equal(st.st_blocks, 3);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask, CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_MTIME |
					      CATENA__SET_MASK__SET_CTIME |
					      CATENA__SET_MASK__SET_OWN_TIMES);
	assert_int_equal(update.size, 1500);
	assert_int_equal(update.file_id, 50);
	answer.version = 11;
	answer.size = 1500;
	answer.mtime = answer.ctime = 200;
	inode_attr_apply(inode, &answer, 1);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, 0);
	assert_int_equal(inode_size(inode), 1500);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask, 0);
}

static void test_a_write_inside_the_file_leaves_its_size_alone(void **state)
{
	struct inode_update update;
	(void)state;

	inode_wrote(inode, 0, 10, 300, true);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask & CATENA__SET_MASK__SET_GROW, 0);
	assert_int_equal(update.mask & CATENA__SET_MASK__SET_MTIME, CATENA__SET_MASK__SET_MTIME);
	/* Unless the size may be another by now. */
	inode_wrote(inode, 0, 10, 300, false);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask & CATENA__SET_MASK__SET_GROW, CATENA__SET_MASK__SET_GROW);
	assert_int_equal(update.size, 10);
	assert_int_equal(inode_size(inode), 1000);
}

static void test_a_write_during_the_telling_is_told_next(void **state)
{
	struct inode_update update;
	(void)state;

	inode_wrote(inode, 1000, 1500, 200, true);
	inode_update_begin(inode, &update);
	inode_wrote(inode, 1500, 1800, 201, true);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, INODE_DIRTY_SIZE | INODE_DIRTY_MTIME);
	assert_int_equal(inode_size(inode), 1800);
	inode_update_begin(inode, &update);
	assert_int_equal(update.size, 1800);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, 0);
}

static void test_a_truncation_voids_what_was_to_be_told(void **state)
{
	struct inode_update update, later;
	struct attr cut = attr;
	(void)state;

	inode_wrote(inode, 1000, 9000, 200, true);
	inode_update_begin(inode, &update);
	/* The truncation is answered before the update's data was flushed. */
	inode_update_forget(inode, false);
	cut.size = 10;
	cut.version = 20;
	inode_attr_apply(inode, &cut, 1);
	inode_update_check(inode, &update);
	assert_int_equal(update.mask, 0);
	assert_int_equal(inode_size(inode), 10);
	/* And a write after it is not taken for told when the old update's answer comes. */
	inode_wrote(inode, 10, 20, 300, true);
	inode_update_done(inode, &update);
	inode_update_begin(inode, &later);
	assert_int_equal(later.size, 20);
	assert_int_equal(later.mask & CATENA__SET_MASK__SET_GROW, CATENA__SET_MASK__SET_GROW);
}

static void truncated_elsewhere(uint64_t size, uint64_t truncations, int64_t at)
{
	struct attr cut = inode->attr;

	cut.size = size;
	cut.version += 1;
	cut.truncations = truncations;
	cut.truncated_at = at;
	inode_attr_apply(inode, &cut, 1);
}

static void test_a_truncation_elsewhere_cuts_off_what_was_written_before_it(void **state)
{
	struct inode_update update;
	(void)state;

	inode_wrote(inode, 1000, 9000, 200, false);
	inode_wrote(inode, 100, 300, 400, false);
	inode_wrote(inode, 0, 50, 500, false);
	inode_update_begin(inode, &update);
	assert_int_equal(update.truncations, 0);
	assert_int_equal(update.size, 9000);
	truncated_elsewhere(10, 1, 300);
	assert_int_equal(inode_size(inode), 300);
	inode_update_check(inode, &update);
	assert_int_equal(update.mask & CATENA__SET_MASK__SET_GROW, 0);
	inode_update_begin(inode, &update);
	assert_int_equal(update.truncations, 1);
	assert_int_equal(update.size, 300);
	truncated_elsewhere(20, 2, 400);
	assert_int_equal(inode_size(inode), 50);
	truncated_elsewhere(30, 3, 500);
	assert_int_equal(inode_size(inode), 30);
	assert_int_equal(inode->local.dirty & INODE_DIRTY_SIZE, 0);
	/* The content and times of the writes below are still news. */
	assert_int_equal(inode->local.dirty, INODE_DIRTY_MTIME);
	inode_wrote(inode, 30, 40, 600, false);
	inode_update_begin(inode, &update);
	assert_int_equal(update.size, 40);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, 0);
}

static void test_of_many_writes_rather_too_much_is_kept_than_too_little(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++)
		inode_wrote(inode, 0, 9000 - i, 200 + i, false);
	assert_int_equal(inode_size(inode), 9000);
	truncated_elsewhere(10, 1, 218);
	assert_int_equal(inode_size(inode), 8981);
	truncated_elsewhere(10, 2, 219);
	assert_int_equal(inode_size(inode), 10);
	for (unsigned i = 0; i < 20; i++)
		inode_wrote(inode, 0, 100 + i, 300 + i, false);
	assert_int_equal(inode_size(inode), 119);
	truncated_elsewhere(10, 3, 318);
	assert_int_equal(inode_size(inode), 119);
	truncated_elsewhere(10, 4, 319);
	assert_int_equal(inode_size(inode), 10);
}

static void test_a_version_is_told_for_each_write_after_its_data(void **state)
{
	struct inode_update update;
	(void)state;

	inode_wrote(inode, 0, 10, 200, true);
	inode_update_begin(inode, &update);
	/* Written while the data of the first is on its way: its own is not there yet. */
	inode_wrote(inode, 0, 10, 300, true);
	inode_update_check(inode, &update);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, INODE_DIRTY_MTIME);
	/* A program sets the time, and so makes a version before the data. */
	inode_mtime_set(inode, true);
	assert_int_equal(inode_mtime(inode), inode->attr.mtime);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask, CATENA__SET_MASK__SET_OWN_TIMES |
					      CATENA__SET_MASK__SET_MTIME |
					      CATENA__SET_MASK__SET_CTIME);
	inode_update_check(inode, &update);
	assert_int_not_equal(update.mask, 0);
	inode_update_done(inode, &update);
	assert_int_equal(inode->local.dirty, 0);
	/* Nobody else is there to see it. */
	inode_wrote(inode, 0, 10, 400, true);
	inode_mtime_set(inode, false);
	assert_int_equal(inode->local.dirty, 0);
}

static void test_times_that_a_program_sets_meanwhile_are_not_undone(void **state)
{
	struct inode_update update;
	struct attr set = attr;
	(void)state;

	inode_wrote(inode, 0, 10, 200, true);
	inode_update_begin(inode, &update);
	set.version = 11;
	set.mtime = 42;
	set.ctime = 250;
	inode_attr_apply(inode, &set, 1);
	inode->local.dirty &=
		~(uint32_t)INODE_DIRTY_MTIME; /* what setattr does when it is answered */
	inode_update_check(inode, &update);
	assert_int_equal(update.mask, 0);
	assert_int_equal(inode_mtime(inode), 42);
	/* Nor with a size to be told. */
	inode_wrote(inode, 1000, 2000, 300, true);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mtime, 300);
	inode_mtime_set(inode, false);
	inode_update_check(inode, &update);
	assert_int_equal(update.mask, CATENA__SET_MASK__SET_GROW | CATENA__SET_MASK__SET_CTIME |
					      CATENA__SET_MASK__SET_OWN_TIMES);
	assert_int_equal(update.ctime, 250);
	/* What is told again for its version tells the time of the write, which does not count. */
	inode_wrote(inode, 1000, 2000, 400, true);
	inode_mtime_set(inode, true);
	inode_update_begin(inode, &update);
	assert_int_equal(update.mask & CATENA__SET_MASK__SET_MTIME, CATENA__SET_MASK__SET_MTIME);
	assert_int_equal(update.mtime, 400);
}

static void test_relative_atime_changes_when_it_is_older_than_the_content(void **state)
{
	const int64_t day = (int64_t)(86400 * NS_PER_SEC);
	(void)state;

	assert_false(inode_was_read(inode, ATIME_NEVER, 500));
	assert_true(inode_was_read(inode, ATIME_RELATIVE, 500));
	assert_int_equal(inode_atime(inode), 500);
	assert_false(inode_was_read(inode, ATIME_RELATIVE, 600));
	assert_true(inode_was_read(inode, ATIME_STRICT, 700));
	assert_false(inode_was_read(inode, ATIME_RELATIVE, 800));
	assert_true(inode_was_read(inode, ATIME_RELATIVE, 800 + day));
	inode_wrote(inode, 0, 1, 800 + 2 * day, true);
	assert_true(inode_was_read(inode, ATIME_RELATIVE, 801 + 2 * day));
}

static void test_times_before_1970_are_times(void **state)
{
	struct attr old = attr;
	struct stat st;
	(void)state;

	old.version = 11;
	old.mtime = -1;
	inode_attr_apply(inode, &old, 1);
	inode_stat(inode, &st);
	assert_int_equal(st.st_mtim.tv_sec, -1);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
}

static void test_senseless_attributes_are_refused(void **state)
{
	Catena__Attr message = CATENA__ATTR__INIT;
	struct attr out;
	(void)state;

	assert_int_equal(inode_attr_decode(NULL, &out), -EIO);
	message.ino = 5;
	assert_int_equal(inode_attr_decode(&message, &out), -EIO);
	message.mode = S_IFREG | 0600;
	assert_int_equal(inode_attr_decode(&message, &out), 0);
	message.size = UINT64_MAX;
	assert_int_equal(inode_attr_decode(&message, &out), -EIO);
}

static void test_the_table_keeps_what_is_in_use_and_is_bounded_otherwise(void **state)
{
	(void)state;
	for (uint64_t ino = 100; ino < 1000; ino++) {
		struct inode *other = inode_table_get(table, ino);

		assert_non_null(other);
		assert_false(other->known);
		inode_put(table, other);
	}
	assert_int_equal(inode_table_count(table), 100);
	assert_true(inode_table_find(table, 5) == inode);
	inode_put(table, inode);
	assert_null(inode_table_find(table, 100));
	inode_put(table, inode_table_get(table, 999));
	assert_true(inode->known);
}

/* ---- the gate ---- */

static int order[8], order_count;

struct passer {
	struct inode_gate_entry entry;
	int number;
};

static void went(struct inode_gate_entry *entry)
{
	order[order_count++] = ((struct passer *)entry)->number;
}

static void test_the_gate_lets_one_alone_in_and_the_others_by_in_order(void **state)
{
	struct passer p[6];
	(void)state;

	pthread_mutex_unlock(&inode->lock);
	order_count = 0;
	for (int i = 0; i < 6; i++)
		p[i].number = i;
	assert_true(inode_gate_pass(inode, &p[0].entry, went));
	assert_true(inode_gate_enter(inode, &p[0].entry, went));
	assert_false(inode_gate_pass(inode, &p[1].entry, went));
	assert_false(inode_gate_pass(inode, &p[2].entry, went));
	assert_false(inode_gate_enter(inode, &p[3].entry, went));
	assert_false(inode_gate_pass(inode, &p[4].entry, went));
	assert_int_equal(order_count, 0);
	inode_gate_leave(inode);
	assert_int_equal(order_count, 3);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 3);
	assert_false(inode_gate_pass(inode, &p[5].entry, went));
	inode_gate_leave(inode);
	assert_int_equal(order_count, 5);
	assert_int_equal(order[3], 4);
	assert_int_equal(order[4], 5);
	assert_true(inode_gate_enter(inode, &p[0].entry, went));
	inode_gate_leave(inode);
	pthread_mutex_lock(&inode->lock);
}

#define WITH_INODE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_INODE(test_an_overtaken_answer_changes_nothing),
		WITH_INODE(test_a_new_generation_is_believed_whatever_its_version),
		WITH_INODE(test_an_answer_of_an_older_lease_is_not_exact),
		WITH_INODE(test_a_write_is_seen_at_once_and_told_once),
		WITH_INODE(test_a_write_inside_the_file_leaves_its_size_alone),
		WITH_INODE(test_a_write_during_the_telling_is_told_next),
		WITH_INODE(test_a_truncation_voids_what_was_to_be_told),
		WITH_INODE(test_a_truncation_elsewhere_cuts_off_what_was_written_before_it),
		WITH_INODE(test_of_many_writes_rather_too_much_is_kept_than_too_little),
		WITH_INODE(test_a_version_is_told_for_each_write_after_its_data),
		WITH_INODE(test_times_that_a_program_sets_meanwhile_are_not_undone),
		WITH_INODE(test_relative_atime_changes_when_it_is_older_than_the_content),
		WITH_INODE(test_times_before_1970_are_times),
		WITH_INODE(test_senseless_attributes_are_refused),
		WITH_INODE(test_the_table_keeps_what_is_in_use_and_is_bounded_otherwise),
		WITH_INODE(test_the_gate_lets_one_alone_in_and_the_others_by_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
