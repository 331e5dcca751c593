/* check_entries_test.c - what a check of the master's store says of names and directories.
 *
 * Goal: each damage gives exactly its finding, at the right name; what the state machine leaves
 * gives none.
 * Method: a small tree made by requests; then single records are edited so that all else still
 * fits. */
#include "tests/unit/master/check/check_fixture.h"

#define DIR_TYPE  (S_IFDIR >> 12)
#define FILE_TYPE (S_IFREG >> 12)

static void assert_name(const struct check_finding *finding, uint64_t parent, const char *name)
{
	assert_int_equal(finding->parent, parent);
	assert_int_equal(finding->name_size, strlen(name));
	assert_memory_equal(finding->name, name, strlen(name));
}

static void what_requests_have_made_is_sound(void **state)
{
	assert_sound();
	assert_int_equal(found.result.inodes, get_counters().inodes);
	assert_int_equal(found.result.sessions, 1);
}

/* ---- names ---- */

static void a_name_without_an_inode_is_found(void **state)
{
	const struct check_finding *finding;

	delete_inode(tree.other);
	EDIT_COUNTERS(c.inodes--);
	finding = assert_found_one(CHECK_ENTRY_WITHOUT_INODE);
	assert_int_equal(finding->ino, tree.other);
	assert_name(finding, ROOT_INO, "other");
}

static void an_entry_of_another_type_is_found_alone(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(ROOT_INO, "other", &dentry);

	dentry.type = DIR_TYPE;
	put_entry(ROOT_INO, cookie, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_TYPE), ROOT_INO, "other");
	dentry.type = S_IFIFO >> 12;
	put_entry(ROOT_INO, cookie, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_TYPE), ROOT_INO, "other");
	dentry.type = FILE_TYPE;
	put_entry(ROOT_INO, cookie, &dentry);
	cookie = find_entry(ROOT_INO, "a", &dentry);
	dentry.type = FILE_TYPE;
	put_entry(ROOT_INO, cookie, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_TYPE), ROOT_INO, "a");
}

static void a_name_in_the_place_of_another_hash_is_found(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(tree.a, "file", &dentry);

	delete_entry(tree.a, cookie);
	put_entry(tree.a, cookie ^ 64, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_MISPLACED), tree.a, "file");
	/* No cookie of a name at all. */
	delete_entry(tree.a, cookie ^ 64);
	put_entry(tree.a, cookie | UINT64_C(1) << 63, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_MISPLACED), tree.a, "file");
}

static void a_name_that_is_also_where_it_belongs_is_there_twice(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(tree.a, "file", &dentry);

	put_entry(tree.a, cookie ^ 64, &dentry);
	count_entries(tree.a, 1, 0);
	EDIT_INODE(tree.file, i.nlink++);
	assert_name(assert_found_one(CHECK_NAME_TWICE), tree.a, "file");
	assert_int_equal(found.findings[0].cookie, cookie ^ 64);
}

static void a_name_behind_an_empty_place_is_found(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(tree.a, "file", &dentry);

	EDIT_INODE(tree.a, i.flags |= INODE_CROWDED);
	delete_entry(tree.a, cookie);
	put_entry(tree.a, cookie + 1, &dentry);
	assert_name(assert_found_one(CHECK_ENTRY_BEHIND_GAP), tree.a, "file");
}

/* All names share the places of one hash. */
static void a_lost_place_hides_the_names_behind_it(void **state)
{
	struct dentry dentry, first;
	uint64_t cookie = place_of("any"), last;

	last = find_entry(ROOT_INO, "symlink", &dentry);
	assert_true(last > cookie + 2);
	find_entry(ROOT_INO, "a", &first);
	assert_int_equal(find_entry(ROOT_INO, "a", &first), cookie);
	assert_sound();
	/* The first name alone moves behind all others: all of them, but not itself, have a gap. */
	delete_entry(ROOT_INO, cookie);
	put_entry(ROOT_INO, last + 1, &first);
	check_now();
	assert_int_equal(found.count, last - cookie + 1);
	for (unsigned i = 0; i < found.count; i++)
		assert_int_equal(found.findings[i].code, CHECK_ENTRY_BEHIND_GAP);
	/* A deleted entry in the place is no gap. */
	put_entry(ROOT_INO, cookie, &(struct dentry){0});
	assert_sound();
}

static void one_name_twice_in_a_hash_is_found(void **state)
{
	struct dentry dentry, other;
	uint64_t last = find_entry(ROOT_INO, "symlink", &dentry);

	(void)find_entry(ROOT_INO, "other", &other);
	put_entry(ROOT_INO, last + 1, &other);
	count_entries(ROOT_INO, 1, 0);
	EDIT_INODE(tree.other, i.nlink++);
	assert_name(assert_found_one(CHECK_NAME_TWICE), ROOT_INO, "other");
	assert_int_equal(found.findings[0].cookie, last + 1);
}

static void a_directory_that_does_not_know_of_its_shared_places_is_found(void **state)
{
	EDIT_INODE(ROOT_INO, i.flags &= (uint8_t)~INODE_CROWDED);
	assert_int_equal(assert_found_one(CHECK_CROWDED_FLAG)->ino, ROOT_INO);
}

static void names_that_no_request_makes_are_found(void **state)
{
	static const char *const names[] = {".", "..", "x/y"};

	for (unsigned n = 0; n < 3; n++) {
		struct dentry dentry = entry_of(names[n], tree.other, FILE_TYPE);

		put_entry(tree.c, place_of(names[n]), &dentry);
		count_entries(tree.c, 1, 0);
		EDIT_INODE(tree.other, i.nlink++);
		assert_name(assert_found_one(CHECK_NAME_INVALID), tree.c, names[n]);
		delete_entry(tree.c, place_of(names[n]));
		count_entries(tree.c, -1, 0);
		EDIT_INODE(tree.other, i.nlink--);
	}
}

static void entries_that_cannot_be_read_are_found(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(tree.a, "file", &dentry);
	uint8_t key[17] = {0};

	key_u64_u64(key, tree.a, cookie);
	put_record(FAMILY_DENTRIES, key, 16, "short", 5);
	/* The file has one name less that can be read. */
	assert_found(2, CHECK_ENTRY_DAMAGED, CHECK_LINK_COUNT_HIGH);
	assert_int_equal(found.findings[0].parent, tree.a);
	assert_int_equal(found.findings[0].cookie, cookie);
	put_entry(tree.a, cookie, &dentry);
	put_record(FAMILY_DENTRIES, key, 17, "", 0);
	assert_found_one(CHECK_ENTRY_DAMAGED);
	delete_record(FAMILY_DENTRIES, key, 17);
	put_record(FAMILY_DENTRIES, key, 3, "", 0);
	assert_found(2, CHECK_ENTRY_DAMAGED, CHECK_ENTRIES_OF_NO_DIRECTORY);
}

/* A deleted entry is left only where a directory knows of shared places, and is removed only
 * there. */
static void a_deleted_entry_in_a_directory_that_does_not_know_of_any_is_found(void **state)
{
	put_entry(tree.a, place_of("x"), &(struct dentry){0});
	assert_int_equal(assert_found_one(CHECK_CROWDED_FLAG)->ino, tree.a);
}

/* ---- directories ---- */

static void entries_of_a_directory_that_is_gone_are_found(void **state)
{
	struct dentry deep;

	delete_inode(tree.b);
	EDIT_COUNTERS(c.inodes--);
	assert_found(2, CHECK_ENTRY_WITHOUT_INODE, CHECK_ENTRIES_OF_NO_DIRECTORY);
	assert_int_equal(found.findings[0].ino, tree.b);
	assert_int_equal(found.findings[1].ino, tree.b);
	/* Only a deleted entry is left in it. */
	put_entry(tree.b, find_entry(tree.b, "deep", &deep), &(struct dentry){0});
	assert_found(3, CHECK_ENTRY_WITHOUT_INODE, CHECK_DELETED_ENTRIES_LEFT,
		     CHECK_INODE_WITHOUT_ENTRY);
}

static void entries_of_a_file_are_found(void **state)
{
	struct dentry dentry = entry_of("x", tree.other, FILE_TYPE);

	put_entry(tree.file, place_of("x"), &dentry);
	EDIT_INODE(tree.other, i.nlink++);
	assert_int_equal(assert_found_one(CHECK_ENTRIES_OF_NO_DIRECTORY)->ino, tree.file);
	put_entry(tree.file, place_of("x"), &(struct dentry){0});
	EDIT_INODE(tree.other, i.nlink--);
	assert_int_equal(assert_found_one(CHECK_DELETED_ENTRIES_LEFT)->ino, tree.file);
}

static void a_store_without_root_is_not_sound(void **state)
{
	struct inode_record root = get_inode(ROOT_INO);

	delete_inode(ROOT_INO);
	EDIT_COUNTERS(c.inodes--);
	assert_found_one(CHECK_ROOT_MISSING);
	root.mode = S_IFIFO | 0644;
	root.nlink = 1;
	root.flags = 0;
	put_inode(&root);
	EDIT_COUNTERS(c.inodes++);
	assert_found(2, CHECK_ROOT_MISSING, CHECK_ENTRIES_OF_NO_DIRECTORY);
}

static void a_directory_with_two_names_is_found_at_the_one_that_is_too_much(void **state)
{
	struct dentry dentry = entry_of("again", tree.b, DIR_TYPE);

	put_entry(tree.c, place_of("again"), &dentry);
	count_entries(tree.c, 1, 1);
	assert_name(assert_found_one(CHECK_DIRECTORY_TWICE), tree.c, "again");
	assert_int_equal(found.findings[0].ino, tree.b);
	/* Two in one directory are as bad. */
	put_entry(tree.a, place_of("again"), &dentry);
	delete_entry(tree.c, place_of("again"));
	count_entries(tree.c, -1, -1);
	count_entries(tree.a, 1, 1);
	assert_int_equal(assert_found_one(CHECK_DIRECTORY_TWICE)->parent, tree.a);
	delete_entry(tree.a, place_of("again"));
	put_entry(tree.c, place_of("again"), &dentry);
	count_entries(tree.a, -1, -1);
	count_entries(tree.c, 1, 1);
	/* '..' says which of the two. */
	EDIT_INODE(tree.b, i.parent = tree.c);
	assert_name(assert_found_one(CHECK_DIRECTORY_TWICE), tree.a, "b");
}

static void a_name_of_the_root_is_found(void **state)
{
	struct dentry dentry = entry_of("root", ROOT_INO, DIR_TYPE);

	put_entry(tree.c, place_of("root"), &dentry);
	count_entries(tree.c, 1, 1);
	assert_name(assert_found_one(CHECK_DIRECTORY_TWICE), tree.c, "root");
}

/* Moves a directory by its records, so that everything fits but that it can be reached. */
static void move_directory(uint64_t from, const char *name, uint64_t to)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(from, name, &dentry);

	delete_entry(from, cookie);
	put_entry(to, cookie, &dentry);
	count_entries(from, -1, -1);
	count_entries(to, 1, 1);
	EDIT_INODE(dentry.ino, i.parent = to);
}

static void directories_that_contain_each_other_are_one_finding(void **state)
{
	move_directory(ROOT_INO, "a", tree.b);
	assert_int_equal(assert_found_one(CHECK_DIRECTORY_LOOP)->ino, tree.a);
	/* What leads to the loop is none. */
	move_directory(ROOT_INO, "c", tree.b);
	assert_int_equal(assert_found_one(CHECK_DIRECTORY_LOOP)->ino, tree.a);
	/* One that contains itself, and the first one is reached again. */
	move_directory(tree.b, "a", ROOT_INO);
	move_directory(tree.b, "c", tree.c);
	assert_int_equal(assert_found_one(CHECK_DIRECTORY_LOOP)->ino, tree.c);
}

static void a_parent_that_does_not_have_the_name_is_found(void **state)
{
	EDIT_INODE(tree.b, i.parent = tree.c);
	assert_int_equal(assert_found_one(CHECK_PARENT)->ino, tree.b);
	assert_name(&found.findings[0], tree.a, "b");
	/* No loop: names lead there. */
	EDIT_INODE(tree.b, i.parent = tree.b);
	assert_found_one(CHECK_PARENT);
	EDIT_INODE(tree.b, i.parent = tree.a);
	EDIT_INODE(ROOT_INO, i.parent = tree.a);
	assert_int_equal(assert_found_one(CHECK_PARENT)->ino, ROOT_INO);
}

static void counts_of_a_directory_are_compared(void **state)
{
	const struct check_finding *finding;

	EDIT_INODE(tree.a, i.entries++);
	finding = assert_found_one(CHECK_ENTRY_COUNT);
	assert_int_equal(finding->is, 3);
	assert_int_equal(finding->should, 2);
	EDIT_INODE(tree.a, i.entries--; i.nlink++);
	finding = assert_found_one(CHECK_SUBDIRECTORY_COUNT);
	assert_int_equal(finding->ino, tree.a);
	assert_int_equal(finding->is, 4);
	assert_int_equal(finding->should, 3);
	EDIT_INODE(tree.a, i.nlink--);
	EDIT_INODE(ROOT_INO, i.nlink = 1);
	assert_int_equal(assert_found_one(CHECK_SUBDIRECTORY_COUNT)->ino, ROOT_INO);
}

static void a_removed_directory_with_entries_is_found(void **state)
{
	struct dentry dentry = entry_of("x", tree.other, FILE_TYPE);

	put_entry(tree.removed, place_of("x"), &dentry);
	EDIT_INODE(tree.other, i.nlink++);
	assert_int_equal(assert_found_one(CHECK_REMOVED_DIRECTORY)->ino, tree.removed);
}

static void a_directory_without_name_is_found(void **state)
{
	struct dentry dentry;
	uint64_t cookie = find_entry(ROOT_INO, "a", &dentry);

	delete_entry(ROOT_INO, cookie);
	count_entries(ROOT_INO, -1, -1);
	/* Once, and not for all that is in it. */
	assert_int_equal(assert_found_one(CHECK_INODE_WITHOUT_ENTRY)->ino, tree.a);
}

/* ---- paths ---- */

static void paths_are_found_by_parents(void **state)
{
	char path[64];

	assert_int_equal(check_path(tree.f.kv, ROOT_INO, path, sizeof(path)), 0);
	assert_string_equal(path, "/");
	assert_int_equal(check_path(tree.f.kv, tree.b, path, sizeof(path)), 0);
	assert_string_equal(path, "/a/b");
	assert_int_equal(check_path(tree.f.kv, tree.b, path, 5), 0);
	assert_int_equal(check_path(tree.f.kv, tree.b, path, 4), -ENAMETOOLONG);
	assert_int_equal(check_path(tree.f.kv, ROOT_INO, path, 1), -ENAMETOOLONG);
	assert_int_equal(check_path(tree.f.kv, tree.file, path, sizeof(path)), -ENOTDIR);
	assert_int_equal(check_path(tree.f.kv, 999, path, sizeof(path)), -ENOENT);
	assert_int_equal(check_path(tree.f.kv, tree.removed, path, sizeof(path)), -ENOENT);
	EDIT_INODE(tree.a, i.parent = tree.c);
	assert_int_equal(check_path(tree.f.kv, tree.b, path, sizeof(path)), -ENOENT);
	EDIT_INODE(tree.a, i.parent = ROOT_INO);
	move_directory(ROOT_INO, "a", tree.b);
	assert_int_equal(check_path(tree.f.kv, tree.b, path, sizeof(path)), -ELOOP);
	assert_int_equal(check_path(tree.f.kv, tree.c, path, sizeof(path)), 0);
	/* Below a loop there is no end but that of the room. */
	move_directory(ROOT_INO, "c", tree.b);
	assert_int_equal(check_path(tree.f.kv, tree.c, path, sizeof(path)), -ENAMETOOLONG);
}

static void findings_have_the_path_of_their_entry_or_inode(void **state)
{
	struct check_finding finding = {.ino = tree.b};
	char path[64];

	assert_int_equal(check_finding_path(tree.f.kv, &finding, path, sizeof(path)), 0);
	assert_string_equal(path, "/a/b");
	EDIT_INODE(tree.file, i.size = i.allocated + 1);
	EDIT_COUNTERS(c.bytes++);
	finding = *assert_found_one(CHECK_SIZE_ABOVE_ALLOCATED);
	assert_int_equal(check_finding_path(tree.f.kv, &finding, path, sizeof(path)), 0);
	assert_string_equal(path, "/link");
	finding = (struct check_finding){.file_id = 1};
	assert_int_equal(check_finding_path(tree.f.kv, &finding, path, sizeof(path)), -ENOENT);
}

#define TEST(function_)                                                                            \
	cmocka_unit_test_setup_teardown(function_, check_tree_setup, check_tree_teardown)
#define CROWDED(function_)                                                                         \
	cmocka_unit_test_setup_teardown(function_, check_tree_setup_crowded, check_tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_requests_have_made_is_sound),
		CROWDED(what_requests_have_made_is_sound),
		TEST(a_name_without_an_inode_is_found),
		TEST(an_entry_of_another_type_is_found_alone),
		TEST(a_name_in_the_place_of_another_hash_is_found),
		TEST(a_name_that_is_also_where_it_belongs_is_there_twice),
		TEST(a_name_behind_an_empty_place_is_found),
		CROWDED(a_lost_place_hides_the_names_behind_it),
		CROWDED(one_name_twice_in_a_hash_is_found),
		CROWDED(a_directory_that_does_not_know_of_its_shared_places_is_found),
		TEST(a_deleted_entry_in_a_directory_that_does_not_know_of_any_is_found),
		TEST(names_that_no_request_makes_are_found),
		TEST(entries_that_cannot_be_read_are_found),
		TEST(entries_of_a_directory_that_is_gone_are_found),
		TEST(entries_of_a_file_are_found),
		TEST(a_store_without_root_is_not_sound),
		TEST(a_directory_with_two_names_is_found_at_the_one_that_is_too_much),
		TEST(a_name_of_the_root_is_found),
		TEST(directories_that_contain_each_other_are_one_finding),
		TEST(a_parent_that_does_not_have_the_name_is_found),
		TEST(counts_of_a_directory_are_compared),
		TEST(a_removed_directory_with_entries_is_found),
		TEST(a_directory_without_name_is_found),
		TEST(paths_are_found_by_parents),
		TEST(findings_have_the_path_of_their_entry_or_inode),
	};

	return cmocka_run_group_tests_name("check of entries", tests, NULL, NULL);
}
