/* command_log.c - the log of a single master: the store's own log, with group commit.
 *
 * One thread flushes for all who wait, and reopens the store when it is down. */
#define LOG_MODULE "log"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "master/log/command_log.h"

#define RECOVER_EVERY_NS NS_PER_SEC

struct command_log {
	struct command_log_options options;
	/* Going back, and reloads: changed with the lock held, too. */
	_Atomic uint64_t applied, durable;
	/* The last command by then that has left something in the store. */
	_Atomic uint64_t stored, durable_stored;
	uint64_t reloads;
	_Atomic int error;   /* the store is down with it */
	uint64_t recover_ns; /* with the state lock: not again before */
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows; taken after the state lock */
	pthread_cond_t wake;
	struct command_flush *first, **last;
	bool stop;
};

/* ---- proposals ---- */

static bool is_store_error(int rc)
{
	return rc == -EIO || rc == -ENOSPC || rc == -EROFS || rc == -EDQUOT;
}

/* With the state lock held: opens the store again and reads the state anew. */
static int reload(struct command_log *log)
{
	int rc;

	lock_held(log->options.state_lock);
	rc = state_reload(log->options.state);
	if (rc != 0)
		return rc;
	/* Indices that left no trace in the store come again. */
	pthread_mutex_lock(&log->lock);
	atomic_store(&log->applied, state_applied_index(log->options.state));
	atomic_store(&log->durable, 0);
	atomic_store(&log->stored, state_stored_index(log->options.state));
	atomic_store(&log->durable_stored, 0);
	log->reloads++;
	pthread_mutex_unlock(&log->lock);
	atomic_store(&log->error, 0);
	log->options.recovered(log->options.user);
	return 0;
}

/* Opens a full store again at once: mostly its reserve gives way, and a program that deletes need
 * not hear of it. Not more often than the thread would try, which takes over if this fails. */
static bool recover_at_once(struct command_log *log, int error)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (error != -ENOSPC || now_ns < log->recover_ns)
		return false;
	log->recover_ns = now_ns + RECOVER_EVERY_NS;
	log_warn("the store is full, opening it again");
	return kv_recover(log->options.kv) == 0 && reload(log) == 0;
}

void command_log_propose(struct command_log *log, const struct log_command *command,
			 command_done_fn *done, void *user)
{
	struct command_result result = {0};
	uint64_t index = atomic_load(&log->applied) + 1;
	int rc = command_log_error(log);

	lock_held(log->options.state_lock);
	if (rc == 0) {
		rc = command_apply(log->options.state, index, command, &result);
		if (is_store_error(rc) && recover_at_once(log, rc)) {
			index = atomic_load(&log->applied) + 1;
			rc = command_apply(log->options.state, index, command, &result);
		}
	}
	if (rc == 0) {
		atomic_store(&log->stored, state_stored_index(log->options.state));
		atomic_store(&log->applied, index);
	} else if (is_store_error(rc)) {
		command_log_failed(log, rc);
	}
	done(user, index, rc, &result);
}

int command_log_error(const struct command_log *log)
{
	return atomic_load_explicit(&log->error, memory_order_relaxed);
}

void command_log_failed(struct command_log *log, int error)
{
	int none = 0;

	if (!is_store_error(error) || !atomic_compare_exchange_strong(&log->error, &none, error))
		return;
	log_error("the store is down error=\"%s\"", strerror(-error));
	pthread_mutex_lock(&log->lock);
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
}

uint64_t command_log_applied(const struct command_log *log)
{
	return atomic_load(&log->applied);
}

bool command_log_is_durable(const struct command_log *log, uint64_t index)
{
	return atomic_load(&log->durable) >= index;
}

uint64_t command_log_durable(const struct command_log *log)
{
	return atomic_load(&log->durable_stored);
}

/* ---- the thread ---- */

static void end_all(struct command_flush *flush, int status)
{
	while (flush != NULL) {
		struct command_flush *next = flush->next;

		flush->done(flush, status);
		flush = next;
	}
}

static int flush_store(struct command_log *log)
{
	uint64_t applied, stored, reloads;
	int rc = command_log_error(log);

	/* Read before the flush: the commands of all waiters have been applied by now. */
	pthread_mutex_lock(&log->lock);
	applied = atomic_load(&log->applied);
	stored = atomic_load(&log->stored);
	reloads = log->reloads;
	pthread_mutex_unlock(&log->lock);
	if (rc == 0)
		rc = kv_flush(log->options.kv);
	if (rc != 0) {
		command_log_failed(log, rc);
		return rc;
	}
	/* After a reload this index may be one that comes again. */
	pthread_mutex_lock(&log->lock);
	if (log->reloads == reloads) {
		expects(atomic_load(&log->durable) <= applied);
		atomic_store(&log->durable, applied);
		atomic_store(&log->durable_stored, stored);
	}
	pthread_mutex_unlock(&log->lock);
	return 0;
}

static void recover(struct command_log *log)
{
	static struct log_rate rate;
	int rc = kv_recover(log->options.kv);

	/* The state is not used meanwhile: the error is still set. */
	if (rc == 0) {
		pthread_mutex_lock(log->options.state_lock);
		rc = reload(log);
		pthread_mutex_unlock(log->options.state_lock);
	}
	if (rc == 0)
		log_info("the store is up again index=%llu",
			 (unsigned long long)command_log_applied(log));
	else if (log_rate_ok(&rate, 1))
		log_warn("the store stays down error=\"%s\"", strerror(-rc));
}

/* With log->lock held: until there is something to do. */
static void wait_for_work(struct command_log *log)
{
	uint64_t until = clock_monotonic_ns() + RECOVER_EVERY_NS;

	while (log->first == NULL && !log->stop && cond_wait_until(&log->wake, &log->lock, until))
		;
}

static void *log_main(void *arg)
{
	struct command_log *log = arg;
	uint64_t recover_ns = 0;

	pthread_mutex_lock(&log->lock);
	for (;;) {
		struct command_flush *first;

		wait_for_work(log);
		if (log->stop)
			break;
		first = log->first;
		log->first = NULL;
		log->last = &log->first;
		pthread_mutex_unlock(&log->lock);
		/* Commands without a waiter are flushed about once a second all the same. */
		if (first != NULL)
			end_all(first, flush_store(log));
		else if (command_log_error(log) == 0 &&
			 !command_log_is_durable(log, command_log_applied(log)))
			(void)flush_store(log);
		if (command_log_error(log) != 0 && clock_monotonic_ns() >= recover_ns) {
			recover(log);
			recover_ns = clock_monotonic_ns() + RECOVER_EVERY_NS;
		}
		pthread_mutex_lock(&log->lock);
	}
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

void command_log_flush(struct command_log *log, struct command_flush *flush)
{
	bool stopped;

	flush->next = NULL;
	pthread_mutex_lock(&log->lock);
	stopped = log->stop;
	if (!stopped) {
		*log->last = flush;
		log->last = &flush->next;
	}
	pthread_mutex_unlock(&log->lock);
	if (stopped)
		flush->done(flush, -ECANCELED);
	else /* unlocked, or it wakes only to wait for the lock */
		pthread_cond_signal(&log->wake);
}

/* ---- life ---- */

int command_log_open(const struct command_log_options *options, struct command_log **out)
{
	struct command_log *log = calloc(1, sizeof(*log));
	int rc;

	if (log == NULL)
		return -ENOMEM;
	log->options = *options;
	log->last = &log->first;
	atomic_init(&log->applied, state_applied_index(options->state));
	atomic_init(&log->durable, 0);
	atomic_init(&log->stored, state_stored_index(options->state));
	atomic_init(&log->durable_stored, 0);
	atomic_init(&log->error, 0);
	pthread_mutex_init(&log->lock, NULL);
	pthread_cond_init(&log->wake, NULL);
	rc = -pthread_create(&log->thread, NULL, log_main, log);
	if (rc != 0) {
		pthread_cond_destroy(&log->wake);
		pthread_mutex_destroy(&log->lock);
		free(log);
		return rc;
	}
	*out = log;
	return 0;
}

void command_log_close(struct command_log *log)
{
	if (log == NULL)
		return;
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	if (log->first != NULL)
		end_all(log->first, flush_store(log));
	pthread_cond_destroy(&log->wake);
	pthread_mutex_destroy(&log->lock);
	free(log);
}
