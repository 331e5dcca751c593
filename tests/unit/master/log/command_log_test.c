/* command_log_test - the local log of commands.
 *
 * Goal: nothing counts as durable before it was synced; a failing store fails everything until it
 * is open again, by itself, with all that had been applied; a moment of a full disk is not seen by
 * who proposes. Who keeps what the log does hears of all of it, and before the store does. Method: the state machine on the store's memory twin, whose writes are made to
 * fail. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/os/log.h"
#include "master/log/command_log.h"

struct outcome;

struct fixture {
	struct kv *kv;
	struct state *state;
	struct command_log *log;
	pthread_mutex_t lock;
	atomic_int recovered;
	int led, lost, leading_rc; /* leading() returns that */
	bool well_led;
	struct outcome *early; /* proposed by leading() */
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

static unsigned writes;
static int lie_once; /* the next write is done, and said to have failed with this */

int __real_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable);
int __wrap_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable);
int __wrap_kv_write(struct kv *kv, const struct kv_batch *batch, bool durable)
{
	int lie = lie_once, rc = __real_kv_write(kv, batch, durable);

	if (kv != fx.kv)
		return rc;
	writes++;
	lie_once = 0;
	return rc != 0 ? rc : lie;
}

static void on_recovered(void *user)
{
	atomic_fetch_add(&fx.recovered, 1);
}

static const struct command_keeper *keeper_of_setup;

static int setup_store(void)
{
	const struct state_options options = {.copies = 1, .partitions = 4, .chunk_size = 1 << 20};
	char error[128];

	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	memset(&fx, 0, sizeof(fx));
	pthread_mutex_init(&fx.lock, NULL);
	if (kv_open_memory(records_families, records_family_count, &fx.kv) != 0 ||
	    state_init(fx.kv, "cluster", &options) != 0 ||
	    state_open(fx.kv, &fx.state, error, sizeof(error)) != 0)
		return -1;
	return 0;
}

static int setup(void **state)
{
	struct command_log_options log = {.state_lock = &fx.lock, .recovered = on_recovered};

	if (setup_store() != 0)
		return -1;
	log.state = fx.state;
	log.kv = fx.kv;
	log.keeper = keeper_of_setup;
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
	struct command_call call;
	int status, calls;
	uint64_t index;
};

static void on_done(struct command_call *call, int status)
{
	struct outcome *outcome = (struct outcome *)call;

	outcome->status = status;
	outcome->index = call->index;
	outcome->calls++;
	free(call->result.answer.reply);
}

static void propose_session(struct outcome *outcome)
{
	*outcome = (struct outcome){.call.done = on_done};
	outcome->call.command = (struct log_command){
		.kind = COMMAND_SESSION_OPEN,
		.session_open = {.secret = 1, .mount = "mount", .name = "name"}};
	command_log_propose(fx.log, &outcome->call);
	assert_int_equal(outcome->calls, 0);
}

/* The session gets the next id. */
static struct outcome open_session(void)
{
	struct outcome outcome;

	pthread_mutex_lock(&fx.lock);
	propose_session(&outcome);
	command_log_turn(fx.log);
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
	struct outcome one = open_session(), two;

	assert_int_equal(one.status, 0);
	assert_int_equal(command_log_applied(fx.log), one.index);
	assert_false(command_log_is_durable(fx.log, one.index));
	assert_int_equal(wait_durable(one.index), 0);
	assert_true(command_log_is_durable(fx.log, one.index));
	two = open_session();
	assert_int_equal(two.index, one.index + 1);
	assert_false(command_log_is_durable(fx.log, two.index));
}

static struct outcome close_session(uint64_t session)
{
	struct outcome outcome = {.call.done = on_done};

	outcome.call.command =
		(struct log_command){.kind = COMMAND_SESSION_CLOSE, .session = session};
	pthread_mutex_lock(&fx.lock);
	command_log_propose(fx.log, &outcome.call);
	command_log_turn(fx.log);
	pthread_mutex_unlock(&fx.lock);
	return outcome;
}

static void test_a_command_that_is_refused_has_its_place(void **state)
{
	struct outcome one = open_session(), refused = close_session(77), two;

	assert_int_equal(refused.status, -ENOENT);
	assert_int_equal(refused.index, one.index + 1);
	assert_int_equal(command_log_error(fx.log), 0);
	assert_int_equal(state_applied_index(fx.state), refused.index);
	two = open_session();
	assert_int_equal(two.index, refused.index + 1);
	assert_int_equal(state_reload(fx.state), 0);
	assert_int_equal(state_applied_index(fx.state), two.index);
}

static void test_a_moment_of_a_full_disk_is_not_seen(void **state)
{
	assert_int_equal(open_session().status, 0);
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	assert_int_equal(open_session().status, 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_true(session_exists(1));
	assert_true(session_exists(2));
}

static void test_a_failing_store_fails_all_until_it_is_open_again(void **state)
{
	struct outcome one = open_session();

	kv_memory_fail_write(fx.kv, 1, -EIO);
	/* It may be in the store. What comes behind it surely is not. */
	assert_int_equal(open_session().status, COMMAND_MAY_HAPPEN);
	assert_int_equal(open_session().status, -EIO);
	for (int i = 0; i < 3000 && command_log_error(fx.log) != 0; i++)
		usleep(1000);
	assert_int_equal(command_log_error(fx.log), 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_true(session_exists(1));
	assert_false(session_exists(2));
	assert_int_equal(command_log_applied(fx.log), one.index);
	assert_int_equal(open_session().status, 0);
}

/* ---- turns ---- */

#define TURN_CALLS 64

struct look {
	struct command_call call;
	unsigned tries, told, sessions;
	int status;
};

static int count_one(void *user, uint64_t session, const char *mount, const char *name)
{
	++*(unsigned *)user;
	return 0;
}

static int look_at_sessions(struct command_call *call)
{
	struct look *look = (struct look *)call;

	look->tries++;
	look->sessions = 0;
	return state_sessions(fx.state, count_one, &look->sessions);
}

static void on_looked(struct command_call *call, int status)
{
	struct look *look = (struct look *)call;

	look->told++;
	look->status = status;
}

/* As many commands, with a read in the middle. */
static void take_a_turn(struct outcome outcomes[TURN_CALLS], struct look *look)
{
	*look = (struct look){.call = {.read = look_at_sessions, .done = on_looked}};
	pthread_mutex_lock(&fx.lock);
	for (int i = 0; i < TURN_CALLS; i++) {
		if (i == TURN_CALLS / 2)
			command_log_read(fx.log, &look->call);
		propose_session(&outcomes[i]);
	}
	command_log_turn(fx.log);
	pthread_mutex_unlock(&fx.lock);
}

static void test_a_turn_is_one_write_in_which_each_sees_those_before(void **state)
{
	struct outcome outcomes[TURN_CALLS];
	struct look look;
	unsigned before = writes;
	uint64_t first = command_log_applied(fx.log) + 1;

	take_a_turn(outcomes, &look);
	assert_int_equal(writes, before + 1);
	for (unsigned i = 0; i < TURN_CALLS; i++) {
		assert_int_equal(outcomes[i].status, 0);
		assert_int_equal(outcomes[i].calls, 1);
		assert_int_equal(outcomes[i].index, first + i);
		assert_true(session_exists(i + 1));
	}
	assert_int_equal(look.status, 0);
	assert_int_equal(look.sessions, TURN_CALLS / 2);
	assert_int_equal(command_log_applied(fx.log), first + TURN_CALLS - 1);
	assert_int_equal(state_reload(fx.state), 0);
	assert_true(session_exists(TURN_CALLS));
}

static void test_a_turn_that_finds_a_full_disk_is_applied_again(void **state)
{
	struct outcome outcomes[TURN_CALLS];
	struct look look;

	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	take_a_turn(outcomes, &look);
	for (unsigned i = 0; i < TURN_CALLS; i++) {
		assert_int_equal(outcomes[i].status, 0);
		assert_int_equal(outcomes[i].calls, 1);
		assert_true(session_exists(i + 1));
	}
	assert_false(session_exists(TURN_CALLS + 1));
	assert_int_equal(look.tries, 2);
	assert_int_equal(look.told, 1);
	assert_int_equal(look.sessions, TURN_CALLS / 2);
}

static void test_a_turn_that_is_in_the_store_all_the_same_is_not_applied_twice(void **state)
{
	struct outcome outcome;

	lie_once = -ENOSPC;
	outcome = open_session();
	assert_int_equal(outcome.status, COMMAND_MAY_HAPPEN);
	assert_true(session_exists(1));
	assert_false(session_exists(2));
}

static void test_a_turn_that_fails_leaves_nothing(void **state)
{
	struct outcome outcomes[TURN_CALLS], after;
	struct look look;

	kv_memory_fail_write(fx.kv, 1, -EIO);
	take_a_turn(outcomes, &look);
	for (unsigned i = 0; i < TURN_CALLS; i++)
		assert_int_equal(outcomes[i].status, COMMAND_MAY_HAPPEN);
	assert_int_equal(look.status, COMMAND_MAY_HAPPEN);
	for (int i = 0; i < 3000 && command_log_error(fx.log) != 0; i++)
		usleep(1000);
	after = open_session();
	assert_int_equal(after.status, 0);
	assert_int_equal(after.index, 1);
	assert_true(session_exists(1));
	assert_false(session_exists(2));
}

/* ---- what is kept ---- */

/* What the keeper was told, in order: "e1" an entry, "a1" it was applied ("r1": refused), "c1" a
 * commit when the store had come to 1, "u1" those above it are undone. The store is written once
 * after each commit. */
static struct {
	char told[256];
	unsigned writes;
} kept;

static void note(char what, uint64_t index)
{
	size_t used = strlen(kept.told);

	snprintf(kept.told + used, sizeof(kept.told) - used, "%c%llu ", what,
		 (unsigned long long)index);
}

static void keep_entry(void *user, uint64_t index, const struct log_command *command)
{
	assert_ptr_equal(user, &kept);
	assert_true(state_applied_index(fx.state) == index - 1);
	note('e', index);
}

static void keep_applied(void *user, uint64_t index, int status,
			 const struct command_result *result)
{
	assert_true(state_applied_index(fx.state) == index);
	note(status == 0 ? 'a' : 'r', index);
}

static void keep_commit(void *user)
{
	assert_int_equal(writes, kept.writes++);
	note('c', command_log_applied(fx.log));
}

static void keep_undone(void *user, uint64_t index)
{
	note('u', index);
}

static const struct command_keeper keeper = {.entry = keep_entry,
					     .applied = keep_applied,
					     .commit = keep_commit,
					     .undone = keep_undone,
					     .user = &kept};

static int setup_kept(void **state)
{
	memset(&kept, 0, sizeof(kept));
	keeper_of_setup = &keeper;
	return setup(state);
}

static int teardown_kept(void **state)
{
	keeper_of_setup = NULL;
	return teardown(state);
}

static void wait_until_up(void)
{
	for (int i = 0; i < 3000 && command_log_error(fx.log) != 0; i++)
		usleep(1000);
	pthread_mutex_lock(&fx.lock); /* until all of the reload is done */
	pthread_mutex_unlock(&fx.lock);
}

static void turn_of_two(struct outcome outcomes[2])
{
	kept.told[0] = '\0';
	kept.writes = writes;
	pthread_mutex_lock(&fx.lock);
	propose_session(&outcomes[0]);
	propose_session(&outcomes[1]);
	command_log_turn(fx.log);
	pthread_mutex_unlock(&fx.lock);
}

static void test_entries_are_kept_before_and_after_they_are_applied(void **state)
{
	struct outcome outcomes[2];

	turn_of_two(outcomes);
	assert_string_equal(kept.told, "e1 a1 e2 a2 c0 ");
	kept.told[0] = '\0';
	kept.writes = writes;
	assert_int_equal(close_session(77).status, -ENOENT);
	assert_string_equal(kept.told, "e3 r3 c2 ");
}

static void test_what_is_undone_is_known_to_who_keeps_it(void **state)
{
	struct outcome outcomes[2];

	/* The write fails, and all is applied once more. */
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	turn_of_two(outcomes);
	assert_string_equal(kept.told, "e1 a1 e2 a2 c0 u0 e1 a1 e2 a2 c0 ");
	/* It is in the store, though it failed. */
	usleep(1100000); /* the log opens a full store at once only so often */
	lie_once = -ENOSPC;
	turn_of_two(outcomes);
	assert_int_equal(strncmp(kept.told, "e3 a3 e4 a4 c2 u4 ", 18), 0);
	wait_until_up();
	/* The store is down, and opened by the thread. */
	kv_memory_fail_write(fx.kv, 1, -EIO);
	turn_of_two(outcomes);
	wait_until_up();
	assert_string_equal(kept.told, "e5 a5 e6 a6 c4 u4 ");
}

static struct outcome proposed_later;

static void propose_another(struct command_call *call, int status)
{
	propose_session(&proposed_later);
}

static void test_who_is_told_may_propose_in_the_same_turn(void **state)
{
	struct command_call call = {.done = propose_another,
				    .command = {.kind = COMMAND_SESSION_CLOSE, .session = 77}};

	pthread_mutex_lock(&fx.lock);
	command_log_propose(fx.log, &call);
	command_log_turn(fx.log);
	pthread_mutex_unlock(&fx.lock);
	assert_int_equal(proposed_later.calls, 1);
	assert_int_equal(proposed_later.status, 0);
	assert_true(session_exists(1));
}

static void full_for_a_moment(void)
{
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	assert_int_equal(open_session().status, 0);
}

/* What comes after the flush, with an index from before it. */
static struct outcome synced_too_late;
static void open_another(void)
{
	synced_too_late = open_session();
}

static void test_a_flush_from_before_the_store_was_reopened_says_nothing(void **state)
{
	uint64_t before = open_session().index;

	before_sync = full_for_a_moment;
	after_sync = open_another;
	assert_int_equal(wait_durable(before), 0);
	assert_int_equal(atomic_load(&fx.recovered), 1);
	assert_int_equal(synced_too_late.status, 0);
	assert_false(command_log_is_durable(fx.log, before));
	assert_false(command_log_is_durable(fx.log, synced_too_late.index));
}

static void test_what_comes_during_a_sync_waits_for_the_next(void **state)
{
	struct outcome one = open_session();

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

#define with_log(test)      cmocka_unit_test_setup_teardown(test, setup, teardown)
#define with_kept_log(test) cmocka_unit_test_setup_teardown(test, setup_kept, teardown_kept)

/* ---- leading ---- */

static int on_leading(void *user)
{
	fx.led++;
	/* START is applied, and cannot be taken back. */
	fx.well_led = state_applied_index(fx.state) == 1 && command_log_is_durable(fx.log, 1) &&
		      atomic_load(&fx.recovered) == 0;
	if (fx.early != NULL)
		propose_session(fx.early);
	return fx.leading_rc;
}

static void on_lost(void *user)
{
	fx.lost++;
}

static int setup_leading(void **state)
{
	return setup_store();
}

static int open_leading(void)
{
	struct command_log_options log = {.state = fx.state,
					  .kv = fx.kv,
					  .state_lock = &fx.lock,
					  .leading = on_leading,
					  .lost = on_lost,
					  .recovered = on_recovered,
					  .start = {.instance = 5, .chance = 77}};

	return command_log_open(&log, &fx.log);
}

static void test_a_life_begins_with_the_first_command_before_anything_leads(void **state)
{
	uint64_t version = state_map_version(fx.state);
	uint64_t session = state_next_session_id(fx.state);
	struct outcome early;
	struct state_life life;

	fx.early = &early;
	assert_int_equal(open_leading(), 0);
	state_life(fx.state, &life);
	assert_int_equal(life.chance, 77);
	assert_int_equal(life.first_index, 1);
	assert_int_equal(state_map_version(fx.state), version + 1);
	assert_int_equal(fx.led, 1);
	assert_true(fx.well_led);
	/* What leading() has proposed is done when the log is open. */
	assert_int_equal(early.calls, 1);
	assert_int_equal(early.status, 0);
	assert_int_equal(early.index, 2);
	assert_true(session_exists(session + STATE_ID_GAP));
	assert_int_equal(fx.lost, 0);
	command_log_close(fx.log);
	fx.log = NULL;
	assert_int_equal(fx.lost, 1);
}

/* Makes the store one of a time before levels. */
static void forget_level(void)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t key[META_KEY_MAX];

	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_LEVEL, 0));
	assert_int_equal(kv_write(fx.kv, batch, true), 0);
	kv_batch_free(batch);
	assert_int_equal(state_reload(fx.state), 0);
	assert_int_equal(state_level(fx.state), 0);
}

static void test_the_first_start_of_a_newer_program_raises_the_level(void **state)
{
	struct state_life life;

	forget_level();
	assert_int_equal(open_leading(), 0);
	state_life(fx.state, &life);
	assert_int_equal(life.first_index, 1);
	assert_int_equal(command_log_applied(fx.log), 2);
	assert_true(command_log_is_durable(fx.log, 2));
	assert_int_equal(fx.led, 1);
	assert_int_equal(state_reload(fx.state), 0);
	assert_int_equal(state_level(fx.state), STATE_LEVEL);
	/* Once is enough. */
	command_log_close(fx.log);
	assert_int_equal(open_leading(), 0);
	assert_int_equal(command_log_applied(fx.log), 3);
}

static void test_commands_of_a_later_level_are_refused_before_they_have_a_place(void **state)
{
	struct command_log_options log = {.state_lock = &fx.lock};
	struct outcome early, one, two;

	forget_level();
	log.state = fx.state;
	log.kv = fx.kv;
	assert_int_equal(command_log_open(&log, &fx.log), 0);
	pthread_mutex_lock(&fx.lock);
	propose_session(&one);
	early = (struct outcome){.call.done = on_done};
	early.call.command =
		(struct log_command){.kind = COMMAND_REFUSED, .refused = {.error = EIO}};
	assert_int_equal(command_level(&early.call.command), 1);
	command_log_propose(fx.log, &early.call);
	propose_session(&two);
	command_log_turn(fx.log);
	pthread_mutex_unlock(&fx.lock);
	assert_int_equal(early.status, -EPROTONOSUPPORT);
	assert_int_equal(early.index, 0);
	assert_int_equal(one.status, 0);
	assert_int_equal(two.status, 0);
	assert_int_equal(two.index, one.index + 1);
	assert_int_equal(command_log_applied(fx.log), two.index);
}

static void test_nothing_leads_when_the_first_command_is_not_durable(void **state)
{
	kv_memory_fail_write(fx.kv, 1, -EIO);
	assert_int_equal(open_leading(), -EIO);
	assert_null(fx.log);
	assert_int_equal(fx.led, 0);
	assert_int_equal(fx.lost, 0);
	assert_int_equal(kv_recover(fx.kv), 0);
	assert_int_equal(state_reload(fx.state), 0);
	assert_int_equal(state_applied_index(fx.state), 0);
	assert_int_equal(open_leading(), 0);
}

static void test_a_full_disk_at_the_start_gives_way_before_anything_leads(void **state)
{
	kv_memory_fail_write(fx.kv, 1, -ENOSPC);
	assert_int_equal(open_leading(), 0);
	assert_int_equal(fx.led, 1);
	assert_true(fx.well_led);
	assert_int_equal(atomic_load(&fx.recovered), 0);
}

static void test_what_leading_could_not_finish_is_dropped(void **state)
{
	fx.leading_rc = -ENOMEM;
	assert_int_equal(open_leading(), -ENOMEM);
	assert_null(fx.log);
	assert_int_equal(fx.led, 1);
	assert_true(fx.well_led);
	assert_int_equal(fx.lost, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_log(test_what_is_applied_is_durable_only_after_a_sync),
		with_log(test_a_command_that_is_refused_has_its_place),
		with_log(test_a_moment_of_a_full_disk_is_not_seen),
		with_log(test_a_turn_is_one_write_in_which_each_sees_those_before),
		with_log(test_a_turn_that_finds_a_full_disk_is_applied_again),
		with_log(test_a_turn_that_is_in_the_store_all_the_same_is_not_applied_twice),
		with_log(test_a_turn_that_fails_leaves_nothing),
		with_log(test_who_is_told_may_propose_in_the_same_turn),
		with_log(test_a_failing_store_fails_all_until_it_is_open_again),
		with_log(test_a_flush_from_before_the_store_was_reopened_says_nothing),
		with_log(test_what_comes_during_a_sync_waits_for_the_next),
		with_kept_log(test_entries_are_kept_before_and_after_they_are_applied),
		with_kept_log(test_what_is_undone_is_known_to_who_keeps_it),
		with_log(test_closing_answers_those_who_wait),
		cmocka_unit_test_setup_teardown(
			test_a_life_begins_with_the_first_command_before_anything_leads,
			setup_leading, teardown),
		cmocka_unit_test_setup_teardown(
			test_nothing_leads_when_the_first_command_is_not_durable, setup_leading,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_a_full_disk_at_the_start_gives_way_before_anything_leads,
			setup_leading, teardown),
		cmocka_unit_test_setup_teardown(test_what_leading_could_not_finish_is_dropped,
						setup_leading, teardown),
		cmocka_unit_test_setup_teardown(
			test_the_first_start_of_a_newer_program_raises_the_level, setup_leading,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_commands_of_a_later_level_are_refused_before_they_have_a_place,
			setup_leading, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
