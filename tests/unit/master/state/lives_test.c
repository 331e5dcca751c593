/* Goal: the master's store knows its own starts, so that what targets have seen of another copy of
 * it, or of a later state, is told from what is its own past. Method: the state machine on a store
 * in memory; copies of it are made by doing the same from the same beginning. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "master/state/chain_change.h"
#include "master/state/lives.h"
#include "tests/lib/state_fixture.h"

static struct fixture f;
static uint64_t chance;

static int setup(void **state)
{
	chance = 0;
	return fixture_init(&f, UINT64_MAX);
}

static int teardown(void **state)
{
	fixture_end(&f);
	return 0;
}

static void start(void)
{
	struct state_start begin = {.instance = 7, .chance = ++chance};

	assert_int_equal(state_apply_start(f.state, ++f.index, &begin, STATE_ID_GAP), 0);
}

/* What a target has seen that has been told everything up to now. */
static struct state_seen seen_now(void)
{
	struct state_life life;

	state_life(f.state, &life);
	return (struct state_seen){.life = life.number,
				   .chance = life.chance,
				   .version = state_map_version(f.state) << MAP_CHANGE_BITS | 3};
}

static void check(const struct state_seen *seen, enum state_seen_verdict verdict)
{
	enum state_seen_verdict is;

	assert_int_equal(state_check_seen(f.state, "uuid-1", seen, &is), 0);
	assert_int_equal(is, verdict);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(state_check_seen(f.state, "uuid-1", seen, &is), 0);
	assert_int_equal(is, verdict);
}

static void a_target_that_has_seen_no_master_is_welcome(void **state)
{
	struct state_seen seen = {0};

	check(&seen, STATE_SEEN_FINE);
	start();
	check(&seen, STATE_SEEN_FINE);
}

static void its_own_past_is_fine_through_any_number_of_starts(void **state)
{
	struct state_seen seen[5];

	for (unsigned i = 0; i < 5; i++) {
		start();
		seen[i] = seen_now();
		assert_int_equal(seen[i].life, i + 1);
		for (unsigned j = 0; j <= i; j++)
			check(&seen[j], STATE_SEEN_FINE);
	}
}

static void a_later_life_or_map_shows_an_older_copy(void **state)
{
	struct state_seen seen;

	start();
	seen = seen_now();
	seen.version += UINT64_C(1) << MAP_CHANGE_BITS;
	check(&seen, STATE_SEEN_LATER);
	/* However often it is started: the next life began before that map. */
	for (unsigned i = 0; i < 5; i++) {
		start();
		assert_true(state_map_version(f.state) >= seen.version >> MAP_CHANGE_BITS);
		check(&seen, STATE_SEEN_LATER);
	}
	seen = seen_now();
	seen.life++;
	check(&seen, STATE_SEEN_LATER);
}

static void a_later_command_shows_an_older_copy(void **state)
{
	struct state_seen seen, later;

	start();
	assert_int_equal(do_create(&f, ROOT_INO, "before"), 0);
	seen = seen_now();
	seen.index = f.index;
	check(&seen, STATE_SEEN_FINE);
	later = seen;
	later.index++; /* nothing else tells it from this store */
	check(&later, STATE_SEEN_LATER);
	for (unsigned i = 0; i < 5; i++) {
		start();
		assert_true(f.index >= later.index);
		check(&seen, STATE_SEEN_FINE);
		check(&later, STATE_SEEN_LATER);
	}
}

/* Something of the sessions that ended with the store may be on its way still. */
static void an_accepted_store_is_served_when_nothing_of_older_sessions_is_left(void **state)
{
	struct state_accept accept = {.chance = 99};
	struct state_seen seen;

	start();
	seen = seen_now();
	seen.version += UINT64_C(1) << MAP_CHANGE_BITS;
	accept.seen_life = seen.life;
	accept.seen_version = seen.version;
	assert_false(state_fences_owed(f.state));
	assert_int_equal(fixture_accept(&f, &accept), 0);
	assert_true(state_fences_owed(f.state));
	check(&seen, STATE_SEEN_FINE);
	assert_true(state_fences_owed(f.state));
}

/* A copy from before another one was accepted gives no number that the other has given. */
static void numbers_of_two_accepted_stores_differ(void **state)
{
	struct state_accept accept = {.chance = 99};
	struct state_seen seen;
	uint64_t first;
	struct kv *copy;

	start();
	assert_int_equal(kv_memory_copy(f.kv, &copy), 0);
	start(); /* nobody sees it */
	accept.seen_life = seen_now().life;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	first = state_next_session_id(f.state);
	seen = seen_now();
	state_close(f.state);
	kv_close(f.kv);
	f.kv = copy;
	assert_int_equal(fixture_open_state(&f), 0);
	accept.seen_life = seen.life;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	assert_true(state_next_session_id(f.state) >= first + ACCEPT_ID_GAP / 2);
	/* Garbage is refused, not taken for little. */
	accept.seen_life = UINT64_MAX - ACCEPT_LIFE_GAP;
	assert_int_equal(fixture_accept(&f, &accept), -EOVERFLOW);
}

static void numbers_that_would_not_suffice_are_named(void **state)
{
	const struct {
		struct state_accept accept;
		const char *what;
	} cases[] = {
		{{.chance = 99}, NULL},
		{{.chance = 99, .seen_target = 1000, .seen_server = 1000, .seen_version = 3}, NULL},
		{{.chance = 99, .seen_target = UINT32_MAX}, "targets"},
		{{.chance = 99, .seen_target = UINT32_MAX / 2}, "targets"},
		{{.chance = 99, .seen_server = UINT64_MAX}, "servers"},
		{{.chance = 99, .seen_server = UINT64_MAX / 2}, "servers"},
		{{.chance = 99, .seen_version = UINT64_MAX / 2}, "maps"},
		{{.chance = 99, .seen_life = UINT64_MAX}, "inodes"},
	};

	start();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *what = state_accept_without_room(f.state, &cases[i].accept);

		if (cases[i].what == NULL) {
			assert_null(what);
			continue;
		}
		assert_string_equal(what, cases[i].what);
		assert_int_equal(fixture_accept(&f, &cases[i].accept), -EOVERFLOW);
	}
	f.state->counters.next_removal = ID_END - 1;
	assert_string_equal(state_accept_without_room(f.state, &cases[0].accept), "removals");
}

/* Of two copies that nobody has heard of each other, each is accepted. */
static void numbers_of_two_acceptances_differ_by_chance(void **state)
{
	struct state_accept accept = {.chance = UINT64_C(9) << 32};
	uint64_t first;
	struct kv *copy;

	start();
	assert_int_equal(kv_memory_copy(f.kv, &copy), 0);
	assert_int_equal(fixture_accept(&f, &accept), 0);
	first = state_next_session_id(f.state);
	state_close(f.state);
	kv_close(f.kv);
	f.kv = copy;
	assert_int_equal(fixture_open_state(&f), 0);
	accept.chance = UINT64_C(8) << 32;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	assert_int_equal(first - state_next_session_id(f.state), 1u << (32 - ACCEPT_CHANCE_SHIFT));
}

/* What was given up with an acceptance is started again, and goes on: then the accepted store is put
 * back, and is the older of the two. */
static void a_given_up_copy_that_goes_on_shows_that_the_accepted_one_is_older(void **state)
{
	struct state_accept_seen heard = {.uuid = "uuid-1"};
	struct state_accept accept = {.chance = 99, .seen = &heard, .seen_count = 1};
	struct state_seen seen;

	start();
	start();
	heard.seen = seen_now();
	heard.seen.index = f.index;
	accept.seen_life = heard.seen.life;
	accept.seen_version = heard.seen.version;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	seen = heard.seen;
	check(&seen, STATE_SEEN_FINE);
	seen.index--;
	check(&seen, STATE_SEEN_FINE);
	seen = heard.seen;
	seen.life--;
	check(&seen, STATE_SEEN_FINE);
	seen = heard.seen;
	seen.index++;
	check(&seen, STATE_SEEN_LATER);
	seen = heard.seen;
	seen.version += UINT64_C(1) << MAP_CHANGE_BITS;
	check(&seen, STATE_SEEN_LATER);
	seen = heard.seen;
	seen.chance++;
	check(&seen, STATE_SEEN_ANOTHER);
	seen = heard.seen;
	seen.life++;
	check(&seen, STATE_SEEN_LATER);
	/* Accepted once more, that is given up too. */
	heard.seen = seen;
	accept.seen_life = seen.life;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	check(&seen, STATE_SEEN_FINE);
}

/* It was away when the store was accepted: an administrator has given up what only it knows, and it
 * is made equal when it comes back. */
static void a_target_that_was_not_heard_keeps_no_accepted_store_from_serving(void **state)
{
	struct state_accept_seen heard = {.uuid = "uuid-2"};
	struct state_accept accept = {.chance = 99, .seen = &heard, .seen_count = 1};
	struct state_seen seen;

	start();
	heard.seen = seen = seen_now();
	accept.seen_life = heard.seen.life;
	accept.seen_version = heard.seen.version;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	seen.version += UINT64_C(1) << MAP_CHANGE_BITS;
	check(&seen, STATE_SEEN_FINE);
}

/* Starts are kept for some time only. */
#define STARTS_KEPT 65536u

static void of_starts_that_are_not_kept_an_acceptance_is(void **state)
{
	struct state_accept_seen heard = {.uuid = "uuid-1"};
	struct state_accept accept = {.chance = UINT64_C(5) << 48, .seen = &heard, .seen_count = 1};
	struct state_seen given_up, seen;
	uint64_t base;

	start();
	heard.seen = given_up = seen_now();
	accept.seen_life = heard.seen.life;
	accept.seen_version = heard.seen.version;
	assert_int_equal(fixture_accept(&f, &accept), 0);
	base = state_epoch_base(f.state);
	assert_int_equal(base, UINT64_C(1) << ACCEPT_COUNT_SHIFT | UINT64_C(5) << EPOCH_LINE_SHIFT);
	seen = seen_now();
	for (unsigned i = 0; i <= STARTS_KEPT; i++)
		start();
	assert_int_equal(fixture_reopen(&f), 0);
	assert_true(f.state->lives[0].number > seen.life);
	assert_int_equal(state_epoch_base(f.state), base);
	check(&seen, STATE_SEEN_FINE);
	check(&given_up, STATE_SEEN_FINE);
	given_up.index++;
	check(&given_up, STATE_SEEN_LATER);
}

static void a_store_that_was_only_started_has_no_line_of_its_own(void **state)
{
	for (unsigned i = 0; i < 2 * STARTS_KEPT; i++)
		start();
	assert_int_equal(fixture_reopen(&f), 0);
	assert_true(f.state->lives[0].number >= ACCEPT_LIFE_GAP);
	assert_int_equal(state_epoch_base(f.state), 0);
}

static void another_copy_is_told_by_chance(void **state)
{
	struct state_seen seen;

	start();
	start();
	seen = seen_now();
	seen.chance += 100;
	check(&seen, STATE_SEEN_ANOTHER);
	start();
	start();
	check(&seen, STATE_SEEN_ANOTHER);
}

/* Nobody hears of a map or a start before it is durable. */
static void a_power_cut_of_the_master_makes_no_older_copy(void **state)
{
	struct state_seen seen;

	start();
	assert_int_equal(kv_flush(f.kv), 0);
	seen = seen_now();
	assert_int_equal(do_create(&f, ROOT_INO, "lost"), 0);
	kv_memory_crash(f.kv);
	assert_int_equal(fixture_reopen(&f), 0);
	assert_int_equal(do_lookup(&f, ROOT_INO, "lost"), -ENOENT);
	start();
	check(&seen, STATE_SEEN_FINE);
}

static int reload_fails(struct state *state)
{
	lives_unload(state);
	return -EIO;
}

/* Reading it anew after an error may fail halfway, too. */
static void a_store_that_cannot_be_read_says_nothing_of_what_was_seen(void **state)
{
	int (*reload)(struct state * state) = f.state->reload;
	enum state_seen_verdict is;
	struct state_seen seen;

	start();
	seen = seen_now();
	f.state->stale = true;
	f.state->reload = reload_fails;
	assert_int_equal(state_check_seen(f.state, "uuid-1", &seen, &is), -EIO);
	assert_int_equal(is, STATE_SEEN_FINE);
	f.state->reload = reload;
	check(&seen, STATE_SEEN_FINE);
}

static void maps_of_a_life_are_newer_than_all_before(void **state)
{
	uint64_t version = state_map_version(f.state);

	for (unsigned i = 0; i < 3; i++) {
		start();
		assert_int_equal(state_map_version(f.state), ++version);
	}
}

#define TEST(function_) cmocka_unit_test_setup_teardown(function_, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_target_that_has_seen_no_master_is_welcome),
		TEST(its_own_past_is_fine_through_any_number_of_starts),
		TEST(a_later_life_or_map_shows_an_older_copy),
		TEST(a_later_command_shows_an_older_copy),
		TEST(numbers_of_two_accepted_stores_differ),
		TEST(numbers_that_would_not_suffice_are_named),
		TEST(an_accepted_store_is_served_when_nothing_of_older_sessions_is_left),
		TEST(numbers_of_two_acceptances_differ_by_chance),
		TEST(a_given_up_copy_that_goes_on_shows_that_the_accepted_one_is_older),
		TEST(a_target_that_was_not_heard_keeps_no_accepted_store_from_serving),
		TEST(of_starts_that_are_not_kept_an_acceptance_is),
		TEST(a_store_that_was_only_started_has_no_line_of_its_own),
		TEST(another_copy_is_told_by_chance),
		TEST(a_power_cut_of_the_master_makes_no_older_copy),
		TEST(a_store_that_cannot_be_read_says_nothing_of_what_was_seen),
		TEST(maps_of_a_life_are_newer_than_all_before),
	};

	return cmocka_run_group_tests_name("lives", tests, NULL, NULL);
}
