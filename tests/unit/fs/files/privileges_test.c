/* privileges_test - setuid and setgid bits go with what the kernel says takes them away.
 *
 * Goal: the bits are cleared before the write, truncation or allocation is done, and only when the
 * kernel asks and there are any; the kernel is told; a failure leaves the file as it was. Requests
 * that are too short ask for nothing. Method: as in ops_test.c; the kernel's requests as bytes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/fuse.h>
#include "tests/lib/fs_fixture.h"
#include "fs/kernel/request_privileges.h"

/* ---- what the kernel says ---- */

static union {
	struct fuse_in_header in;
	char bytes[sizeof(struct fuse_in_header) + 128];
} request;

static void *begin(uint32_t opcode)
{
	memset(&request, 0, sizeof(request));
	request.in.opcode = opcode;
	return request.bytes + sizeof(request.in);
}

static bool asks(size_t argument_size)
{
	request_privileges_note(&request, sizeof(request.in) + argument_size);
	return request_privileges_drop();
}

static void kernel_writes(bool kills)
{
	struct fuse_write_in *in = begin(FUSE_WRITE);

	in->write_flags = kills ? FUSE_WRITE_KILL_SUIDGID : FUSE_WRITE_CACHE;
	asks(sizeof(*in));
}

static void kernel_sets(bool kills)
{
	struct fuse_setattr_in *in = begin(FUSE_SETATTR);

	in->valid = FATTR_SIZE | (kills ? FATTR_KILL_SUIDGID : 0);
	asks(sizeof(*in));
}

static void test_the_kernels_requests_are_understood(void **state)
{
	(void)state;
	((struct fuse_write_in *)begin(FUSE_WRITE))->write_flags = FUSE_WRITE_KILL_SUIDGID;
	assert_true(asks(sizeof(struct fuse_write_in)));
	assert_false(asks(sizeof(struct fuse_write_in) - 1));
	((struct fuse_write_in *)begin(FUSE_WRITE))->write_flags = FUSE_WRITE_CACHE;
	assert_false(asks(sizeof(struct fuse_write_in)));
	((struct fuse_setattr_in *)begin(FUSE_SETATTR))->valid = FATTR_UID | FATTR_KILL_SUIDGID;
	assert_true(asks(sizeof(struct fuse_setattr_in)));
	assert_false(asks(sizeof(struct fuse_setattr_in) - 1));
	((struct fuse_create_in *)begin(FUSE_CREATE))->open_flags = FUSE_OPEN_KILL_SUIDGID;
	assert_true(asks(sizeof(struct fuse_create_in)));
	assert_false(asks(sizeof(struct fuse_open_in)));
	/* Nothing is said of this one: root may keep them. */
	begin(FUSE_FALLOCATE);
	assert_false(asks(sizeof(struct fuse_fallocate_in)));
	request.in.uid = 1000;
	assert_true(asks(sizeof(struct fuse_fallocate_in)));
	request.in.opcode = FUSE_READ;
	assert_false(asks(sizeof(struct fuse_read_in)));
	request_privileges_note(&request, sizeof(request.in) - 1);
	assert_false(request_privileges_drop());
}

/* ---- what is done ---- */

static uint32_t mode_of(uint64_t ino)
{
	ops_getattr(fresh(), ino, NULL);
	return last.attr.st_mode & 07777;
}

static void change_mode(uint64_t ino, mode_t mode)
{
	struct stat st = {.st_mode = mode};

	request_privileges_note(NULL, 0);
	ops_setattr(fresh(), ino, &st, FUSE_SET_ATTR_MODE, NULL);
	assert_int_equal(last.error, 0);
	forget_events();
}

/* Never looked into: notifications need one. */
static uint64_t new_file(struct fuse_file_info *fi)
{
	fs->session = (struct fuse_session *)&master;
	return do_create(1, "file", fi);
}

static int teardown(void **state)
{
	request_privileges_note(NULL, 0);
	return fixture_teardown(state);
}

static void test_a_write_comes_after_the_bits_have_gone(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = new_file(&fi);
	(void)state;

	change_mode(file, 06755);
	kernel_writes(false);
	assert_int_equal(do_write(file, &fi, "kept", 0), 0);
	assert_string_equal(history(), "write");
	forget_events();
	kernel_writes(true);
	master.hold = true;
	do_write(file, &fi, "0123456789", 0);
	assert_int_equal(last.answers, 0);
	assert_string_equal(history(), "clear");
	master.hold = false;
	release_replies(false);
	assert_int_equal(last.answers, 1);
	assert_string_equal(history(), "clear attributes write");
	assert_int_equal(mode_of(file), 0755);
	/* None are left: nothing is sent for the next one. */
	forget_events();
	assert_int_equal(do_write(file, &fi, "more", 0), 0);
	assert_string_equal(history(), "write");
	/* Set-group-id without the group's right to execute is no privilege. */
	change_mode(file, 02745);
	assert_int_equal(do_write(file, &fi, "more", 0), 0);
	assert_string_equal(history(), "write");
	do_close(file, &fi);
}

static void test_bits_that_stay_let_nothing_be_written(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = new_file(&fi);
	(void)state;

	change_mode(file, 04755);
	kernel_writes(true);
	master.fail = EHOSTUNREACH;
	assert_int_not_equal(do_write(file, &fi, "0123456789", 0), 0);
	assert_int_equal(do_size(file), 0);
	assert_int_equal(mode_of(file), 04755);
	do_close(file, &fi);
}

static void test_truncation_and_allocation_take_them_too(void **state)
{
	struct fuse_file_info fi;
	uint64_t file = new_file(&fi);
	(void)state;

	do_write(file, &fi, "0123456789", 0);
	later(2);
	change_mode(file, 04755);
	kernel_sets(true);
	assert_int_equal(do_truncate(file, 20), 0);
	assert_string_equal(history(), "size+clear");
	assert_int_equal(last.attr.st_mode & 07777, 0755);
	change_mode(file, 04755);
	kernel_sets(false);
	assert_int_equal(do_truncate(file, 30), 0);
	assert_int_equal(last.attr.st_mode & 07777, 04755);

	forget_events();
	change_mode(file, 04755);
	begin(FUSE_FALLOCATE);
	request.in.uid = 1000;
	asks(sizeof(struct fuse_fallocate_in));
	ops_fallocate(fresh(), file, 0, 0, 100, &fi);
	assert_int_equal(last.error, 0);
	assert_string_equal(history(), "clear attributes");
	assert_int_equal(mode_of(file), 0755);
	assert_int_equal(do_size(file), 100);
	do_close(file, &fi);
}

#define WITH_FS(test) cmocka_unit_test_setup_teardown(test, fixture_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_kernels_requests_are_understood),
		WITH_FS(test_a_write_comes_after_the_bits_have_gone),
		WITH_FS(test_bits_that_stay_let_nothing_be_written),
		WITH_FS(test_truncation_and_allocation_take_them_too),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
