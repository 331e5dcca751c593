/* drain.c - catena drain: a target, or all of a server, gives its partitions away. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli/cli.h"

#define LOOK_SECONDS 2u

static bool is_named(const Catena__ClusterMap *map, const Catena__Target *target, const char *word)
{
	const Catena__Server *server = cli_server_of(map, target->id);
	char *end;
	unsigned long id = strtoul(word, &end, 10);

	return (word[0] != '\0' && *end == '\0' && id == target->id) ||
	       strcasecmp(word, target->uuid) == 0 ||
	       (server != NULL && strcmp(word, server->name) == 0);
}

size_t cli_targets_named(const Catena__ClusterMap *map, const char *word, uint32_t **out)
{
	size_t count = 0;

	*out = calloc(map->n_targets + 1, sizeof(**out));
	for (size_t t = 0; *out != NULL && t < map->n_targets; t++)
		if (is_named(map, map->targets[t], word))
			(*out)[count++] = map->targets[t]->id;
	return count;
}

static bool listed(const uint32_t *ids, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* What is going to happen, as far as it can be known from here. */
static void foretell(const Catena__ClusterMap *map, const uint32_t *ids, size_t count, bool undo)
{
	uint64_t used = 0, room = 0;
	uint32_t copies = 0;
	size_t left = 0;
	char text[32], free_text[32];

	for (size_t t = 0; t < map->n_targets; t++) {
		const Catena__Target *target = map->targets[t];
		const Catena__Server *server = cli_server_of(map, target->id);

		if (!listed(ids, count, target->id)) {
			left += !target->draining;
			if (!target->draining && target->capacity > target->used)
				room += target->capacity - target->used;
			continue;
		}
		used += target->used;
		printf("target %u (%s, %s): %u partitions, %s%s\n", target->id,
		       server == NULL ? "?" : server->name, target->uuid,
		       cli_partitions_of(map, target->id), cli_size(target->used, text),
		       undo && !target->draining   ? "; was not draining"
		       : !undo && target->draining ? "; is draining already"
						   : "");
	}
	if (undo) {
		printf("gets partitions again; what has moved away comes back by and by\n");
		return;
	}
	for (size_t p = 0; p < map->n_pools; p++)
		if (map->pools[p]->copies > copies)
			copies = map->pools[p]->copies;
	printf("gives its partitions to %zu other targets with %s free; every copy stays until its "
	       "substitute is complete\n",
	       left, cli_size(room, free_text));
	if (left < copies)
		printf("note: %u copies need %u targets: partitions stay until there are more\n",
		       copies, copies);
	if (used > room)
		printf("note: there is not enough room on the others\n");
}

/* Until they are empty. Interrupting it ends the looking only. */
static int watch(const struct cli_options *options, struct rpc_client *client, const uint32_t *ids,
		 size_t count)
{
	for (;;) {
		Catena__StatusReply *status = NULL;
		unsigned partitions = 0;
		struct cli_catchup catchup;
		char copied[32];
		int rc = cli_status_fetch(options, client, &status);

		if (rc != 0)
			return rc;
		for (size_t i = 0; i < count; i++)
			partitions += cli_partitions_of(status->map, ids[i]);
		catchup = cli_catchup_of(status, 0);
		printf("%u partitions left, %u members syncing, %s copied%s\n", partitions,
		       catchup.chains, cli_size(catchup.copied, copied),
		       status->recovery != NULL && status->recovery->paused ? " (paused)" : "");
		fflush(stdout);
		catena__status_reply__free_unpacked(status, NULL);
		if (partitions == 0)
			return 0;
		sleep(LOOK_SECONDS);
	}
}

static int drain(const struct cli_options *options, struct rpc_client *client, uint32_t *ids,
		 size_t count)
{
	Catena__DrainRequest drain_request = CATENA__DRAIN_REQUEST__INIT;
	Catena__AdminRequest request = CATENA__ADMIN_REQUEST__INIT;
	int rc;

	drain_request.n_target_ids = count;
	drain_request.target_ids = ids;
	drain_request.undo = options->undo;
	request.op_case = CATENA__ADMIN_REQUEST__OP_DRAIN;
	request.drain = &drain_request;
	rc = cli_admin(options, client, "drain", &request, "done");
	if (rc == 0 && options->wait && !options->undo)
		rc = watch(options, client, ids, count);
	return rc;
}

int cli_run_drain(const struct cli_options *options, struct rpc_client *client, char **arguments,
		  unsigned count)
{
	Catena__StatusReply *status = NULL;
	uint32_t *ids = NULL;
	size_t targets;
	int rc = cli_status_fetch(options, client, &status);

	if (rc != 0)
		return rc;
	targets = cli_targets_named(status->map, arguments[0], &ids);
	if (targets > 0) {
		foretell(status->map, ids, targets, options->undo);
		rc = drain(options, client, ids, targets);
	} else {
		fprintf(stderr,
			"catena: drain: %s is no target's number or UUID and no server's name\n",
			arguments[0]);
		rc = 1;
	}
	free(ids);
	catena__status_reply__free_unpacked(status, NULL);
	return rc;
}
