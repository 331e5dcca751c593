/* check_loss_test.c - is the loss of any single record noticed?
 *
 * Goal: whatever record of a store is lost, or cut short, a check finds something, but where
 * nothing else knows of the record.
 * Method: a tree and a whole cluster; each record of the store in its turn is deleted, or loses its
 * last byte or all but its first, and is put back. */
#include "master/state/chain_change.h"
#include "tests/unit/master/check/check_fixture.h"

static void make_cluster(struct fixture *f)
{
	struct chain_change changes[FIXTURE_PARTITIONS];
	const struct state_start start = {.instance = 1, .chance = 5};
	uint64_t generation;

	assert_int_equal(state_apply_start(f->state, ++f->index, &start, STATE_ID_GAP), 0);
	assert_int_equal(do_register(f, "a", "uuid-1", NULL), 0);
	assert_int_equal(do_register(f, "b", "uuid-2", NULL), 0);
	assert_int_equal(do_register(f, "c", "uuid-3", NULL), 0);
	for (uint32_t p = 0; p < FIXTURE_PARTITIONS; p++)
		changes[p] = (struct chain_change){.pool = 1,
						   .partition = p,
						   .chain = {.epoch = 1,
							     .count = 3,
							     .members = {{1, MEMBER_IN_SYNC},
									 {2, MEMBER_IN_SYNC},
									 {3, MEMBER_IN_SYNC}}}};
	assert_int_equal(state_apply_chains(f->state, ++f->index, changes, FIXTURE_PARTITIONS, NULL,
					    0, NULL, 0),
			 0);
	assert_int_equal(state_apply_fences_owed(f->state, ++f->index, true), 0);
	assert_int_equal(
		state_apply_recovery(f->state, ++f->index, &(struct state_recovery){.rate = 5}), 0);
	assert_int_equal(state_apply_lease_grant(f->state, ++f->index, f->session, &generation), 0);
}

/* One that only says what nothing else in the store depends on. */
static bool may_be_lost(unsigned family, const uint8_t *key, const uint8_t *value)
{
	static const char tags[] = {META_LEASE, META_OWED,     META_LIFE, META_LEVEL,
				    META_FENCE, META_RECOVERY, '\0'};

	return family == FAMILY_REPLIES || (family == FAMILY_META && strchr(tags, key[0]) != NULL);
}

/* The last byte is of a text: the cluster's name, or that of an entry, whose hash tells it from
 * another where not all have one. */
static bool may_lose_its_end(unsigned family, const uint8_t *key)
{
	return (family == FAMILY_META && key[0] == META_SUPER) ||
	       (family == FAMILY_DENTRIES && tree.f.name_mask != UINT64_MAX);
}

static void ignore_finding(void *user, const struct check_finding *finding)
{
	(void)finding;
}

static bool is_clean(void)
{
	const struct check_options options = {.name_mask = tree.f.name_mask};
	struct check_result names, map;
	int rc = check_namespace(tree.f.kv, &options, ignore_finding, NULL, &names);

	if (rc == 0)
		rc = check_map(tree.f.kv, &options, ignore_finding, NULL, &map);
	for (unsigned i = 0; rc == 0 && i < CHECK_SEVERITIES; i++)
		if (names.found[i] != 0 || map.found[i] != 0)
			rc = 1;
	return rc == 0;
}

static void assert_noticed(unsigned family, const uint8_t *key, size_t size, const char *what)
{
	if (!is_clean())
		return;
	print_error("family %u, record %c%02x.. of %zu bytes: %s\n", family,
		    family == FAMILY_META ? key[0] : ' ', key[size - 1], size, what);
	fail();
}

static unsigned lose_each(unsigned family)
{
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	unsigned records = 0;

	/* Of the store as it is now, whatever is changed meanwhile. */
	assert_int_equal(kv_iter_open(tree.f.kv, family, "", 0, NULL, 0, &iter), 0);
	for (; kv_iter_next(iter, &key, &key_size, &value, &size) == 1; records++) {
		delete_record((enum family)family, key, key_size);
		if (!may_be_lost(family, key, value))
			assert_noticed(family, key, key_size, "lost");
		if (size > 0) {
			put_record((enum family)family, key, key_size, value, size - 1);
			if (!may_lose_its_end(family, key))
				assert_noticed(family, key, key_size, "without its end");
		}
		if (size > 1) {
			put_record((enum family)family, key, key_size, value, 1);
			assert_noticed(family, key, key_size, "cut short");
		}
		put_record((enum family)family, key, key_size, value, size);
	}
	kv_iter_free(iter);
	return records;
}

static void each_record_that_is_lost_or_cut_short_is_noticed(void **state)
{
	make_cluster(&tree.f);
	assert_true(is_clean());
	for (unsigned family = 0; family < FAMILY_COUNT; family++)
		assert_true(lose_each(family) > 0);
	assert_true(is_clean());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_record_that_is_lost_or_cut_short_is_noticed,
						check_tree_setup, check_tree_teardown),
		cmocka_unit_test_setup_teardown(each_record_that_is_lost_or_cut_short_is_noticed,
						check_tree_setup_crowded, check_tree_teardown),
	};

	return cmocka_run_group_tests_name("check of losses", tests, NULL, NULL);
}
