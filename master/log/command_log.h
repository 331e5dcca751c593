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
#include "master/state/chain_change.h"
#include "master/state/state.h"

enum command_kind {
	COMMAND_REQUEST,
	COMMAND_ANSWERED,
	COMMAND_SESSION_OPEN,
	COMMAND_SESSION_CLOSE,
	COMMAND_SESSION_FENCE,
	COMMAND_LEASE_GRANT,
	COMMAND_LEASE_END,
	COMMAND_FENCES_OWED,
	COMMAND_REGISTER,
	COMMAND_CHAINS,
	COMMAND_REMOVED,
	COMMAND_DRAIN,
	COMMAND_RECOVERY,
};

/* A command. Everything it points to is borrowed for the time of the call. */
struct log_command {
	enum command_kind kind;
	uint64_t session; /* REQUEST, ANSWERED, SESSION_*, LEASE_* */
	union {
		const Catena__Request *request;
		uint64_t answered_through;
		uint64_t generation; /* LEASE_END */
		bool owed;           /* FENCES_OWED */
		struct {
			uint64_t secret;
			const char *mount, *name;
		} session_open;
		struct {
			const struct map_server *server;
			const struct map_target *targets;
			size_t target_count;
		} registration;
		struct {
			const struct chain_change *changes;
			const struct chain_life *lives;
			const uint64_t *fenced;
			size_t change_count, life_count, fenced_count;
		} chains;
		struct {
			const uint32_t *targets;
			size_t count;
			bool draining;
		} drain;
		struct state_recovery recovery;
		struct {
			const uint64_t *sequences;
			size_t count;
		} removed;
	};
};

struct command_result {
	uint8_t *reply; /* REQUEST: malloc()ed, the callee's to free */
	size_t reply_size;
	uint64_t generation; /* LEASE_GRANT */
};

/* Applies a command to @state as the entry @index, as every replica of the log does. */
int command_apply(struct state *state, uint64_t index, const struct log_command *command,
		  struct command_result *result);

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
