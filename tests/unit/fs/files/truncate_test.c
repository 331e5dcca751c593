/* truncate_test - truncation, punching, and what must not come back.
 *
 * Goal and method: as in ops_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

/* ---- truncation ---- */

static void test_a_shorter_file_is_announced_recorded_punched_answered_reported(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	forget_events();
	assert_int_equal(do_truncate(file, 4), 0);
	assert_string_equal(history(), "grow size+durable punch flush+durable trimmed");
	assert_int_equal(last.attr.st_size, 4);
	assert_int_equal(do_size(file), 4);
	forget_events();
	assert_int_equal(do_truncate(file, 8), 0);
	assert_string_equal(history(), "size");
	ops_read(fresh(), file, 100, 0, &fi);
	assert_int_equal(last.size, 8);
	assert_memory_equal(last.bytes, "0123\0\0\0\0", 8);
	do_close(file, &fi);
	later(2);
	assert_int_equal(do_size(file), 8);
}

/* To make the cut durable everything of the file is flushed. */
static void test_what_is_lost_before_a_cut_is_told_by_fsync(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	file_of(fs_inode_file_id(file))->error = -EIO;
	assert_int_equal(do_truncate(file, 4), 0);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, EIO);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, 0);
	do_close(file, &fi);
}

/* Another mount has written up to @size. */
static void write_elsewhere(uint64_t file, uint64_t size)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	session_open_as(master.state, ++master.index, 9, 1, "other:/mnt", "c3");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_GROW;
	setattr.size = size;
	setattr.file_id = fs_inode_file_id(file);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(9, &request), 0);
}

/* The master's power would bring the old size back, and nothing the bytes. */
static void test_nothing_is_punched_before_the_cut_is_durable(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	set_sole(false);
	write_elsewhere(file, 20); /* so it is a cut, and does not look like one here */
	forget_events();
	assert_int_equal(do_truncate(file, 15), 0);
	assert_string_equal(history(),
			    "size+durable invalidate punch flush+durable trimmed invalidate");
	do_close(file, &fi);
}

static void test_a_trim_that_may_not_be_durable_is_asked_for_first(void **state)
{
	static struct fuse_req cut;
	struct stat st = {.st_mode = 0600, .st_size = 4};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	chunks.hold_flushes = true;
	memset(&cut, 0, sizeof(cut));
	ops_setattr(&cut, file, &st, FUSE_SET_ATTR_SIZE, NULL);
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_MODE, NULL);
	assert_int_equal(last.error, 0);
	forget_events();
	ops_write(fresh(), file, "X", 1, 6, &fi);
	release_data();
	assert_int_equal(cut.answers, 1);
	assert_int_equal(last.answers, 1);
	assert_non_null(strstr(history(), "take+durable"));
	do_close(file, &fi);
}

static void test_truncation_to_nothing_gives_a_new_file(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi), id = fs_inode_file_id(file);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	forget_events();
	assert_int_equal(do_truncate(file, 0), 0);
	assert_string_equal(history(), "delegate size replace");
	assert_true(fs_inode_file_id(file) > id);
	id = fs_inode_file_id(file);
	forget_events();
	assert_int_equal(do_truncate(file, 0), 0);
	assert_string_equal(history(), "size replace");
	assert_true(fs_inode_file_id(file) < id); /* delegated before the master chose that one */
	do_write(file, &fi, "new", 0);
	assert_int_equal(do_size(file), 3);
	do_close(file, &fi);
	later(2);
	assert_int_equal(counts().allocated_bytes, 3);
	assert_int_equal(do_open(file, O_RDWR, &fi), 0);
	assert_int_equal(do_truncate(file, 0), 0);
	assert_int_equal(do_size(file), 0);
	do_close(file, &fi);
}

/* The file id belongs to the session before. */
static void test_a_truncation_to_nothing_goes_on_in_another_session(void **state)
{
	static struct fuse_req cut;
	struct stat st = {.st_size = 0};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi), before = master.session;
	(void)state;

	assert_int_equal(do_truncate(file, 0), 0); /* numbers are asked for */
	do_write(file, &fi, "0123456789", 0);
	chunks.hold_flushes = true;
	memset(&cut, 0, sizeof(cut));
	ops_setattr(&cut, file, &st, FUSE_SET_ATTR_SIZE, NULL);
	assert_int_equal(cut.answers, 0);
	session_open_as(master.state, ++master.index, 9, 1, "again:/mnt", "c3");
	master.session = 9;
	atomic_store(&fs->session_id, 9);
	release_data();
	assert_int_equal(cut.answers, 1);
	assert_int_equal(cut.error, 0);
	master.session = before;
	atomic_store(&fs->session_id, before);
	do_close(file, &fi);
}

static void test_a_write_waits_for_a_truncation_under_way(void **state)
{
	static struct fuse_req cut;
	struct stat st = {.st_size = 2};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	master.hold = true;
	memset(&cut, 0, sizeof(cut));
	ops_setattr(&cut, file, &st, FUSE_SET_ATTR_SIZE, NULL);
	forget_events();
	ops_write(fresh(), file, "X", 1, 5, &fi);
	assert_int_equal(last.answers, 0);
	assert_string_equal(history(), "");
	release_replies(false);
	assert_int_equal(cut.answers, 1);
	assert_int_equal(last.answers, 1);
	/* It extends the file: the punch must be on the disks, and reported, before. */
	assert_non_null(strstr(history(), "flush+durable trimmed write"));
	assert_int_equal(count_events("trimmed"), 1);
	ops_read(fresh(), file, 100, 0, &fi);
	assert_int_equal(last.size, 6);
	assert_memory_equal(last.bytes, "01\0\0\0X", 6);
	do_close(file, &fi);
}

/* A session that truncated and died before it had punched. */
static void leave_trim_behind(uint64_t file, uint64_t size)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	session_open_as(master.state, ++master.index, 9, 1, "dead:/mnt", "c3");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_SIZE;
	setattr.size = size;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(9, &request), 0);
	state_apply_session_close(master.state, ++master.index, 9, NULL, 0);
}

static void test_who_extends_a_file_finishes_a_dead_sessions_truncation_first(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	do_close(file, &fi);
	later(2);
	leave_trim_behind(file, 3);
	set_sole(true);
	assert_int_equal(do_open(file, O_RDWR, &fi), 0);
	assert_int_equal(do_size(file), 3);
	forget_events();
	assert_int_equal(do_write(file, &fi, "ab", 1), 0); /* not behind the end: nothing to do */
	assert_string_equal(history(), "write");
	assert_int_equal(do_write(file, &fi, "X", 6), 0);
	assert_string_equal(history(), "write take+durable punch flush+durable trimmed write");
	ops_read(fresh(), file, 100, 0, &fi);
	assert_int_equal(last.size, 7);
	assert_memory_equal(last.bytes, "0ab\0\0\0X", 7);
	/* And for truncation upwards, also when its attributes were not known. */
	do_close(file, &fi);
	later(2);
	leave_trim_behind(file, 2);
	set_sole(false);
	assert_int_equal(do_truncate(file, 5), 0);
	do_open(file, O_RDWR, &fi);
	ops_read(fresh(), file, 100, 0, &fi);
	assert_int_equal(last.size, 5);
	assert_memory_equal(last.bytes, "0a\0\0\0", 5);
	do_close(file, &fi);
}

/* ---- what was under way ---- */

static void note_error(void *user, int error)
{
	*(int *)user = error;
}

/* What the master has. */
static uint64_t master_size(uint64_t file)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__Reply *reply;
	uint8_t *bytes = NULL;
	size_t size = 0;
	uint64_t result;

	getattr.ino = file;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	request.id = 1;
	assert_int_equal(state_query(master.state, master.session, &request, &bytes, &size), 0);
	reply = catena__reply__unpack(NULL, size, bytes);
	assert_non_null(reply->attr);
	result = reply->attr->size;
	catena__reply__free_unpacked(reply, NULL);
	free(bytes);
	return result;
}

static void test_a_flush_under_way_does_not_undo_a_truncation(void **state)
{
	struct stat st = {.st_size = 4};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	struct inode *inode = inode_table_get(fs->inodes, file);
	int error = 1;
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	chunks.hold_flushes = true;
	flush_inode(fs, inode, false, note_error, &error);
	/* The master has done the truncation, but its answer is not there when the data's is. */
	master.hold = true;
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_SIZE, NULL);
	release_data();
	assert_int_equal(count_events("grow"), 2);
	assert_int_equal(master_size(file), 4);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(error, 0);
	assert_int_equal(do_size(file), 4);
	later(2);
	assert_int_equal(do_size(file), 4);
	assert_int_equal(master_size(file), 4);
	inode_put(fs->inodes, inode);
	do_close(file, &fi);
}

static void test_neither_does_a_flush_under_way(void **state)
{
	struct stat st = {.st_size = 4};
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	struct fuse_req sync = {0};
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	master.hold = true;
	ops_setattr(fresh(), file, &st, FUSE_SET_ATTR_SIZE, NULL);
	ops_fsync(&sync, file, 0, &fi);
	assert_int_equal(master_size(file), 4);
	release_replies(false);
	assert_int_equal(sync.answers, 1);
	assert_int_equal(sync.error, 0);
	assert_int_equal(do_size(file), 4);
	do_write(file, &fi, "X", 5);
	ops_fsync(&sync, file, 0, &fi);
	assert_int_equal(sync.error, 0);
	assert_int_equal(master_size(file), 6);
	do_close(file, &fi);
}

/* Another mount truncates, and has done all there is to do about it. */
static void truncate_elsewhere(uint64_t file, uint64_t size)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	static uint64_t truncations;

	truncations = size == 4 ? 0 : truncations;
	session_open_as(master.state, ++master.index, 9, 1, "other:/mnt", "c3");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_SIZE;
	setattr.size = size;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(9, &request), 0);
	setattr.mask = CATENA__SET_MASK__SET_TRIM_DONE;
	setattr.truncations = ++truncations;
	assert_int_equal(other_session(9, &request), 0);
}

static void test_a_truncation_elsewhere_is_not_undone_and_loses_no_later_write(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	set_sole(false);
	do_write(file, &fi, "0123456789", 0);
	truncate_elsewhere(file, 4);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, 0);
	assert_int_equal(master_size(file), 4);
	/* Written without knowing of the next one: before it, and after it. */
	do_write(file, &fi, "56789", 5);
	truncate_elsewhere(file, 2);
	do_write(file, &fi, "X", 6);
	ops_flush(fresh(), file, &fi);
	assert_int_equal(last.error, 0);
	assert_int_equal(master_size(file), 7);
	assert_int_equal(do_size(file), 7);
	do_close(file, &fi);
}

static void test_what_was_written_to_a_file_replaced_elsewhere_is_told(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	set_sole(false);
	do_write(file, &fi, "0123456789", 0);
	truncate_elsewhere(file, 4);
	truncate_elsewhere(file, 0);
	ops_flush(fresh(), file, &fi);
	assert_int_equal(last.error, 0);
	assert_int_equal(master_size(file), 0);
	do_write(file, &fi, "0123456789", 0);
	truncate_elsewhere(file, 0);
	do_write(file, &fi, "lost", 0);
	ops_flush(fresh(), file, &fi);
	assert_int_equal(last.error, EIO);
	assert_int_equal(master_size(file), 0);
	do_close(file, &fi);
}

static void test_holes_are_punched_inside_the_file_only(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	forget_events();
	ops_fallocate(fresh(), file, 3, 2, 3, &fi);
	assert_int_equal(last.error, 0);
	ops_fallocate(fresh(), file, 3, 20, 30, &fi);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "punch");
	assert_int_equal(do_size(file), 10);
	ops_fallocate(fresh(), file, 16, 8, 12, &fi); /* zero range: grows */
	assert_int_equal(do_size(file), 20);
	ops_fallocate(fresh(), file, 0, 0, 30, &fi);
	assert_int_equal(do_size(file), 30);
	ops_fallocate(fresh(), file, 8, 0, 10, &fi);
	assert_int_equal(last.error, EOPNOTSUPP);
	chunks.space = 100;
	ops_fallocate(fresh(), file, 0, 0, 1000, &fi);
	assert_int_equal(last.error, ENOSPC);
	ops_read(fresh(), file, 100, 0, &fi);
	assert_memory_equal(last.bytes,
			    "01\0\0\0"
			    "567\0\0",
			    10);
	do_close(file, &fi);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_a_shorter_file_is_announced_recorded_punched_answered_reported),
		WITH_FS(test_what_is_lost_before_a_cut_is_told_by_fsync),
		WITH_FS(test_nothing_is_punched_before_the_cut_is_durable),
		WITH_FS(test_a_trim_that_may_not_be_durable_is_asked_for_first),
		WITH_FS(test_truncation_to_nothing_gives_a_new_file),
		WITH_FS(test_a_truncation_to_nothing_goes_on_in_another_session),
		WITH_FS(test_a_write_waits_for_a_truncation_under_way),
		WITH_FS(test_who_extends_a_file_finishes_a_dead_sessions_truncation_first),
		WITH_FS(test_a_flush_under_way_does_not_undo_a_truncation),
		WITH_FS(test_neither_does_a_flush_under_way),
		WITH_FS(test_a_truncation_elsewhere_is_not_undone_and_loses_no_later_write),
		WITH_FS(test_what_was_written_to_a_file_replaced_elsewhere_is_told),
		WITH_FS(test_holes_are_punched_inside_the_file_only),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
