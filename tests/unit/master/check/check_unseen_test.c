/* check_unseen_test.c - what a check of the master's store has not seen.
 *
 * Goal: a check that could not read, or sort, anything that it needs ends with an error that says so, and
 * never says that a store is clean.
 * Method: each call that reads the store fails in its turn (kv_get(), kv_iter_open() and
 * kv_iter_next() are wrapped); so does each one that sorts, by less and less memory. */
#include "tests/unit/master/check/check_fixture.h"

/* The call that fails, counted down; 0: none. */
static unsigned fail_in;
static bool failed;

static bool fails(void)
{
	failed = failed || fail_in == 1;
	return fail_in != 0 && --fail_in == 0;
}

int __real_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size);
int __wrap_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size);
int __wrap_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size)
{
	return fails() ? -EIO : __real_kv_get(kv, family, key, key_size, value, value_size);
}

int __real_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out);
int __wrap_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out);
int __wrap_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out)
{
	return fails() ? -EIO
		       : __real_kv_iter_open(kv, family, start, start_size, end, end_size, out);
}

int __real_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size);
int __wrap_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size);
int __wrap_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size)
{
	return fails() ? -EIO : __real_kv_iter_next(iter, key, key_size, value, value_size);
}

static void no_finding(void *user, const struct check_finding *finding)
{
	fail_msg("CF-%u: %s", (unsigned)finding->code, finding->text);
}

static void each_read_that_fails_ends_the_check(void **state)
{
	struct check_result result;
	unsigned nth = 0;
	int rc;

	/* Also what only a lease, a lane and a reply are read for. */
	assert_int_equal(do_xattr(&tree.f, tree.a, XATTR_OP_SET, "user.y", "value", 0), 0);
	do {
		fail_in = ++nth;
		failed = false;
		rc = check_namespace(tree.f.kv, NULL, no_finding, NULL, &result);
		assert_int_equal(rc, failed ? -EIO : 0);
		assert_int_equal(result.error[0] != '\0', failed);
	} while (failed);
	fail_in = 0;
	assert_true(nth > 60);
}

static void a_store_that_cannot_be_read_is_not_clean(void **state)
{
	kv_memory_fail_write(tree.f.kv, 1, EIO);
	assert_int_equal(state_apply_nothing(tree.f.state, ++tree.f.index), -EIO);
	assert_true(kv_is_down(tree.f.kv));
	check_now();
	assert_int_equal(found.rc, -EIO);
	assert_int_equal(found.count, 0);
	assert_string_not_equal(found.result.error, "");
}

static void memory_that_is_short_is_said(void **state)
{
	struct check_options options = {0};
	struct sorter_memory memory;
	struct check_result result;
	uint64_t most = 64;
	int rc;

	options.sorters = &memory.supply;
	do {
		sorter_memory_init(&memory, most);
		rc = check_namespace(tree.f.kv, &options, no_finding, NULL, &result);
		assert_int_equal(memory.used, 0);
		assert_int_equal(rc != 0, result.error[0] != '\0');
		assert_true(rc == 0 || rc == -ENOMEM);
		most *= 2;
	} while (rc != 0);
	assert_true(most > 1024);
}

static void see_progress(void *user, const struct check_progress *progress)
{
	assert_non_null(progress->what);
	atomic_store((atomic_bool *)user, true);
}

static void a_check_that_is_cancelled_says_so(void **state)
{
	atomic_bool cancel = false;
	const struct check_options options = {
		.cancel = &cancel, .progress = see_progress, .progress_user = &cancel};
	struct check_result result;

	assert_int_equal(check_namespace(tree.f.kv, &options, no_finding, NULL, &result),
			 -ECANCELED);
	assert_string_not_equal(result.error, "");
}

#define TEST(function_)                                                                            \
	cmocka_unit_test_setup_teardown(function_, check_tree_setup, check_tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_read_that_fails_ends_the_check),
		TEST(a_store_that_cannot_be_read_is_not_clean),
		TEST(memory_that_is_short_is_said),
		TEST(a_check_that_is_cancelled_says_so),
	};

	return cmocka_run_group_tests_name("check of what is not seen", tests, NULL, NULL);
}
