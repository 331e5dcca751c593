/* check_unseen_test.c - what a check of the master's store has not seen.
 *
 * Goal: a check that could not read, or sort, anything that it needs ends with an error that says
 * so, and never says that a store is clean.
 * Method: each call that reads the store fails in its turn (kv_get(), kv_iter_open() and
 * kv_iter_next() are wrapped); so does each one that sorts, by less and less memory. */
#include "tests/unit/master/check/check_fixture.h"

/* The call that fails, counted down; 0: none. */
static unsigned fail_in;
static bool failed, only_sorting;

static bool fails(void)
{
	failed = failed || fail_in == 1;
	return fail_in != 0 && --fail_in == 0;
}

static bool read_fails(void)
{
	return !only_sorting && fails();
}

int __real_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size);
int __wrap_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size);
int __wrap_kv_get(struct kv *kv, unsigned family, const void *key, size_t key_size, uint8_t **value,
		  size_t *value_size)
{
	return read_fails() ? -EIO : __real_kv_get(kv, family, key, key_size, value, value_size);
}

int __real_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out);
int __wrap_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out);
int __wrap_kv_iter_open(struct kv *kv, unsigned family, const void *start, size_t start_size,
			const void *end, size_t end_size, struct kv_iter **out)
{
	return read_fails()
		       ? -EIO
		       : __real_kv_iter_open(kv, family, start, start_size, end, end_size, out);
}

int __real_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size);
int __wrap_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size);
int __wrap_kv_iter_next(struct kv_iter *iter, const uint8_t **key, size_t *key_size,
			const uint8_t **value, size_t *value_size)
{
	return read_fails() ? -EIO : __real_kv_iter_next(iter, key, key_size, value, value_size);
}

static void no_finding(void *user, const struct check_finding *finding)
{
	fail_msg("CF-%u: %s", (unsigned)finding->code, finding->text);
}

/* ---- sorters that fail in their turn ---- */

static struct sorter_memory memory;

struct failing_sorter {
	struct sorter sorter; /* first */
	struct sorter *inner;
};

static struct sorter *inner_of(struct sorter *sorter)
{
	return ((struct failing_sorter *)sorter)->inner;
}

static int failing_add(struct sorter *sorter, const void *record)
{
	return fails() ? -ENOSPC : sorter_add(inner_of(sorter), record);
}

static int failing_sort(struct sorter *sorter)
{
	return fails() ? -EIO : sorter_sort(inner_of(sorter));
}

static int failing_next(struct sorter *sorter, const uint8_t **record)
{
	return fails() ? -EUCLEAN : sorter_next(inner_of(sorter), record);
}

static int failing_rewind(struct sorter *sorter)
{
	return fails() ? -EIO : sorter_rewind(inner_of(sorter));
}

static void failing_free(struct sorter *sorter)
{
	sorter_free(inner_of(sorter));
	free(sorter);
}

static const struct sorter_form failing_form = {.add = failing_add,
						.sort = failing_sort,
						.next = failing_next,
						.rewind = failing_rewind,
						.free = failing_free};

static int failing_make(struct sorter_supply *supply, size_t record_size, struct sorter **out)
{
	struct failing_sorter *made;

	if (fails())
		return -ENOMEM;
	made = calloc(1, sizeof(*made));
	assert_non_null(made);
	made->sorter.form = &failing_form;
	made->sorter.record_size = record_size;
	assert_int_equal(sorter_make(&memory.supply, record_size, &made->inner), 0);
	*out = &made->sorter;
	return 0;
}

static void each_sorting_that_fails_ends_the_check(void **state)
{
	struct sorter_supply supply = {.make = failing_make};
	const struct check_options options = {.sorters = &supply};
	struct check_result result;
	unsigned nth = 0;
	int rc;

	sorter_memory_init(&memory, 0);
	do {
		fail_in = ++nth;
		failed = false;
		only_sorting = true;
		rc = check_namespace(tree.f.kv, &options, no_finding, NULL, &result);
		only_sorting = false;
		assert_int_equal(rc != 0, failed);
		assert_int_equal(result.error[0] != '\0', failed);
		assert_int_equal(memory.used, 0);
	} while (failed);
	fail_in = 0;
	assert_true(nth > 60);
}

/* Returns how many reads there are. */
static unsigned fail_each_read(int (*check)(struct kv *kv, const struct check_options *options,
					    check_report_fn *report, void *user,
					    struct check_result *result))
{
	struct check_result result;
	unsigned nth = 0;
	int rc;

	do {
		fail_in = ++nth;
		failed = false;
		rc = check(tree.f.kv, NULL, no_finding, NULL, &result);
		assert_int_equal(rc, failed ? -EIO : 0);
		assert_int_equal(result.error[0] != '\0', failed);
	} while (failed);
	fail_in = 0;
	return nth - 1;
}

static void each_read_that_fails_ends_the_check(void **state)
{
	assert_true(fail_each_read(check_namespace) > 60);
}

static void each_read_of_the_map_that_fails_ends_the_check(void **state)
{
	assert_int_equal(fixture_three_targets(&tree.f), 0);
	assert_true(fail_each_read(check_map) > 15);
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

/* The counters tell beforehand about how much is sorted. */
static void what_is_sorted_is_foretold(void **state)
{
	uint64_t bytes, inodes = get_counters().inodes;

	assert_int_equal(check_namespace_bytes(tree.f.kv, &bytes), 0);
	assert_in_range(bytes, inodes * 58, inodes * 100);
	delete_meta(META_COUNTERS, 0);
	assert_int_equal(check_namespace_bytes(tree.f.kv, &bytes), 0);
	assert_int_equal(bytes, 0);
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
		TEST(each_read_of_the_map_that_fails_ends_the_check),
		TEST(each_sorting_that_fails_ends_the_check),
		TEST(a_store_that_cannot_be_read_is_not_clean),
		TEST(memory_that_is_short_is_said),
		TEST(what_is_sorted_is_foretold),
		TEST(a_check_that_is_cancelled_says_so),
	};

	return cmocka_run_group_tests_name("check of what is not seen", tests, NULL, NULL);
}
