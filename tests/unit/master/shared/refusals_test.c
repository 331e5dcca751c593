/* refusals_test - what the status and the log say of chunkservers that are refused.
 *
 * Goal: who is refused is seen for as long as it goes on, with the reason, and the log is not
 * filled with it. Method: refusals at times that the test sets; lines are collected. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "common/os/clock.h"
#include "master/shared/refusals.h"

static struct refusals refusals;
static char lines[8192];

static void collect(void *user, const char *line)
{
	(void)user;
	snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s\n", line);
}

static const char *described(uint64_t now_ns)
{
	lines[0] = '\0';
	refusals_describe(&refusals, now_ns, collect, NULL);
	return lines;
}

static int setup(void **state)
{
	(void)state;
	memset(&refusals, 0, sizeof(refusals));
	return 0;
}

static void test_those_with_one_reason_have_one_line(void **state)
{
	const uint64_t now_ns = 100 * NS_PER_SEC;
	(void)state;

	assert_string_equal(described(now_ns), "");
	refusals_add(&refusals, "a", "too old", now_ns);
	refusals_add(&refusals, "b", "of another cluster", now_ns + 1);
	refusals_add(&refusals, "c", "too old", now_ns + 2);
	assert_string_equal(described(now_ns + 3),
			    "a, c refused: too old\nb refused: of another cluster\n");
	refusals_forget(&refusals, "a");
	refusals_forget(&refusals, "nobody");
	assert_string_equal(described(now_ns + 3),
			    "b refused: of another cluster\nc refused: too old\n");
}

static void test_who_comes_no_more_is_not_shown(void **state)
{
	const uint64_t now_ns = 100 * NS_PER_SEC;
	(void)state;

	refusals_add(&refusals, "a", "too old", now_ns);
	refusals_add(&refusals, "b", "too old", now_ns);
	refusals_add(&refusals, "b", "too old", now_ns + 3 * NS_PER_SEC);
	assert_string_equal(described(now_ns + REFUSAL_LASTS_NS), "b refused: too old\n");
	assert_string_equal(described(now_ns + 3 * NS_PER_SEC + REFUSAL_LASTS_NS), "");
}

static void test_the_same_is_logged_once_a_minute(void **state)
{
	uint64_t now_ns = 100 * NS_PER_SEC;
	unsigned logged = 0;
	(void)state;

	for (unsigned i = 0; i < 41; i++, now_ns += 3 * NS_PER_SEC)
		logged += refusals_add(&refusals, "a", "too old", now_ns);
	assert_int_equal(logged, 3);
	assert_true(refusals_add(&refusals, "a", "of another cluster", now_ns));
	assert_true(refusals_add(&refusals, "b", "too old", now_ns));
	refusals_forget(&refusals, "a");
	assert_true(refusals_add(&refusals, "a", "of another cluster", now_ns));
}

static void test_with_many_the_one_not_heard_of_for_longest_goes(void **state)
{
	uint64_t now_ns = 100 * NS_PER_SEC;
	char name[16], longest[REFUSAL_REASON_MAX * 2];
	(void)state;

	for (unsigned i = 0; i < REFUSALS_MAX; i++) {
		snprintf(name, sizeof(name), "n%02u", i);
		refusals_add(&refusals, name, "too old", now_ns++);
	}
	refusals_add(&refusals, "n00", "too old", now_ns++);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	refusals_add(&refusals, "new", longest, now_ns);
	described(now_ns);
	assert_non_null(strstr(lines, "n00, "));
	assert_null(strstr(lines, "n01"));
	assert_non_null(strstr(lines, "new refused: xxx"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_those_with_one_reason_have_one_line, setup),
		cmocka_unit_test_setup(test_who_comes_no_more_is_not_shown, setup),
		cmocka_unit_test_setup(test_the_same_is_logged_once_a_minute, setup),
		cmocka_unit_test_setup(test_with_many_the_one_not_heard_of_for_longest_goes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
