/* ops_test - what the operations send to the master and the chunkservers, and when they answer.
 *
 * Goal: the order of what is sent is what a crash at any point needs; nothing is asked that is
 * known; nobody is told too little when the lease goes; an interrupted program is answered once and
 * what it began still ends well. Method: the handlers are called as libfuse would, with the
 * master's real state machine in memory (fs_fixture.h); the words of what was sent are compared. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

/* ---- asking only for what is not known ---- */

static void test_what_was_made_here_is_not_asked_for(void **state)
{
	uint64_t dir, file;
	struct fuse_file_info fi;
	(void)state;

	dir = do_mkdir(1, "dir");
	assert_true(dir > 1);
	assert_true(last.entry.entry_timeout > 0);
	file = do_create(dir, "file", &fi);
	assert_true(last.fi.keep_cache);
	assert_int_equal(do_close(file, &fi), 0);
	assert_string_equal(history(), "create delegate create");
	forget_events();
	ops_lookup(fresh(), dir, "file");
	assert_int_equal(last.entry.ino, file);
	ops_lookup(fresh(), dir, "nothing");
	assert_int_equal(last.error, 0);
	assert_int_equal(last.entry.ino, 0); /* known not to exist */
	assert_int_equal(do_size(file), 0);
	assert_true(last.timeout > 0);
	ops_getxattr(fresh(), file, "security.capability", 100);
	assert_int_equal(last.error, ENODATA);
	assert_int_equal(do_open(file, O_RDWR, &fi), 0);
	assert_true(last.fi.keep_cache);
	assert_int_equal(do_close(file, &fi), 0);
	assert_string_equal(history(), "");
}

static void test_without_the_lease_everything_is_asked_for(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	assert_true(last.entry.entry_timeout == 0);
	assert_true(last.entry.attr_timeout == 0);
	assert_int_equal(do_close(file, &fi), 0);
	forget_events();
	ops_lookup(fresh(), 1, "file");
	assert_int_equal(last.entry.ino, file);
	ops_lookup(fresh(), 1, "nothing");
	assert_int_equal(last.error, ENOENT);
	do_size(file);
	assert_int_equal(do_open(file, O_RDONLY, &fi), 0);
	ops_release(fresh(), file, &fi);
	assert_string_equal(history(), "lookup lookup getattr open close");
}

static void test_pages_are_dropped_when_the_file_was_changed_elsewhere(void **state)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	do_close(file, &fi);
	do_open(file, O_RDONLY, &fi);
	assert_false(last.fi.keep_cache);
	do_close(file, &fi);
	do_open(file, O_RDONLY, &fi);
	assert_true(last.fi.keep_cache);
	do_close(file, &fi);
	session_open_as(master.state, ++master.index, 8, 1, "other:/mnt", "c2");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_MTIME;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(8, &request), 0);
	do_open(file, O_RDONLY, &fi);
	assert_false(last.fi.keep_cache);
	do_close(file, &fi);
}

static void changed_elsewhere(uint64_t file)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	session_open_as(master.state, ++master.index, 8, 1, "other:/mnt", "c2");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_MTIME;
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(8, &request), 0);
}

static void test_pages_are_kept_only_when_the_kernel_has_dropped_the_old_ones(void **state)
{
	struct fuse_file_info first, second, third;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &first);
	do_close(file, &first);
	do_open(file, O_RDONLY, &first);
	assert_false(last.fi.keep_cache);
	/* The answer to the first may not have come to its program yet. */
	do_open(file, O_RDONLY, &second);
	assert_false(last.fi.keep_cache);
	ops_read(fresh(), file, 10, 0, &first);
	do_open(file, O_RDONLY, &third);
	assert_true(last.fi.keep_cache);
	do_close(file, &third);
	/* What was heard before the change says nothing of after it. */
	changed_elsewhere(file);
	do_close(file, &second);
	do_open(file, O_RDONLY, &second);
	assert_false(last.fi.keep_cache);
	do_close(file, &first);
	do_open(file, O_RDONLY, &third);
	assert_false(last.fi.keep_cache);
	do_close(file, &third);
	do_close(file, &second);
	/* The same for what is left of that when the lease comes. */
	set_sole(true);
	do_open(file, O_RDONLY, &first);
	assert_false(last.fi.keep_cache);
	do_open(file, O_RDONLY, &second);
	assert_false(last.fi.keep_cache);
	do_close(file, &first);
	do_open(file, O_RDONLY, &first);
	assert_true(last.fi.keep_cache);
	do_close(file, &first);
	do_close(file, &second);
}

static void test_what_was_read_ahead_is_dropped_with_the_pages(void **state)
{
	struct fuse_file_info fi, other;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	do_write(file, &fi, "hello", 0);
	ops_flush(fresh(), file, &fi);
	do_open(file, O_RDONLY, &other);
	ops_read(fresh(), file, 10, 0, &other);
	do_close(file, &other);
	forget_events();
	do_open(file, O_RDONLY, &other);
	assert_true(last.fi.keep_cache);
	assert_int_equal(count_events("invalidate"), 0);
	do_close(file, &other);
	changed_elsewhere(file);
	forget_events();
	do_open(file, O_RDONLY, &other);
	assert_false(last.fi.keep_cache);
	assert_true(count_events("invalidate") > 0);
	do_close(file, &other);
	changed_elsewhere(file);
	set_sole(true);
	forget_events();
	do_open(file, O_RDONLY, &other);
	assert_true(count_events("invalidate") > 0);
	do_close(file, &other);
	do_close(file, &fi);
}

static void note_error(void *user, int error)
{
	*(int *)user = error;
}

static void test_times_of_a_file_removed_elsewhere_are_no_loss(void **state)
{
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fuse_file_info fi;
	struct inode *inode;
	uint64_t file;
	int error = 1;
	(void)state;

	set_sole(false);
	fs->atime = ATIME_STRICT;
	file = do_create(1, "file", &fi);
	do_write(file, &fi, "abc", 0);
	ops_read(fresh(), file, 3, 0, &fi);
	assert_int_equal(do_close(file, &fi), 0);
	do_open(file, O_RDONLY, &fi);
	ops_read(fresh(), file, 3, 0, &fi);
	assert_int_equal(do_close(file, &fi), 0);
	inode = inode_table_find(fs->inodes, file);
	assert_non_null(inode);
	assert_int_equal(inode->local.dirty, INODE_DIRTY_ATIME);
	session_open_as(master.state, ++master.index, 8, 1, "other:/mnt", "c2");
	unlink.parent = 1;
	unlink.name = fs_bytes_of("file", 4);
	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	assert_int_equal(other_session(8, &request), 0);
	flush_inode(fs, inode, false, note_error, &error);
	assert_int_equal(error, 0);
	assert_int_equal(inode->local.dirty, 0);
	inode_put(fs->inodes, inode);
}

static void test_an_append_goes_to_the_end_that_the_master_knows(void **state)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	fi.flags = O_WRONLY | O_APPEND;
	do_write(file, &fi, "abc", 0);
	session_open_as(master.state, ++master.index, 8, 1, "other:/mnt", "c2");
	setattr.ino = file;
	setattr.mask = CATENA__SET_MASK__SET_GROW;
	setattr.size = 10;
	setattr.file_id = fs_inode_file_id(file);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	assert_int_equal(other_session(8, &request), 0);
	do_write(file, &fi, "xyz", 3); /* where the kernel believes the end to be */
	do_write(file, &fi, "!", 6);
	assert_memory_equal(file_of(setattr.file_id)->bytes, "abc\0\0\0\0\0\0\0xyz!", 14);
	assert_int_equal(do_close(file, &fi), 0);
	assert_int_equal(do_size(file), 14);
}

static void test_a_removed_directory_still_has_attributes(void **state)
{
	uint64_t dir;
	(void)state;

	set_sole(false);
	dir = do_mkdir(1, "dir");
	ops_rmdir(fresh(), 1, "dir");
	assert_int_equal(last.error, 0);
	assert_int_equal(do_size(dir), 4096);
	assert_int_equal(last.attr.st_nlink, 0);
	ops_lookup(fresh(), dir, "x");
	assert_int_equal(last.error, ENOENT);
}

static void test_a_directory_listed_whole_answers_lookups(void **state)
{
	struct fuse_file_info fi = {0};
	uint64_t ino;
	(void)state;

	do_mkdir(1, "a");
	do_mkdir(1, "b");
	set_sole(true); /* another generation: all is forgotten */
	ops_opendir(fresh(), 1, &fi);
	fi = last.fi;
	forget_events();
	ops_readdirplus(fresh(), 1, 4096, 0, &fi);
	assert_true(last.size > 4 * 128);
	assert_string_equal(history(), "readdir");
	ops_lookup(fresh(), 1, "a");
	ino = last.entry.ino;
	assert_true(ino > 1);
	ops_lookup(fresh(), 1, "c");
	assert_int_equal(last.entry.ino, 0);
	do_size(ino);
	assert_string_equal(history(), "readdir");
	ops_releasedir(fresh(), 1, &fi);
}

/* ---- sizes ---- */

static void test_a_directory_of_many_lookups_is_listed(void **state)
{
	uint64_t dir = do_mkdir(1, "dir");
	char name[16];
	(void)state;

	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ops_mknod(fresh(), dir, name, S_IFREG | 0600, 0);
	}
	set_sole(true); /* nothing is known any more */
	forget_events();
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		ops_lookup(fresh(), dir, name);
		assert_int_equal(last.error, 0);
		assert_true(last.entry.entry_timeout > 0);
	}
	ops_lookup(fresh(), dir, "nothing");
	assert_int_equal(last.entry.ino, 0);
	assert_string_equal(history(), "lookup lookup lookup lookup readdir");
}

static void test_the_size_is_told_after_the_data_was_flushed(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	assert_int_equal(do_write(file, &fi, "hello", 0), 0);
	assert_int_equal(do_size(file), 5);
	assert_int_equal(do_close(file, &fi), 0);
	assert_string_equal(history(), "create write");
	chunks.hold_flushes = true;
	later(1);
	assert_string_equal(history(), "create write flush");
	release_data();
	assert_string_equal(history(), "create write flush grow");
	later(1);
	assert_string_equal(history(), "create write flush grow");
	assert_int_equal(flush_list_count(fs->flush_list), 0);
	/* A later fsync makes it durable, although it was closed meanwhile. */
	do_open(file, O_RDONLY, &fi);
	ops_fsync(fresh(), file, 0, &fi);
	assert_string_equal(history(), "create write flush grow flush+durable flush-all");
	do_close(file, &fi);
	assert_int_equal(do_size(file), 5);
	assert_int_equal(counts().allocated_bytes, 5);
}

static void test_without_the_lease_close_waits_for_data_and_size(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	do_write(file, &fi, "hello", 0);
	forget_events();
	chunks.hold_flushes = true;
	ops_flush(fresh(), file, &fi);
	assert_int_equal(last.answers, 0);
	release_data();
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "flush grow invalidate");
	ops_release(fresh(), file, &fi);
	assert_string_equal(history(), "flush grow invalidate close");
}

static void test_close_waits_when_space_is_short_and_tells_of_a_full_disk(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	chunks.space = 1000;
	do_write(file, &fi, "hello", 0);
	file_of(fs_inode_file_id(file))->error = -ENOSPC;
	assert_int_equal(do_close(file, &fi), ENOSPC);
}

static void test_an_error_of_the_background_is_told_once_to_each_handle(void **state)
{
	struct fuse_file_info a, b, c, d;
	uint64_t file = do_create(1, "file", &a);
	(void)state;

	do_open(file, O_RDWR, &b);
	do_write(file, &a, "hello", 0);
	file_of(fs_inode_file_id(file))->error = -EIO;
	later(2);
	/* Who was there may go without a sync: the end of a child closes, too. */
	ops_flush(fresh(), file, &b);
	assert_int_equal(last.error, EIO);
	do_open(file, O_RDWR, &c);
	ops_fsync(fresh(), file, 0, &b);
	assert_int_equal(last.error, EIO);
	ops_fsync(fresh(), file, 0, &b);
	assert_int_equal(last.error, 0);
	do_open(file, O_RDWR, &d);
	assert_int_equal(do_close(file, &a), EIO);
	assert_int_equal(do_close(file, &b), 0);
	assert_int_equal(do_close(file, &c), EIO); /* nobody had told it when it was opened */
	assert_int_equal(do_close(file, &d), 0);
}

/* ---- opens ---- */

static void test_an_unlinked_open_file_lives_until_it_is_closed(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	forget_events();
	ops_unlink(fresh(), 1, "file");
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "open grow unlink");
	assert_int_equal(counts().orphans, 1);
	do_write(file, &fi, "more", 5);
	ops_read(fresh(), file, 100, 0, &fi);
	assert_int_equal(last.size, 9);
	assert_int_equal(do_size(file), 9);
	assert_int_equal(last.attr.st_nlink, 0);
	forget_events();
	do_close(file, &fi);
	/* Nothing more is written, and the master knows how far its chunks go before it goes. */
	assert_string_equal(history(), "discard flush grow close");
	assert_int_equal(counts().orphans, 0);
	assert_int_equal(counts().inodes, 1);
}

static void test_a_file_unlinked_while_it_is_dirty_is_not_written(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	do_close(file, &fi);
	forget_events();
	ops_unlink(fresh(), 1, "file");
	assert_string_equal(history(), "open grow unlink discard flush close");
	assert_int_equal(counts().orphans, 0);
	later(100);
	assert_int_equal(count_events("flush"), 1);
}

static void test_a_file_replaced_by_rename_while_open_lives_on(void **state)
{
	struct fuse_file_info fi;
	uint64_t old = do_create(1, "old", &fi);
	struct fuse_file_info other;
	uint64_t new = do_create(1, "new", &other);
	(void)state;

	do_close(new, &other);
	forget_events();
	ops_rename(fresh(), 1, "new", 1, "old", 0);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "open rename");
	assert_int_equal(counts().orphans, 1);
	ops_lookup(fresh(), 1, "old");
	assert_int_equal(last.entry.ino, new);
	ops_lookup(fresh(), 1, "new");
	assert_int_equal(last.entry.ino, 0);
	do_close(old, &fi);
	assert_int_equal(counts().orphans, 0);
}

static void test_answers_in_the_wrong_order_lose_no_open(void **state)
{
	static struct fuse_req removed;
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	master.hold = true;
	memset(&removed, 0, sizeof(removed));
	ops_unlink(&removed, 1, "file");
	ops_release(fresh(), file, &fi);
	release_replies(true);
	assert_int_equal(removed.answers, 1);
	assert_int_equal(counts().orphans, 0);
	assert_int_equal(counts().inodes, 1);
}

/* ---- the lease goes ---- */

static void test_before_the_lease_is_given_back_all_is_told(void **state)
{
	struct fuse_file_info open, closed;
	uint64_t a = do_create(1, "a", &open), b = do_create(1, "b", &closed);
	uint64_t began = clock_monotonic_ns();
	(void)state;

	do_write(a, &open, "aaaa", 0);
	do_write(b, &closed, "bb", 0);
	do_close(b, &closed);
	forget_events();
	fs->session = (struct fuse_session *)&last; /* only its address matters */
	lease_return_start(fs->lease_return);
	set_sole(false);
	lease_return_begin(fs->lease_return, true);
	while (count_events("return") == 0 && clock_monotonic_ns() - began < 5 * NS_PER_SEC)
		usleep(1000);
	lease_return_stop(fs->lease_return);
	fs->session = NULL;
	assert_int_equal(count_events("return"), 1);
	assert_true(clock_monotonic_ns() - began >= META_KERNEL_TIMEOUT_MS * NS_PER_MSEC);
	assert_int_equal(count_events("open"), 1);
	assert_int_equal(count_events("pages"), 1);
	assert_true(count_events("invalidate") > 0);
	assert_int_equal(count_events("flush"), 2);
	assert_int_equal(count_events("grow"), 2);
	assert_int_equal(counts().allocated_bytes, 6);
	/* Another's unlink does not take the open file away. */
	forget_events();
	ops_release(fresh(), a, &open);
	assert_string_equal(history(), "close");
}

static void test_a_new_session_is_told_what_is_open(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	file = do_create(1, "file", &fi);
	state_apply_session_close(master.state, ++master.index, SESSION, NULL, 0);
	master.session = 8;
	master.id = 0;
	session_open_as(master.state, ++master.index, 8, 1, "host:/mnt", "c1");
	forget_events();
	filesystem_meta_callbacks.session(fs, 8);
	assert_string_equal(history(), "open");
	ops_unlink(fresh(), 1, "file");
	assert_int_equal(counts().orphans, 1);
	ops_release(fresh(), file, &fi);
	assert_int_equal(counts().orphans, 0);
}

/* ---- interrupted programs ---- */

static void interrupt(struct fuse_req *req)
{
	req->interrupt(req, req->interrupt_data);
}

static void test_a_short_interruption_does_not_show(void **state)
{
	uint64_t now = clock_monotonic_ns();
	(void)state;

	master.hold = true;
	ops_mkdir(fresh(), 1, "dir", 0755);
	interrupt(&last);
	assert_true(task_tick(fs->tasks, now));
	assert_true(task_tick(fs->tasks, now + INTERRUPT_PATIENCE_NS / 2));
	assert_int_equal(last.answers, 0);
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_false(task_tick(fs->tasks, now + 2 * INTERRUPT_PATIENCE_NS));
	assert_int_equal(last.answers, 1);
}

static void test_a_long_one_ends_the_call_and_the_answer_still_counts(void **state)
{
	static struct fuse_req made;
	uint64_t now = clock_monotonic_ns();
	struct fuse_file_info fi = {.flags = O_RDWR};
	(void)state;

	memset(&made, 0, sizeof(made));
	master.hold = true;
	ops_create(&made, 1, "file", 0644, &fi);
	interrupt(&made);
	task_tick(fs->tasks, now);
	task_tick(fs->tasks, now + INTERRUPT_PATIENCE_NS + 1);
	assert_int_equal(made.answers, 1);
	assert_int_equal(made.error, EINTR);
	assert_int_equal(task_count(fs->tasks), 1);
	release_replies(false);
	assert_int_equal(made.answers, 1);
	assert_int_equal(task_count(fs->tasks), 0);
	/* The file is there, and nobody has it open. */
	forget_events();
	ops_lookup(fresh(), 1, "file");
	assert_true(last.entry.ino > 1);
	assert_string_equal(history(), "");
	ops_unlink(fresh(), 1, "file");
	assert_string_equal(history(), "unlink");
	/* An interrupt that comes late means another request by now. */
	master.hold = true;
	ops_mkdir(fresh(), 1, "dir", 0755);
	interrupt(&made);
	assert_false(task_tick(fs->tasks, now + 9 * INTERRUPT_PATIENCE_NS));
	release_replies(false);
	assert_int_equal(last.answers, 1);
}

static void test_a_handle_closed_under_an_interrupted_write_is_not_used_after(void **state)
{
	static struct fuse_req written;
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi), now = clock_monotonic_ns();
	(void)state;

	memset(&written, 0, sizeof(written));
	chunks.hold_writes = true;
	ops_write(&written, file, "hello", 5, 0, &fi);
	interrupt(&written);
	task_tick(fs->tasks, now);
	task_tick(fs->tasks, now + INTERRUPT_PATIENCE_NS + 1);
	assert_int_equal(written.error, EINTR);
	ops_release(fresh(), file, &fi);
	release_data();
	assert_int_equal(written.answers, 1);
	later(2);
	assert_int_equal(do_size(file), 5);
}

/* ---- names ---- */

static void test_create_of_what_exists_makes_the_kernel_look_again(void **state)
{
	struct fuse_file_info fi = {.flags = O_RDWR};
	(void)state;

	do_mkdir(1, "taken");
	ops_create(fresh(), 1, "taken", 0644, &fi);
	assert_int_equal(last.error, ESTALE);
	fi.flags = O_RDWR | O_EXCL;
	ops_create(fresh(), 1, "taken", 0644, &fi);
	assert_int_equal(last.error, EEXIST);
}

static void test_links_and_symlinks(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi), link;
	(void)state;

	do_close(file, &fi);
	ops_link(fresh(), file, 1, "second");
	assert_int_equal(last.entry.ino, file);
	assert_int_equal(last.entry.attr.st_nlink, 2);
	ops_unlink(fresh(), 1, "file");
	ops_lookup(fresh(), 1, "second");
	assert_int_equal(last.entry.attr.st_nlink, 1);
	ops_symlink(fresh(), "some/where", 1, "symlink");
	link = last.entry.ino;
	forget_events();
	ops_readlink(fresh(), link);
	assert_string_equal(last.bytes, "some/where");
	assert_string_equal(history(), "");
	ops_rename(fresh(), 1, "second", 1, "symlink", 2); /* exchange */
	assert_int_equal(last.error, 0);
	ops_lookup(fresh(), 1, "symlink");
	assert_int_equal(last.entry.ino, file);
	ops_lookup(fresh(), 1, "second");
	assert_int_equal(last.entry.ino, link);
	assert_string_equal(history(), "rename");
}

static void test_a_directory_that_is_not_empty_stays_known(void **state)
{
	uint64_t dir = do_mkdir(1, "dir");
	(void)state;

	do_mkdir(dir, "sub");
	ops_rmdir(fresh(), 1, "dir");
	assert_int_equal(last.error, ENOTEMPTY);
	forget_events();
	ops_lookup(fresh(), 1, "dir");
	assert_int_equal(last.entry.ino, dir);
	assert_string_equal(history(), "");
	ops_rmdir(fresh(), dir, "sub");
	ops_rmdir(fresh(), 1, "dir");
	assert_int_equal(last.error, 0);
	ops_lookup(fresh(), 1, "dir");
	assert_int_equal(last.entry.ino, 0);
	assert_int_equal(counts().inodes, 1);
}

static void test_xattrs_are_remembered_by_name_only(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_close(file, &fi);
	ops_setxattr(fresh(), file, "user.a", "value", 5, 0);
	assert_int_equal(last.error, 0);
	ops_getxattr(fresh(), file, "user.a", 100);
	assert_int_equal(last.size, 5);
	assert_memory_equal(last.bytes, "value", 5);
	ops_getxattr(fresh(), file, "user.a", 0);
	assert_int_equal(last.size, 5);
	ops_getxattr(fresh(), file, "user.a", 3);
	assert_int_equal(last.error, ERANGE);
	forget_events();
	ops_getxattr(fresh(), file, "user.b", 100);
	assert_int_equal(last.error, ENODATA);
	assert_string_equal(history(), "");
	ops_setxattr(fresh(), file, "trusted.t", "x", 1, 0);
	ops_listxattr(fresh(), file, 100);
	assert_int_equal(last.size, 7 + 10);
	context.uid = 1000;
	ops_listxattr(fresh(), file, 100);
	assert_int_equal(last.size, 7);
	context.uid = 0;
	ops_removexattr(fresh(), file, "user.a");
	ops_getxattr(fresh(), file, "user.a", 100);
	assert_int_equal(last.error, ENODATA);
	ops_getxattr(fresh(), file, "system.posix_acl_access", 100);
	assert_int_equal(last.error, EOPNOTSUPP);
}

static void test_the_kernel_keeps_nothing_beyond_the_lease(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "file", &fi);
	(void)state;

	do_size(file);
	assert_true(last.timeout == 1.0);
	master.lease_left_ns = 250 * NS_PER_MSEC;
	do_size(file);
	assert_true(last.timeout > 0 && last.timeout <= 0.25);
	ops_lookup(fresh(), 1, "file");
	assert_true(last.entry.entry_timeout > 0 && last.entry.entry_timeout <= 0.25);
	assert_true(last.entry.attr_timeout <= 0.25);
	ops_lookup(fresh(), 1, "nothing");
	assert_true(last.entry.entry_timeout <= 0.25);
	do_close(file, &fi);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_the_kernel_keeps_nothing_beyond_the_lease),
		WITH_FS(test_what_was_made_here_is_not_asked_for),
		WITH_FS(test_without_the_lease_everything_is_asked_for),
		WITH_FS(test_pages_are_dropped_when_the_file_was_changed_elsewhere),
		WITH_FS(test_pages_are_kept_only_when_the_kernel_has_dropped_the_old_ones),
		WITH_FS(test_what_was_read_ahead_is_dropped_with_the_pages),
		WITH_FS(test_times_of_a_file_removed_elsewhere_are_no_loss),
		WITH_FS(test_an_append_goes_to_the_end_that_the_master_knows),
		WITH_FS(test_a_removed_directory_still_has_attributes),
		WITH_FS(test_a_directory_listed_whole_answers_lookups),
		WITH_FS(test_a_directory_of_many_lookups_is_listed),
		WITH_FS(test_the_size_is_told_after_the_data_was_flushed),
		WITH_FS(test_without_the_lease_close_waits_for_data_and_size),
		WITH_FS(test_close_waits_when_space_is_short_and_tells_of_a_full_disk),
		WITH_FS(test_an_error_of_the_background_is_told_once_to_each_handle),
		WITH_FS(test_an_unlinked_open_file_lives_until_it_is_closed),
		WITH_FS(test_a_file_unlinked_while_it_is_dirty_is_not_written),
		WITH_FS(test_a_file_replaced_by_rename_while_open_lives_on),
		WITH_FS(test_answers_in_the_wrong_order_lose_no_open),
		WITH_FS(test_before_the_lease_is_given_back_all_is_told),
		WITH_FS(test_a_new_session_is_told_what_is_open),
		WITH_FS(test_a_short_interruption_does_not_show),
		WITH_FS(test_a_long_one_ends_the_call_and_the_answer_still_counts),
		WITH_FS(test_a_handle_closed_under_an_interrupted_write_is_not_used_after),
		WITH_FS(test_create_of_what_exists_makes_the_kernel_look_again),
		WITH_FS(test_links_and_symlinks),
		WITH_FS(test_a_directory_that_is_not_empty_stays_known),
		WITH_FS(test_xattrs_are_remembered_by_name_only),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
