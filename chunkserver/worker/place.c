/* The chains that a worker has by the cluster map, and the partitions that are to be purged.
 *
 * A map comes whole each time one partition changes. So a chain of the same epoch is passed over,
 * and so are all links while the servers' addresses stay. */
#include "chunkserver/worker/place.h"
#include <stdlib.h>
#include <string.h>
#include "chunkserver/worker/fence.h"
#include "chunkserver/worker/links.h"
#include "chunkserver/worker/members.h"
#include "chunkserver/worker/purge.h"
#include "common/base/expects.h"

static void fill_config(const struct cluster_map *map, const struct map_pool *pool,
			const struct map_chain *chain, uint32_t target_id,
			struct chain_config *config)
{
	memset(config, 0, sizeof(*config));
	config->epoch = chain->epoch;
	config->chunk_size = pool->chunk_size;
	config->self = cluster_map_chain_index(chain, target_id);
	config->count = chain->count;
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct map_target *target =
			cluster_map_target(map, chain->members[i].target_id);

		config->members[i].target_id = chain->members[i].target_id;
		config->members[i].server_id = target != NULL ? target->server_id : 0;
		config->members[i].state = chain->members[i].state;
	}
}

/* Places one partition on one target. A target that is no member gets no chain; a chain that it has
 * is told so, before its chunks are deleted. */
static void place_on(struct worker *worker, struct worker_target *target,
		     const struct map_pool *pool, uint32_t partition)
{
	const struct map_chain *chain = &pool->chains[partition];
	struct chain_config config;
	struct member *member;

	if (!target_entry_is_in(&target->entry) || purge_list_holds(target, pool->id, partition))
		return;
	member = member_find(worker, pool->id, partition, target->entry.target_id);
	fill_config(worker->map, pool, chain, target->entry.target_id, &config);
	if (member == NULL && config.self >= 0)
		member = member_add(worker, target, pool->id, partition);
	if (member != NULL) {
		expects(member->target == target);
		chain_configure(member->chain, &config);
		member->configured = true;
	}
	if (config.self < 0)
		purge_list_add(target, pool->id, partition);
}

static void choose_links(struct worker *worker, bool all)
{
	struct member *member;

	DL_FOREACH(worker->member_list, member)
	{
		if (all || member->configured)
			link_choose(worker, member, member->configured);
		member->configured = false;
	}
}

void place_again(struct worker *worker, uint32_t pool_id, uint32_t partition)
{
	const struct map_pool *pool =
		worker->map != NULL ? cluster_map_pool(worker->map, pool_id) : NULL;

	if (pool == NULL || partition >= pool->partitions)
		return;
	for (unsigned i = 0; i < worker->options.store_count; i++)
		place_on(worker, &worker->targets[i], pool, partition);
	choose_links(worker, false);
}

/* True when no server has another address or number of workers. */
static bool same_servers(const struct cluster_map *old, const struct cluster_map *map)
{
	if (old == NULL || old->server_count != map->server_count)
		return false;
	for (size_t i = 0; i < map->server_count; i++) {
		const struct map_server *a = &old->servers[i], *b = &map->servers[i];

		if (a->id != b->id || a->workers != b->workers ||
		    strcmp(a->address, b->address) != 0)
			return false;
	}
	return true;
}

/* Has all partitions placed by the next place_all(). */
static void place_forget(struct worker *worker)
{
	cluster_map_unref(worker->placed);
	worker->placed = NULL;
}

static void place_all(struct worker *worker)
{
	struct cluster_map *map = worker->map, *old = worker->placed;

	if (map == NULL || worker->server_id == 0 || map == old)
		return;
	expects(old == NULL || old->version <= map->version);
	worker_time(worker);
	for (size_t i = 0; i < map->pool_count; i++) {
		const struct map_pool *pool = &map->pools[i];
		const struct map_pool *before =
			old != NULL ? cluster_map_pool(old, pool->id) : NULL;

		for (uint32_t p = worker->options.index; p < pool->partitions;
		     p += worker->options.workers) {
			if (before != NULL && p < before->partitions &&
			    before->chains[p].epoch == pool->chains[p].epoch)
				continue;
			for (unsigned t = 0; t < worker->options.store_count; t++)
				place_on(worker, &worker->targets[t], pool, p);
		}
	}
	choose_links(worker, !same_servers(old, map));
	worker->placed = cluster_map_ref(map);
	cluster_map_unref(old);
	worker_execute(worker);
	worker_fence_placed(worker);
}

void place_registered(struct worker *worker, uint64_t server_id, const uint32_t *target_ids,
		      uint64_t map_version)
{
	worker->server_id = server_id;
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		if (target_entry_registered(&worker->targets[i].entry, target_ids[i], map_version))
			place_forget(worker);
	}
	place_all(worker);
}

bool place_map(struct worker *worker, struct cluster_map *map)
{
	if (worker->map != NULL && map->version < worker->map->version)
		return false;
	for (unsigned i = 0; i < worker->options.store_count; i++) {
		if (target_entry_map(&worker->targets[i].entry, map->version))
			place_forget(worker);
	}
	cluster_map_ref(map);
	cluster_map_unref(worker->map);
	worker->map = map;
	/* First, or held updates of ended sessions might be accepted. */
	worker_fence_map(worker);
	place_all(worker);
	return true;
}
