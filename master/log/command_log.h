/* command_log.h - the ordered log of commands that make the master's state.
 *
 * A change of the state is proposed as a command. When it has its place in the log and has been
 * applied, its proposer is told index and result. Durability is asked for separately, by index, so
 * that many wait for one flush.
 *
 * The header fits a log that is replicated between masters. This form is local: a command is
 * applied at once, its effects and index in one batch of the store, and RocksDB's own log is the
 * log.
 *
 * Errors: when the store fails, everything returns that error (-EIO, -ENOSPC) and the log is down.
 * Once a second it tries to open the store again; what had been applied is there then.
 * Locks: command_log_propose(), and readers of the state, with the state lock held, which is given
 * at opening. The other functions with or without it. */
#ifndef CATENA_MASTER_LOG_COMMAND_LOG_H
#define CATENA_MASTER_LOG_COMMAND_LOG_H
#include <pthread.h>
#include "master/log/command.h"

struct command_log;

struct command_log_options {
	struct state *state;         /* borrowed */
	struct kv *kv;               /* borrowed */
	pthread_mutex_t *state_lock; /* borrowed */
	/* Told, with the state lock held, when the store is up again and the state read anew. */
	void (*recovered)(void *user);
	void *user;
};

int command_log_open(const struct command_log_options *options, struct command_log **out);
/* Ends the log. Waiters get their flush, or -ECANCELED. NULL is allowed. */
void command_log_close(struct command_log *log);

/* Gets @status 0 and the result, or -errno: then nothing was applied. The local form calls it
 * before command_log_propose() returns. */
typedef void command_done_fn(void *user, uint64_t index, int status,
			     const struct command_result *result);
void command_log_propose(struct command_log *log, const struct log_command *command,
			 command_done_fn *done, void *user);

/* Why the store does not work now; 0: it does. Readers of the state look here before. */
int command_log_error(const struct command_log *log);
/* Tells the log that the store failed under a query. */
void command_log_failed(struct command_log *log, int error);

/* The index of the last command applied. */
uint64_t command_log_applied(const struct command_log *log);
/* True when everything up to @index is on stable storage. */
bool command_log_is_durable(const struct command_log *log, uint64_t index);
/* The index of the last command that is in the store, on stable storage: the state is never of an
 * earlier one again. Commands behind it may be durable that have left nothing to store. After the
 * store has failed this may be 0 for a while. */
uint64_t command_log_durable(const struct command_log *log);

/* A waiter for durability, embedded in its owner's struct. It must live until done() is called.
 * @status 0: everything up to index is on stable storage. Thread: the log's. Locks: none. */
struct command_flush {
	void (*done)(struct command_flush *flush, int status);
	uint64_t index;
	struct command_flush *next; /* private */
};
void command_log_flush(struct command_log *log, struct command_flush *flush);
#endif
