/* status_json.c - the status for programs: everything that the master said, and the sums. */
#include <errno.h>
#include <jansson.h>
#include "common/cluster/cluster_map.h"
#include "tools/cli/cli.h"

static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* NULL: @list or @value is; a name that is not UTF-8 is not to be left out silently. */
static json_t *append(json_t *list, json_t *value)
{
	if (json_array_append_new(list, value) == 0)
		return list;
	json_decref(list);
	return NULL;
}

static const char *state_name(uint32_t state)
{
	return state == MEMBER_IN_SYNC   ? "in-sync"
	       : state == MEMBER_SYNCING ? "syncing"
					 : "offline";
}

static json_t *chains_json(const Catena__Pool *pool)
{
	json_t *list = json_array();

	for (size_t c = 0; c < pool->n_chains; c++) {
		const Catena__Chain *chain = pool->chains[c];
		json_t *members = json_array();

		for (size_t i = 0; i < chain->n_members; i++)
			members = append(members,
					 json_pack("{s:i, s:s}", "target",
						   (int)chain->members[i]->target_id, "state",
						   state_name(chain->members[i]->state)));
		list = append(list, json_pack("{s:i, s:o, s:o}", "partition", (int)c, "epoch",
					      number(chain->epoch), "members", members));
	}
	return list;
}

static json_t *pools_json(const Catena__ClusterMap *map)
{
	json_t *list = json_array();

	for (size_t i = 0; i < map->n_pools; i++) {
		const Catena__Pool *pool = map->pools[i];
		struct cli_health health = cli_pool_health(map, pool);

		list = append(list,
			      json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "id",
					(int)pool->id, "copies", (int)pool->copies, "chunk_size",
					(int)pool->chunk_size, "partitions", (int)pool->partitions,
					"whole", (int)health.whole, "degraded",
					(int)health.degraded, "unreachable", (int)health.lost,
					"syncing", (int)health.syncing, "placed",
					(int)health.placed, "chains", chains_json(pool)));
	}
	return list;
}

static json_t *target_json(const Catena__StatusReply *status, const Catena__Target *target)
{
	const Catena__TargetStatus *t = cli_target_status(status, target->id), none = {0};
	struct cli_catchup catchup = cli_catchup_of(status, target->id);
	char condition[160];

	if (t == NULL)
		t = &none;
	cli_condition(status, target, condition, sizeof(condition));
	return json_pack(
		"{s:i, s:s, s:o, s:o, s:b, s:b, s:i, s:o, s:i, s:i, s:i, s:i, s:s, s:{s:i, s:o, "
		"s:o, s:i}}",
		"id", (int)target->id, "uuid", target->uuid, "used", number(target->used),
		"capacity", number(target->capacity), "full", target->full, "draining",
		target->draining, "error", t->error, "out_seconds", number(t->out_seconds),
		"partitions", (int)cli_partitions_of(status->map, target->id), "in_sync",
		(int)t->in_sync, "heads", (int)t->heads, "fair", (int)t->fair, "condition",
		condition, "sync", "chains", (int)catchup.chains, "compared",
		number(catchup.compared), "copied", number(catchup.copied), "damaged",
		(int)catchup.damaged);
}

static json_t *servers_json(const Catena__StatusReply *status)
{
	const Catena__ClusterMap *map = status->map;
	json_t *list = json_array();

	for (size_t s = 0; s < map->n_servers; s++) {
		const Catena__Server *server = map->servers[s];
		json_t *targets = json_array();

		for (size_t t = 0; t < map->n_targets; t++)
			if (map->targets[t]->server_id == server->id)
				targets = append(targets, target_json(status, map->targets[t]));
		list = append(list,
			      json_pack("{s:o, s:s, s:s, s:b, s:i, s:s, s:s, s:s, s:o}", "id",
					number(server->id), "name", server->name, "address",
					server->address, "online", server->online, "workers",
					(int)server->workers, "host", server->host, "rack",
					server->rack, "zone", server->zone, "targets", targets));
	}
	return list;
}

static json_t *sessions_json(const Catena__StatusReply *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_sessions; i++)
		list = append(list, json_pack("{s:o, s:s, s:s, s:b}", "id",
					      number(status->sessions[i]->id), "name",
					      status->sessions[i]->name, "mount",
					      status->sessions[i]->mount, "online",
					      status->sessions[i]->online));
	return list;
}

static json_t *recovery_json(const Catena__StatusReply *status)
{
	const Catena__Recovery *recovery = status->recovery;
	struct cli_catchup catchup = cli_catchup_of(status, 0);
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_catchups; i++) {
		const Catena__CatchupProgress *p = status->catchups[i];

		list = append(list, json_pack("{s:i, s:i, s:o, s:i, s:o, s:o, s:b}", "pool",
					      (int)p->pool, "partition", (int)p->partition, "epoch",
					      number(p->epoch), "target", (int)p->target_id,
					      "compared", number(p->compared), "copied",
					      number(p->copied), "damaged", p->damaged));
	}
	return json_pack("{s:b, s:o, s:i, s:o, s:o, s:i, s:o}", "paused",
			 recovery != NULL && recovery->paused, "rate",
			 number(recovery == NULL ? 0 : recovery->rate), "syncing",
			 (int)catchup.chains, "compared", number(catchup.compared), "copied",
			 number(catchup.copied), "damaged", (int)catchup.damaged, "syncs", list);
}

static json_t *warnings_json(const Catena__StatusReply *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->n_warnings; i++)
		list = append(list, json_string(status->warnings[i]));
	return list;
}

int cli_status_json(FILE *out, const Catena__StatusReply *status)
{
	json_t *root = json_pack(
		"{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cluster",
		status->map->cluster, "map_version", number(status->map->version), "log_index",
		number(status->log_index), "store_error", status->store_error, "inodes",
		number(status->inodes), "orphans", number(status->orphans), "removal_queue",
		number(status->removal_queue), "recovery", recovery_json(status), "warnings",
		warnings_json(status), "pools", pools_json(status->map), "servers",
		servers_json(status), "sessions", sessions_json(status));

	if (root == NULL)
		return -EILSEQ;
	json_dumpf(root, out, JSON_INDENT(2));
	fputc('\n', out);
	json_decref(root);
	return 0;
}
