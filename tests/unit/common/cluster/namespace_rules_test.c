/* Goal: the rules of names and new inodes, which master and mounts share, are those of POSIX.
 * Method: a table for each rule. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "common/cluster/namespace_rules.h"

static const uint8_t *bytes(const char *text)
{
	return (const uint8_t *)text;
}

static void test_names_have_bounds_and_two_are_reserved(void **state)
{
	uint8_t longest[NAME_BYTES_MAX + 1];

	memset(longest, 'n', sizeof(longest));
	assert_int_equal(namespace_rules_name(longest, NAME_BYTES_MAX), 0);
	assert_int_equal(namespace_rules_name(longest, NAME_BYTES_MAX + 1), -ENAMETOOLONG);
	assert_int_equal(namespace_rules_name(longest, 0), -EINVAL);
	assert_int_equal(namespace_rules_name(bytes("a/b"), 3), -EINVAL);
	assert_int_equal(namespace_rules_name(bytes("a\0b"), 3), -EINVAL);
	assert_int_equal(namespace_rules_name(bytes("."), 1), -EINVAL);
	assert_int_equal(namespace_rules_name(bytes(".."), 2), -EINVAL);
	assert_int_equal(namespace_rules_name(bytes("..."), 3), 0);
	assert_int_equal(namespace_rules_name(bytes(".a"), 2), 0);
}

static void test_dots_have_the_error_of_each_call(void **state)
{
	assert_int_equal(namespace_rules_new_name(bytes("."), 1), -EEXIST);
	assert_int_equal(namespace_rules_new_name(bytes(".."), 2), -EEXIST);
	assert_int_equal(namespace_rules_new_name(bytes(""), 0), -EINVAL);
	assert_int_equal(namespace_rules_removed_name(bytes("."), 1, true), -EINVAL);
	assert_int_equal(namespace_rules_removed_name(bytes(".."), 2, true), -ENOTEMPTY);
	assert_int_equal(namespace_rules_removed_name(bytes("."), 1, false), -EISDIR);
	assert_int_equal(namespace_rules_removed_name(bytes(".."), 2, false), -EISDIR);
	assert_int_equal(namespace_rules_removed_name(bytes(".a"), 2, true), 0);
}

static void test_a_link_has_a_target_without_zero_bytes(void **state)
{
	uint8_t longest[SYMLINK_BYTES_MAX + 1];

	memset(longest, 't', sizeof(longest));
	assert_int_equal(namespace_rules_symlink(longest, SYMLINK_BYTES_MAX), 0);
	assert_int_equal(namespace_rules_symlink(longest, SYMLINK_BYTES_MAX + 1), -ENAMETOOLONG);
	assert_int_equal(namespace_rules_symlink(longest, 0), -ENOENT);
	assert_int_equal(namespace_rules_symlink(bytes("a\0b"), 3), -EINVAL);
}

static void test_a_new_inode_has_what_its_type_and_its_directory_give(void **state)
{
	struct namespace_rules_request request = {
		.mode = 0644, .uid = 5, .gid = 6, .rdev = 7, .symlink_bytes = 9};
	struct namespace_rules_place place = {.parent = 11,
					      .parent_mode = S_IFDIR | 0755,
					      .parent_gid = 12,
					      .parent_pool = 13,
					      .file_id = 14};
	struct namespace_rules_inode inode;

	namespace_rules_new_inode(&request, &place, &inode);
	assert_int_equal(inode.mode, S_IFREG | 0644);
	assert_int_equal(inode.nlink, 1);
	assert_int_equal(inode.uid, 5);
	assert_int_equal(inode.gid, 6);
	assert_int_equal(inode.pool, 13);
	assert_int_equal(inode.file_id, 14);
	assert_int_equal(inode.size + inode.parent + inode.rdev, 0);

	place.parent_mode |= S_ISGID;
	request.mode = S_IFDIR | 0700;
	namespace_rules_new_inode(&request, &place, &inode);
	assert_int_equal(inode.mode, S_IFDIR | S_ISGID | 0700);
	assert_int_equal(inode.gid, 12);
	assert_int_equal(inode.nlink, 2);
	assert_int_equal(inode.size, DIRECTORY_BYTES);
	assert_int_equal(inode.parent, 11);
	assert_int_equal(inode.file_id, 0);

	request.mode = S_IFLNK | 0600;
	namespace_rules_new_inode(&request, &place, &inode);
	assert_int_equal(inode.mode, S_IFLNK | 0777);
	assert_int_equal(inode.size, 9);
	assert_int_equal(inode.rdev, 0);

	request.mode = S_IFBLK | 0600;
	namespace_rules_new_inode(&request, &place, &inode);
	assert_int_equal(inode.rdev, 7);
	assert_int_equal(inode.size, 0);
	assert_int_equal(namespace_rules_new_mode(0170000 | 0644), 0);
}

static void test_what_entries_may_be_linked_removed_and_replaced(void **state)
{
	const uint32_t file = S_IFREG | 0644, directory = S_IFDIR | 0755;

	assert_int_equal(namespace_rules_link(directory, 2), -EPERM);
	assert_int_equal(namespace_rules_link(file, 0), -ENOENT);
	assert_int_equal(namespace_rules_link(file, 1), 0);
	assert_int_equal(namespace_rules_unlink(directory, 0, false), -EISDIR);
	assert_int_equal(namespace_rules_unlink(file, 0, false), 0);
	assert_int_equal(namespace_rules_unlink(file, 0, true), -ENOTDIR);
	assert_int_equal(namespace_rules_unlink(directory, 1, true), -ENOTEMPTY);
	assert_int_equal(namespace_rules_unlink(directory, 0, true), 0);
	assert_int_equal(namespace_rules_replace(file, directory, 0), -EISDIR);
	assert_int_equal(namespace_rules_replace(file, file, 0), 0);
	assert_int_equal(namespace_rules_replace(directory, file, 0), -ENOTDIR);
	assert_int_equal(namespace_rules_replace(directory, directory, 1), -ENOTEMPTY);
	assert_int_equal(namespace_rules_replace(directory, directory, 0), 0);
}

static void test_a_write_takes_privileges_but_not_from_directories(void **state)
{
	assert_int_equal(namespace_rules_unprivileged(S_IFREG | 06755), S_IFREG | 0755);
	assert_int_equal(namespace_rules_unprivileged(S_IFREG | 06745), S_IFREG | 02745);
	assert_int_equal(namespace_rules_unprivileged(S_IFDIR | 06755), S_IFDIR | 06755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_have_bounds_and_two_are_reserved),
		cmocka_unit_test(test_dots_have_the_error_of_each_call),
		cmocka_unit_test(test_a_link_has_a_target_without_zero_bytes),
		cmocka_unit_test(test_a_new_inode_has_what_its_type_and_its_directory_give),
		cmocka_unit_test(test_what_entries_may_be_linked_removed_and_replaced),
		cmocka_unit_test(test_a_write_takes_privileges_but_not_from_directories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
