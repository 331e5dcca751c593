#include "master/log/entry_pack.h"
#include <errno.h>
#include <stdint.h>
#include <string.h>

/* A message of its own kind, initialised; NULL: out of memory. */
static void *message(struct entry_memory *memory, const ProtobufCMessageDescriptor *descriptor)
{
	void *out = entry_memory_array(memory, 1, descriptor->sizeof_message);

	if (out != NULL)
		descriptor->message_init(out);
	return out;
}

/* @count messages, and the array of pointers to them that protobuf-c wants. */
static bool messages(struct entry_memory *memory, const ProtobufCMessageDescriptor *descriptor,
		     size_t count, void *out)
{
	void **list = entry_memory_array(memory, count, sizeof(*list));
	char *items = entry_memory_array(memory, count, descriptor->sizeof_message);

	if (list == NULL || items == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		list[i] = items + i * descriptor->sizeof_message;
		descriptor->message_init(list[i]);
	}
	memcpy(out, &list, sizeof(list));
	return true;
}

/* protobuf-c only reads what its messages point to, but lacks the const. */
static void *borrowed(const void *from)
{
	return (void *)(uintptr_t)from;
}

/* ---- requests ---- */

/* A copy without the fields that are not known here, and the same of the operation. */
static void *known_part(struct entry_memory *memory, const ProtobufCMessage *from)
{
	ProtobufCMessage *out = entry_memory_array(memory, 1, from->descriptor->sizeof_message);

	if (out == NULL)
		return NULL;
	memcpy(out, from, from->descriptor->sizeof_message);
	out->n_unknown_fields = 0;
	out->unknown_fields = NULL;
	return out;
}

static int pack_request(const struct log_command *command, struct entry_memory *memory,
			Catena__LogEntry *out)
{
	Catena__RequestCommand *to = out->request =
		message(memory, &catena__request_command__descriptor);
	Catena__Request *request = known_part(memory, &command->request.message->base);

	if (to == NULL || request == NULL)
		return -ENOMEM;
	/* All operations are at one place, and only read as messages here. */
	request->lookup = known_part(memory, &request->lookup->base);
	if (request->lookup == NULL)
		return -ENOMEM;
	to->session = command->session;
	to->request = request;
	to->answered = command->request.answered;
	to->no_space = command->request.no_space;
	return 0;
}

/* ---- sessions ---- */

static int pack_session_open(const struct log_command *command, struct entry_memory *memory,
			     Catena__LogEntry *out)
{
	Catena__SessionOpenCommand *to = out->session_open =
		message(memory, &catena__session_open_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->secret = command->session_open.secret;
	to->mount = borrowed(command->session_open.mount);
	to->name = borrowed(command->session_open.name);
	return 0;
}

static int pack_session_close(const struct log_command *command, struct entry_memory *memory,
			      Catena__LogEntry *out)
{
	out->session_close = message(memory, &catena__session_close_command__descriptor);
	if (out->session_close == NULL)
		return -ENOMEM;
	out->session_close->session = command->session;
	out->session_close->n_left = command->session_close.left_count;
	out->session_close->left = borrowed(command->session_close.left);
	return 0;
}

static int pack_session_fence(const struct log_command *command, struct entry_memory *memory,
			      Catena__LogEntry *out)
{
	out->session_fence = message(memory, &catena__session_fence_command__descriptor);
	if (out->session_fence == NULL)
		return -ENOMEM;
	out->session_fence->session = command->session;
	return 0;
}

static int pack_lease_grant(const struct log_command *command, struct entry_memory *memory,
			    Catena__LogEntry *out)
{
	out->lease_grant = message(memory, &catena__lease_grant_command__descriptor);
	if (out->lease_grant == NULL)
		return -ENOMEM;
	out->lease_grant->session = command->session;
	return 0;
}

static int pack_lease_end(const struct log_command *command, struct entry_memory *memory,
			  Catena__LogEntry *out)
{
	Catena__LeaseEndCommand *to = out->lease_end =
		message(memory, &catena__lease_end_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->session = command->session;
	to->generation = command->generation;
	return 0;
}

static int pack_fences_owed(const struct log_command *command, struct entry_memory *memory,
			    Catena__LogEntry *out)
{
	out->fences_owed = message(memory, &catena__fences_owed_command__descriptor);
	if (out->fences_owed == NULL)
		return -ENOMEM;
	out->fences_owed->owed = command->owed;
	return 0;
}

/* ---- servers and targets ---- */

static Catena__Server *pack_server(const struct map_server *from, struct entry_memory *memory)
{
	Catena__Server *to = message(memory, &catena__server__descriptor);

	if (to == NULL)
		return NULL;
	to->id = from->id;
	to->workers = from->workers;
	to->online = from->online;
	to->name = borrowed(from->name);
	to->address = borrowed(from->address);
	to->host = borrowed(from->host);
	to->rack = borrowed(from->rack);
	to->zone = borrowed(from->zone);
	return to;
}

static int pack_registration(const struct log_command *command, struct entry_memory *memory,
			     Catena__LogEntry *out)
{
	Catena__RegisterCommand *to = out->registration =
		message(memory, &catena__register_command__descriptor);
	const struct state_registration *registration = command->registration;
	size_t count = registration->target_count;

	if (to == NULL ||
	    !messages(memory, &catena__registered_target__descriptor, count, &to->targets))
		return -ENOMEM;
	to->server = pack_server(registration->server, memory);
	if (to->server == NULL)
		return -ENOMEM;
	to->known_id = registration->known_id;
	to->known_address = borrowed(registration->known_address);
	to->n_targets = count;
	for (size_t i = 0; i < count; i++) {
		const struct state_registered_target *from = &registration->targets[i];
		Catena__RegisteredTarget *target = to->targets[i];

		target->uuid = borrowed(from->uuid);
		target->known_server = from->known_server;
		target->known_life = from->known_life;
	}
	return 0;
}

static int pack_drain(const struct log_command *command, struct entry_memory *memory,
		      Catena__LogEntry *out)
{
	Catena__DrainCommand *to = out->drain = message(memory, &catena__drain_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->n_targets = command->drain.count;
	to->targets = borrowed(command->drain.targets);
	to->draining = command->drain.draining;
	return 0;
}

/* ---- chains ---- */

static bool pack_chain(const struct map_chain *from, struct entry_memory *memory, Catena__Chain *to)
{
	if (!messages(memory, &catena__chain_member__descriptor, from->count, &to->members))
		return false;
	to->epoch = from->epoch;
	to->n_members = from->count;
	for (uint32_t i = 0; i < from->count; i++) {
		to->members[i]->target_id = from->members[i].target_id;
		to->members[i]->state = (uint32_t)from->members[i].state;
	}
	return true;
}

/* NULL: out of memory. */
static Catena__ChainChange **pack_changes(const struct chain_change *from, size_t count,
					  struct entry_memory *memory)
{
	Catena__ChainChange **to;
	Catena__Chain **chains;

	if (!messages(memory, &catena__chain_change__descriptor, count, &to) ||
	    !messages(memory, &catena__chain__descriptor, count, &chains))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		to[i]->pool = from[i].pool;
		to[i]->partition = from[i].partition;
		to[i]->chain = chains[i];
		if (!pack_chain(&from[i].chain, memory, chains[i]))
			return NULL;
	}
	return to;
}

static Catena__ChainLife **pack_lives(const struct chain_life *from, size_t count,
				      struct entry_memory *memory)
{
	Catena__ChainLife **to;

	if (!messages(memory, &catena__chain_life__descriptor, count, &to))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		to[i]->target = from[i].target;
		to[i]->life = from[i].life;
	}
	return to;
}

static int pack_chains(const struct log_command *command, struct entry_memory *memory,
		       Catena__LogEntry *out)
{
	Catena__ChainsCommand *to = out->chains =
		message(memory, &catena__chains_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->n_changes = command->chains.change_count;
	to->changes = pack_changes(command->chains.changes, to->n_changes, memory);
	to->n_lives = command->chains.life_count;
	to->lives = pack_lives(command->chains.lives, to->n_lives, memory);
	to->n_fenced = command->chains.fenced_count;
	to->fenced = borrowed(command->chains.fenced);
	return to->changes == NULL || to->lives == NULL ? -ENOMEM : 0;
}

static int pack_removed(const struct log_command *command, struct entry_memory *memory,
			Catena__LogEntry *out)
{
	out->removed = message(memory, &catena__removed_command__descriptor);
	if (out->removed == NULL)
		return -ENOMEM;
	out->removed->n_sequences = command->removed.count;
	out->removed->sequences = borrowed(command->removed.sequences);
	return 0;
}

static int pack_recovery(const struct log_command *command, struct entry_memory *memory,
			 Catena__LogEntry *out)
{
	out->recovery = message(memory, &catena__recovery_command__descriptor);
	if (out->recovery == NULL)
		return -ENOMEM;
	out->recovery->rate = command->recovery.rate;
	out->recovery->paused = command->recovery.paused;
	return 0;
}

/* ---- lives of the master ---- */

static int pack_start(const struct log_command *command, struct entry_memory *memory,
		      Catena__LogEntry *out)
{
	Catena__StartCommand *to = out->start = message(memory, &catena__start_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->instance = command->start.life.instance;
	to->chance = command->start.life.chance;
	to->id_gap = command->start.id_gap;
	return 0;
}

static bool pack_accepted(const struct state_accept *accept, struct entry_memory *memory,
			  Catena__AcceptCommand *out)
{
	size_t count = out->n_targets = accept->target_count;

	if (!messages(memory, &catena__accepted_target__descriptor, count, &out->targets))
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct state_accepted_target *from = &accept->targets[i];
		Catena__AcceptedTarget *to = out->targets[i];

		to->id = from->id;
		to->uuid = borrowed(from->uuid);
		to->life = from->life;
		to->server = pack_server(&from->server, memory);
		if (to->server == NULL)
			return false;
	}
	return true;
}

static bool pack_seen(const struct state_accept *accept, struct entry_memory *memory,
		      Catena__AcceptCommand *out)
{
	size_t count = out->n_seen = accept->seen_count;

	if (!messages(memory, &catena__accept_seen__descriptor, count, &out->seen))
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct state_accept_seen *from = &accept->seen[i];
		Catena__AcceptSeen *to = out->seen[i];

		to->uuid = borrowed(from->uuid);
		to->life = from->seen.life;
		to->chance = from->seen.chance;
		to->version = from->seen.version;
		to->index = from->seen.index;
	}
	return true;
}

static int pack_accept(const struct log_command *command, struct entry_memory *memory,
		       Catena__LogEntry *out)
{
	Catena__AcceptCommand *to = out->accept =
		message(memory, &catena__accept_command__descriptor);
	const struct state_accept *accept = command->accept;

	if (to == NULL)
		return -ENOMEM;
	to->chance = accept->chance;
	to->seen_life = accept->seen_life;
	to->seen_version = accept->seen_version;
	to->seen_server = accept->seen_server;
	to->seen_target = accept->seen_target;
	to->n_chains = accept->chain_count;
	to->chains = pack_changes(accept->chains, accept->chain_count, memory);
	to->n_lives = accept->life_count;
	to->lives = pack_lives(accept->lives, accept->life_count, memory);
	return to->chains != NULL && to->lives != NULL && pack_accepted(accept, memory, to) &&
			       pack_seen(accept, memory, to)
		       ? 0
		       : -ENOMEM;
}

static int pack_refused(const struct log_command *command, struct entry_memory *memory,
			Catena__LogEntry *out)
{
	Catena__RefusedCommand *to = out->refused =
		message(memory, &catena__refused_command__descriptor);

	if (to == NULL)
		return -ENOMEM;
	to->session = command->refused.session;
	to->request = command->refused.request;
	to->lane = command->refused.lane;
	to->answered = command->refused.answered;
	to->error = (uint32_t)command->refused.error;
	return 0;
}

static int pack_level(const struct log_command *command, struct entry_memory *memory,
		      Catena__LogEntry *out)
{
	out->level = message(memory, &catena__level_command__descriptor);
	if (out->level == NULL)
		return -ENOMEM;
	out->level->level = command->level;
	return 0;
}

/* ---- all ---- */

static const struct {
	Catena__LogEntry__CommandCase command_case;
	int (*pack)(const struct log_command *command, struct entry_memory *memory,
		    Catena__LogEntry *out);
} kinds[] = {
	[COMMAND_REQUEST] = {CATENA__LOG_ENTRY__COMMAND_REQUEST, pack_request},
	[COMMAND_SESSION_OPEN] = {CATENA__LOG_ENTRY__COMMAND_SESSION_OPEN, pack_session_open},
	[COMMAND_SESSION_CLOSE] = {CATENA__LOG_ENTRY__COMMAND_SESSION_CLOSE, pack_session_close},
	[COMMAND_SESSION_FENCE] = {CATENA__LOG_ENTRY__COMMAND_SESSION_FENCE, pack_session_fence},
	[COMMAND_LEASE_GRANT] = {CATENA__LOG_ENTRY__COMMAND_LEASE_GRANT, pack_lease_grant},
	[COMMAND_LEASE_END] = {CATENA__LOG_ENTRY__COMMAND_LEASE_END, pack_lease_end},
	[COMMAND_FENCES_OWED] = {CATENA__LOG_ENTRY__COMMAND_FENCES_OWED, pack_fences_owed},
	[COMMAND_REGISTER] = {CATENA__LOG_ENTRY__COMMAND_REGISTRATION, pack_registration},
	[COMMAND_CHAINS] = {CATENA__LOG_ENTRY__COMMAND_CHAINS, pack_chains},
	[COMMAND_REMOVED] = {CATENA__LOG_ENTRY__COMMAND_REMOVED, pack_removed},
	[COMMAND_DRAIN] = {CATENA__LOG_ENTRY__COMMAND_DRAIN, pack_drain},
	[COMMAND_RECOVERY] = {CATENA__LOG_ENTRY__COMMAND_RECOVERY, pack_recovery},
	[COMMAND_START] = {CATENA__LOG_ENTRY__COMMAND_START, pack_start},
	[COMMAND_ACCEPT] = {CATENA__LOG_ENTRY__COMMAND_ACCEPT, pack_accept},
	[COMMAND_LEVEL] = {CATENA__LOG_ENTRY__COMMAND_LEVEL, pack_level},
	[COMMAND_REFUSED] = {CATENA__LOG_ENTRY__COMMAND_REFUSED, pack_refused},
};

int entry_pack(const struct log_command *command, struct entry_memory *memory,
	       Catena__LogEntry *out)
{
	catena__log_entry__init(out);
	out->command_case = kinds[command->kind].command_case;
	return kinds[command->kind].pack(command, memory, out);
}
