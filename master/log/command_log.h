/* command_log.h - the ordered log of commands that make the master's state.
 *
 * A change of the state is proposed as a command. When it has its place in the log and has been
 * applied, its proposer is told index and result: never before command_log_propose() has returned.
 * A read takes its place among the commands, too. Durability is asked for separately, by index, so
 * that many wait for one flush.
 *
 * The header fits a log that is replicated between masters. This form is local. What is called
 * between two turns is applied together at the next one, in the order of the calls: the effects and
 * the index of all of it are one batch of the store, and RocksDB's own log is the log. A turn ends
 * whenever the state lock is given back (command_log_turn()).
 *
 * Leading: only a log that leads takes proposals and reads. This form leads from its opening to its
 * end. Its first command is START, which begins a life of the master. If the store is of an older
 * level, LEVEL follows.
 *
 * Errors: when the store fails, everything returns that error (-EIO, -ENOSPC) and the log is down.
 * Once a second it tries to open the store again; what had been applied is there then.
 * Locks: command_log_propose(), command_log_read(), command_log_turn(), and readers of the state,
 * with the state lock held, which is given at opening. The other functions with or without it. */
#ifndef CATENA_MASTER_LOG_COMMAND_LOG_H
#define CATENA_MASTER_LOG_COMMAND_LOG_H
#include <pthread.h>
#include "master/log/command.h"
#include "master/state/state.h"

struct command_log;

/* Keeps what the log does, to look at it later. It cannot fail.
 * Locks: called with the state lock held. */
struct command_keeper {
	/* @command is about to be applied as the entry @index. If it is never told that one was
	 * applied, it was not, and another may come in its place. */
	void (*entry)(void *user, uint64_t index, const struct log_command *command);
	/* It has been applied; this came of it. */
	void (*applied)(void *user, uint64_t index, int status,
			const struct command_result *result);
	/* All entries of a batch have been applied; now it is written to the store. */
	void (*commit)(void *user);
	/* Entries above @index are not in the store: those of the batch, or the one that was about to
	 * be applied. Others will have their indices. */
	void (*undone)(void *user, uint64_t index);
	void *user;
};

struct command_log_options {
	struct state *state;         /* borrowed */
	struct kv *kv;               /* borrowed */
	pthread_mutex_t *state_lock; /* borrowed */
	/* This master leads: START is applied and durable. Builds all that is in memory only and
	 * goes by the state; may call the log. An error is that of the opening. NULL: no START is
	 * proposed. Locks: the state lock held. */
	int (*leading)(void *user);
	/* It leads no more: drops what leading() has built, also if that has failed on its way. It
	 * comes once after each leading(), and may not call the log. Locks: the state lock held. */
	void (*lost)(void *user);
	/* Told, with the state lock held, when the store is up again and the state read anew: it
	 * still leads. NULL: nobody has to know. */
	void (*recovered)(void *user);
	void *user;
	struct state_start start;            /* of the life that begins */
	const struct command_keeper *keeper; /* borrowed; NULL: none */
};

/* Opens the log, and leads. *out is there before leading() is called; after an error it is NULL.
 * Errors: -ENOMEM; those of the store; that of leading(). Locks: none. */
int command_log_open(const struct command_log_options *options, struct command_log **out);
/* Ends the log. Waiters get their flush, or -ECANCELED; then it leads no more. No call may be under
 * way. NULL is allowed. Locks: none. */
void command_log_close(struct command_log *log);

/* It is not known whether the command will have been applied: nothing may be said of it. Its
 * proposer asks again, if it can. */
#define COMMAND_MAY_HAPPEN (-EINPROGRESS)

/* A proposal or a read, embedded in its owner's struct. It must live until done() is called, and so
 * must all that it points to. */
struct command_call {
	/* Gets the result of the command (command_apply()), or what @read returned. -EPROTONOSUPPORT: the
	 * state is below the level of the command, and it did not happen. -EUCLEAN: it has met
	 * a damaged record, and did not happen; a request has EIO in its reply then. -EIO, -ENOSPC
	 * and the like: the store is down, and it did not happen. COMMAND_MAY_HAPPEN.
	 * May propose more, and free the call. Locks: the state lock held. */
	void (*done)(struct command_call *call, int status);
	struct log_command command;
	/* Reads the state, as it is for a command at this place. 0, or the error of the store. What
	 * was read may be undone, and read once more, until done() says 0. */
	int (*read)(struct command_call *call);
	uint64_t index; /* of the command in the log; 0: it has none */
	struct command_result result;
	bool refused; /* by a damaged record: COMMAND_REFUSED is at its index */
	int status;   /* private, as the next */
	struct command_call *next;
};

/* Proposes call->command. */
void command_log_propose(struct command_log *log, struct command_call *call);
/* Has call->read called behind all that was proposed before. */
void command_log_read(struct command_log *log, struct command_call *call);
/* Ends a turn: applies what was called, and what is called meanwhile by those who are told. Whoever
 * holds the state lock calls it before giving the lock back. */
void command_log_turn(struct command_log *log);

/* Why the store does not work now; 0: it does. Readers of the state look here before. */
int command_log_error(const struct command_log *log);
/* Tells the log that the store failed under a query. */
void command_log_failed(struct command_log *log, int error);

/* The index of the last command applied. */
uint64_t command_log_applied(const struct command_log *log);
/* The index of the last command that is on stable storage: the state is never of an earlier one
 * again. After the store has failed this may be 0 for a while. */
uint64_t command_log_durable(const struct command_log *log);
/* True when everything up to @index is on stable storage. */
bool command_log_is_durable(const struct command_log *log, uint64_t index);

/* A waiter for durability, embedded in its owner's struct. It must live until done() is called.
 * @status 0: everything up to index is on stable storage. Thread: the log's. Locks: none. */
struct command_flush {
	void (*done)(struct command_flush *flush, int status);
	uint64_t index;
	struct command_flush *next; /* private */
};
void command_log_flush(struct command_log *log, struct command_flush *flush);
#endif
