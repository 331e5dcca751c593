/* command.c - a command and the function of the state machine that it stands for. */
#include "master/log/command.h"
#include <errno.h>
#include <stdlib.h>

static int apply_request(struct state *state, uint64_t index, const struct log_command *command,
			 struct command_result *result)
{
	struct state_request request = {.session = command->session,
					.answered = command->request.answered,
					.no_space = command->request.no_space,
					.message = command->request.message};

	return state_apply_request(state, index, &request, &result->answer);
}

static int apply(struct state *state, uint64_t index, const struct log_command *command,
		 struct command_result *result)
{
	switch (command->kind) {
	case COMMAND_REQUEST:
		return apply_request(state, index, command, result);
	case COMMAND_SESSION_OPEN:
		return state_apply_session_open(state, index, command->session_open.secret,
						command->session_open.mount,
						command->session_open.name, &result->session);
	case COMMAND_SESSION_CLOSE:
		return state_apply_session_close(state, index, command->session,
						 command->session_close.left,
						 command->session_close.left_count);
	case COMMAND_SESSION_FENCE:
		return state_apply_session_fence(state, index, command->session);
	case COMMAND_LEASE_GRANT:
		return state_apply_lease_grant(state, index, command->session, &result->generation);
	case COMMAND_LEASE_END:
		return state_apply_lease_end(state, index, command->session, command->generation);
	case COMMAND_FENCES_OWED:
		return state_apply_fences_owed(state, index, command->owed);
	case COMMAND_REGISTER:
		return state_apply_register(state, index, command->registration);
	case COMMAND_CHAINS:
		return state_apply_chains(state, index, command->chains.changes,
					  command->chains.change_count, command->chains.lives,
					  command->chains.life_count, command->chains.fenced,
					  command->chains.fenced_count);
	case COMMAND_DRAIN:
		return state_apply_drain(state, index, command->drain.targets, command->drain.count,
					 command->drain.draining);
	case COMMAND_RECOVERY:
		return state_apply_recovery(state, index, &command->recovery);
	case COMMAND_REMOVED:
		return state_apply_removed(state, index, command->removed.sequences,
					   command->removed.count);
	case COMMAND_START:
		return state_apply_start(state, index, &command->start.life, command->start.id_gap);
	case COMMAND_ACCEPT:
		return state_apply_accept(state, index, command->accept);
	case COMMAND_LEVEL:
		return state_apply_level(state, index, command->level);
	case COMMAND_REFUSED:
		return command->refused.request == 0
			       ? 0
			       : state_apply_refused(state, index, &command->refused,
						     &result->answer);
	}
	return -EINVAL;
}

static uint32_t request_level(const Catena__Request *request)
{
	return request->op_case == CATENA__REQUEST__OP_SETATTR && request->setattr->new_file_id != 0
		       ? 2
		       : 0;
}

uint32_t command_level(const struct log_command *command)
{
	if (command->kind == COMMAND_SESSION_CLOSE)
		return command->session_close.left_count != 0 ? 1 : 0;
	if (command->kind == COMMAND_REQUEST)
		return request_level(command->request.message);
	return command->kind == COMMAND_REFUSED ? 1 : 0;
}

bool command_has_failed(int rc)
{
	return rc == -EIO || rc == -ENOSPC || rc == -EROFS || rc == -EDQUOT || rc == -ENOMEM;
}

static int without_damaged_entries(struct state *state, const struct log_command *command,
				   struct log_command *out, uint64_t **numbers)
{
	size_t count = command->removed.count;
	int sound;

	*numbers = malloc((count + 1) * sizeof(**numbers));
	if (*numbers == NULL)
		return -ENOMEM;
	sound = state_removals_sound(state, command->removed.sequences, count, *numbers);
	if (sound < 0)
		return sound;
	*out = *command;
	out->removed.sequences = *numbers;
	out->removed.count = (size_t)sound;
	return 0;
}

static int without_damaged_files(struct state *state, const struct log_command *command,
				 struct log_command *out, uint64_t **numbers)
{
	size_t count;
	int rc = state_session_damaged(state, command->session, numbers, &count);

	if (rc != 0)
		return rc;
	*out = *command;
	out->session_close.left = *numbers;
	out->session_close.left_count = count;
	return 0;
}

static void refuse(const struct log_command *command, struct log_command *out)
{
	*out = (struct log_command){.kind = COMMAND_REFUSED, .refused = {.error = EIO}};
	if (command->kind != COMMAND_REQUEST)
		return;
	out->refused.session = command->session;
	out->refused.request = command->request.message->id;
	out->refused.lane = command->request.message->lane;
	out->refused.answered = command->request.answered;
}

int command_without_damage(struct state *state, const struct log_command *command,
			   struct log_command *out, uint64_t **numbers)
{
	*numbers = NULL;
	switch (command->kind) {
	case COMMAND_SESSION_CLOSE:
		return without_damaged_files(state, command, out, numbers);
	case COMMAND_REMOVED:
		return without_damaged_entries(state, command, out, numbers);
	default:
		refuse(command, out);
		return 0;
	}
}

int command_apply(struct state *state, uint64_t index, const struct log_command *command,
		  struct command_result *result)
{
	int rc = apply(state, index, command, result), nothing;

	if (command_has_failed(rc) || rc == COMMAND_IS_DAMAGED ||
	    state_applied_index(state) == index)
		return rc;
	nothing = state_apply_nothing(state, index);
	if (nothing == 0)
		return rc;
	free(result->answer.reply);
	result->answer = (struct state_answer){0};
	return nothing;
}
