/* command_log_test - the local log of commands.
 *
 * Goal: nothing counts as durable before it was synced; a failing store fails everything until it
 * is open again, by itself, with all that had been applied; a moment of a full disk is not seen by
 * who proposes. Method: the state machine on the store's memory twin, whose writes are made to
 * fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "master/log/command_log.h"

struct fixture {
	struct kv *kv;
	struct state *state;
	struct command_log *log;
	pthread_mutex_t lock;
	atomic_int recovered;
};

static struct fixture fx;

/* Called once, by the log's thread, before or after it flushes the store. */
static void (*before_sync)(void), (*after_sync)(void);

static void call_once(void (**what)(void))
{
	void (*call)(void) = *what;

	*what = NULL;
	if (call != NULL)
		call();
}

int __real_kv_flush(struct kv *kv);
int __wrap_kv_flush(struct kv *kv);
int __wrap_kv_flush(struct kv *kv)
{
	int rc;

	call_once(&before_sync);
	rc = __real_kv_flush(kv);
	call_once(&after_sync);
	return rc;
}

static void on_recovered(void *user)
{
	atomic_fetch_add(&fx.recovered, 1);
}

static int setup(void **state)
{
	const struct state_options options = {.copies = 1, .partitions = 4, .chunk_size = 1 << 20};
	struct command_log_options log = {.state_lock = &fx.lock, .recovered = on_recovered};
	char error[128];

	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	memset(&fx, 0, sizeof(fx));
	pthread_mutex_init(&fx.lock, NULL);
	if (kv_open_memory(records_families, records_family_count, &fx.kv) != 0 ||
	    state_init(fx.kv, "cluster", &options) != 0 ||
	    state_open(fx.kv, &fx.state, error, sizeof(error)) != 0)
		return -1;
	log.state = fx.state;
	log.kv = fx.kv;
	return command_log_open(&log, &fx.log);
}

static int teardown(void **state)
{
	command_log_close(fx.log);
	state_close(fx.state);
	kv_close(fx.kv);
	pthread_mutex_destroy(&fx.lock);
	return 0;
}

struct outcome {
	int status, calls;
	uint64_t index;
};

static void on_done(void *user, uint64_t index, int status, const struct command_result *result)
{
	struct outcome *outcome = user;

	outcome->status = status;
	outcome->index = index;
	outcome->calls++;
	free(result->reply);
}

static struct outcome open_session(uint64_t session)
{
	struct log_command command = {.kind = COMMAND_SESSION_OPEN, .session = session};
	struct outcome outcome = {0};

	command.session_open.secret = 1;
	command.session_open.mount = "mount";
	command.session_open.name = "name";
	pthread_mutex_lock(&fx.lock);
	command_log_propose(fx.log, &command, on_done, &outcome);
	pthread_mutex_unlock(&fx.lock);
	assert_int_equal(outcome.calls, 1);
	return outcome;
}

struct waiter {
	struct command_flush flush;
	sem_t done;
	int status;
};

static void on_flushed(struct command_flush *flush, int status)
{
	struct waiter *waiter = (struct waiter *)flush;

	waiter->status = status;
	sem_post(&waiter->done);
}

static int wait_durable(uint64_t index)
{
	struct waiter waiter = {.flush.done = on_flushed, .flush.index = index};

	sem_init(&waiter.done, 0, 0);
	command_log_flush(fx.log, &waiter.flush);
	sem_wait(&waiter.done);
	sem_destroy(&waiter.done);
	return waiter.status;
}

static bool session_exists(uint64_t session)
{
	int rc;

	pthread_mutex_lock(&fx.lock);
	rc = state_session_check(fx.state, session, 1);
	pthread_mutex_unlock(&fx.lock);
	return rc == 0;
}

static void test_what_is_applied_is_durable_only_after_a_sync(void **state)
{
	struct outcome one = open_session(1), two;

	assert_int_equal(one.status, 0);
	assert_int_equal(command_log_applied(fx.log), one.index);
	assert_false(command_log_is_durable(fx.log, one.index));
	assert_int_equal(wait_durable(one.index), 0);
	assert_true(command_log_is_durable(fx.log, one.index));
	two = open_session(2);
	assert_int_equal(two.index, one.index + 1);
	assert_false(command_log_is_durable(fx.log, two.index));
}

static void test_a_command_that_fails_by_itself_takes_no_place(void **state)
{
	struct outcome one = open_session(1), again = open_session(1), two;

	assert_int_equal(again.status, -EEXIST);
	assert_int_equal(command_log_error(fx.log), 0);
	two = open_session(2);
	assert_int_equal(two.index, one.index + 1);
}

static void test_a_moment_of_a_full_disk_is_not_seen(void **state)
{
	assert_int_equal(open_session(1).status, 0);
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	assert_int_equal(open_session(2).status, 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_true(session_exists(1));
	assert_true(session_exists(2));
}

static void test_a_failing_store_fails_all_until_it_is_open_again(void **state)
{
	struct outcome one = open_session(1);

	kv_memory_fail_write(fx.kv, 1, -EIO);
	assert_int_equal(open_session(2).status, -EIO);
	for (int i = 0; i < 3000 && command_log_error(fx.log) != 0; i++)
		usleep(1000);
	assert_int_equal(command_log_error(fx.log), 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_true(session_exists(1));
	assert_false(session_exists(2));
	assert_int_equal(command_log_applied(fx.log), one.index);
	assert_int_equal(open_session(2).status, 0);
}

/* Commands that take places, but leave nothing in the store. Returns the last one's index. */
static uint64_t leave_no_trace(void)
{
	struct log_command command = {.kind = COMMAND_ANSWERED, .session = 1};
	struct outcome outcome = {0};

	for (int i = 0; i < 5; i++) {
		command.answered_through = (uint64_t)i + 1;
		pthread_mutex_lock(&fx.lock);
		command_log_propose(fx.log, &command, on_done, &outcome);
		pthread_mutex_unlock(&fx.lock);
	}
	return outcome.index;
}

static void test_indices_that_come_again_are_not_durable_by_their_past(void **state)
{
	struct outcome outcome = {0};
	uint64_t before;

	assert_int_equal(open_session(1).status, 0);
	assert_int_equal(wait_durable(leave_no_trace()), 0);
	before = command_log_applied(fx.log);
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	outcome = open_session(2);
	assert_int_equal(outcome.status, 0);
	assert_true(outcome.index <= before);
	assert_false(command_log_is_durable(fx.log, outcome.index));
}

static void full_for_a_moment(void)
{
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	assert_int_equal(open_session(2).status, 0);
}

/* What comes after the flush, with an index from before it. */
static struct outcome synced_too_late;
static void open_another(void)
{
	synced_too_late = open_session(3);
}

static void test_nor_by_a_sync_that_was_under_way(void **state)
{
	uint64_t before;

	assert_int_equal(open_session(1).status, 0);
	before = leave_no_trace();
	before_sync = full_for_a_moment;
	after_sync = open_another;
	assert_int_equal(wait_durable(before), 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_int_equal(synced_too_late.status, 0);
	assert_true(synced_too_late.index <= before);
	assert_false(command_log_is_durable(fx.log, synced_too_late.index));
}

static void test_what_comes_during_a_sync_waits_for_the_next(void **state)
{
	struct outcome one = open_session(1);

	/* Read before: what is applied now may have come too late for the disk. */
	after_sync = open_another;
	assert_int_equal(wait_durable(one.index), 0);
	assert_int_equal(synced_too_late.status, 0);
	assert_true(command_log_is_durable(fx.log, one.index));
	assert_false(command_log_is_durable(fx.log, synced_too_late.index));
	assert_int_equal(wait_durable(synced_too_late.index), 0);
	assert_true(command_log_is_durable(fx.log, synced_too_late.index));
}

static void test_closing_answers_those_who_wait(void **state)
{
	struct waiter waiters[8];

	for (int i = 0; i < 8; i++) {
		waiters[i] = (struct waiter){.flush.done = on_flushed, .status = 77};
		sem_init(&waiters[i].done, 0, 0);
		command_log_flush(fx.log, &waiters[i].flush);
	}
	command_log_close(fx.log);
	fx.log = NULL;
	for (int i = 0; i < 8; i++) {
		assert_int_equal(sem_trywait(&waiters[i].done), 0);
		assert_int_equal(waiters[i].status, 0);
		sem_destroy(&waiters[i].done);
	}
}

#define with_log(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_log(test_what_is_applied_is_durable_only_after_a_sync),
		with_log(test_a_command_that_fails_by_itself_takes_no_place),
		with_log(test_a_moment_of_a_full_disk_is_not_seen),
		with_log(test_a_failing_store_fails_all_until_it_is_open_again),
		with_log(test_indices_that_come_again_are_not_durable_by_their_past),
		with_log(test_nor_by_a_sync_that_was_under_way),
		with_log(test_what_comes_during_a_sync_waits_for_the_next),
		with_log(test_closing_answers_those_who_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
