/* level_test - the level of the master's state.
 *
 * Goal: a new store has this program's level, one from before levels has none until it is raised; the
 * level is never lowered, and a store of a later one is not opened, with a word on what to do.
 * Method: a state on the memory twin, whose record of the level is changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/state/level.h"
#include "tests/lib/state_fixture.h"

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

/* 0: no record. */
static void store_level(uint32_t level)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[META_KEY_MAX];

	level_put(batch, level);
	if (level == 0)
		kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_LEVEL, 0));
	assert_int_equal(kv_write(f.kv, batch, true), 0);
	kv_batch_free(batch);
}

static void a_new_store_has_the_level_of_its_program(void **state)
{
	assert_int_equal(state_level(f.state), STATE_LEVEL);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_level(f.state), STATE_LEVEL);
}

static void an_older_store_is_raised_and_never_lowered(void **state)
{
	store_level(0);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_level(f.state), 0);
	assert_int_equal(do_create(&f, ROOT_INO, "file"), 0);
	assert_int_equal(state_apply_level(f.state, f.index + 1, 0), -EINVAL);
	assert_int_equal(state_apply_level(f.state, f.index + 1, STATE_LEVEL + 1), -EINVAL);
	assert_int_equal(state_level(f.state), 0);
	assert_int_equal(state_apply_level(f.state, ++f.index, STATE_LEVEL), 0);
	assert_int_equal(state_level(f.state), STATE_LEVEL);
	f.state->level++; /* as if there were another one */
	assert_int_equal(state_apply_level(f.state, f.index + 1, STATE_LEVEL), 0);
	assert_int_equal(state_level(f.state), STATE_LEVEL + 1);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_level(f.state), STATE_LEVEL);
	assert_int_equal(do_getattr(&f, reply_ino(&f)), 0);
}

static void a_store_of_a_later_level_is_not_opened(void **state)
{
	struct state *second;
	char error[256], text[64];

	store_level(STATE_LEVEL + 5);
	assert_int_equal(state_open(f.kv, &second, error, sizeof(error)), -EPROTONOSUPPORT);
	snprintf(text, sizeof(text), "is of level %u, this program knows %u", STATE_LEVEL + 5,
		 STATE_LEVEL);
	assert_non_null(strstr(error, text));
	assert_non_null(strstr(error, "use the newer catena-master"));
	store_level(STATE_LEVEL);
	assert_int_equal(fixture_reopen(&f), 0);
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_store_has_the_level_of_its_program),
		TEST(an_older_store_is_raised_and_never_lowered),
		TEST(a_store_of_a_later_level_is_not_opened),
	};

	return cmocka_run_group_tests_name("level", tests, NULL, NULL);
}
