/* flush_test - data before the name that publishes it.
 *
 * Goal: whatever dies, a file that was replaced by rename or link is the old one or the whole new
 * one; programs do not wait for that where they did not before, and what they do next comes after.
 * Method: as in ops_test.c; the data's answers are held back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"

static struct fuse_file_info fi;

/* A directory that is known whole, with "old" in it. */
static uint64_t directory(void)
{
	uint64_t dir = do_mkdir(1, "dir");

	ops_mknod(fresh(), dir, "old", S_IFREG | 0600, 0);
	return dir;
}

static uint64_t written(uint64_t dir, const char *name)
{
	uint64_t file = do_create(dir, name, &fi);

	do_write(file, &fi, "hello", 0);
	do_close(file, &fi);
	forget_events();
	chunks.hold_flushes = true;
	return file;
}

static uint64_t look(uint64_t dir, const char *name)
{
	ops_lookup(fresh(), dir, name);
	return last.error == 0 ? last.entry.ino : 0;
}

/* What the master itself has under a name: the size, or -1. */
static int64_t master_has(uint64_t dir, const char *name)
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	Catena__Reply *reply;
	uint8_t *bytes = NULL;
	size_t size = 0;
	int64_t result;

	lookup.parent = dir;
	lookup.name = fs_bytes_of(name, strlen(name));
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	request.id = 1;
	assert_int_equal(state_query(master.state, master.session, &request, &bytes, &size), 0);
	reply = catena__reply__unpack(NULL, size, bytes);
	result = reply->attr == NULL ? -1 : (int64_t)reply->attr->size;
	catena__reply__free_unpacked(reply, NULL);
	free(bytes);
	return result;
}

/* What happened, but for what was read ahead and is dropped on the way. */
static const char *order_seen(void)
{
	static char text[1024];
	const char *from = history();
	size_t used = 0;

	while (*from != '\0') {
		size_t size = strcspn(from, " ");

		if (strncmp(from, "invalidate", size) != 0)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s",
						 used > 0 ? " " : "", (int)size, from);
		from += size + (from[size] == ' ');
	}
	return text;
}

static void assert_at_rest(uint64_t ino, uint64_t size)
{
	struct inode *inode = inode_table_get(fs->inodes, ino);

	assert_int_equal(inode->commands.under_way, 0);
	assert_int_equal(inode->commands.answered_early, 0);
	assert_int_equal(inode_size(inode), size);
	assert_int_equal(inode->attr.size, size);
	assert_int_equal(inode->local.dirty, 0);
	inode_put(fs->inodes, inode);
}

static void test_a_rename_goes_when_the_data_is_there_and_the_program_before(void **state)
{
	uint64_t dir = directory(), file = written(dir, "new");
	(void)state;

	ops_rename(fresh(), dir, "new", dir, "old", 0);
	assert_int_equal(last.answers, 1);
	assert_int_equal(last.error, 0);
	assert_int_equal(look(dir, "old"), file);
	assert_int_equal(look(dir, "new"), 0);
	assert_string_equal(history(), "flush");
	assert_int_equal(master_has(dir, "new"), 0);
	release_data();
	assert_string_equal(history(), "flush grow rename");
	assert_int_equal(master_has(dir, "old"), 5);
	assert_int_equal(master_has(dir, "new"), -1);
	assert_int_equal(do_size(file), 5);
	assert_at_rest(file, 5);
	/* Nothing of it is dirty now. */
	forget_events();
	ops_rename(fresh(), dir, "old", dir, "last", 0);
	assert_string_equal(history(), "rename");
}

static void test_what_comes_after_the_rename_waits_behind_it(void **state)
{
	uint64_t dir = directory(), other, file, unlinked;
	struct fuse_req sync = {0}, chmod = {0}, gone = {0};
	struct stat st = {.st_mode = S_IFREG | 0640};
	struct fuse_file_info other_fi, dir_fi = {0};
	(void)state;

	other = do_create(1, "other", &other_fi);
	ops_opendir(fresh(), dir, &dir_fi);
	dir_fi = last.fi;
	file = written(dir, "new");
	ops_rename(fresh(), dir, "new", dir, "old", 0);
	/* Answered at once, and done in this order. */
	ops_mknod(fresh(), dir, "new", S_IFREG | 0600, 0);
	assert_int_equal(last.answers, 1);
	unlinked = last.entry.ino;
	ops_unlink(fresh(), dir, "new");
	assert_int_equal(last.answers, 1);
	ops_mknod(fresh(), dir, "new", S_IFDIR | 0700, 0);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "flush");
	/* What is not foreseen waits, an fsync of what is held, too; another inode's affairs do not.
	 */
	ops_unlink(&gone, dir, "old");
	ops_fsyncdir(&sync, dir, 0, &dir_fi);
	ops_setattr(&chmod, other, &st, FUSE_SET_ATTR_MODE, NULL);
	assert_int_equal(chmod.answers, 1);
	assert_int_equal(gone.answers, 0);
	assert_int_equal(sync.answers, 0);
	release_data();
	assert_string_equal(history(), "flush setattr grow rename create unlink create "
				       "open grow unlink discard flush flush-all close");
	assert_int_equal(sync.answers, 1);
	assert_int_equal(gone.answers, 1);
	assert_int_equal(gone.error, 0);
	assert_int_equal(master_has(dir, "old"), -1);
	assert_true(master_has(dir, "new") > 0);
	assert_int_equal(look(dir, "old"), 0);
	assert_int_not_equal(look(dir, "new"), unlinked);
	assert_int_not_equal(look(dir, "new"), file);
	ops_releasedir(fresh(), dir, &dir_fi);
	do_close(other, &other_fi);
	later(2);
	assert_int_equal(counts().inodes, 4); /* root, dir, new, other */
}

static void test_several_go_in_their_order_whichever_is_ready_first(void **state)
{
	uint64_t dir = directory(), first, second;
	struct held_done *held;
	(void)state;

	first = written(dir, "first");
	ops_rename(fresh(), dir, "first", dir, "old", 0);
	second = do_create(dir, "second", &fi);
	do_write(second, &fi, "0123456789", 0);
	do_close(second, &fi);
	ops_rename(fresh(), dir, "second", dir, "last", 0);
	assert_int_equal(last.answers, 1);
	assert_int_equal(look(dir, "last"), second);
	assert_int_equal(count_events("rename"), 0);
	/* The second's data is there first. */
	held = chunks.held;
	chunks.held = held->next;
	held->next = NULL;
	release_data();
	assert_int_equal(count_events("rename"), 0);
	assert_int_equal(count_events("create"), 0);
	held->done(held->user, held->error);
	free(held);
	assert_int_equal(count_events("rename"), 2);
	assert_int_equal(master_has(dir, "old"), 5);
	assert_int_equal(master_has(dir, "last"), 10);
	assert_at_rest(first, 5);
	assert_at_rest(second, 10);
	later(2);
	assert_int_equal(counts().inodes, 4);
}

static void test_what_a_held_rename_has_changed_is_exact_meanwhile_and_after(void **state)
{
	uint64_t dir = directory(), file = written(dir, "new");
	struct inode *inode = inode_table_get(fs->inodes, file);
	int64_t ctime;
	(void)state;

	ops_rename(fresh(), dir, "new", dir, "old", 0);
	usleep(10);
	ops_rename(fresh(), dir, "old", dir, "last", 0);
	assert_int_equal(last.answers, 1);
	master.hold = true;
	release_data();
	assert_int_equal(do_size(file), 5);
	ctime = inode->attr.ctime;
	/* The answers are older than what is known. */
	while (master.held != NULL) {
		struct held_reply *held = master.held;

		master.held = held->next;
		deliver(held);
		assert_int_equal(do_size(file), 5);
		assert_int_equal(inode->attr.ctime, ctime);
	}
	release_replies(false);
	assert_true(inode_exact(inode, true, master.generation));
	assert_at_rest(file, 5);
	assert_int_equal(master_has(dir, "last"), 5);
	inode_put(fs->inodes, inode);
}

static void test_a_rename_whose_data_is_lost_goes_all_the_same_and_is_told(void **state)
{
	uint64_t dir = directory(), file = do_create(dir, "new", &fi);
	(void)state;

	do_write(file, &fi, "hello", 0);
	file_of(fs_inode_file_id(file))->error = -EIO;
	ops_rename(fresh(), dir, "new", dir, "old", 0);
	assert_int_equal(last.error, 0);
	assert_int_equal(master_has(dir, "old"), 5);
	ops_fsync(fresh(), file, 0, &fi);
	assert_int_equal(last.error, EIO);
	do_close(file, &fi);
}

static void test_who_waits_for_the_master_waits_for_the_data(void **state)
{
	uint64_t dir = directory(), file;
	(void)state;

	set_sole(false);
	file = do_create(dir, "new", &fi);
	do_write(file, &fi, "hello", 0);
	forget_events();
	chunks.hold_flushes = true;
	ops_rename(fresh(), dir, "new", dir, "old", 0);
	assert_int_equal(last.answers, 0);
	assert_string_equal(order_seen(), "lookup flush");
	release_data();
	assert_int_equal(last.answers, 1);
	assert_string_equal(order_seen(), "lookup flush grow rename");
	do_write(file, &fi, "HELLO WORLD", 0);
	forget_events();
	chunks.hold_flushes = true;
	ops_link(fresh(), file, dir, "link");
	assert_int_equal(last.answers, 0);
	release_data();
	assert_int_equal(last.error, 0);
	assert_string_equal(order_seen(), "flush grow link");
	/* Of two that are exchanged both. */
	ops_mknod(fresh(), dir, "empty", S_IFREG | 0600, 0);
	do_write(file, &fi, "HELLO", 0);
	forget_events();
	ops_rename(fresh(), dir, "empty", dir, "link", 2);
	assert_int_equal(last.error, 0);
	assert_string_equal(order_seen(), "lookup lookup flush grow rename");
	do_close(file, &fi);
	later(2);
	/* Where nothing was written, nothing is asked. */
	forget_events();
	ops_rename(fresh(), dir, "empty", dir, "final", 0);
	assert_string_equal(order_seen(), "rename");
}

static void test_a_link_waits_for_the_data_with_the_lease_too(void **state)
{
	uint64_t dir = directory(), file = written(dir, "new");
	(void)state;

	ops_link(fresh(), file, dir, "link");
	assert_int_equal(last.answers, 0);
	assert_string_equal(history(), "flush");
	release_data();
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "flush grow link");
	assert_int_equal(master_has(dir, "link"), 5);
	assert_at_rest(file, 5);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_a_rename_goes_when_the_data_is_there_and_the_program_before),
		WITH_FS(test_what_comes_after_the_rename_waits_behind_it),
		WITH_FS(test_several_go_in_their_order_whichever_is_ready_first),
		WITH_FS(test_what_a_held_rename_has_changed_is_exact_meanwhile_and_after),
		WITH_FS(test_a_rename_whose_data_is_lost_goes_all_the_same_and_is_told),
		WITH_FS(test_who_waits_for_the_master_waits_for_the_data),
		WITH_FS(test_a_link_waits_for_the_data_with_the_lease_too),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
