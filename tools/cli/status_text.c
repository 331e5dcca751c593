/* status_text.c - the status for people. */
#include <inttypes.h>
#include "tools/cli/cli.h"

static void print_pools(FILE *out, const Catena__ClusterMap *map)
{
	char size[32];

	for (size_t i = 0; i < map->n_pools; i++) {
		const Catena__Pool *pool = map->pools[i];
		struct cli_health health = cli_pool_health(map, pool);

		fprintf(out,
			"pool     %u  copies %u  chunk %s  partitions %u: %u whole, %u degraded, "
			"%u without any member, %zu not placed\n",
			pool->id, pool->copies, cli_size(pool->chunk_size, size), pool->partitions,
			health.whole, health.degraded, health.lost, pool->n_chains - health.placed);
	}
}

static void print_recovery(FILE *out, const Catena__StatusReply *status)
{
	struct cli_catchup catchup = cli_catchup_of(status, 0);
	char how[64], copied[32];

	cli_recovery(status->recovery, how, sizeof(how));
	if (catchup.chains == 0) {
		fprintf(out, "recovery nothing to do (%s)\n", how);
		return;
	}
	fprintf(out, "recovery %u members syncing: %" PRIu64 " chunks compared, %s copied (%s)\n",
		catchup.chains, catchup.compared, cli_size(catchup.copied, copied), how);
	if (catchup.damaged > 0)
		fprintf(out,
			"         %u of them cannot be made whole: their source has chunks that "
			"cannot be read\n",
			catchup.damaged);
}

static void print_target(FILE *out, const Catena__StatusReply *status, const Catena__Server *server,
			 const Catena__Target *target)
{
	const Catena__TargetStatus *t = cli_target_status(status, target->id);
	struct cli_catchup catchup = cli_catchup_of(status, target->id);
	char used[32], capacity[32], copied[32], condition[160];

	cli_condition(status, target, condition, sizeof(condition));
	fprintf(out, "%-16s %-8s %-22s %6u %10s %10s %5u/%-5u %s", server->name,
		server->online ? "online" : "offline", server->address, target->id,
		cli_size(target->used, used), cli_size(target->capacity, capacity),
		cli_partitions_of(status->map, target->id), t == NULL ? 0 : t->fair, condition);
	if (catchup.chains > 0)
		fprintf(out, ", syncing %u: %" PRIu64 " chunks, %s", catchup.chains,
			catchup.compared, cli_size(catchup.copied, copied));
	fputc('\n', out);
}

static void print_targets(FILE *out, const Catena__StatusReply *status)
{
	const Catena__ClusterMap *map = status->map;

	fprintf(out, "\n%-16s %-8s %-22s %6s %10s %10s %-11s %s\n", "SERVER", "STATE", "ADDRESS",
		"TARGET", "USED", "CAPACITY", " PARTS/FAIR", "CONDITION");
	for (size_t s = 0; s < map->n_servers; s++) {
		for (size_t t = 0; t < map->n_targets; t++)
			if (map->targets[t]->server_id == map->servers[s]->id)
				print_target(out, status, map->servers[s], map->targets[t]);
	}
}

void cli_status_text(FILE *out, const char *master, const Catena__StatusReply *status)
{
	fprintf(out, "cluster  %s\n", status->map->cluster);
	fprintf(out, "master   %s  map %" PRIu64 "  log %" PRIu64 "  store %s\n", master,
		status->map->version, status->log_index,
		status->store_error[0] == '\0' ? "ok" : status->store_error);
	print_pools(out, status->map);
	print_recovery(out, status);
	fprintf(out,
		"files    %" PRIu64 " inodes  %" PRIu64 " orphans  %" PRIu64 " to be removed\n",
		status->inodes, status->orphans, status->removal_queue);
	for (size_t i = 0; i < status->n_warnings; i++)
		fprintf(out, "WARNING  %s\n", status->warnings[i]);
	print_targets(out, status);
	fprintf(out, "\n%-16s %-8s %-22s %s\n", "CLIENT", "STATE", "SESSION", "MOUNT");
	for (size_t i = 0; i < status->n_sessions; i++)
		fprintf(out, "%-16s %-8s %-22" PRIu64 " %s\n", status->sessions[i]->name,
			status->sessions[i]->online ? "online" : "silent", status->sessions[i]->id,
			status->sessions[i]->mount);
}
