/* registration.c - servers come, with their targets, and get their ids. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "master/records/core.h"
#include "master/state/state.h"

static struct map_server *server_by_name(const struct cluster *cluster, const char *name)
{
	for (size_t i = 0; i < cluster->server_count; i++)
		if (strcmp(cluster->servers[i].name, name) == 0)
			return &cluster->servers[i];
	return NULL;
}

static struct state_target *target_by_uuid(const struct cluster *cluster, const char *uuid)
{
	for (size_t i = 0; i < cluster->target_count; i++)
		if (strcmp(cluster->targets[i].uuid, uuid) == 0)
			return &cluster->targets[i];
	return NULL;
}

static bool terminated(const char *text, size_t room)
{
	return memchr(text, '\0', room) != NULL;
}

static bool registration_ok(const struct state_registration *registration)
{
	const struct map_server *server = registration->server;
	const struct state_registered_target *targets = registration->targets;
	size_t count = registration->target_count;

	if (!terminated(server->name, sizeof(server->name)) || server->name[0] == '\0' ||
	    !terminated(server->address, sizeof(server->address)) ||
	    !terminated(server->host, sizeof(server->host)) ||
	    !terminated(server->rack, sizeof(server->rack)) ||
	    !terminated(server->zone, sizeof(server->zone)) || server->workers == 0 ||
	    server->workers > STATE_WORKERS_MAX || count > STATE_REGISTERED_MAX)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!terminated(targets[i].uuid, sizeof(targets[i].uuid)) ||
		    targets[i].uuid[0] == '\0')
			return false;
		for (size_t j = 0; j < i; j++)
			if (strcmp(targets[i].uuid, targets[j].uuid) == 0)
				return false;
	}
	return true;
}

static bool same_server(const struct map_server *a, const struct map_server *b)
{
	return a->workers == b->workers && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->rack, b->rack) == 0 &&
	       strcmp(a->zone, b->zone) == 0;
}

/* What the proposer decided by must not have changed: of two copies of a target, or of a name, that
 * were both looked up before either was here, the first is taken. */
static bool is_as_known(const struct cluster *cluster,
			const struct state_registration *registration)
{
	const struct map_server *server = server_by_name(cluster, registration->server->name);

	if (registration->known_id != (server == NULL ? 0 : server->id) ||
	    strcmp(registration->known_address, server == NULL ? "" : server->address) != 0)
		return false;
	for (size_t i = 0; i < registration->target_count; i++) {
		const struct state_registered_target *from = &registration->targets[i];
		const struct state_target *target = target_by_uuid(cluster, from->uuid);

		if (from->known_server != (target == NULL ? 0 : target->server_id) ||
		    from->known_life != (target == NULL ? 0 : target->life))
			return false;
	}
	return true;
}

static bool has_room(const struct cluster *cluster, const struct state_registration *registration)
{
	size_t targets = cluster->target_count, servers = cluster->server_count;

	servers += server_by_name(cluster, registration->server->name) == NULL ? 1 : 0;
	for (size_t i = 0; i < registration->target_count; i++)
		targets += target_by_uuid(cluster, registration->targets[i].uuid) == NULL ? 1 : 0;
	/* What came before the bounds may go on. */
	return (servers <= STATE_SERVERS_MAX || servers == cluster->server_count) &&
	       (targets <= STATE_TARGETS_MAX || targets == cluster->target_count);
}

/* 0, or why it is refused. */
static int check(const struct cluster *cluster, const struct state_registration *registration)
{
	if (!registration_ok(registration))
		return -EINVAL;
	if (!is_as_known(cluster, registration))
		return -EBUSY;
	return has_room(cluster, registration) ? 0 : -EUSERS;
}

/* Makes room for all that a registration may add, so that nothing can fail after the write. */
static int reserve(struct cluster *cluster, size_t targets)
{
	struct map_server *servers =
		realloc(cluster->servers, (cluster->server_count + 1) * sizeof(*servers));
	struct state_target *bigger;

	if (servers == NULL)
		return -ENOMEM;
	cluster->servers = servers;
	bigger = realloc(cluster->targets, (cluster->target_count + targets + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	cluster->targets = bigger;
	return 0;
}

/* Returns the record of a target of this server from now on; *changed when that is news. */
static struct state_target make_target(struct txn *txn, const char *uuid, uint64_t server_id,
				       bool *changed)
{
	const struct state_target *known = target_by_uuid(&txn->state->cluster, uuid);
	struct state_target target = {0};

	*changed = known == NULL || known->server_id != server_id;
	if (known != NULL) {
		target = *known;
	} else {
		target.id = txn->counters.next_target++;
		memcpy(target.uuid, uuid, strlen(uuid) + 1);
	}
	target.server_id = server_id;
	return target;
}

static void take_server(struct cluster *cluster, const struct map_server *server)
{
	struct map_server *known = server_by_name(cluster, server->name);

	/* New ids are the highest, so the array stays in order. */
	if (known == NULL)
		known = &cluster->servers[cluster->server_count++];
	*known = *server;
}

static void take_target(struct cluster *cluster, const struct state_target *target)
{
	struct state_target *known = target_by_uuid(cluster, target->uuid);

	if (known == NULL)
		known = &cluster->targets[cluster->target_count++];
	*known = *target;
}

int state_apply_register(struct state *state, uint64_t index,
			 const struct state_registration *registration)
{
	const struct map_server *known, *server = registration->server;
	size_t target_count = registration->target_count;
	struct cluster *cluster = &state->cluster;
	struct state_target made[STATE_REGISTERED_MAX];
	struct map_server is = *server;
	struct txn *txn;
	bool changed, news;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	rc = check(cluster, registration);
	if (rc == 0)
		rc = reserve(cluster, target_count);
	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	known = server_by_name(cluster, server->name);
	news = known == NULL || !same_server(known, server);
	is.id = known != NULL ? known->id : txn->counters.next_server++;
	is.online = false; /* liveness is not the state's */
	if (news)
		cluster_put_server(txn->batch, &is);
	for (size_t i = 0; i < target_count; i++) {
		made[i] = make_target(txn, registration->targets[i].uuid, is.id, &changed);
		if (changed)
			cluster_put_target(txn->batch, &made[i]);
		news |= changed;
	}
	/* A server that only came back changes no map. */
	if (news)
		txn->counters.map_version++;
	rc = txn_commit(txn, index);
	if (rc != 0)
		return rc;
	take_server(cluster, &is);
	for (size_t i = 0; i < target_count; i++)
		take_target(cluster, &made[i]);
	return 0;
}

void state_registration_read(const struct state *state, struct state_registration *registration)
{
	const struct map_server *server =
		server_by_name(&state->cluster, registration->server->name);

	registration->known_id = server == NULL ? 0 : server->id;
	snprintf(registration->known_address, sizeof(registration->known_address), "%s",
		 server == NULL ? "" : server->address);
	for (size_t i = 0; i < registration->target_count; i++) {
		struct state_registered_target *to = &registration->targets[i];
		const struct state_target *target = target_by_uuid(&state->cluster, to->uuid);

		to->known_server = target == NULL ? 0 : target->server_id;
		to->known_life = target == NULL ? 0 : target->life;
	}
}

uint64_t state_server_id(const struct state *state, const char *name)
{
	const struct map_server *server = server_by_name(&state->cluster, name);

	return server == NULL ? 0 : server->id;
}

uint32_t state_target_id(const struct state *state, const char *uuid)
{
	const struct state_target *target = target_by_uuid(&state->cluster, uuid);

	return target == NULL ? 0 : target->id;
}

uint64_t state_target_life(const struct state *state, const char *uuid)
{
	const struct state_target *target = target_by_uuid(&state->cluster, uuid);

	return target == NULL ? 0 : target->life;
}
