/* command.h - a command: one change of the master's state, as the log orders it. */
#ifndef CATENA_MASTER_LOG_COMMAND_H
#define CATENA_MASTER_LOG_COMMAND_H
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "master/state/chain_change.h"
#include "master/state/state.h"

enum command_kind {
	COMMAND_REQUEST,
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
	COMMAND_START,
	COMMAND_ACCEPT,
	COMMAND_LEVEL,
	COMMAND_REFUSED, /* in place of a command that has met a damaged record */
};

/* A command. Everything it points to is borrowed for the time of the call. */
struct log_command {
	enum command_kind kind;
	uint64_t session; /* REQUEST, SESSION_CLOSE, SESSION_FENCE, LEASE_* */
	union {
		struct {
			const Catena__Request *message;
			uint64_t answered; /* the session has the replies up to here */
			bool no_space;     /* see struct state_request */
		} request;
		uint64_t generation; /* LEASE_END */
		bool owed;           /* FENCES_OWED */
		struct {
			uint64_t secret;
			const char *mount, *name;
		} session_open;
		struct {
			const uint64_t *left; /* as in state_apply_session_close() */
			size_t left_count;
		} session_close;
		const struct state_registration *registration;
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
		struct {
			struct state_start life;
			uint64_t id_gap; /* STATE_ID_GAP of whoever proposes it */
		} start;
		const struct state_accept *accept;
		uint32_t level;               /* LEVEL */
		struct state_refusal refused; /* request 0: it was none, and nothing is done */
	};
};

struct command_result {
	struct state_answer answer; /* REQUEST, REFUSED: its reply is the caller's to free */
	uint64_t generation;        /* LEASE_GRANT */
	uint64_t session;           /* SESSION_OPEN: the one that was opened */
};

/* The level of the state from which on the command counts. Below it may not be proposed. */
uint32_t command_level(const struct log_command *command);
/* True of what is no result of a command, but a failure of this replica's store or memory: the
 * entry is not applied. */
bool command_has_failed(int rc);
/* The command has met a damaged record: nothing was applied, and its index is free. */
#define COMMAND_IS_DAMAGED (-EUCLEAN)
/* Makes what is applied in place of @command, which has met damage: the same without what is damaged,
 * where it goes on by itself (the end of a session, removals), or else its refusal with EIO. @numbers:
 * what *out may point to, the caller's to free afterwards. Errors: of the store, or of memory. */
int command_without_damage(struct state *state, const struct log_command *command,
			   struct log_command *out, uint64_t **numbers);
/* Applies a command to @state as the entry @index, as every replica of the log does. Returns its
 * result: 0, or the error with which it was refused, which every replica comes to. Either way the
 * index is in the state. A failure (command_has_failed()) and COMMAND_IS_DAMAGED: nothing was
 * applied. */
int command_apply(struct state *state, uint64_t index, const struct log_command *command,
		  struct command_result *result);
#endif
