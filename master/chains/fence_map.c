/* fence_map.c - see fence_map.h. */
#include "master/chains/fence_map.h"
#include <stdbool.h>

static bool loses(const struct cluster_map *map, const struct map_chain *next,
		  const struct map_chain *shown, uint64_t server)
{
	for (uint32_t i = 0; i < shown->count; i++) {
		uint32_t target = shown->members[i].target_id;
		const struct map_target *is = cluster_map_target(map, target);
		int at = cluster_map_chain_index(next, target);

		if (shown->members[i].state == MEMBER_IN_SYNC && is != NULL &&
		    is->server_id == server &&
		    (at < 0 || next->members[at].state != MEMBER_IN_SYNC))
			return true;
	}
	return false;
}

void fence_map_restrict(struct cluster_map *next, const struct cluster_map *shown, uint64_t server)
{
	for (size_t i = 0; i < next->pool_count; i++) {
		for (uint32_t p = 0; p < next->pools[i].partitions; p++) {
			struct map_chain *chain = &next->pools[i].chains[p];
			const struct map_chain *old =
				cluster_map_chain(shown, next->pools[i].id, p);

			if (old != NULL && old->epoch != chain->epoch &&
			    !loses(next, chain, old, server))
				*chain = *old;
		}
	}
}
