/* ids_test - numbers of inodes, files and sessions have room for more than one group of masters.
 *
 * Goal: numbers of another group, and entries that are reserved for work between groups, are refused
 * wherever they come from: requests and records; and no counter runs into the group's bits.
 * Method: the helpers at their edges; each decoder with one number changed; requests of each kind
 * for inodes that only differ in the group from some that are there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "common/cluster/ids.h"
#include "tests/lib/state_fixture.h"

#define FOREIGN(id_) ((id_) | UINT64_C(5) << ID_COUNTER_BITS)

static struct fixture f;

static int setup(void **state)
{
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	fixture_end(&f);
	return 0;
}

static void counters_end_at_the_groups_bits(void **state)
{
	assert_true(id_is_ours(ID_END - 1));
	assert_false(id_is_ours(ID_END));
	assert_false(id_is_ours(UINT64_MAX));
	assert_true(id_has_room(ID_END - 3, 3));
	assert_false(id_has_room(ID_END - 3, 4));
	assert_false(id_has_room(ID_END, 0));
	assert_false(id_has_room(1, UINT64_MAX));
	assert_int_equal(id_skip(5, 7), 12);
	assert_int_equal(id_skip(ID_END - 3, 3), ID_END);
	assert_int_equal(id_skip(ID_END - 3, 4), ID_END);
	assert_int_equal(id_skip(ID_END, 1), ID_END);
}

static void records_with_numbers_of_other_groups_are_damaged(void **state)
{
	struct inode_record inode = {
		.ino = 9, .mode = S_IFREG, .file_id = 9, .parent = 8, .trim_session = 7};
	uint64_t *numbers[] = {&inode.file_id, &inode.parent, &inode.trim_session};
	struct inode_record back;
	uint8_t value[INODE_VALUE_BYTES];

	value_encode_inode(&inode, value);
	assert_true(value_decode_inode(9, value, sizeof(value), &back));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uint64_t own = *numbers[i];

		*numbers[i] = FOREIGN(own);
		value_encode_inode(&inode, value);
		assert_false(value_decode_inode(9, value, sizeof(value), &back));
		*numbers[i] = own;
	}
}

static void entries_that_are_meant_only_are_damaged(void **state)
{
	struct dentry dentry = {.ino = 5, .type = 8, .name_size = 1, .name = "n"}, back;
	uint8_t value[DENTRY_VALUE_MAX];
	size_t size = value_encode_dentry(&dentry, value);

	assert_true(value_decode_dentry(value, size, &back));
	value[8] |= DENTRY_INTENT;
	assert_false(value_decode_dentry(value, size, &back));
	value[8] = 0;
	put_le64(value, FOREIGN(dentry.ino));
	assert_false(value_decode_dentry(value, size, &back));
}

static void counters_that_are_beyond_their_end_are_damaged(void **state)
{
	struct counters counters = {.next_ino = 2, .next_file_id = 3, .next_session = 4}, back;
	uint64_t *numbers[] = {&counters.next_ino, &counters.next_file_id, &counters.next_session};
	uint8_t value[COUNTERS_VALUE_BYTES];

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		*numbers[i] = ID_END;
		value_encode_counters(&counters, value);
		assert_true(value_decode_counters(value, sizeof(value), &back));
		++*numbers[i];
		value_encode_counters(&counters, value);
		assert_false(value_decode_counters(value, sizeof(value), &back));
		*numbers[i] = 1;
	}
}

/* Puts a copy of the inode's record under the same number of another group. */
static void plant(uint64_t ino)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[8], *value;
	size_t size;

	key_u64(key, ino);
	assert_int_equal(kv_get(f.kv, FAMILY_INODES, key, sizeof(key), &value, &size), 0);
	key_u64(key, FOREIGN(ino));
	kv_batch_put(batch, FAMILY_INODES, key, sizeof(key), value, size);
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	kv_batch_free(batch);
	free(value);
}

/* Not even if there is such an inode in the store. */
static void requests_for_inodes_of_other_groups_are_refused(void **state)
{
	uint64_t ino, foreign;

	assert_int_equal(do_create(&f, ROOT_INO, "file"), 0);
	ino = reply_ino(&f);
	foreign = FOREIGN(ino);
	plant(ino);
	plant(ROOT_INO);

	assert_int_equal(do_getattr(&f, foreign), -ESTALE);
	assert_int_equal(do_lookup(&f, foreign, "."), -ESTALE);
	assert_int_equal(do_open(&f, foreign, false), -ESTALE);
	assert_int_equal(do_link(&f, foreign, ROOT_INO, "link"), -ESTALE);
	assert_int_equal(do_create(&f, FOREIGN(ROOT_INO), "child"), -ENOENT);
	assert_int_equal(do_unlink(&f, FOREIGN(ROOT_INO), "file"), -ENOENT);
	assert_int_equal(do_rename(&f, ROOT_INO, "file", FOREIGN(ROOT_INO), "moved", 0), -ENOENT);
	assert_int_equal(do_readdir(&f, FOREIGN(ROOT_INO), 0, 10, false), -ESTALE);
	assert_int_equal(do_xattr(&f, foreign, 2, "user.a", "b", 0), -ESTALE);
	assert_int_equal(do_size(&f, foreign, CATENA__SET_MASK__SET_SIZE, 5, 0), -ESTALE);
	assert_int_equal(do_getattr(&f, ino), 0);
	assert_int_equal(state_session_check(f.state, FOREIGN(f.session), FIXTURE_SECRET), -ENOENT);
}

static void a_start_leaves_no_gap_beyond_the_end(void **state)
{
	struct state_start start = {.instance = 1, .chance = 2};

	f.state->counters.next_ino = ID_END - 5;
	f.state->counters.next_session = ID_END - STATE_ID_GAP;
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(f.state->counters.next_ino, ID_END);
	assert_int_equal(f.state->counters.next_session, ID_END);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_apply_start(f.state, ++f.index, &start, STATE_ID_GAP), 0);
	assert_int_equal(f.state->counters.next_session, ID_END);
	assert_int_equal(do_create(&f, ROOT_INO, "more"), -ENOSPC);
	assert_int_equal(session_open_as(f.state, ++f.index, ID_END, 1, "m", "n"), -EOVERFLOW);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_end_at_the_groups_bits),
		cmocka_unit_test(records_with_numbers_of_other_groups_are_damaged),
		cmocka_unit_test(entries_that_are_meant_only_are_damaged),
		cmocka_unit_test(counters_that_are_beyond_their_end_are_damaged),
		TEST(requests_for_inodes_of_other_groups_are_refused),
		TEST(a_start_leaves_no_gap_beyond_the_end),
	};

	return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
