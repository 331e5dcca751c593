/* loss_test - the end of a session that somebody else has got something from, and of its lease.
 *
 * Goal: what was not sent is an error that every handle hears once, and never happens in the next
 * session; what was sent and what only asks goes on; caches are dropped before anything waits.
 * Method: as in ops_test.c; the session's end is a callback, and its unanswered commands end as
 * the real session ends them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

static struct fuse_file_info fi;

/* What was answered by nobody ends with an error, after the callback. */
static void end_unanswered(void)
{
	struct held_reply *held = master.held, *next;

	master.held = NULL;
	master.hold = false;
	for (; held != NULL; held = next) {
		next = held->next;
		if (held->done != NULL)
			held->done(held->user, -EIO, NULL);
		free(held->bytes);
		free(held);
	}
}

static void session_ends(uint64_t next)
{
	set_sole(false);
	state_apply_session_close(master.state, ++master.index, master.session, NULL, 0);
	session_open_as(master.state, ++master.index, next, 1, "host:/mnt", "c1");
	master.session = next;
	master.id = 0;
	filesystem_meta_callbacks.session(fs, next);
	end_unanswered();
}

static int fsync_of(uint64_t file, struct fuse_file_info *handle)
{
	ops_fsync(fresh(), file, 0, handle);
	return last.error;
}

static int write_page(uint64_t ino, struct fuse_file_info *handle)
{
	struct fuse_file_info page = *handle;

	page.writepage = 1;
	return do_write(ino, &page, "page", 0);
}

static void test_dirty_data_is_lost_and_each_handle_hears_of_it(void **state)
{
	struct fuse_file_info a, b, c, other;
	uint64_t file, clean;
	(void)state;

	file = do_create(1, "file", &a);
	clean = do_create(1, "clean", &other);
	do_write(clean, &other, "there", 0);
	assert_int_equal(fsync_of(clean, &other), 0);
	assert_int_equal(fsync_of(file, &a), 0);
	do_open(file, O_RDWR, &b);
	do_write(file, &a, "hello", 0);
	forget_events();
	session_ends(8);
	later(1000);
	/* Neither the data nor its size. */
	assert_int_equal(count_events("flush"), 0);
	assert_int_equal(count_events("grow"), 0);
	assert_int_equal(do_size(file), 0);
	assert_int_equal(do_write(file, &a, "again", 0), EIO);
	assert_int_equal(write_page(file, &a), EIO);
	assert_int_equal(fsync_of(file, &a), EIO);
	assert_int_equal(fsync_of(file, &a), EIO); /* until it is closed */
	assert_int_equal(do_close(file, &a), 0);   /* heard already */
	assert_int_equal(do_close(file, &b), EIO);
	/* Who opens it now has nothing to do with it. */
	assert_int_equal(do_open(file, O_RDWR, &c), 0);
	assert_int_equal(do_write(file, &c, "new", 0), 0);
	assert_int_equal(fsync_of(file, &c), 0);
	assert_int_equal(do_size(file), 3);
	do_close(file, &c);
	/* And what was told before is no loss. */
	assert_int_equal(do_write(clean, &other, "T", 0), 0);
	assert_int_equal(fsync_of(clean, &other), 0);
	assert_int_equal(do_size(clean), 5);
	do_close(clean, &other);
}

static void test_a_size_that_was_not_told_is_a_loss(void **state)
{
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	file_of(fs_inode_file_id(file))->dirty = false; /* the chains have it */
	session_ends(8);
	assert_int_equal(do_size(file), 0);
	assert_int_equal(fsync_of(file, &fi), EIO);
	later(1000);
	assert_int_equal(do_size(file), 0);
	do_close(file, &fi);
}

static void test_a_size_under_way_is_not_told_in_the_next_session(void **state)
{
	uint64_t file = do_create(1, "file", &fi);
	struct fuse_req sync = {0};
	(void)state;

	set_sole(false);
	do_write(file, &fi, "hello", 0);
	chunks.hold_flushes = true;
	ops_fsync(&sync, file, 0, &fi); /* tells the size when the chains have answered */
	assert_int_equal(sync.answers, 0);
	session_ends(8);
	forget_events();
	chunks.held->error = -EIO; /* as all that was in flight */
	release_data();
	assert_int_equal(sync.answers, 1);
	assert_int_equal(sync.error, EIO);
	assert_int_equal(count_events("grow+durable") + count_events("grow"), 0);
	assert_int_equal(count_events("lost"), 1);
	assert_int_equal(do_size(file), 0);
	do_close(file, &fi);
}

/* It was decided before, and is carried out after. */
static void test_a_write_from_before_does_not_land_after(void **state)
{
	uint64_t file = do_create(1, "file", &fi);
	struct fuse_req write = {0};
	(void)state;

	chunks.hold_writes = true;
	ops_write(&write, file, "hello", 5, 0, &fi);
	assert_int_equal(write.answers, 0);
	session_ends(8);
	release_data();
	assert_int_equal(write.answers, 1);
	assert_int_equal(write.error, EIO);
	later(1000);
	assert_int_equal(do_size(file), 0);
	do_close(file, &fi);
}

static void test_commands_answered_early_are_undone_and_told(void **state)
{
	struct fuse_file_info dir_a = {0}, dir_b = {0}, made;
	uint64_t dir = do_mkdir(1, "dir"), old, file;
	(void)state;

	ops_mknod(fresh(), dir, "old", S_IFREG | 0600, 0);
	old = last.entry.ino;
	ops_opendir(fresh(), dir, &dir_a);
	dir_a = last.fi;
	master.grant = 41;
	master.hold = true;
	master.lose = true; /* they are not executed either */
	file = do_create(dir, "new", &made);
	assert_int_equal(last.error, 0);
	assert_int_equal(master.last_generation, 41);
	do_write(file, &made, "hello", 0);
	ops_unlink(fresh(), dir, "old");
	assert_int_equal(last.error, 0);
	master.lose = false;
	session_ends(8);
	ops_lookup(fresh(), dir, "new");
	assert_int_equal(last.error, ENOENT);
	ops_lookup(fresh(), dir, "old");
	assert_int_equal(last.error, 0);
	assert_int_equal(last.entry.ino, old);
	assert_int_equal(do_write(file, &made, "more", 0), EIO);
	assert_int_equal(fsync_of(file, &made), EIO);
	do_close(file, &made);
	ops_fsyncdir(fresh(), dir, 0, &dir_a);
	assert_int_equal(last.error, EIO);
	ops_fsyncdir(fresh(), dir, 0, &dir_a);
	assert_int_equal(last.error, 0);
	ops_releasedir(fresh(), dir, &dir_a);
	ops_opendir(fresh(), dir, &dir_b);
	dir_b = last.fi;
	ops_fsyncdir(fresh(), dir, 0, &dir_b);
	assert_int_equal(last.error, 0);
	ops_releasedir(fresh(), dir, &dir_b);
}

/* Nobody had the directory open when its change was lost: who opens it next is told. */
static void test_the_next_that_asks_is_told_when_nobody_was_there(void **state)
{
	struct fuse_file_info dir_fi = {0};
	uint64_t dir = do_mkdir(1, "dir");
	(void)state;

	ops_mknod(fresh(), dir, "a", S_IFREG | 0600, 0);
	master.hold = master.lose = true;
	ops_rename(fresh(), dir, "a", dir, "b", 0);
	assert_int_equal(last.error, 0);
	master.lose = false;
	session_ends(8);
	for (int i = 0; i < 2; i++) {
		ops_opendir(fresh(), dir, &dir_fi);
		dir_fi = last.fi;
		ops_fsyncdir(fresh(), dir, 0, &dir_fi);
		assert_int_equal(last.error, i == 0 ? EIO : 0);
		ops_releasedir(fresh(), dir, &dir_fi);
	}
	ops_lookup(fresh(), dir, "a");
	assert_int_equal(last.error, 0);
}

/* ---- the lease ---- */

static void begin_kernel(void)
{
	fs->session = (struct fuse_session *)&last; /* only its address matters */
	lease_return_start(fs->lease_return);
}

static void end_kernel(void)
{
	lease_return_stop(fs->lease_return);
	fs->session = NULL;
}

static bool comes(const char *word, uint64_t ms)
{
	uint64_t until_ns = clock_monotonic_ns() + ms * NS_PER_MSEC;

	while (count_events(word) == 0 && clock_monotonic_ns() < until_ns)
		usleep(1000);
	return count_events(word) > 0;
}

static void test_the_lease_is_not_given_back_before_what_was_answered_early_is_done(void **state)
{
	uint64_t dir = do_mkdir(1, "dir");
	(void)state;

	ops_mknod(fresh(), dir, "a", S_IFREG | 0600, 0);
	master.hold = true;
	ops_unlink(fresh(), dir, "a");
	assert_int_equal(last.error, 0);
	assert_false(early_answer_idle(fs));
	begin_kernel();
	set_sole(false);
	lease_return_begin(fs->lease_return, true);
	assert_false(comes("return", META_KERNEL_TIMEOUT_MS + LEASE_RETURN_MARGIN_MS + 800));
	release_replies(false);
	assert_true(comes("return", 5000));
	end_kernel();
}

static void test_pages_are_dropped_before_anything_waits_for_the_master(void **state)
{
	uint64_t file = do_create(1, "file", &fi), dir = do_mkdir(1, "dir");
	(void)state;

	ops_mknod(fresh(), dir, "a", S_IFREG | 0600, 0); /* there are numbers for more then */
	master.hold = true;
	do_mkdir(dir, "early");
	assert_false(early_answer_idle(fs));
	forget_events();
	begin_kernel();
	set_sole(false);
	filesystem_meta_callbacks.lost(fs);
	assert_true(comes("pages", 5000));
	assert_false(early_answer_idle(fs));
	end_kernel();
	release_replies(false);
	do_close(file, &fi);
}

static struct fuse_file_info mapped;
static uint64_t mapped_file;
static int page_error;

static void kernel_writes_a_page(void)
{
	struct fuse_req req = {0};
	struct fuse_file_info page = mapped;

	page.writepage = 1;
	ops_write(&req, mapped_file, "page", 4, 0, &page);
	page_error = req.error;
}

static void test_pages_written_while_they_are_dropped_are_lost_only_with_the_session(void **state)
{
	(void)state;
	mapped_file = do_create(1, "file", &mapped);
	assert_int_equal(fsync_of(mapped_file, &mapped), 0);
	on_pages = kernel_writes_a_page;
	page_error = -1;
	begin_kernel();
	set_sole(false);
	forget_events();
	filesystem_meta_callbacks.lost(fs);
	assert_true(comes("pages", 5000));
	assert_int_equal(page_error, 0);
	assert_int_equal(count_events("write"), 1);
	assert_int_equal(fsync_of(mapped_file, &mapped), 0);
	page_error = -1;
	forget_events();
	session_ends(8);
	assert_true(comes("pages", 5000));
	end_kernel();
	on_pages = NULL;
	assert_int_equal(page_error, EIO);
	assert_int_equal(count_events("write"), 0);
	assert_int_equal(fsync_of(mapped_file, &mapped), EIO);
	do_close(mapped_file, &mapped);
}

static void test_what_was_read_ahead_under_the_lease_is_not_read_without_it(void **state)
{
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	ops_read(fresh(), file, 5, 0, &fi);
	forget_events();
	ops_read(fresh(), file, 5, 0, &fi);
	assert_string_equal(history(), "read");
	/* Run out by the clock; nobody has noticed yet. */
	pthread_mutex_lock(&master.lock);
	master.sole = false;
	pthread_mutex_unlock(&master.lock);
	forget_events();
	ops_read(fresh(), file, 5, 0, &fi);
	assert_int_equal(count_events("invalidate"), 1);
	do_close(file, &fi);
}

static void test_the_root_is_known_without_the_master(void **state)
{
	struct fuse_req root = {0}, other = {0}, early = {0}, space = {0};
	uint64_t dir = do_mkdir(1, "dir"), now_ns = clock_monotonic_ns();
	(void)state;

	do_size(1);
	set_sole(false);
	master.hold = true;
	ops_getattr(&root, 1, NULL);
	ops_getattr(&other, dir, NULL);
	ops_statfs(&space, 1);
	/* Not while the master is there, however slow. */
	assert_true(root_wait_tick(fs, now_ns + 10 * NS_PER_SEC));
	assert_int_equal(root.answers, 0);
	master.unreachable = true;
	assert_true(root_wait_tick(fs, now_ns + ROOT_PATIENCE_NS / 2));
	assert_int_equal(root.answers, 0);
	assert_true(root_wait_tick(fs, now_ns + ROOT_PATIENCE_NS + NS_PER_SEC));
	assert_int_equal(root.answers, 1);
	assert_int_equal(root.error, 0);
	assert_true(S_ISDIR(root.attr.st_mode));
	assert_true(root.timeout == 0);
	assert_int_equal(space.answers, 1);
	assert_int_equal(space.error, 0);
	assert_int_equal(other.answers, 0);
	ops_getattr(&early, 1, NULL);
	master.unreachable = false;
	release_replies(false);
	assert_int_equal(root.answers, 1);
	assert_int_equal(other.answers, 1);
	assert_int_equal(early.answers, 1);
	assert_int_equal(space.answers, 1);
	assert_false(root_wait_tick(fs, now_ns + 20 * NS_PER_SEC));
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_dirty_data_is_lost_and_each_handle_hears_of_it),
		WITH_FS(test_a_size_that_was_not_told_is_a_loss),
		WITH_FS(test_a_size_under_way_is_not_told_in_the_next_session),
		WITH_FS(test_a_write_from_before_does_not_land_after),
		WITH_FS(test_commands_answered_early_are_undone_and_told),
		WITH_FS(test_the_next_that_asks_is_told_when_nobody_was_there),
		WITH_FS(test_the_lease_is_not_given_back_before_what_was_answered_early_is_done),
		WITH_FS(test_pages_are_dropped_before_anything_waits_for_the_master),
		WITH_FS(test_pages_written_while_they_are_dropped_are_lost_only_with_the_session),
		WITH_FS(test_the_root_is_known_without_the_master),
		WITH_FS(test_what_was_read_ahead_under_the_lease_is_not_read_without_it),
	};

	log_open("/dev/null");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
