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

/* More than this is applied in several batches. */
#define BATCH_CALLS 1024u
#define BATCH_BYTES (1u << 20)

struct own_call {
	struct command_call call;
	int status;
};

struct command_log {
	struct command_log_options options;
	struct own_call own; /* a command of the log itself */
	/* Calls of this turn, in order; with the state lock. */
	struct command_call *calls, **last_call;
	bool turning; /* command_log_turn() is at work */
	bool leads;   /* leading() was called */
	/* Going back, and reloads: changed with the lock held, too. */
	_Atomic uint64_t applied, durable;
	uint64_t reloads;
	_Atomic int error;   /* the store is down with it */
	uint64_t recover_ns; /* with the state lock: not again before */
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows; taken after the state lock */
	pthread_cond_t wake;
	struct command_flush *first, **last;
	bool stop;
};

/* ---- what is kept ---- */

static void keep_undone(struct command_log *log, uint64_t index)
{
	const struct command_keeper *keeper = log->options.keeper;

	if (keeper != NULL)
		keeper->undone(keeper->user, index);
}

static void keep_commit(struct command_log *log)
{
	const struct command_keeper *keeper = log->options.keeper;

	if (keeper != NULL)
		keeper->commit(keeper->user);
}

static int apply_kept(struct command_log *log, uint64_t index, const struct log_command *command,
		      struct command_result *result)
{
	const struct command_keeper *keeper = log->options.keeper;
	int rc;

	if (keeper != NULL)
		keeper->entry(keeper->user, index, command);
	rc = command_apply(log->options.state, index, command, result);
	if (rc == COMMAND_IS_DAMAGED)
		keep_undone(log, index - 1);
	else if (keeper != NULL && !command_has_failed(rc))
		keeper->applied(keeper->user, index, rc, result);
	return rc;
}

/* ---- the store fails, and is opened again ---- */

static bool is_store_error(int rc)
{
	return rc != -ENOMEM && command_has_failed(rc);
}

/* With the state lock held: opens the store again and reads the state anew. */
static int reload(struct command_log *log)
{
	int rc;

	lock_held(log->options.state_lock);
	rc = state_reload(log->options.state);
	if (rc != 0)
		return rc;
	/* The indices of what was not written come again. */
	pthread_mutex_lock(&log->lock);
	atomic_store(&log->applied, state_applied_index(log->options.state));
	atomic_store(&log->durable, 0);
	log->reloads++;
	pthread_mutex_unlock(&log->lock);
	atomic_store(&log->error, 0);
	keep_undone(log, atomic_load(&log->applied));
	/* Before it leads there is nothing to be set right. */
	if (log->options.recovered != NULL && (log->leads || log->options.leading == NULL))
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

/* ---- turns ---- */

static void add_call(struct command_log *log, struct command_call *call)
{
	lock_held(log->options.state_lock);
	expects(call->done != NULL);
	call->next = NULL;
	call->index = 0;
	call->result = (struct command_result){0};
	*log->last_call = call;
	log->last_call = &call->next;
}

void command_log_propose(struct command_log *log, struct command_call *call)
{
	call->read = NULL;
	add_call(log, call);
}

void command_log_read(struct command_log *log, struct command_call *call)
{
	expects(call->read != NULL);
	add_call(log, call);
}

/* Applies in place of a command that has met a damaged record what goes without it, or its refusal. A
 * master that reads the log later, and whose record is fine, comes to the same state. */
static int apply_without_damage(struct command_log *log, struct command_call *call, uint64_t index)
{
	static struct log_rate rate;
	struct log_command instead;
	uint64_t *numbers;
	int rc = command_without_damage(log->options.state, &call->command, &instead, &numbers);
	bool refused = rc == 0 && instead.kind == COMMAND_REFUSED;

	if (rc == 0 && command_level(&instead) > state_level(log->options.state))
		rc = -EUCLEAN;
	if (rc == 0)
		rc = apply_kept(log, index, &instead, &call->result);
	free(numbers);
	if (log_rate_ok(&rate, 5))
		log_error("a command has met a damaged record: it is %s index=%llu",
			  rc != 0   ? "not done"
			  : refused ? "refused"
				    : "done without",
			  (unsigned long long)index);
	call->refused = rc == 0 && refused;
	/* A request has the error in its reply. */
	return call->refused && call->command.kind != COMMAND_REQUEST ? -EUCLEAN : rc;
}

/* Does what was called, and keeps what its caller is told afterwards. Errors: those of the store. */
static int perform(struct command_log *log, struct command_call *call, uint64_t index)
{
	int rc;

	if (call->read != NULL) {
		call->status = call->read(call);
		return is_store_error(call->status) ? call->status : 0;
	}
	call->refused = false;
	if (command_level(&call->command) > state_level(log->options.state)) {
		call->status = -EPROTONOSUPPORT;
		return 0;
	}
	rc = apply_kept(log, index, &call->command, &call->result);
	if (rc == COMMAND_IS_DAMAGED)
		rc = apply_without_damage(log, call, index);
	if (rc == -ENOMEM) {
		/* To go on would be to leave out an entry. The next start reads it all anew. */
		log_error("out of memory while a command is applied: the process ends");
		abort();
	}
	/* What is refused below its level has no place. */
	if (state_applied_index(log->options.state) == index)
		call->index = index;
	call->status = rc;
	return is_store_error(rc) ? rc : 0;
}

static void forget_results(struct command_call *first, const struct command_call *end)
{
	for (struct command_call *call = first; call != end; call = call->next) {
		free(call->result.answer.reply);
		call->result = (struct command_result){0};
		call->index = 0;
	}
}

/* Applies the calls from @first on as one batch. *end is the first that is left for the next. An
 * error: nothing of the batch was applied; *written: it may be in the store all the same. */
static int apply_batch(struct command_log *log, struct command_call *first,
		       struct command_call **end, bool *written)
{
	struct state *state = log->options.state;
	uint64_t index = atomic_load(&log->applied);
	struct command_call *call = first;
	size_t count = 0;
	int rc = 0;

	*written = false;
	state_batch_begin(state);
	for (; call != NULL && count < BATCH_CALLS && state_batch_size(state) < BATCH_BYTES;
	     call = call->next, count++) {
		rc = perform(log, call, call->read != NULL ? 0 : index + 1);
		if (rc != 0)
			break;
		index = call->index != 0 ? call->index : index;
	}
	*end = call;
	if (rc != 0) {
		state_batch_abandon(state);
		keep_undone(log, atomic_load(&log->applied));
		forget_results(first, call->next);
		return rc;
	}
	*written = index != atomic_load(&log->applied);
	keep_commit(log);
	rc = state_batch_commit(state);
	/* After errors of the store it will tell, when it is open again. */
	if (rc != 0 && !is_store_error(rc))
		keep_undone(log, atomic_load(&log->applied));
	if (rc != 0)
		forget_results(first, *end);
	else
		atomic_store(&log->applied, index);
	return rc;
}

/* Tells the callers from @first to before @end. */
static void tell(struct command_call *first, const struct command_call *end, int error)
{
	for (struct command_call *call = first, *next; call != end; call = next) {
		next = call->next;
		call->done(call, error != 0 ? error : call->status);
	}
}

static void turn_batch(struct command_log *log, struct command_call *first,
		       struct command_call **end)
{
	uint64_t before = atomic_load(&log->applied);
	bool written = false, again = false;
	int rc = command_log_error(log);

	*end = NULL;
	if (rc == 0)
		rc = apply_batch(log, first, end, &written);
	/* If the store that is open again is of a later index, the batch is in it: once is enough. */
	if (rc != 0 && command_log_error(log) == 0 && recover_at_once(log, rc) &&
	    atomic_load(&log->applied) == before) {
		rc = apply_batch(log, first, end, &again);
		written |= again;
	}
	if (rc != 0) {
		command_log_failed(log, rc);
		*end = NULL; /* none will do better now */
	}
	tell(first, *end, rc != 0 && written ? COMMAND_MAY_HAPPEN : rc);
}

void command_log_turn(struct command_log *log)
{
	lock_held(log->options.state_lock);
	if (log->turning)
		return; /* whoever is told gave the lock back for a while */
	log->turning = true;
	while (log->calls != NULL) {
		struct command_call *first = log->calls, *end;

		log->calls = NULL;
		log->last_call = &log->calls;
		while (first != NULL) {
			turn_batch(log, first, &end);
			first = end;
		}
	}
	log->turning = false;
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
	return atomic_load(&log->durable);
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
	uint64_t applied, reloads;
	int rc = command_log_error(log);

	/* Read before the flush: the commands of all waiters have been applied by now. */
	pthread_mutex_lock(&log->lock);
	applied = atomic_load(&log->applied);
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

static void on_own(struct command_call *call, int status)
{
	((struct own_call *)call)->status = status;
}

/* Applies a command of the log itself. */
static int apply_own(struct command_log *log, const struct log_command *command)
{
	log->own = (struct own_call){.call = {.done = on_own, .command = *command}};
	command_log_propose(log, &log->own.call);
	command_log_turn(log);
	return log->own.status;
}

/* The first start of a newer program raises the level of its store: it is the only member. */
static int raise_level(struct command_log *log)
{
	uint32_t before = state_level(log->options.state);
	int rc;

	if (before >= STATE_LEVEL)
		return 0;
	rc = apply_own(log, &(struct log_command){.kind = COMMAND_LEVEL, .level = STATE_LEVEL});
	if (rc == 0)
		log_info("the store is raised to level %u, from %u: older programs do not open it",
			 STATE_LEVEL, before);
	return rc;
}

/* What a killed process wrote is read back, but a power cut could still take it. After this flush
 * all that was loaded is durable. */
static int start(struct command_log *log)
{
	struct log_command start = {.kind = COMMAND_START,
				    .start = {.life = log->options.start, .id_gap = STATE_ID_GAP}};
	int rc;

	lock_held(log->options.state_lock);
	rc = apply_own(log, &start);
	if (rc == 0)
		rc = raise_level(log);
	return rc == 0 ? flush_store(log) : rc;
}

static int lead(struct command_log *log)
{
	int rc;

	if (log->options.leading == NULL)
		return 0;
	pthread_mutex_lock(log->options.state_lock);
	rc = start(log);
	if (rc == 0) {
		log->leads = true;
		rc = log->options.leading(log->options.user);
		command_log_turn(log);
	}
	pthread_mutex_unlock(log->options.state_lock);
	return rc == COMMAND_MAY_HAPPEN ? -EIO : rc;
}

static void lose(struct command_log *log)
{
	if (!log->leads)
		return;
	pthread_mutex_lock(log->options.state_lock);
	log->leads = false;
	log->options.lost(log->options.user);
	pthread_mutex_unlock(log->options.state_lock);
}

int command_log_open(const struct command_log_options *options, struct command_log **out)
{
	struct command_log *log = calloc(1, sizeof(*log));
	int rc;

	if (log == NULL)
		return -ENOMEM;
	log->options = *options;
	log->last = &log->first;
	log->last_call = &log->calls;
	atomic_init(&log->applied, state_applied_index(options->state));
	atomic_init(&log->durable, 0);
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
	rc = lead(log);
	if (rc != 0) {
		command_log_close(log);
		*out = NULL;
	}
	return rc;
}

void command_log_close(struct command_log *log)
{
	if (log == NULL)
		return;
	expects(log->calls == NULL);
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	if (log->first != NULL)
		end_all(log->first, flush_store(log));
	lose(log);
	pthread_cond_destroy(&log->wake);
	pthread_mutex_destroy(&log->lock);
	free(log);
}
