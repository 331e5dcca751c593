/* Goal: only the number of a descriptor is taken as one, and who waits there gets one whole line
 * and then the end. Method: texts that are and are not; a pipe, and one that nobody reads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include "common/os/log.h"
#include "common/os/ready.h"

static void test_only_a_number_is_a_descriptor(void **state)
{
	(void)state;
	assert_int_equal(ready_fd_parse("0"), 0);
	assert_int_equal(ready_fd_parse("9"), 9);
	assert_int_equal(ready_fd_parse("2147483647"), 2147483647);
	assert_int_equal(ready_fd_parse(""), -EINVAL);
	assert_int_equal(ready_fd_parse("-1"), -EINVAL);
	assert_int_equal(ready_fd_parse("9x"), -EINVAL);
	assert_int_equal(ready_fd_parse("x"), -EINVAL);
	assert_int_equal(ready_fd_parse("4294967305"), -EINVAL);
	assert_int_equal(ready_fd_parse("99999999999999999999"), -EINVAL);
}

static void test_who_waits_gets_one_line_and_the_end(void **state)
{
	char line[64];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	ready_tell(ends[1], "127.0.0.1:7000");
	assert_int_equal(read(ends[0], line, sizeof(line)), 15);
	assert_memory_equal(line, "127.0.0.1:7000\n", 15);
	assert_int_equal(read(ends[0], line, sizeof(line)), 0);
	close(ends[0]);
}

static void test_nobody_need_wait(void **state)
{
	int ends[2];

	(void)state;
	ready_tell(-1, "x");
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	ready_tell(ends[1], "x");
	assert_int_equal(fcntl(ends[1], F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_number_is_a_descriptor),
		cmocka_unit_test(test_who_waits_gets_one_line_and_the_end),
		cmocka_unit_test(test_nobody_need_wait),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
