/* append_test - writes with O_APPEND, and what else knows where a file ends.
 *
 * Goal: with other mounts each append has the right first, goes where the master says the end is,
 * and is told before it is answered; the right is given back on every way out; no write is made for
 * a session that has gone; alone, nothing of this costs a request. Method: fs_fixture.h, and
 * another session that does the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

#define OTHER 8u

static int setup(void **state)
{
	return fixture_setup(state) != 0 ||
	       session_open_as(master.state, ++master.index, OTHER, 1, "other:/mnt", "c2") != 0;
}

static int other_append(uint64_t ino, bool release)
{
	Catena__AppendReq append = CATENA__APPEND_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	append.ino = ino;
	append.release = release;
	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &append;
	return other_session(OTHER, &request);
}

/* The other session has written up to @size. */
static int other_grow(uint64_t ino, uint64_t size, bool done)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	setattr.ino = ino;
	setattr.mask = CATENA__SET_MASK__SET_GROW;
	setattr.size = size;
	setattr.file_id = fs_inode_file_id(ino);
	setattr.append_done = done;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	return other_session(OTHER, &request);
}

static uint64_t holder_of(uint64_t ino)
{
	uint64_t holder;

	pthread_mutex_lock(&master.lock);
	holder = state_append_holder(master.state, ino);
	pthread_mutex_unlock(&master.lock);
	return holder;
}

static uint64_t new_log(struct fuse_file_info *fi)
{
	uint64_t file = do_create(1, "log", fi);

	fi->flags = O_WRONLY | O_APPEND;
	forget_events();
	return file;
}

/* What waits for the right asks again after a while. */
static void ask_again(void)
{
	housekeeper_stop(fs->housekeeper);
}

static void test_alone_an_append_asks_nobody(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = new_log(&fi);
	(void)state;

	do_write(file, &fi, "abc", 0);
	do_write(file, &fi, "de", 3);
	assert_string_equal(history(), "write write");
	/* Nothing has come from elsewhere: the kernel's offset is meant (RWF_NOAPPEND). */
	do_write(file, &fi, "X", 1);
	assert_memory_equal(file_of(fs_inode_file_id(file))->bytes, "aXcde", 5);
	assert_int_equal(atomic_load(&fs->appends_alone), 0);
	do_close(file, &fi);
}

static void test_with_others_each_append_has_the_right_and_is_told_first(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	chunks.hold_writes = true;
	ops_write(fresh(), file, "abc", 3, 0, &fi);
	assert_string_equal(history(), "append write+through");
	assert_int_equal(holder_of(file), SESSION);
	assert_int_equal(other_append(file, false), -EAGAIN);
	assert_int_equal(last.answers, 0);
	master.hold = true;
	release_data();
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.size, 3);
	assert_int_equal(holder_of(file), 0);
	assert_int_equal(do_size(file), 3);
	/* Nothing is left to be told at close. */
	forget_events();
	do_close(file, &fi);
	assert_int_equal(count_events("grow"), 0);
}

static void test_an_append_waits_for_the_right_and_goes_behind_what_came_first(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	do_write(file, &fi, "abc", 0);
	assert_int_equal(other_append(file, false), 0);
	ops_write(fresh(), file, "XYZ", 3, 3, &fi);
	assert_int_equal(last.answers, 0);
	assert_int_equal(other_grow(file, 10, true), 0);
	ask_again();
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_memory_equal(file_of(fs_inode_file_id(file))->bytes, "abc\0\0\0\0\0\0\0XYZ", 13);
	assert_int_equal(do_size(file), 13);
	do_close(file, &fi);
}

static void test_who_does_not_wait_any_more_writes_nothing(void **state)
{
	static struct fuse_req written;
	uint64_t now = clock_monotonic_ns();
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	assert_int_equal(other_append(file, false), 0);
	memset(&written, 0, sizeof(written));
	ops_write(&written, file, "abc", 3, 0, &fi);
	written.interrupt(&written, written.interrupt_data);
	task_tick(fs->tasks, now);
	task_tick(fs->tasks, now + INTERRUPT_PATIENCE_NS + 1);
	assert_int_equal(written.error, EINTR);
	assert_int_equal(other_append(file, true), 0);
	ask_again();
	assert_int_equal(written.answers, 1);
	assert_int_equal(task_count(fs->tasks), 0);
	assert_int_equal(holder_of(file), 0);
	assert_int_equal(count_events("write+through"), 0);
	assert_int_equal(do_size(file), 0);
	do_close(file, &fi);
}

static void test_a_failed_append_gives_the_right_back(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	chunks.write_error = -ENOSPC;
	assert_int_equal(do_write(file, &fi, "abc", 0), ENOSPC);
	assert_int_equal(holder_of(file), 0);
	assert_int_equal(do_size(file), 0);
	chunks.write_error = 0;
	/* The same when the size could not be told. */
	chunks.hold_writes = true;
	ops_write(fresh(), file, "abc", 3, 0, &fi);
	master.fail = EHOSTUNREACH;
	release_data();
	assert_int_equal(last.error, EHOSTUNREACH);
	assert_int_equal(holder_of(file), 0);
	assert_int_equal(do_write(file, &fi, "xyz", 0), 0);
	assert_int_equal(do_size(file), 3);
	do_close(file, &fi);
}

static void test_what_a_lost_session_was_allowed_is_not_written(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	do_write(file, &fi, "abc", 0);
	/* It gets the right; before the bytes go out, another session has begun. */
	master.hold = true;
	ops_write(fresh(), file, "XYZ", 3, 3, &fi);
	assert_int_equal(holder_of(file), SESSION);
	chunks.session = OTHER;
	release_replies(false);
	chunks.session = SESSION;
	assert_int_equal(last.error, EIO);
	assert_memory_equal(file_of(fs_inode_file_id(file))->bytes, "abc\0\0\0", 6);
	do_close(file, &fi);
}

static void test_a_truncation_waits_for_who_appends(void **state)
{
	struct stat st = {.st_size = 0};
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	do_write(file, &fi, "abc", 0);
	assert_int_equal(other_append(file, false), 0);
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_SIZE, NULL);
	assert_int_equal(last.answers, 0);
	assert_int_equal(other_grow(file, 10, true), 0);
	ask_again();
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.attr.st_size, 0);
	assert_int_equal(holder_of(file), 0);
	do_close(file, &fi);
}

static void test_alone_again_the_end_is_what_the_master_says(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = new_log(&fi);
	do_write(file, &fi, "abc", 0);
	assert_int_equal(other_grow(file, 6, false), 0);
	set_sole(true);
	forget_events();
	/* The kernel has not heard of what the other has written. */
	do_write(file, &fi, "XYZ", 3);
	assert_string_equal(history(), "getattr invalidate write");
	do_write(file, &fi, "!", 6);
	assert_memory_equal(file_of(fs_inode_file_id(file))->bytes, "abc\0\0\0XYZ!", 10);
	assert_int_equal(atomic_load(&fs->appends_alone), 0);
	do_close(file, &fi);
}

static void test_the_lease_is_not_given_back_before_appends_are_where_they_go(void **state)
{
	uint64_t began = clock_monotonic_ns();
	struct fuse_file_info fi;
	uint64_t file = new_log(&fi);
	(void)state;

	chunks.hold_writes = true;
	ops_write(fresh(), file, "abc", 3, 0, &fi);
	lease_return_start(fs->lease_return);
	set_sole(false);
	lease_return_begin(fs->lease_return, true);
	while (clock_monotonic_ns() - began < 3 * NS_PER_SEC / 2)
		usleep(1000);
	assert_int_equal(count_events("return"), 0);
	release_data();
	while (count_events("return") == 0 && clock_monotonic_ns() - began < 5 * NS_PER_SEC)
		usleep(1000);
	lease_return_stop(fs->lease_return);
	assert_int_equal(count_events("return"), 1);
	assert_int_equal(count_events("grow"), 1);
	do_close(file, &fi);
}

/* ---- what is read ---- */

static void test_new_attributes_come_after_old_pages_have_gone(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	do_write(file, &fi, "abc", 0);
	ops_flush(fresh(), file, &fi);
	ops_read(fresh(), file, 3, 0, &fi);
	do_size(file);
	fs->session = (struct fuse_session *)&last; /* only its address matters */
	page_drops_start(fs->page_drops);
	assert_int_equal(other_grow(file, 3, false), 0); /* rewritten, of the same size */
	forget_events();
	ops_getattr(fresh(), file, NULL);
	for (int i = 0; i < 1000 && last.answers == 0; i++)
		usleep(1000);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "getattr invalidate pages");
	/* Once. */
	forget_events();
	do_size(file);
	assert_string_equal(history(), "getattr");
	page_drops_stop(fs->page_drops);
	fs->session = NULL;
	do_close(file, &fi);
}

static void test_alone_again_open_files_lose_their_pages(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	do_write(file, &fi, "abc", 0);
	ops_read(fresh(), file, 3, 0, &fi);
	fs->session = (struct fuse_session *)&last; /* only its address matters */
	page_drops_start(fs->page_drops);
	set_sole(true);
	forget_events();
	filesystem_meta_callbacks.granted(fs);
	for (int i = 0; i < 1000 && count_events("pages") == 0; i++)
		usleep(1000);
	assert_int_equal(count_events("pages"), 1);
	assert_int_equal(count_events("invalidate"), 1);
	page_drops_stop(fs->page_drops);
	fs->session = NULL;
	do_close(file, &fi);
}

static void test_a_direct_write_is_answered_when_old_pages_have_gone(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	fs->session = (struct fuse_session *)&last; /* only its address matters */
	page_drops_start(fs->page_drops);
	forget_events();
	fi.flags = O_RDWR | O_DIRECT;
	fi.lock_owner = 1;
	do_write(file, &fi, "abc", 0);
	assert_string_equal(history(), "write+through");
	fi.lock_owner = 0;
	ops_read(fresh(), file, 3, 0, &fi);
	forget_events();
	fi.lock_owner = 1;
	ops_write(fresh(), file, "xyz", 3, 0, &fi);
	for (int i = 0; i < 1000 && last.answers == 0; i++)
		usleep(1000);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "write+through pages");
	page_drops_stop(fs->page_drops);
	fs->session = NULL;
	do_close(file, &fi);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_alone_an_append_asks_nobody),
		WITH_FS(test_with_others_each_append_has_the_right_and_is_told_first),
		WITH_FS(test_an_append_waits_for_the_right_and_goes_behind_what_came_first),
		WITH_FS(test_who_does_not_wait_any_more_writes_nothing),
		WITH_FS(test_a_failed_append_gives_the_right_back),
		WITH_FS(test_what_a_lost_session_was_allowed_is_not_written),
		WITH_FS(test_a_truncation_waits_for_who_appends),
		WITH_FS(test_alone_again_the_end_is_what_the_master_says),
		WITH_FS(test_the_lease_is_not_given_back_before_appends_are_where_they_go),
		WITH_FS(test_new_attributes_come_after_old_pages_have_gone),
		WITH_FS(test_alone_again_open_files_lose_their_pages),
		WITH_FS(test_a_direct_write_is_answered_when_old_pages_have_gone),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
