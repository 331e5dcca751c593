#include "chunkserver/server/own_targets.h"
#include <inttypes.h>
#include "chunkserver/record/seen.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

uint64_t own_targets_instance(struct store *const *stores, unsigned count)
{
	uint64_t instance = 0;

	for (unsigned i = 0; i < count && instance == 0; i++)
		instance = store_instance(stores[i]);
	return instance;
}

bool own_targets_overtaken(struct store *const *stores, unsigned count,
			   const struct master_identity *master)
{
	for (unsigned i = 0; i < count; i++) {
		struct store_seen seen;

		store_seen(stores[i], &seen);
		if (!seen_overtakes(&seen, master->life, master->chance))
			continue;
		log_error("another master of this cluster has been started since this one, from a "
			  "copy of its store or a newer one: end one of the two uuid=%s "
			  "life=%" PRIu64 " seen=%" PRIu64,
			  store_uuid(stores[i]), master->life, seen.life);
		return true;
	}
	return false;
}

bool own_targets_ahead(struct store *const *stores, unsigned count, const struct cluster_map *map)
{
	for (unsigned i = 0; i < count; i++) {
		struct store_seen seen;

		store_seen(stores[i], &seen);
		if (!seen_is_ahead(&seen, map->version))
			continue;
		log_error("the map is older than one that a target has gone by: it is not taken "
			  "uuid=%s version=%" PRIu64 " seen=%" PRIu64,
			  store_uuid(stores[i]), map->version, seen.version);
		return true;
	}
	return false;
}

bool own_targets_see_master(struct store *const *stores, const uint32_t *ids, unsigned count,
			    const struct master_identity *master, uint64_t server_id)
{
	bool all = true;

	for (unsigned i = 0; i < count; i++) {
		struct store_seen seen;

		store_seen(stores[i], &seen);
		seen_registered(&seen, master->life, master->chance, master->index);
		if (ids[i] != 0) {
			seen.server_id = server_id;
			seen.target_id = ids[i];
		}
		if (store_set_seen(stores[i], &seen) < 0)
			all = false;
	}
	return all;
}

void own_targets_see_index(struct store *const *stores, unsigned count, uint64_t index)
{
	for (unsigned i = 0; i < count; i++)
		/* A target that is down need not know. */
		(void)store_set_seen_index(stores[i], index);
}

bool own_targets_see_map(struct store *const *stores, const uint32_t *ids, unsigned count,
			 const struct cluster_map *map)
{
	bool all = true;

	for (unsigned i = 0; i < count; i++)
		if (ids[i] != 0 && store_set_seen_map(stores[i], map) < 0)
			all = false;
	return all;
}

static bool is_ours(const uint32_t *ids, unsigned count, uint32_t target_id)
{
	for (unsigned i = 0; i < count; i++) {
		if (ids[i] == target_id)
			return true;
	}
	return false;
}

static bool is_left_to(const uint32_t *ids, unsigned count, const struct map_chain *chain)
{
	bool here = false, elsewhere = false;

	for (uint32_t i = 0; i < chain->count; i++) {
		const struct chain_member *member = &chain->members[i];
		bool ours = is_ours(ids, count, member->target_id);

		here = here || (ours && member->state != MEMBER_OFFLINE);
		elsewhere = elsewhere || (!ours && member->state == MEMBER_IN_SYNC);
	}
	return here && elsewhere;
}

bool own_targets_needed(const uint32_t *ids, unsigned count, const struct cluster_map *map)
{
	for (size_t i = 0; map != NULL && i < map->pool_count; i++) {
		const struct map_pool *pool = &map->pools[i];

		for (uint32_t p = 0; p < pool->partitions; p++) {
			if (is_left_to(ids, count, &pool->chains[p]))
				return true;
		}
	}
	return false;
}
