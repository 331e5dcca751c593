/* summary.c - see cli.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/cluster_map.h"
#include "tools/cli/cli.h"

const Catena__Target *cli_target(const Catena__ClusterMap *map, uint32_t target_id)
{
	for (size_t t = 0; t < map->n_targets; t++)
		if (map->targets[t]->id == target_id)
			return map->targets[t];
	return NULL;
}

const Catena__Server *cli_server_of(const Catena__ClusterMap *map, uint32_t target_id)
{
	const Catena__Target *target = cli_target(map, target_id);

	for (size_t s = 0; target != NULL && s < map->n_servers; s++)
		if (map->servers[s]->id == target->server_id)
			return map->servers[s];
	return NULL;
}

const Catena__TargetStatus *cli_target_status(const Catena__StatusReply *status, uint32_t target_id)
{
	for (size_t i = 0; i < status->n_targets; i++)
		if (status->targets[i]->id == target_id)
			return status->targets[i];
	return NULL;
}

static void check_chain(const Catena__ClusterMap *map, const Catena__Pool *pool,
			const Catena__Chain *chain, struct cli_health *health)
{
	unsigned good = 0, syncing = 0;

	if (chain->epoch == 0)
		return;
	for (size_t i = 0; i < chain->n_members; i++) {
		const Catena__Server *server = cli_server_of(map, chain->members[i]->target_id);

		if (server == NULL || !server->online)
			continue;
		good += chain->members[i]->state == MEMBER_IN_SYNC;
		syncing += chain->members[i]->state == MEMBER_SYNCING;
	}
	health->placed++;
	health->syncing += syncing > 0;
	if (good == 0)
		health->lost++;
	else if (good < pool->copies)
		health->degraded++;
	else
		health->whole++;
}

struct cli_health cli_pool_health(const Catena__ClusterMap *map, const Catena__Pool *pool)
{
	struct cli_health health = {0};

	for (size_t i = 0; i < pool->n_chains; i++)
		check_chain(map, pool, pool->chains[i], &health);
	return health;
}

static const Catena__ChainMember *member_of(const Catena__Chain *chain, uint32_t target_id)
{
	for (size_t i = 0; i < chain->n_members; i++)
		if (chain->members[i]->target_id == target_id)
			return chain->members[i];
	return NULL;
}

unsigned cli_partitions_of(const Catena__ClusterMap *map, uint32_t target_id)
{
	unsigned count = 0;

	for (size_t p = 0; p < map->n_pools; p++)
		for (size_t c = 0; c < map->pools[p]->n_chains; c++)
			count += member_of(map->pools[p]->chains[c], target_id) != NULL;
	return count;
}

static unsigned syncing_chains(const Catena__ClusterMap *map, uint32_t target_id)
{
	unsigned count = 0;

	for (size_t p = 0; p < map->n_pools; p++) {
		for (size_t c = 0; c < map->pools[p]->n_chains; c++) {
			const Catena__Chain *chain = map->pools[p]->chains[c];

			for (size_t i = 0; i < chain->n_members; i++)
				count += chain->members[i]->state == MEMBER_SYNCING &&
					 (target_id == 0 ||
					  chain->members[i]->target_id == target_id);
		}
	}
	return count;
}

struct cli_catchup cli_catchup_of(const Catena__StatusReply *status, uint32_t target_id)
{
	struct cli_catchup catchup = {.chains = syncing_chains(status->map, target_id)};

	for (size_t i = 0; i < status->n_catchups; i++) {
		const Catena__CatchupProgress *progress = status->catchups[i];

		if (target_id != 0 && progress->target_id != target_id)
			continue;
		catchup.compared += progress->compared;
		catchup.copied += progress->copied;
		catchup.damaged += progress->damaged ? 1 : 0;
	}
	return catchup;
}

const char *cli_size(uint64_t bytes, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1024 && unit < 6; unit++)
		value /= 1024;
	snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
	return out;
}

const char *cli_duration(uint64_t seconds, char out[32])
{
	static const struct {
		uint64_t seconds, until;
		const char *unit;
	} steps[] = {
		{1, 120, "s"}, {60, 7200, "min"}, {3600, 172800, "h"}, {86400, UINT64_MAX, "d"}};
	size_t i = 0;

	while (seconds >= steps[i].until)
		i++;
	snprintf(out, 32, "%llu %s", (unsigned long long)(seconds / steps[i].seconds),
		 steps[i].unit);
	return out;
}

void cli_recovery(const Catena__Recovery *recovery, char *out, size_t size)
{
	char rate[32];

	if (recovery != NULL && recovery->paused)
		snprintf(out, size, "paused");
	else if (recovery != NULL && recovery->rate != 0)
		snprintf(out, size, "at most %s/s a server", cli_size(recovery->rate, rate));
	else
		snprintf(out, size, "as users leave room");
}

__attribute__((format(printf, 3, 4))) static void add(char *out, size_t size, const char *format,
						      ...)
{
	size_t used = strlen(out);
	va_list args;

	if (used > 0 && used + 2 < size)
		used += (size_t)snprintf(out + used, size - used, ", ");
	va_start(args, format);
	vsnprintf(out + used, size - used, format, args);
	va_end(args);
}

void cli_condition(const Catena__StatusReply *status, const Catena__Target *target, char *out,
		   size_t size)
{
	const Catena__TargetStatus *t = cli_target_status(status, target->id);
	unsigned partitions = cli_partitions_of(status->map, target->id);
	char text[32];

	out[0] = '\0';
	if (t != NULL && t->error != 0)
		add(out, size, "failed: %s", strerror(t->error < 0 ? -t->error : t->error));
	if (t != NULL && t->out_seconds > 0)
		add(out, size, "out %s", cli_duration(t->out_seconds, text));
	if (target->full)
		add(out, size, "full");
	if (target->draining && partitions > 0)
		add(out, size, "draining, %u partitions left", partitions);
	else if (target->draining)
		add(out, size, "drained: may be taken away");
	if (out[0] == '\0')
		snprintf(out, size, "ok");
}
