/* pools.c - placing the chains of the default pool, once, when enough targets are there. */
#define LOG_MODULE "pool"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/log.h"
#include "master/master.h"
#include "master/placement.h"

struct placing {
	struct command_sync sync;
	struct master *master;
};

static void placed(struct master *master)
{
	if (view_refresh(&master->view, master->state) != 0) {
		log_error("out of memory");
		return;
	}
	log_info("chains are placed pool=%u partitions=%u copies=%u", master->view.map->pools[0].id,
		 master->view.map->pools[0].partitions, master->view.map->pools[0].copies);
	master_publish(master);
}

/* On the log's thread. */
static void on_durable(struct command_sync *sync, int status)
{
	struct placing *placing = (struct placing *)sync;
	struct master *master = placing->master;

	master_lock(master);
	/* If not, it is applied all the same, and the next registration looks again. */
	master->placing = false;
	if (status == 0)
		placed(master);
	master_unlock(master);
	free(placing);
}

static void on_applied(void *user, uint64_t index, int status, const struct command_result *result)
{
	struct placing *placing = user;

	placing->sync.index = status == 0 ? index : 0;
	if (status != 0)
		log_error("chains cannot be placed error=\"%s\"", strerror(-status));
}

/* Targets of servers that are online. */
static size_t candidates(const struct cluster_map *map, struct placement_target *out)
{
	size_t count = 0;

	for (size_t i = 0; i < map->target_count; i++) {
		const struct map_target *target = &map->targets[i];
		const struct map_server *server = cluster_map_server(map, target->server_id);

		if (server == NULL || !server->online || target->full)
			continue;
		out[count++] = (struct placement_target){.id = target->id,
							 .domain = target->server_id,
							 .capacity = target->capacity};
	}
	return count;
}

static int compute(struct master *master, const struct map_pool *pool, struct map_chain *chains)
{
	const struct cluster_map *map = master->view.map;
	struct placement_target *targets = calloc(map->target_count + 1, sizeof(*targets));
	size_t count;
	int rc = -ENOMEM;

	if (targets == NULL)
		return rc;
	count = candidates(map, targets);
	if (count < master->config.initial_targets || count < pool->copies) {
		log_info("waiting for targets have=%zu want=%llu", count,
			 (unsigned long long)master->config.initial_targets);
		rc = -EAGAIN;
	} else {
		rc = placement_compute(targets, count, pool->copies, pool->partitions, chains);
		if (rc == -ENODEV)
			log_warn("waiting for targets reason=\"fewer servers than copies\" "
				 "copies=%u",
				 pool->copies);
	}
	free(targets);
	return rc;
}

void pools_place(struct master *master)
{
	const struct map_pool *pool = &master->view.map->pools[0];
	struct command command = {.kind = COMMAND_CHAINS};
	struct placing *placing;
	struct map_chain *chains;

	if (pool->chains[0].epoch != 0 || master->placing || command_log_error(master->log) != 0)
		return;
	placing = calloc(1, sizeof(*placing));
	chains = calloc(pool->partitions, sizeof(*chains));
	if (placing == NULL || chains == NULL || compute(master, pool, chains) != 0)
		goto out;
	placing->sync.done = on_durable;
	placing->master = master;
	command.chains.pool = pool->id;
	command.chains.chains = chains;
	command.chains.count = pool->partitions;
	command_log_propose(master->log, &command, on_applied, placing);
	if (placing->sync.index == 0)
		goto out;
	master->placing = true;
	command_log_sync(master->log, &placing->sync);
	placing = NULL;
out:
	free(placing);
	free(chains);
}

void master_publish(struct master *master)
{
	if (view_publish(&master->view) != 0)
		return;
	clients_push_map(master);
	chunkservers_push_map(master);
}
