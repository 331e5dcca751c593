/* entry_bounds.c - what the state machine takes for granted, or could not bear.
 *
 * Both directions check the same: what a master encodes, all others can decode. */
#include "master/log/entry_bounds.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/request_kind.h"
#include "master/records/cluster.h"
#include "master/records/sessions.h"

_Static_assert(ENTRY_CHAINS_MAX == PARTITIONS_MAX, "all chains of the pool");

static bool text_ok(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static bool uuid_ok(const char *uuid)
{
	return uuid[0] != '\0' && text_ok(uuid, sizeof(((struct map_target *)0)->uuid));
}

static bool server_ok(const struct map_server *server)
{
	return server->name[0] != '\0' && text_ok(server->name, sizeof(server->name)) &&
	       text_ok(server->address, sizeof(server->address)) &&
	       text_ok(server->host, sizeof(server->host)) &&
	       text_ok(server->rack, sizeof(server->rack)) &&
	       text_ok(server->zone, sizeof(server->zone)) && server->workers != 0 &&
	       server->workers <= ENTRY_WORKERS_MAX;
}

static bool changes_ok(const struct chain_change *changes, size_t count)
{
	if (count > ENTRY_CHAINS_MAX)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!chain_shape_ok(&changes[i].chain))
			return false;
	return true;
}

static bool registration_ok(const struct log_command *command)
{
	const struct state_registration *registration = command->registration;

	if (!server_ok(registration->server) ||
	    !text_ok(registration->known_address, sizeof(registration->known_address)) ||
	    registration->target_count > STATE_REGISTERED_MAX)
		return false;
	for (size_t i = 0; i < registration->target_count; i++)
		if (!uuid_ok(registration->targets[i].uuid))
			return false;
	return true;
}

static bool chains_ok(const struct log_command *command)
{
	if (!changes_ok(command->chains.changes, command->chains.change_count) ||
	    command->chains.life_count > ENTRY_TARGETS_MAX ||
	    command->chains.fenced_count > ENTRY_SERVERS_MAX)
		return false;
	for (size_t i = 0; i < command->chains.fenced_count; i++)
		if (command->chains.fenced[i] == 0)
			return false;
	return true;
}

/* ---- an acceptance ---- */

typedef const struct state_accepted_target *target_ptr;

static int by_id(const void *a, const void *b)
{
	target_ptr x = *(const target_ptr *)a, y = *(const target_ptr *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_uuid(const void *a, const void *b)
{
	return strcmp((*(const target_ptr *)a)->uuid, (*(const target_ptr *)b)->uuid);
}

static int by_server_id(const void *a, const void *b)
{
	target_ptr x = *(const target_ptr *)a, y = *(const target_ptr *)b;

	return x->server.id < y->server.id ? -1 : x->server.id > y->server.id;
}

static int by_server_name(const void *a, const void *b)
{
	return strcmp((*(const target_ptr *)a)->server.name, (*(const target_ptr *)b)->server.name);
}

/* False when two targets are equal by @key and not by @with; NULL: they must not be equal. */
static bool agree(target_ptr *targets, size_t count, int (*key)(const void *, const void *),
		  int (*with)(const void *, const void *))
{
	qsort(targets, count, sizeof(target_ptr), key);
	for (size_t i = 1; i < count; i++)
		if (key(&targets[i - 1], &targets[i]) == 0 &&
		    (with == NULL || with(&targets[i - 1], &targets[i]) != 0))
			return false;
	return true;
}

/* No number and no name stands for two: the state would have two records of one, or one of two. */
static int check_unique(const struct state_accept *accept)
{
	target_ptr *targets;
	bool ok;

	if (accept->target_count < 2)
		return 0;
	targets = calloc(accept->target_count, sizeof(target_ptr));
	if (targets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < accept->target_count; i++)
		targets[i] = &accept->targets[i];
	ok = agree(targets, accept->target_count, by_id, NULL) &&
	     agree(targets, accept->target_count, by_uuid, NULL) &&
	     agree(targets, accept->target_count, by_server_id, by_server_name) &&
	     agree(targets, accept->target_count, by_server_name, by_server_id);
	free(targets);
	return ok ? 0 : -EINVAL;
}

/* The next numbers will be above those that were seen. */
static bool accepted_ok(const struct state_accept *accept,
			const struct state_accepted_target *target)
{
	return target->id != 0 && target->id <= accept->seen_target && uuid_ok(target->uuid) &&
	       server_ok(&target->server) && target->server.id != 0 &&
	       target->server.id <= accept->seen_server;
}

static int check_accept(const struct state_accept *accept)
{
	if (accept->chance == 0 || accept->target_count > ENTRY_TARGETS_MAX ||
	    accept->life_count > ENTRY_TARGETS_MAX || accept->seen_count > ENTRY_TARGETS_MAX ||
	    !changes_ok(accept->chains, accept->chain_count))
		return -EINVAL;
	for (size_t i = 0; i < accept->target_count; i++)
		if (!accepted_ok(accept, &accept->targets[i]))
			return -EINVAL;
	for (size_t i = 0; i < accept->seen_count; i++)
		if (!uuid_ok(accept->seen[i].uuid))
			return -EINVAL;
	return check_unique(accept);
}

/* ---- all ---- */

static bool refused_ok(const struct state_refusal *refused)
{
	if (refused->error <= 0 || refused->error > STATE_REFUSAL_MAX)
		return false;
	return refused->request != 0 ||
	       (refused->session == 0 && refused->lane == 0 && refused->answered == 0);
}

static bool left_ok(const struct log_command *command)
{
	const uint64_t *left = command->session_close.left;

	for (size_t i = 1; i < command->session_close.left_count; i++)
		if (left[i] <= left[i - 1])
			return false;
	return command->session_close.left_count <= STATE_OPENS_MAX;
}

static bool is_ok(const struct log_command *command)
{
	switch (command->kind) {
	case COMMAND_REQUEST:
		return request_kind_is_command(command->request.message);
	case COMMAND_SESSION_OPEN:
		return strlen(command->session_open.mount) <= SESSION_TEXT_MAX &&
		       strlen(command->session_open.name) <= SESSION_TEXT_MAX;
	case COMMAND_REGISTER:
		return registration_ok(command);
	case COMMAND_CHAINS:
		return chains_ok(command);
	case COMMAND_REMOVED:
		return command->removed.count <= ENTRY_REMOVED_MAX;
	case COMMAND_DRAIN:
		return command->drain.count <= ENTRY_TARGETS_MAX;
	case COMMAND_START:
		return command->start.life.instance != 0 && command->start.life.chance != 0 &&
		       command->start.id_gap != 0 && command->start.id_gap <= STATE_ID_GAP_MAX;
	case COMMAND_LEVEL:
		return command->level != 0 && command->level <= STATE_LEVEL;
	case COMMAND_REFUSED:
		return refused_ok(&command->refused);
	case COMMAND_SESSION_CLOSE:
		return left_ok(command);
	case COMMAND_SESSION_FENCE:
	case COMMAND_LEASE_GRANT:
	case COMMAND_LEASE_END:
	case COMMAND_FENCES_OWED:
	case COMMAND_RECOVERY:
	case COMMAND_ACCEPT:
		return true;
	}
	return false;
}

int entry_bounds_check(const struct log_command *command)
{
	if (!is_ok(command))
		return -EINVAL;
	return command->kind == COMMAND_ACCEPT ? check_accept(command->accept) : 0;
}
