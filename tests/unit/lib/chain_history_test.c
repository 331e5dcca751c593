/* Goal: what the simulations say of histories is right where a write counts as two, because a
 * process died with half of it in place (tests/lib/chain_history.h), and only there. Method: small
 * histories by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "tests/lib/chain_history.h"

static struct history history;

static int begin(void **state)
{
	free(history.entries);
	history = (struct history){0};
	return 0;
}

static int end(void **state)
{
	free(history.entries);
	history = (struct history){0};
	return 0;
}

static void add(bool write, uint64_t value, uint64_t begun, uint64_t ended)
{
	*history_add(&history) = (struct entry){
		.write = write, .value = value, .begun = begun, .ended = ended, .durable = NEVER};
}

/* 1 is half in place when a process dies at 20, and is repeated from 70 to 90. */
static void half_of_one(void)
{
	add(true, 1, 10, NEVER);
	history_halved(&history, 1);
	history_committed(&history, 1, 1, 70);
	history_write(&history, 1)->ended = 90;
}

static void test_a_half_is_seen_and_then_the_whole(void **state)
{
	half_of_one();
	add(false, 1, 30, 35);
	add(true, 2, 40, 45);
	add(false, 2, 50, 55);
	add(false, 1, 80, 85);
	add(false, 1, 95, 99);
	assert_null(history_linearizable(&history));
	for (size_t i = 0; i < history.count; i++)
		history.entries[i].again = 0;
	assert_non_null(history_linearizable(&history));
}

static void test_it_is_not_repeated(void **state)
{
	add(true, 1, 10, NEVER);
	history_halved(&history, 1);
	add(false, 1, 30, 35);
	add(true, 2, 40, 45);
	add(false, 2, 50, 55);
	assert_null(history_linearizable(&history));
	add(false, 1, 60, 65);
	assert_non_null(history_linearizable(&history));
}

static void test_what_was_seen_of_the_half_does_not_come_back(void **state)
{
	half_of_one();
	add(false, 1, 30, 35);
	add(true, 2, 40, 45);
	add(false, 1, 50, 55);
	assert_non_null(history_linearizable(&history));
}

static void test_the_whole_is_not_seen_before_and_after_another(void **state)
{
	half_of_one();
	add(false, 1, 80, 85);
	add(true, 2, 91, 92);
	add(false, 2, 93, 94);
	assert_null(history_linearizable(&history));
	add(false, 1, 95, 99);
	assert_non_null(history_linearizable(&history));
}

static void test_a_read_over_the_commit_is_of_either(void **state)
{
	half_of_one();
	add(true, 2, 40, 45);
	add(false, 1, 60, 75);
	add(false, 2, 61, 62);
	assert_null(history_linearizable(&history));
}

/* Another has it, then, and its bytes are no half of anything. */
static void test_one_that_was_answered_counts_once(void **state)
{
	add(true, 1, 10, 15);
	history_halved(&history, 1);
	history_committed(&history, 1, 1, 70);
	add(false, 1, 30, 35);
	add(true, 2, 40, 45);
	add(false, 1, 80, 85);
	assert_non_null(history_linearizable(&history));
}

static void test_one_that_was_never_half_in_place_counts_once(void **state)
{
	add(true, 1, 10, NEVER);
	history_committed(&history, 1, 1, 70);
	history_halved(&history, 1);
	history_halved(&history, 3); /* which nobody wrote */
	history_write(&history, 1)->ended = 90;
	add(false, 1, 30, 35);
	add(true, 2, 40, 45);
	add(false, 1, 80, 85);
	assert_non_null(history_linearizable(&history));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_a_half_is_seen_and_then_the_whole, begin),
		cmocka_unit_test_setup(test_it_is_not_repeated, begin),
		cmocka_unit_test_setup(test_what_was_seen_of_the_half_does_not_come_back, begin),
		cmocka_unit_test_setup(test_the_whole_is_not_seen_before_and_after_another, begin),
		cmocka_unit_test_setup(test_a_read_over_the_commit_is_of_either, begin),
		cmocka_unit_test_setup(test_one_that_was_answered_counts_once, begin),
		cmocka_unit_test_setup(test_one_that_was_never_half_in_place_counts_once, begin),
	};

	return cmocka_run_group_tests(tests, NULL, end);
}
