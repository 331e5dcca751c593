/* hearing_rules.c - see hearing_rules.h. */
#include "master/older_store/hearing_rules.h"
#include <string.h>

static void look_at(const struct map_chain *chain,
		    enum hearing_state (*state_of)(const void *user, uint32_t target),
		    const void *user, struct heard *heard)
{
	bool spoken = chain->count == 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		uint32_t target = chain->members[i].target_id;
		enum hearing_state state;

		if (chain->members[i].state == MEMBER_OFFLINE)
			continue;
		state = state_of(user, target);
		if (state == HEARING_SILENT)
			heard->missing = target;
		spoken = spoken ||
			 (state == HEARING_HERE && chain->members[i].state == MEMBER_IN_SYNC);
	}
	heard->chain_silent = heard->chain_silent || !spoken;
}

static bool map_has_chain(const struct cluster_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++)
			if (map->pools[i].chains[p].count != 0)
				return true;
	return false;
}

/* While nothing is placed yet, which a copy of the store may be older than, all targets count. */
struct heard hearing_rules_count(const struct cluster_map *map,
				 enum hearing_state (*state_of)(const void *user, uint32_t target),
				 const void *user)
{
	struct heard heard = {0};

	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++)
			look_at(&map->pools[i].chains[p], state_of, user, &heard);
	heard.placed = map_has_chain(map);
	if (heard.placed)
		return heard;
	for (size_t i = 0; i < map->target_count; i++)
		if (state_of(user, map->targets[i].id) == HEARING_SILENT)
			heard.missing = map->targets[i].id;
	return heard;
}

bool hearing_rules_take(const struct cluster_map *map, const char *const *uuids, size_t count)
{
	for (size_t i = 0; i < map->target_count; i++)
		for (size_t j = 0; j < count; j++)
			if (strcmp(map->targets[i].uuid, uuids[j]) == 0)
				return true;
	return map->target_count == 0;
}

bool hearing_rules_enough(const struct heard *heard, uint64_t waited_ns, uint64_t wait_ns)
{
	if (heard->missing == 0 || waited_ns >= wait_ns)
		return true;
	return !heard->chain_silent && waited_ns >= HEARING_SHORT_NS;
}
