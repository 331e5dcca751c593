/* expects_test.c - goal: a broken expectation ends the process and says where, in the log too; a
 * lock that is not held is noticed. Method: children that break one, whose stderr or log is read.
 */
#include "common/base/expects.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/os/lock.h"
#include "common/os/log.h"

/* Runs @run in a child, and puts what it wrote to stderr into @out. The child's wait status. */
static int in_child(void (*run)(void), char *out, size_t size)
{
	int pipe_fds[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t child;

	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* cmocka's own handler of SIGABRT would tell the parent's story. */
		signal(SIGABRT, SIG_DFL);
		dup2(pipe_fds[1], STDERR_FILENO);
		run();
		_exit(0);
	}
	close(pipe_fds[1]);
	while ((n = read(pipe_fds[0], out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(pipe_fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void break_one(void)
{
	int one = 1;

	expects(one == 1);
	expects(one == 2);
}

static void break_one_in_the_log(void)
{
	log_open(NULL);
	break_one();
}

static void a_broken_expectation_ends_the_process_and_says_where(void **state)
{
	char out[1024];
	int status = in_child(break_one, out, sizeof(out));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(out, "expects_test.c:"));
	assert_non_null(strstr(out, "expected one == 2\n"));
	assert_null(strstr(out, "ERROR"));
}

static void with_a_log_it_is_a_line_of_the_log(void **state)
{
	char out[1024];
	int status = in_child(break_one_in_the_log, out, sizeof(out));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(out, " ERROR expects "));
	assert_non_null(strstr(out, "expected one == 2;"));
}

#ifdef CHECK_LOCKS
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *ask(void *arg)
{
	*(bool *)arg = lock_is_held(&mutex);
	return NULL;
}

static void a_lock_is_held_only_by_who_locked_it(void **state)
{
	pthread_t other;
	bool held = true;

	assert_false(lock_is_held(&mutex));
	pthread_mutex_lock(&mutex);
	assert_true(lock_is_held(&mutex));
	assert_int_equal(pthread_create(&other, NULL, ask, &held), 0);
	pthread_join(other, NULL);
	assert_false(held);
	pthread_mutex_unlock(&mutex);
	assert_false(lock_is_held(&mutex));
}

static void need_the_lock(void)
{
	lock_held(&mutex);
}

static void a_function_called_without_its_lock_ends_the_process(void **state)
{
	char out[1024];
	int status = in_child(need_the_lock, out, sizeof(out));

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_non_null(strstr(out, "expected lock_is_held(&mutex)"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_broken_expectation_ends_the_process_and_says_where),
		cmocka_unit_test(with_a_log_it_is_a_line_of_the_log),
#ifdef CHECK_LOCKS
		cmocka_unit_test(a_lock_is_held_only_by_who_locked_it),
		cmocka_unit_test(a_function_called_without_its_lock_ends_the_process),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
