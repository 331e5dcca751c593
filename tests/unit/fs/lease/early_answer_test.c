/* early_answer_test - commands that are answered before the master has.
 *
 * Goal: while the lease is held programs do not wait for names, and see everything as it will be;
 * what was answered is so in the end, and when it cannot be, fsync says so and nothing stays that
 * is not true. Method: the master's real state machine in memory, with its answers held back, given
 * in any order, or refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/base/duration.h"
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

static struct fuse_file_info fi;

static void hold_answers(void)
{
	master.hold = true;
}

/* A directory that is known whole, and numbers for what is made in it. */
static uint64_t known_directory(void)
{
	uint64_t dir = do_mkdir(1, "dir");

	ops_mknod(fresh(), dir, "first", S_IFREG | 0600, 0);
	ops_unlink(fresh(), dir, "first");
	forget_events();
	return dir;
}

static uint64_t look(uint64_t dir, const char *name)
{
	ops_lookup(fresh(), dir, name);
	return last.error == 0 ? last.entry.ino : 0;
}

/* What the master itself has. */
static Catena__Attr master_attr(uint64_t ino)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__Attr attr = CATENA__ATTR__INIT;
	Catena__Reply *reply;
	uint8_t *bytes = NULL;
	size_t size = 0;

	getattr.ino = ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	request.id = 1;
	assert_int_equal(state_query(master.state, master.session, &request, &bytes, &size), 0);
	reply = catena__reply__unpack(NULL, size, bytes);
	if (reply->attr != NULL)
		attr = *reply->attr;
	catena__reply__free_unpacked(reply, NULL);
	free(bytes);
	return attr;
}

/* What is known here is exact, and what the master has. */
static void assert_as_the_master_has_it(uint64_t ino)
{
	struct inode *inode = inode_table_get(fs->inodes, ino);
	Catena__Attr attr = master_attr(ino);

	assert_true(inode_exact(inode, true, master.generation));
	assert_int_equal(inode->commands.under_way, 0);
	assert_int_equal(inode->commands.answered_early, 0);
	assert_int_equal(inode->attr.version, attr.version);
	assert_int_equal(inode->attr.mode, attr.mode);
	assert_int_equal(inode->attr.nlink, attr.nlink);
	assert_int_equal(inode->attr.size, attr.size);
	assert_int_equal(inode->attr.uid, attr.uid);
	assert_int_equal(inode->attr.gid, attr.gid);
	assert_int_equal(inode->attr.file_id, attr.file_id);
	assert_int_equal(inode->attr.pool, attr.pool);
	assert_int_equal(inode->attr.mtime, attr.mtime);
	assert_int_equal(inode->attr.ctime, attr.ctime);
	assert_int_equal(inode->attr.parent, attr.parent);
	inode_put(fs->inodes, inode);
}

static void test_programs_do_not_wait_for_new_names(void **state)
{
	uint64_t dir = known_directory(), file, sub, link;
	(void)state;

	hold_answers();
	file = do_create(dir, "file", &fi);
	assert_int_equal(last.answers, 1);
	assert_true(file > 1 && last.entry.entry_timeout > 0);
	assert_int_equal(last.entry.attr.st_mode, S_IFREG | 0644);
	sub = do_mkdir(dir, "sub");
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.entry.attr.st_nlink, 2);
	ops_symlink(fresh(), "file", dir, "link");
	link = last.entry.ino;
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.entry.attr.st_size, 4);
	assert_string_equal(history(), "create create create");
	/* Everything is as it will be, without asking. */
	assert_int_equal(look(dir, "file"), file);
	assert_int_equal(look(dir, "sub"), sub);
	assert_int_equal(look(sub, "nothing"), 0);
	do_size(dir);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.attr.st_nlink, 3);
	assert_int_equal(do_write(file, &fi, "hello", 0), 0);
	assert_int_equal(do_size(file), 5);
	assert_string_equal(history(), "create create create write");
	release_replies(false);
	assert_as_the_master_has_it(dir);
	assert_as_the_master_has_it(file);
	assert_as_the_master_has_it(sub);
	assert_as_the_master_has_it(link);
	do_close(file, &fi);
	assert_true(early_answer_idle(fs));
}

static void test_answers_in_any_order_leave_the_newest(void **state)
{
	uint64_t dir = known_directory();
	(void)state;

	hold_answers();
	do_mkdir(dir, "a");
	do_mkdir(dir, "b");
	ops_mknod(fresh(), dir, "c", S_IFREG | 0600, 0);
	ops_unlink(fresh(), dir, "c");
	release_replies(true);
	assert_as_the_master_has_it(dir);
	do_size(dir);
	assert_int_equal(last.attr.st_nlink, 4);
}

static void test_a_group_directory_gives_its_group(void **state)
{
	uint64_t dir = known_directory(), file, sub;
	struct stat st = {.st_mode = S_IFDIR | S_ISGID | 0775, .st_gid = 50};
	(void)state;

	ops_setattr(fresh(), dir, &st, FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_GID, NULL);
	hold_answers();
	file = do_create(dir, "file", &fi);
	assert_int_equal(last.entry.attr.st_gid, 50);
	sub = do_mkdir(dir, "sub");
	assert_true(last.entry.attr.st_mode & S_ISGID);
	release_replies(false);
	assert_as_the_master_has_it(file);
	assert_as_the_master_has_it(sub);
	do_close(file, &fi);
}

static void test_programs_do_not_wait_for_names_that_go(void **state)
{
	uint64_t dir = known_directory(), file;
	(void)state;

	ops_mknod(fresh(), dir, "file", S_IFREG | 0600, 0);
	file = last.entry.ino;
	ops_link(fresh(), file, dir, "other");
	hold_answers();
	ops_unlink(fresh(), dir, "file");
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(look(dir, "file"), 0);
	do_size(file);
	assert_int_equal(last.attr.st_nlink, 1);
	ops_unlink(fresh(), dir, "other");
	assert_int_equal(last.answers, 1);
	release_replies(false);
	assert_as_the_master_has_it(dir);
	assert_int_equal(counts().inodes, 2);
}

static void test_the_last_name_of_an_open_file_may_go(void **state)
{
	uint64_t dir = known_directory(), file;
	(void)state;

	file = do_create(dir, "file", &fi);
	ops_link(fresh(), file, dir, "other");
	forget_events();
	hold_answers();
	ops_unlink(fresh(), dir, "file");
	ops_unlink(fresh(), dir, "other");
	/* The master is told before that it is open. */
	assert_string_equal(history(), "unlink open unlink");
	release_replies(false);
	assert_int_equal(counts().orphans, 1);
	assert_int_equal(do_write(file, &fi, "still there", 0), 0);
	assert_int_equal(do_size(file), 11);
	do_close(file, &fi);
	assert_int_equal(counts().orphans, 0);
	assert_int_equal(counts().inodes, 2);
}

static void test_a_rename_is_seen_at_once(void **state)
{
	uint64_t dir = known_directory(), sub, file, old;
	(void)state;

	sub = do_mkdir(dir, "sub");
	ops_mknod(fresh(), dir, "new", S_IFREG | 0600, 0);
	file = last.entry.ino;
	ops_mknod(fresh(), sub, "old", S_IFREG | 0600, 0);
	old = last.entry.ino;
	hold_answers();
	ops_rename(fresh(), dir, "new", sub, "old", 0);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(look(sub, "old"), file);
	assert_int_equal(look(dir, "new"), 0);
	ops_rename(fresh(), sub, "old", sub, "last", 0);
	assert_int_equal(last.answers, 1);
	assert_int_equal(look(sub, "last"), file);
	release_replies(false);
	assert_as_the_master_has_it(dir);
	assert_as_the_master_has_it(sub);
	assert_as_the_master_has_it(file);
	assert_int_equal(master_attr(old).ino, 0);
}

static void test_a_rename_that_must_not_replace_is_seen_at_once_where_nothing_is(void **state)
{
	uint64_t dir = known_directory(), file;
	(void)state;

	ops_mknod(fresh(), dir, "a", S_IFREG | 0600, 0);
	file = last.entry.ino;
	ops_mknod(fresh(), dir, "b", S_IFREG | 0600, 0);
	hold_answers();
	ops_rename(fresh(), dir, "a", dir, "c", 1);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(look(dir, "c"), file);
	ops_rename(fresh(), dir, "c", dir, "b", 1);
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, EEXIST);
	assert_int_equal(look(dir, "c"), file);
	assert_as_the_master_has_it(dir);
	assert_as_the_master_has_it(file);
}

static void test_times_that_a_program_sets_are_seen_at_once(void **state)
{
	uint64_t dir = known_directory(), file = do_create(dir, "file", &fi);
	struct stat st = {.st_atim = {.tv_sec = 5}, .st_mtim = {.tv_sec = INT64_C(4000000000)}};
	struct fuse_req mode;
	int64_t written;
	(void)state;

	do_write(file, &fi, "hello", 0);
	hold_answers();
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME, NULL);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.attr.st_atim.tv_sec, 5);
	assert_int_equal(last.attr.st_mtim.tv_sec, INT64_C(4000000000));
	assert_int_equal(last.attr.st_size, 5);
	ops_setattr(fresh(), dir, &st, FUSE_SET_ATTR_MTIME, NULL);
	assert_int_equal(last.answers, 1);
	ops_rename(fresh(), dir, "file", dir, "other", 0);
	assert_int_equal(last.answers, 1);
	release_replies(false);
	do_close(file, &fi);
	later(2);
	/* The size and the time of the write were told after it. */
	assert_as_the_master_has_it(file);
	assert_as_the_master_has_it(dir);
	assert_int_equal(master_attr(file).size, 5);
	assert_int_equal(master_attr(file).mtime, INT64_C(4000000000) * (int64_t)NS_PER_SEC);
	assert_int_equal(master_attr(file).atime, 5 * NS_PER_SEC);
	/* A write after that has a time of its own, though it is an earlier one. */
	do_open(file, O_RDWR, &fi);
	written = clock_realtime_ns();
	do_write(file, &fi, "HELLO WORLD", 0);
	do_close(file, &fi);
	later(2);
	assert_as_the_master_has_it(file);
	assert_true(master_attr(file).mtime >= written);
	assert_true(master_attr(file).mtime < INT64_C(4000000000) * (int64_t)NS_PER_SEC);
	/* Modes wait; so do times while something else changes the inode. */
	hold_answers();
	st.st_mode = S_IFREG | 0600;
	memset(&mode, 0, sizeof(mode));
	ops_setattr(&mode, file, &st, FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_MTIME, NULL);
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_MTIME, NULL);
	assert_int_equal(mode.answers, 0);
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(mode.answers, 1);
	assert_int_equal(last.answers, 1);
	assert_as_the_master_has_it(file);
}

static void test_what_only_the_master_can_know_waits(void **state)
{
	uint64_t dir = known_directory();
	struct fuse_req first;
	struct stat st = {.st_mode = S_IFDIR | 0700};
	(void)state;

	do_mkdir(dir, "a");
	do_mkdir(dir, "b");
	hold_answers();
	ops_rename(fresh(), dir, "a", dir, "c", 0);
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	hold_answers();
	ops_rmdir(fresh(), dir, "b");
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	/* While something else changes the directory. */
	hold_answers();
	memset(&first, 0, sizeof(first));
	ops_setattr(&first, dir, &st, FUSE_SET_ATTR_MODE, NULL);
	ops_mknod(fresh(), dir, "d", S_IFREG | 0600, 0);
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_as_the_master_has_it(dir);
}

static void test_without_the_lease_everything_waits(void **state)
{
	uint64_t dir = known_directory();
	(void)state;

	set_sole(false);
	hold_answers();
	ops_mknod(fresh(), dir, "file", S_IFREG | 0600, 0);
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
}

static void test_what_was_refused_is_told_by_fsync_and_does_not_stay(void **state)
{
	uint64_t dir = known_directory(), file;
	struct fuse_file_info dir_fi = {0};
	(void)state;

	master.fail = ENOSPC;
	file = do_create(dir, "file", &fi);
	assert_true(file > 1);
	assert_int_equal(last.error, 0);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, ENOSPC);
	ops_opendir(fresh(), dir, &dir_fi);
	dir_fi = last.fi;
	ops_fsyncdir(fresh(), dir, 0, &dir_fi);
	assert_int_equal(last.error, ENOSPC);
	ops_fsyncdir(fresh(), dir, 0, &dir_fi);
	assert_int_equal(last.error, 0); /* told once */
	ops_releasedir(fresh(), dir, &dir_fi);
	do_close(file, &fi);
	assert_int_equal(look(dir, "file"), 0);
	/* Now programs hear of it themselves. */
	master.fail = ENOSPC;
	ops_mknod(fresh(), dir, "other", S_IFREG | 0600, 0);
	assert_int_equal(last.error, ENOSPC);
	ops_mknod(fresh(), dir, "other", S_IFREG | 0600, 0);
	assert_int_equal(last.error, 0);
	assert_as_the_master_has_it(dir);
}

static void test_a_refused_unlink_leaves_the_name(void **state)
{
	uint64_t dir = known_directory(), file;
	(void)state;

	ops_mknod(fresh(), dir, "file", S_IFREG | 0600, 0);
	file = last.entry.ino;
	master.fail = EIO;
	ops_unlink(fresh(), dir, "file");
	assert_int_equal(last.error, 0);
	assert_int_equal(look(dir, "file"), file);
	assert_int_equal(do_size(file), 0);
	assert_int_equal(last.attr.st_nlink, 1);
	assert_as_the_master_has_it(file);
}

static void test_numbers_are_there_before_they_are_needed(void **state)
{
	uint64_t dir = known_directory();
	char name[16];
	(void)state;

	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ops_mknod(fresh(), dir, name, S_IFREG | 0600, 0);
		assert_int_equal(last.error, 0);
		ops_unlink(fresh(), dir, name);
		assert_int_equal(last.error, 0);
		if (i % 100 == 0)
			forget_events();
	}
	assert_int_equal(counts().inodes, 2);
	assert_as_the_master_has_it(dir);
}

static void test_programs_feel_a_master_that_is_behind(void **state)
{
	uint64_t dir = known_directory();
	char name[16];
	unsigned i;
	(void)state;

	hold_answers();
	for (i = 0; i < 2 * EARLY_ANSWER_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ops_mknod(fresh(), dir, name, S_IFREG | 0600, 0);
		if (last.answers == 0)
			break;
		if (i % 100 == 0)
			forget_events();
	}
	assert_int_equal(i, EARLY_ANSWER_MAX);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_as_the_master_has_it(dir);
}

static void test_the_numbers_of_another_session_are_not_used(void **state)
{
	uint64_t dir;
	(void)state;

	known_directory();
	session_open_as(master.state, ++master.index, SESSION + 1, 1, "host:/mnt", "c1");
	master.session = SESSION + 1;
	filesystem_meta_callbacks.session(fs, SESSION + 1);
	set_sole(true);
	do_mkdir(1, "again"); /* asks for new ones */
	dir = do_mkdir(1, "dir2");
	hold_answers();
	ops_mknod(fresh(), dir, "file", S_IFREG | 0600, 0);
	assert_int_equal(last.error, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_true(look(dir, "file") > 1);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_programs_do_not_wait_for_new_names),
		WITH_FS(test_answers_in_any_order_leave_the_newest),
		WITH_FS(test_a_group_directory_gives_its_group),
		WITH_FS(test_programs_do_not_wait_for_names_that_go),
		WITH_FS(test_the_last_name_of_an_open_file_may_go),
		WITH_FS(test_a_rename_is_seen_at_once),
		WITH_FS(test_a_rename_that_must_not_replace_is_seen_at_once_where_nothing_is),
		WITH_FS(test_times_that_a_program_sets_are_seen_at_once),
		WITH_FS(test_what_only_the_master_can_know_waits),
		WITH_FS(test_without_the_lease_everything_waits),
		WITH_FS(test_what_was_refused_is_told_by_fsync_and_does_not_stay),
		WITH_FS(test_a_refused_unlink_leaves_the_name),
		WITH_FS(test_numbers_are_there_before_they_are_needed),
		WITH_FS(test_programs_feel_a_master_that_is_behind),
		WITH_FS(test_the_numbers_of_another_session_are_not_used),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
