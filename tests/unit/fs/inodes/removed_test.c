/* removed_test - inodes and names that go while the kernel uses them.
 *
 * Goal: what is removed or replaced while the kernel uses it is neither an error to programs nor
 * read from data that is gone. Method: another session removes and replaces names between the
 * kernel's requests. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/fs_fixture.h"
#include "tests/lib/sessions.h"

#define OTHER 8u

static void other_comes(void)
{
	session_open_as(master.state, ++master.index, OTHER, 1, "other:/mnt", "c2");
}

static int other_removes(const char *name, bool directory)
{
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	unlink.parent = 1;
	unlink.name = fs_bytes_of(name, strlen(name));
	unlink.directory = directory;
	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	return other_session(OTHER, &request);
}

/* A new file takes the place of what has the name. */
static void other_replaces(const char *name)
{
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__RenameReq rename = CATENA__RENAME_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	create.parent = rename.parent = rename.new_parent = 1;
	create.name = rename.name = fs_bytes_of("new", 3);
	create.mode = S_IFREG | 0644;
	create.exclusive = true;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	assert_int_equal(other_session(OTHER, &request), 0);
	rename.new_name = fs_bytes_of(name, strlen(name));
	request.op_case = CATENA__REQUEST__OP_RENAME;
	request.rename = &rename;
	assert_int_equal(other_session(OTHER, &request), 0);
}

static uint64_t do_lookup(uint64_t parent, const char *name)
{
	ops_lookup(fresh(), parent, name);
	return last.error == 0 ? last.entry.ino : 0;
}

static int do_chmod(uint64_t ino, mode_t mode)
{
	struct stat st = {.st_mode = mode};

	ops_setattr(fresh(), ino, &st, FUSE_SET_ATTR_MODE, NULL);
	return last.error;
}

static void test_a_directory_removed_elsewhere_lives_on(void **state)
{
	struct stat st = {.st_mtim = {.tv_sec = 7, .tv_nsec = 8}};
	uint64_t dir;
	(void)state;

	set_sole(false);
	other_comes();
	dir = do_mkdir(1, "dir");
	assert_int_equal(other_removes("dir", true), 0);
	assert_int_equal(do_size(dir), 4096);
	assert_int_equal(last.attr.st_nlink, 0);
	assert_int_equal(do_chmod(dir, 0700), 0);
	assert_int_equal(last.attr.st_mode, S_IFDIR | 0700);
	ops_setattr(fresh(), dir, &st, FUSE_SET_ATTR_MTIME, NULL);
	assert_int_equal(last.error, 0);
	assert_int_equal(do_size(dir), 4096);
	assert_int_equal(last.attr.st_mode, S_IFDIR | 0700);
	assert_int_equal(last.attr.st_mtim.tv_sec, 7);
	ops_listxattr(fresh(), dir, 100);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.size, 0);
	ops_getxattr(fresh(), dir, "user.x", 100);
	assert_int_equal(last.error, ENODATA);
	ops_setxattr(fresh(), dir, "user.x", "1", 1, 0);
	assert_int_equal(last.error, ENOENT);
	ops_lookup(fresh(), dir, "x");
	assert_int_equal(last.error, ENOENT);
	ops_mkdir(fresh(), dir, "x", 0755);
	assert_int_equal(last.error, ENOENT);
}

static void test_a_directory_is_listed_empty_after_its_removal(void **state)
{
	struct fuse_file_info fi = {0};
	uint64_t dir;
	(void)state;

	set_sole(false);
	other_comes();
	dir = do_mkdir(1, "dir");
	ops_opendir(fresh(), dir, &fi);
	fi = last.fi;
	ops_readdir(fresh(), dir, 4096, 0, &fi);
	assert_true(last.size > 0); /* "." and ".." */
	assert_int_equal(other_removes("dir", true), 0);
	ops_readdir(fresh(), dir, 4096, 0, &fi);
	assert_int_equal(last.error, 0);
	assert_int_equal(last.size, 0);
	ops_fsyncdir(fresh(), dir, 0, &fi);
	assert_int_equal(last.error, 0);
	ops_releasedir(fresh(), dir, &fi);
}

/* The kernel tries twice: the second time it must succeed, whatever comes between. */
static void test_what_was_replaced_once_is_held_for_the_next_attempt(void **state)
{
	struct fuse_file_info fi;
	uint64_t first, second;
	(void)state;

	set_sole(false);
	other_comes();
	first = do_create(1, "name", &fi);
	do_close(first, &fi);
	assert_int_equal(do_lookup(1, "name"), first);
	other_replaces("name");
	assert_int_equal(do_open(first, O_RDONLY, &fi), ESTALE);
	second = do_lookup(1, "name");
	assert_int_not_equal(second, first);
	other_replaces("name");
	assert_int_equal(counts().orphans, 1);
	assert_int_equal(do_chmod(second, 0600), 0);
	assert_int_equal(do_open(second, O_RDONLY, &fi), 0);
	do_close(second, &fi);
	assert_int_equal(counts().orphans, 1);
	housekeeper_stop(fs->housekeeper);
	assert_int_equal(counts().orphans, 0);
}

static void test_nothing_is_held_when_nothing_was_missed(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	set_sole(false);
	other_comes();
	file = do_create(1, "name", &fi);
	do_close(file, &fi);
	assert_int_equal(do_lookup(1, "name"), file);
	other_replaces("name");
	assert_int_equal(counts().orphans, 0);
}

static void replace_here(const char *name)
{
	struct fuse_file_info fi;
	uint64_t file = do_create(1, "new", &fi);

	do_close(file, &fi);
	ops_rename(fresh(), 1, "new", 1, name, 0);
	assert_int_equal(last.error, 0);
}

/* The master has forgotten it, and its chunks are being removed: it must not be read as zeros. */
static void test_what_lost_its_name_here_is_not_opened(void **state)
{
	struct fuse_file_info fi;
	uint64_t first, second;
	(void)state;

	first = do_create(1, "name", &fi);
	do_write(first, &fi, "data", 0);
	do_close(first, &fi);
	assert_int_equal(do_lookup(1, "name"), first);
	replace_here("name");
	assert_int_equal(do_open(first, O_RDONLY, &fi), ESTALE);
	second = do_lookup(1, "name");
	replace_here("name");
	assert_int_equal(do_open(second, O_RDONLY, &fi), 0);
	do_close(second, &fi);
	housekeeper_stop(fs->housekeeper);
	assert_int_equal(counts().orphans, 0);
}

/* Unlinked by a command that the master has not answered yet; the program may know it already. */
static void open_while_unlinking(uint64_t file, bool answered)
{
	struct fuse_file_info fi = {0};
	struct fuse_req unlinking = {.error = -1}, opening = {0};

	master.hold = true;
	ops_unlink(&unlinking, 1, "name");
	assert_int_equal(unlinking.error == 0, answered);
	ops_open(&opening, file, &fi);
	release_replies(false);
	assert_int_equal(opening.error, ESTALE);
}

static void test_what_has_lost_its_name_ahead_of_the_master_is_not_opened(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	file = do_create(1, "name", &fi);
	do_close(file, &fi);
	open_while_unlinking(file, true);
}

static void test_what_is_losing_its_name_is_not_opened(void **state)
{
	struct fuse_file_info fi;
	uint64_t file;
	(void)state;

	file = do_create(1, "name", &fi);
	do_close(file, &fi);
	set_sole(true);
	/* Of the directory nothing is known, so the command waits for the master. */
	assert_int_equal(do_lookup(1, "name"), file);
	open_while_unlinking(file, false);
}

static void test_an_open_file_without_a_name_can_be_opened_again(void **state)
{
	struct fuse_file_info fi, again;
	uint64_t file;
	(void)state;

	file = do_create(1, "name", &fi);
	do_write(file, &fi, "data", 0);
	ops_unlink(fresh(), 1, "name");
	assert_int_equal(do_open(file, O_RDONLY, &again), 0); /* by /proc/self/fd */
	ops_read(fresh(), file, 10, 0, &again);
	assert_int_equal(last.size, 4);
	do_close(file, &again);
	chunks.hold_flushes = true;
	do_close(file, &fi);
	/* Its data is given up, though the master does not know yet. */
	assert_int_equal(counts().orphans, 1);
	assert_int_equal(do_open(file, O_RDONLY, &fi), ESTALE);
	release_data();
	assert_int_equal(do_open(file, O_RDONLY, &fi), ESTALE);
	assert_int_equal(counts().orphans, 0);
}

static int other_opens(uint64_t ino)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	open.ino = ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	return other_session(OTHER, &request);
}

static void test_a_file_handle_finds_any_inode_until_it_is_gone(void **state)
{
	struct fuse_file_info fi;
	uint64_t file, dir, fifo;
	(void)state;

	set_sole(false);
	other_comes();
	file = do_create(1, "name", &fi);
	dir = do_mkdir(1, "dir");
	ops_mknod(fresh(), 1, "fifo", S_IFIFO | 0600, 0);
	fifo = last.entry.ino;
	fs->handle_generation = 77; /* as mounted in one of the clusters that there may be */
	assert_int_equal(do_lookup(file, "."), file);
	assert_int_equal(last.entry.generation, 77);
	assert_int_equal(do_lookup(dir, "."), dir);
	assert_int_equal(do_lookup(fifo, "."), fifo);
	assert_int_equal(do_lookup(dir, ".."), 1);
	assert_int_equal(last.entry.generation, 0);
	assert_int_equal(other_removes("name", false), 0);
	assert_int_equal(do_lookup(file, "."), file); /* it is open here */
	assert_int_equal(other_opens(file), 0);
	do_close(file, &fi);
	assert_int_equal(counts().orphans, 1);
	assert_int_equal(do_lookup(file, "."), 0);
	assert_int_equal(last.error, ESTALE);
	assert_int_equal(other_removes("dir", true), 0);
	assert_int_equal(do_lookup(dir, "."), 0);
	assert_int_equal(last.error, ESTALE);
}

static void told(void *arg, bool gone)
{
	*(int *)arg = gone;
}

/* What the data layer asks when copies do not have what they have answered. */
static int is_gone(uint64_t ino, uint64_t file_id)
{
	int gone = -1;

	chunks.options.ask_gone(chunks.options.user, ino, file_id, told, &gone);
	return gone;
}

static void test_data_is_gone_on_purpose_when_the_master_has_the_file_no_more(void **state)
{
	struct fuse_file_info fi;
	uint64_t file, file_id;
	(void)state;

	set_sole(false);
	other_comes();
	file = do_create(1, "name", &fi);
	do_write(file, &fi, "data", 0);
	file_id = fs_inode_file_id(file);
	assert_int_equal(file_of(file_id)->ino, file);
	assert_int_equal(is_gone(file, file_id), 0);
	assert_int_equal(other_removes("name", false), 0);
	assert_int_equal(is_gone(file, file_id), 0); /* it is open here */
	do_close(file, &fi);
	assert_int_equal(is_gone(file, file_id), 1);

	file = do_create(1, "name", &fi);
	do_close(file, &fi);
	file_id = fs_inode_file_id(file);
	assert_int_equal(do_truncate(file, 0), 0);
	assert_int_equal(is_gone(file, file_id), 1);
	assert_int_equal(is_gone(file, fs_inode_file_id(file)), 0);
	master.fail = EIO;
	assert_int_equal(is_gone(file, file_id), 0); /* it is not known */
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FS(test_a_directory_removed_elsewhere_lives_on),
		WITH_FS(test_a_directory_is_listed_empty_after_its_removal),
		WITH_FS(test_what_was_replaced_once_is_held_for_the_next_attempt),
		WITH_FS(test_nothing_is_held_when_nothing_was_missed),
		WITH_FS(test_what_lost_its_name_here_is_not_opened),
		WITH_FS(test_what_has_lost_its_name_ahead_of_the_master_is_not_opened),
		WITH_FS(test_what_is_losing_its_name_is_not_opened),
		WITH_FS(test_an_open_file_without_a_name_can_be_opened_again),
		WITH_FS(test_data_is_gone_on_purpose_when_the_master_has_the_file_no_more),
		WITH_FS(test_a_file_handle_finds_any_inode_until_it_is_gone),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
