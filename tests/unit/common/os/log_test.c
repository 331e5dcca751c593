/* Goal: whatever is logged, by however many threads and whoever chose the words, the file has whole
 * lines of one form; rotation loses none; the rate limit holds. Method: log into a file and read it
 * back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "tests/lib/tree.h"

#define LOG_MODULE "test"
#define THREADS    4
#define LINES      2000

static char dir[256];

static char *path_of(const char *name, char out[320])
{
	snprintf(out, 320, "%s/%s", dir, name);
	return out;
}

static int make_dir(void **state)
{
	return tree_make(dir, sizeof(dir), "log_test") == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"a", "b", "c", "old", "threads", "rotated"};
	char path[320];

	log_open(NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i], path));
	return rmdir(dir);
}

/* The whole file, NUL-terminated; the caller frees it. */
static char *contents(const char *name)
{
	char path[320], *text = calloc(1, 4u << 20);
	FILE *file = fopen(path_of(name, path), "re");
	size_t size;

	assert_non_null(text);
	assert_non_null(file);
	size = fread(text, 1, (4u << 20) - 1, file);
	text[size] = '\0';
	fclose(file);
	return text;
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t regex;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" is not like %s", text, pattern);
	regfree(&regex);
}

static void test_a_line_has_time_level_module_and_message(void **state)
{
	char path[320], *text;

	assert_int_equal(log_open(path_of("a", path)), 0);
	log_warn("chunk lost pool=%d file=%s", 3, "x");
	log_error("second");
	text = contents("a");
	assert_matches(text, "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]"
			     "\\.[0-9]{3}Z WARN  test chunk lost pool=3 file=x\n"
			     "[^ ]*Z ERROR test second\n$");
	free(text);
}

static void test_lower_levels_are_left_out(void **state)
{
	char path[320], *text;

	assert_int_equal(log_open(path_of("b", path)), 0);
	log_debug("one");
	log_info("two");
	log_set_level(LOG_LEVEL_WARN);
	log_info("three");
	log_warn("four");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("five");
	log_set_level(LOG_LEVEL_INFO);
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	assert_true(log_enabled(LOG_LEVEL_INFO));
	text = contents("b");
	assert_null(strstr(text, "one"));
	assert_non_null(strstr(text, "two"));
	assert_null(strstr(text, "three"));
	assert_non_null(strstr(text, "four"));
	assert_non_null(strstr(text, "DEBUG test five"));
	free(text);
}

static void test_nobodys_words_break_a_line(void **state)
{
	char path[320], big[6000], *text;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	unlink(path_of("c", path));
	assert_int_equal(log_open(path), 0);
	log_info("name=%s", "a\nb\rc\x1b[31m\x7f\td");
	log_info("%s", big);
	log_info("after");
	text = contents("c");
	assert_non_null(strstr(text, "name=a?b?c?[31m??d\n"));
	assert_non_null(strstr(text, "xxx...\n"));
	assert_non_null(strstr(text, "test after\n"));
	free(text);
}

static void test_logging_keeps_errno(void **state)
{
	char path[320], *text;

	assert_int_equal(log_open(path_of("c", path)), 0);
	errno = ENOSPC;
	log_error("failed error=%m");
	assert_int_equal(errno, ENOSPC);
	text = contents("c");
	assert_non_null(strstr(text, strerror(ENOSPC)));
	free(text);
}

static void test_a_file_that_cannot_be_opened_changes_nothing(void **state)
{
	char path[320], *text;

	assert_int_equal(log_open(path_of("a", path)), 0);
	assert_int_equal(log_open(path_of("nowhere/a", path)), -ENOENT);
	assert_int_equal(log_open(dir), -EISDIR);
	log_info("still here");
	assert_int_equal(log_reopen(), 0);
	log_info("and still");
	text = contents("a");
	assert_non_null(strstr(text, "still here"));
	assert_non_null(strstr(text, "and still"));
	free(text);
}

static void test_reopen_follows_the_name_after_rotation(void **state)
{
	char path[320], old[320], *text;

	assert_int_equal(log_open(path_of("a", path)), 0);
	assert_int_equal(rename(path, path_of("old", old)), 0);
	log_info("into the old");
	assert_int_equal(log_reopen(), 0);
	log_info("into the new");
	text = contents("old");
	assert_non_null(strstr(text, "into the old"));
	assert_null(strstr(text, "into the new"));
	free(text);
	text = contents("a");
	assert_non_null(strstr(text, "into the new"));
	free(text);
}

static atomic_bool stop_reopening;

static void *log_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("thread=%d line=%d filler=%.*s.", *(int *)arg, i, i % 100,
			 "--------------------------------------------------"
			 "--------------------------------------------------");
	return NULL;
}

/* Puts a new descriptor of the same file under the writers, again and again. */
static void *reopen(void *arg)
{
	char path[320];

	path_of("threads", path);
	while (!atomic_load(&stop_reopening)) {
		usleep(1000);
		log_open(path);
		log_reopen();
	}
	return NULL;
}

static void test_lines_of_many_threads_stay_whole_while_the_file_is_changed(void **state)
{
	int numbers[THREADS], next[THREADS] = {0}, lines = 0;
	pthread_t threads[THREADS], reopener;
	char path[320], *text, *save = NULL;

	assert_int_equal(log_open(path_of("threads", path)), 0);
	atomic_store(&stop_reopening, false);
	assert_int_equal(pthread_create(&reopener, NULL, reopen, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, log_lines, &numbers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&stop_reopening, true);
	pthread_join(reopener, NULL);

	text = contents("threads");
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save), lines++) {
		int thread = -1, number = -1, at = 0;

		assert_int_equal(sscanf(line, "%*s INFO test thread=%d line=%d filler=%n", &thread,
					&number, &at),
				 2);
		assert_in_range(thread, 0, THREADS - 1);
		assert_int_equal(number, next[thread]++); /* in order, none lost */
		assert_int_equal(strlen(line + at), number % 100 + 1);
	}
	assert_int_equal(lines, THREADS * LINES);
	free(text);
}

static void test_levels_have_names(void **state)
{
	enum log_level level = LOG_LEVEL_ERROR;

	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_ERROR);
}

static struct log_rate shared_rate;
static atomic_uint allowed;

static void *use_rate(void *arg)
{
	uint64_t end = clock_monotonic_ns() + 1200 * NS_PER_MSEC;

	while (clock_monotonic_ns() < end) {
		for (int i = 0; i < 100; i++)
			atomic_fetch_add(&allowed, log_rate_ok(&shared_rate, 10));
	}
	return NULL;
}

static void test_the_rate_limit_is_exact_for_many_threads_and_starts_again(void **state)
{
	uint64_t first = clock_monotonic_ns() / NS_PER_SEC, seconds;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_rate, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	seconds = clock_monotonic_ns() / NS_PER_SEC - first + 1;
	/* It ran in at least two of the clock's seconds, and used each up. */
	assert_in_range(atomic_load(&allowed), 20, 10 * seconds);
}

static void test_a_rate_of_zero_allows_nothing(void **state)
{
	struct log_rate rate = {0};

	assert_false(log_rate_ok(&rate, 0));
	assert_true(log_rate_ok(&rate, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_line_has_time_level_module_and_message),
		cmocka_unit_test(test_lower_levels_are_left_out),
		cmocka_unit_test(test_nobodys_words_break_a_line),
		cmocka_unit_test(test_logging_keeps_errno),
		cmocka_unit_test(test_a_file_that_cannot_be_opened_changes_nothing),
		cmocka_unit_test(test_reopen_follows_the_name_after_rotation),
		cmocka_unit_test(test_lines_of_many_threads_stay_whole_while_the_file_is_changed),
		cmocka_unit_test(test_levels_have_names),
		cmocka_unit_test(test_the_rate_limit_is_exact_for_many_threads_and_starts_again),
		cmocka_unit_test(test_a_rate_of_zero_allows_nothing),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
