#include "master/log/entry_unpack.h"
#include <errno.h>
#include <string.h>
#include "master/log/entry_bounds.h"

/* False: it is too long. */
static bool take_text(const char *from, char *to, size_t room)
{
	size_t size = strlen(from);

	if (size >= room)
		return false;
	memcpy(to, from, size + 1);
	return true;
}

/* ---- requests and sessions ---- */

static int unpack_request(const Catena__LogEntry *message, struct entry_memory *memory,
			  struct log_command *out)
{
	if (message->request->request == NULL)
		return -EBADMSG;
	out->kind = COMMAND_REQUEST;
	out->session = message->request->session;
	out->request.message = message->request->request;
	out->request.answered = message->request->answered;
	out->request.no_space = message->request->no_space;
	return 0;
}

static void unpack_session_open(const Catena__SessionOpenCommand *from, struct log_command *out)
{
	out->kind = COMMAND_SESSION_OPEN;
	out->session_open.secret = from->secret;
	out->session_open.mount = from->mount;
	out->session_open.name = from->name;
}

static void unpack_of_session(enum command_kind kind, uint64_t session, struct log_command *out)
{
	out->kind = kind;
	out->session = session;
}

static void unpack_lease_end(const Catena__LeaseEndCommand *from, struct log_command *out)
{
	out->kind = COMMAND_LEASE_END;
	out->session = from->session;
	out->generation = from->generation;
}

/* ---- servers and targets ---- */

static bool take_server(const Catena__Server *from, struct map_server *to)
{
	if (from == NULL)
		return false;
	to->id = from->id;
	to->workers = from->workers;
	to->online = from->online != 0;
	return take_text(from->name, to->name, sizeof(to->name)) &&
	       take_text(from->address, to->address, sizeof(to->address)) &&
	       take_text(from->host, to->host, sizeof(to->host)) &&
	       take_text(from->rack, to->rack, sizeof(to->rack)) &&
	       take_text(from->zone, to->zone, sizeof(to->zone));
}

static bool take_target(const Catena__RegisteredTarget *from, struct state_registered_target *to)
{
	to->known_server = from->known_server;
	to->known_life = from->known_life;
	return take_text(from->uuid, to->uuid, sizeof(to->uuid));
}

static int unpack_registration(const Catena__LogEntry *message, struct entry_memory *memory,
			       struct log_command *out)
{
	const Catena__RegisterCommand *from = message->registration;
	struct state_registration *to = entry_memory_array(memory, 1, sizeof(*to));
	struct map_server *server = entry_memory_array(memory, 1, sizeof(*server));

	if (from->n_targets > STATE_REGISTERED_MAX)
		return -EBADMSG;
	if (to == NULL || server == NULL)
		return -ENOMEM;
	to->targets = entry_memory_array(memory, from->n_targets, sizeof(*to->targets));
	if (to->targets == NULL)
		return -ENOMEM;
	if (!take_server(from->server, server) ||
	    !take_text(from->known_address, to->known_address, sizeof(to->known_address)))
		return -EBADMSG;
	for (size_t i = 0; i < from->n_targets; i++)
		if (!take_target(from->targets[i], &to->targets[i]))
			return -EBADMSG;
	to->server = server;
	to->known_id = from->known_id;
	to->target_count = from->n_targets;
	out->kind = COMMAND_REGISTER;
	out->registration = to;
	return 0;
}

static void unpack_drain(const Catena__DrainCommand *from, struct log_command *out)
{
	out->kind = COMMAND_DRAIN;
	out->drain.targets = from->targets;
	out->drain.count = from->n_targets;
	out->drain.draining = from->draining != 0;
}

/* ---- chains ---- */

static bool take_chain(const Catena__Chain *from, struct map_chain *to)
{
	if (from == NULL || from->n_members > CHAIN_MEMBERS_MAX)
		return false;
	to->epoch = from->epoch;
	to->count = (uint32_t)from->n_members;
	for (size_t i = 0; i < from->n_members; i++) {
		to->members[i].target_id = from->members[i]->target_id;
		to->members[i].state = (enum member_state)from->members[i]->state;
	}
	return true;
}

static int take_changes(Catena__ChainChange *const *from, size_t count, struct entry_memory *memory,
			const struct chain_change **out)
{
	struct chain_change *to;

	if (count > ENTRY_CHAINS_MAX)
		return -EBADMSG;
	to = entry_memory_array(memory, count, sizeof(*to));
	if (to == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		to[i].pool = from[i]->pool;
		to[i].partition = from[i]->partition;
		if (!take_chain(from[i]->chain, &to[i].chain))
			return -EBADMSG;
	}
	*out = to;
	return 0;
}

static int take_lives(Catena__ChainLife *const *from, size_t count, struct entry_memory *memory,
		      const struct chain_life **out)
{
	struct chain_life *to;

	if (count > ENTRY_TARGETS_MAX)
		return -EBADMSG;
	to = entry_memory_array(memory, count, sizeof(*to));
	if (to == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		to[i].target = from[i]->target;
		to[i].life = from[i]->life;
	}
	*out = to;
	return 0;
}

static int unpack_chains(const Catena__LogEntry *message, struct entry_memory *memory,
			 struct log_command *out)
{
	const Catena__ChainsCommand *from = message->chains;
	int rc = take_changes(from->changes, from->n_changes, memory, &out->chains.changes);

	if (rc == 0)
		rc = take_lives(from->lives, from->n_lives, memory, &out->chains.lives);
	out->kind = COMMAND_CHAINS;
	out->chains.change_count = from->n_changes;
	out->chains.life_count = from->n_lives;
	out->chains.fenced = from->fenced;
	out->chains.fenced_count = from->n_fenced;
	return rc;
}

static void unpack_removed(const Catena__RemovedCommand *from, struct log_command *out)
{
	out->kind = COMMAND_REMOVED;
	out->removed.sequences = from->sequences;
	out->removed.count = from->n_sequences;
}

static void unpack_recovery(const Catena__RecoveryCommand *from, struct log_command *out)
{
	out->kind = COMMAND_RECOVERY;
	out->recovery.rate = from->rate;
	out->recovery.paused = from->paused != 0;
}

/* ---- lives of the master ---- */

static void unpack_start(const Catena__StartCommand *from, struct log_command *out)
{
	out->kind = COMMAND_START;
	out->start.life.instance = from->instance;
	out->start.life.chance = from->chance;
	out->start.id_gap = from->id_gap;
}

static int take_accepted(const Catena__AcceptCommand *from, struct entry_memory *memory,
			 struct state_accept *accept)
{
	struct state_accepted_target *to;

	if (from->n_targets > ENTRY_TARGETS_MAX)
		return -EBADMSG;
	to = entry_memory_array(memory, from->n_targets, sizeof(*to));
	if (to == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_targets; i++) {
		to[i].id = from->targets[i]->id;
		to[i].life = from->targets[i]->life;
		if (!take_text(from->targets[i]->uuid, to[i].uuid, sizeof(to[i].uuid)) ||
		    !take_server(from->targets[i]->server, &to[i].server))
			return -EBADMSG;
	}
	accept->targets = to;
	accept->target_count = from->n_targets;
	return 0;
}

static int take_seen(const Catena__AcceptCommand *from, struct entry_memory *memory,
		     struct state_accept *accept)
{
	struct state_accept_seen *to;

	if (from->n_seen > ENTRY_TARGETS_MAX)
		return -EBADMSG;
	to = entry_memory_array(memory, from->n_seen, sizeof(*to));
	if (to == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_seen; i++) {
		to[i].seen.life = from->seen[i]->life;
		to[i].seen.chance = from->seen[i]->chance;
		to[i].seen.version = from->seen[i]->version;
		to[i].seen.index = from->seen[i]->index;
		if (!take_text(from->seen[i]->uuid, to[i].uuid, sizeof(to[i].uuid)))
			return -EBADMSG;
	}
	accept->seen = to;
	accept->seen_count = from->n_seen;
	return 0;
}

static int unpack_accept(const Catena__LogEntry *message, struct entry_memory *memory,
			 struct log_command *out)
{
	struct state_accept *accept = entry_memory_array(memory, 1, sizeof(*accept));
	const Catena__AcceptCommand *from = message->accept;
	int rc;

	if (accept == NULL)
		return -ENOMEM;
	accept->chance = from->chance;
	accept->seen_life = from->seen_life;
	accept->seen_version = from->seen_version;
	accept->seen_server = from->seen_server;
	accept->seen_target = from->seen_target;
	rc = take_accepted(from, memory, accept);
	if (rc == 0)
		rc = take_changes(from->chains, from->n_chains, memory, &accept->chains);
	if (rc == 0)
		rc = take_lives(from->lives, from->n_lives, memory, &accept->lives);
	if (rc == 0)
		rc = take_seen(from, memory, accept);
	accept->chain_count = from->n_chains;
	accept->life_count = from->n_lives;
	out->kind = COMMAND_ACCEPT;
	out->accept = accept;
	return rc;
}

static int unpack_refused(const Catena__RefusedCommand *from, struct log_command *out)
{
	if (from->error > STATE_REFUSAL_MAX)
		return -EBADMSG;
	out->kind = COMMAND_REFUSED;
	out->refused = (struct state_refusal){.session = from->session,
					      .request = from->request,
					      .lane = from->lane,
					      .answered = from->answered,
					      .error = (int)from->error};
	return 0;
}

/* ---- all ---- */

int entry_unpack(const Catena__LogEntry *message, struct entry_memory *memory,
		 struct log_command *out)
{
	memset(out, 0, sizeof(*out));
	switch (message->command_case) {
	case CATENA__LOG_ENTRY__COMMAND_REQUEST:
		return unpack_request(message, memory, out);
	case CATENA__LOG_ENTRY__COMMAND_SESSION_OPEN:
		unpack_session_open(message->session_open, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_SESSION_CLOSE:
		unpack_of_session(COMMAND_SESSION_CLOSE, message->session_close->session, out);
		out->session_close.left = message->session_close->left;
		out->session_close.left_count = message->session_close->n_left;
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_SESSION_FENCE:
		unpack_of_session(COMMAND_SESSION_FENCE, message->session_fence->session, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_LEASE_GRANT:
		unpack_of_session(COMMAND_LEASE_GRANT, message->lease_grant->session, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_LEASE_END:
		unpack_lease_end(message->lease_end, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_FENCES_OWED:
		out->kind = COMMAND_FENCES_OWED;
		out->owed = message->fences_owed->owed != 0;
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_REGISTRATION:
		return unpack_registration(message, memory, out);
	case CATENA__LOG_ENTRY__COMMAND_CHAINS:
		return unpack_chains(message, memory, out);
	case CATENA__LOG_ENTRY__COMMAND_REMOVED:
		unpack_removed(message->removed, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_DRAIN:
		unpack_drain(message->drain, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_RECOVERY:
		unpack_recovery(message->recovery, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_START:
		unpack_start(message->start, out);
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_ACCEPT:
		return unpack_accept(message, memory, out);
	case CATENA__LOG_ENTRY__COMMAND_LEVEL:
		out->kind = COMMAND_LEVEL;
		out->level = message->level->level;
		return 0;
	case CATENA__LOG_ENTRY__COMMAND_REFUSED:
		return unpack_refused(message->refused, out);
	default:
		return -EBADMSG;
	}
}
