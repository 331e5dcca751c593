/* fsync_test - fsync: what it waits for, and what is begun before it is asked for.
 *
 * Goal and method: as in ops_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "fs/flush/fsync.h"
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

/* ---- fsync ---- */

static void test_fsync_waits_for_the_disks_and_the_master_at_the_same_time(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	forget_events();
	chunks.hold_flushes = true;
	master.hold = true;
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "flush+durable grow+durable");
	assert_int_equal(last.answers, 0);
	release_data();
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	forget_events();
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "");
	do_close(file, &fi);
}

static void test_fsync_of_an_empty_new_file_makes_its_creation_durable(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "create flush-all");
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "create flush-all");
	/* Another file's sync covers what was answered before it. */
	do_mkdir(1, "dir");
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "create flush-all create");
	do_close(file, &fi);
}

static void test_fdatasync_leaves_times_for_later(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	ops_fsync(fresh(), file, 1, &fi);
	forget_events();
	do_write(file, &fi, "HELLO", 0);
	ops_fsync(fresh(), file, 1, &fi);
	assert_string_equal(history(), "write flush+durable");
	forget_events();
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "times+durable");
	do_close(file, &fi);
}

static void test_a_synchronous_write_is_durable_before_it_is_answered(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	fi.flags = O_RDWR | O_SYNC;
	forget_events();
	chunks.hold_flushes = true;
	ops_write(fresh(), file, "hello", 5, 0, &fi);
	assert_int_equal(last.answers, 0);
	release_data();
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.size, 5);
	assert_string_equal(history(), "write flush+durable grow+durable");
	fi.flags = O_RDWR | O_DIRECT;
	forget_events();
	ops_write(fresh(), file, "hello", 5, 0, &fi);
	assert_string_equal(history(), "write+through");
	do_close(file, &fi);
}

static void test_a_write_during_a_flush_is_not_made_durable_by_it(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	struct inode *inode = inode_table_get(fs->inodes, file);
	struct fuse_req sync = {0};
	(void)state;

	do_write(file, &fi, "hello", 0);
	chunks.hold_flushes = true;
	ops_fsync(&sync, file, 0, &fi);
	do_write(file, &fi, "HELLO", 0);
	release_data();
	assert_int_equal(sync.answers, 1);
	/* It comes to all copies in the background, but not to their disks. */
	flush_inode(fs, inode, false, NULL, NULL);
	forget_events();
	ops_fsync(&sync, file, 1, &fi);
	assert_int_equal(count_events("flush+durable"), 1);
	assert_int_equal(sync.error, 0);
	inode_put(fs->inodes, inode);
	do_close(file, &fi);
}

/* What was written after a flush is as young as a first write: the housekeeper leaves it for a while. */
static void test_the_background_leaves_alone_what_was_written_after_a_flush(void **state)
{
	const struct timespec age = {.tv_sec = 1, .tv_nsec = 20000000};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	ops_fsync(fresh(), file, 0, &fi);
	later(0); /* off the list */
	nanosleep(&age, NULL);
	forget_events();
	do_write(file, &fi, "HELLO", 0);
	later(0);
	assert_string_equal(history(), "write");
	ops_fsync(fresh(), file, 0, &fi);
	/* On the list all the time. */
	nanosleep(&age, NULL);
	do_write(file, &fi, "hello", 0);
	do_write(file, &fi, "hello", 5);
	ops_fsync(fresh(), file, 0, &fi);
	do_write(file, &fi, "HELLO", 0);
	forget_events();
	later(0);
	assert_string_equal(history(), "");
	later(2);
	assert_int_equal(count_events("flush"), 1);
	do_close(file, &fi);
}

static void test_others_hear_of_a_version_when_all_copies_have_its_data(void **state)
{
	struct stat st = {.st_mtim = {.tv_sec = 5}};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	set_sole(false);
	do_write(file, &fi, "hello", 0);
	forget_events();
	chunks.hold_flushes = true;
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "flush");
	release_data();
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "flush flush+durable grow+durable invalidate");
	/* A write that is only answered while the one before is told is not told with it. */
	do_write(file, &fi, "HELLO", 0);
	forget_events();
	chunks.hold_flushes = true;
	ops_flush(fresh(), file, &fi);
	do_write(file, &fi, "hello", 0);
	release_data();
	assert_string_equal(history(), "flush write grow invalidate");
	ops_flush(fresh(), file, &fi);
	assert_string_equal(history(), "flush write grow invalidate flush times invalidate");
	/* Nor is the version that a program makes by setting times, or by a truncation. */
	do_write(file, &fi, "HELLO", 0);
	forget_events();
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_MTIME, NULL);
	assert_int_equal(last.attr.st_mtim.tv_sec, 5);
	ops_flush(fresh(), file, &fi);
	assert_string_equal(history(), "times invalidate flush grow invalidate");
	ops_getattr(fresh(), file, NULL);
	assert_int_equal(last.attr.st_mtim.tv_sec, 5);
	do_write(file, &fi, "hello", 0);
	forget_events();
	assert_int_equal(do_truncate(file, 9), 0);
	ops_flush(fresh(), file, &fi);
	assert_string_equal(history(),
			    "grow invalidate size+durable invalidate flush times invalidate");
	do_close(file, &fi);
}

/* Writes and syncs until that has become a habit; the file is 4 bytes long then. */
static uint64_t habitual(struct fuse_file_info *fi)
{
	uint64_t file = do_create(1, "file", fi);

	for (unsigned i = 0; i < 4; i++) {
		do_write(file, fi, "x", i);
		ops_fsync(fresh(), file, 0, fi);
		assert_int_equal(last.error, 0);
	}
	forget_events();
	return file;
}

static void test_who_syncs_each_write_finds_the_next_flush_begun(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = habitual(&fi);
	struct fuse_req sync = {0};
	(void)state;

	do_write(file, &fi, "y", 4);
	assert_string_equal(history(), "write flush+durable grow+durable");
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "write flush+durable grow+durable");
	/* It is not answered before that is done. */
	chunks.hold_flushes = true;
	do_write(file, &fi, "z", 5);
	ops_fsync(&sync, file, 0, &fi);
	assert_int_equal(sync.answers, 0);
	release_data();
	assert_int_equal(sync.answers, 1);
	assert_int_equal(sync.error, 0);
	assert_int_equal(count_events("flush+durable"), 2);
	do_close(file, &fi);
}

static void test_a_broken_habit_costs_one_flush(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = habitual(&fi);
	(void)state;

	for (unsigned i = 0; i < 10; i++)
		do_write(file, &fi, "y", 4 + i);
	assert_int_equal(count_events("flush+durable"), 1);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, 0);
	assert_int_equal(count_events("flush+durable"), 2);
	assert_int_equal(do_size(file), 14);
	do_close(file, &fi);
}

static void test_a_flush_in_advance_covers_nothing_that_came_after(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = habitual(&fi);
	struct stat st = {.st_mode = S_IFREG | 0600};
	(void)state;

	do_write(file, &fi, "y", 4);
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_MODE, NULL);
	forget_events();
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "flush-all");
	do_close(file, &fi);
}

static void test_a_failed_flush_in_advance_is_told(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = habitual(&fi);
	(void)state;

	file_of(fs_inode_file_id(file))->error = -EIO;
	do_write(file, &fi, "y", 4);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, EIO);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, 0);
	do_close(file, &fi);
}

static void test_what_the_master_has_lost_is_told_by_the_next_fsync(void **state)
{
	struct fuse_file_info synced, changed;
	uint64_t old = do_create(1, "old", &synced), new;
	(void)state;

	ops_fsync(fresh(), old, 0, &synced);
	assert_int_equal(last.error, 0);
	new = do_create(1, "new", &changed);
	fsync_restarted(fs, true);
	/* Another change of it, and another file's sync, do not hide that. */
	do_write(new, &changed, "hello", 0);
	ops_fsync(fresh(), old, 0, &synced);
	assert_int_equal(last.error, 0);
	ops_fsync(fresh(), new, 0, &changed);
	assert_int_equal(last.error, EIO);
	ops_fsync(fresh(), new, 0, &changed);
	assert_int_equal(last.error, 0);
	do_close(old, &synced);
	do_close(new, &changed);
}

static void test_each_handle_hears_what_the_master_has_lost(void **state)
{
	struct fuse_file_info a, b, later;
	uint64_t file = do_create(1, "file", &a);
	(void)state;

	do_open(file, O_RDWR | O_SYNC, &b);
	fsync_restarted(fs, true);
	ops_fsync(fresh(), file, 0, &a);
	assert_int_equal(last.error, EIO);
	b.flags = O_RDWR | O_SYNC;
	ops_write(fresh(), file, "hello", 5, 0, &b);
	assert_int_equal(last.error, EIO);
	ops_write(fresh(), file, "hello", 5, 0, &b);
	assert_int_equal(last.error, 0);
	do_open(file, O_RDWR, &later);
	ops_fsync(fresh(), file, 0, &later);
	assert_int_equal(last.error, 0);
	do_close(file, &a);
	do_close(file, &b);
	do_close(file, &later);
}

/* Nobody had the file open when it was lost, and who had it then closed it before it syncs. */
static void test_a_loss_waits_for_who_opens_next(void **state)
{
	struct fuse_file_info a, b, reader;
	uint64_t file = do_create(1, "file", &a);
	(void)state;

	do_open(file, O_RDONLY, &reader);
	fsync_restarted(fs, true);
	do_close(file, &reader);
	assert_int_equal(do_close(file, &a), EIO);
	do_open(file, O_RDWR, &b);
	ops_fsync(fresh(), file, 0, &b);
	assert_int_equal(last.error, EIO);
	ops_fsync(fresh(), file, 0, &b);
	assert_int_equal(last.error, 0);
	do_close(file, &b);
}

static void test_a_removal_that_the_master_has_lost_is_undone(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	struct inode *inode = inode_table_get(fs->inodes, file);
	(void)state;

	do_close(file, &fi);
	ops_unlink(fresh(), 1, "file");
	assert_int_equal(last.error, 0);
	assert_true(inode->removed);
	/* Also when it was somebody else's: then nothing of ours is lost. */
	fsync_restarted(fs, false);
	assert_false(inode->removed);
	assert_int_equal(inode->pages.version, 0);
	assert_int_equal(inode->errors.count, 0);
	inode_put(fs->inodes, inode);
}

static void test_a_failed_flush_is_not_taken_for_one(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	master.fail = EIO;
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, EIO);
	forget_events();
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "flush-all");
	do_close(file, &fi);
}

/* ---- what other mounts have made and not flushed ---- */

#define OTHER 8

static uint64_t made_by_another(const char *name)
{
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	session_open_as(master.state, ++master.index, OTHER, 1, "other:/mnt", "c2");
	create.parent = 1;
	create.name.data = (uint8_t *)name;
	create.name.len = strlen(name);
	create.mode = S_IFREG | 0644;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	assert_int_equal(other_session(OTHER, &request), 0);
	ops_lookup(fresh(), 1, name);
	assert_int_equal(last.error, 0);
	return last.entry.ino;
}

static void test_what_another_mount_has_made_is_asked_for_once(void **state)
{
	struct fuse_file_info fi, own;
	uint64_t file, mine;
	(void)state;

	set_sole(false);
	file = made_by_another("theirs");
	do_open(file, O_RDWR, &fi);
	forget_events();
	ops_fsync(fresh(), file, 1, &fi);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "flush+durable getattr");
	assert_int_equal(master.durable, 1);
	ops_fsync(fresh(), file, 1, &fi);
	assert_string_equal(history(), "flush+durable getattr");
	/* What was flushed for another inode was there then, too. */
	file = made_by_another("others");
	mine = do_create(1, "mine", &own);
	ops_fsync(fresh(), mine, 0, &own);
	forget_events();
	ops_fsync(fresh(), file, 1, &fi);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "");
	do_close(mine, &own);
	do_close(file, &fi);
}

static void test_what_another_mount_has_made_may_be_lost(void **state)
{
	struct fuse_file_info fi, own;
	uint64_t file, mine;
	(void)state;

	set_sole(false);
	file = made_by_another("theirs");
	do_open(file, O_RDWR, &fi);
	fsync_restarted(fs, false);
	/* That others' things are durable says nothing of what was lost before. */
	mine = do_create(1, "mine", &own);
	ops_fsync(fresh(), mine, 0, &own);
	assert_int_equal(last.error, 0);
	master.fail = ESTALE;
	ops_fsync(fresh(), file, 1, &fi);
	assert_int_equal(last.error, EIO);
	do_close(mine, &own);
	do_close(file, &fi);
}

/* ---- the mount ends ---- */

static int leave(uint64_t timeout_ns, uint64_t *took_ns)
{
	uint64_t began_ns = clock_monotonic_ns();
	int rc = leave_write_back(fs, timeout_ns);

	*took_ns = clock_monotonic_ns() - began_ns;
	return rc;
}

static void test_who_leaves_does_not_wait_for_a_lost_masters_word(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi), took_ns;
	struct inode *inode = inode_table_get(fs->inodes, file);
	bool add;
	(void)state;

	master.hold = true;
	master.unreachable = true;
	assert_int_equal(leave(30 * NS_PER_SEC, &took_ns), -EHOSTDOWN);
	assert_in_range(took_ns, LEAVE_AWAY_NS, LEAVE_AWAY_NS + 5 * NS_PER_SEC);
	/* That it was read is nothing to wait for either. */
	pthread_mutex_lock(&inode->lock);
	inode->local.atime = clock_realtime_ns();
	inode->local.dirty |= INODE_DIRTY_ATIME;
	add = flush_mark(inode);
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(fs, inode);
	inode_put(fs->inodes, inode);
	assert_int_equal(leave(30 * NS_PER_SEC, &took_ns), -EHOSTDOWN);
	assert_in_range(took_ns, LEAVE_AWAY_NS, LEAVE_AWAY_NS + 5 * NS_PER_SEC);
	release_replies(false);
	do_close(file, &fi);
}

static void test_who_leaves_waits_for_the_master_with_what_only_we_have(void **state)
{
	struct fuse_file_info fi;
	uint64_t dir = do_mkdir(1, "dir"), file = do_create(1, "file", &fi), took_ns;
	(void)state;

	ops_mknod(fresh(), dir, "that gets numbers", S_IFREG | 0600, 0);
	master.unreachable = true;
	master.hold = true;
	ops_mknod(fresh(), dir, "answered early", S_IFREG | 0600, 0);
	assert_int_equal(last.answers, 1);
	assert_int_equal(leave(LEAVE_AWAY_NS + NS_PER_SEC, &took_ns), -ETIMEDOUT);
	release_replies(false);
	master.hold = true;
	do_write(file, &fi, "hello", 0);
	assert_int_equal(leave(LEAVE_AWAY_NS + NS_PER_SEC, &took_ns), -ETIMEDOUT);
	assert_true(took_ns >= LEAVE_AWAY_NS + NS_PER_SEC);
	release_replies(false);
	assert_int_equal(leave(NS_PER_SEC, &took_ns), 0);
	do_close(file, &fi);
}

static void test_who_leaves_waits_for_a_master_that_is_there(void **state)
{
	uint64_t took_ns;
	(void)state;

	do_mkdir(1, "dir");
	master.hold = true;
	assert_int_equal(leave(LEAVE_AWAY_NS + NS_PER_SEC, &took_ns), -ETIMEDOUT);
	release_replies(false);
	assert_int_equal(leave(NS_PER_SEC, &took_ns), 0);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_fsync_waits_for_the_disks_and_the_master_at_the_same_time),
		WITH_FS(test_fsync_of_an_empty_new_file_makes_its_creation_durable),
		WITH_FS(test_fdatasync_leaves_times_for_later),
		WITH_FS(test_a_synchronous_write_is_durable_before_it_is_answered),
		WITH_FS(test_a_write_during_a_flush_is_not_made_durable_by_it),
		WITH_FS(test_the_background_leaves_alone_what_was_written_after_a_flush),
		WITH_FS(test_others_hear_of_a_version_when_all_copies_have_its_data),
		WITH_FS(test_who_syncs_each_write_finds_the_next_flush_begun),
		WITH_FS(test_a_broken_habit_costs_one_flush),
		WITH_FS(test_a_flush_in_advance_covers_nothing_that_came_after),
		WITH_FS(test_a_failed_flush_in_advance_is_told),
		WITH_FS(test_what_the_master_has_lost_is_told_by_the_next_fsync),
		WITH_FS(test_each_handle_hears_what_the_master_has_lost),
		WITH_FS(test_a_loss_waits_for_who_opens_next),
		WITH_FS(test_a_removal_that_the_master_has_lost_is_undone),
		WITH_FS(test_a_failed_flush_is_not_taken_for_one),
		WITH_FS(test_what_another_mount_has_made_is_asked_for_once),
		WITH_FS(test_what_another_mount_has_made_may_be_lost),
		WITH_FS(test_who_leaves_does_not_wait_for_a_lost_masters_word),
		WITH_FS(test_who_leaves_waits_for_the_master_with_what_only_we_have),
		WITH_FS(test_who_leaves_waits_for_a_master_that_is_there),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
