#include "common/cluster/cluster_map.h"
#include <stdatomic.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/cluster/cluster_map_internal.h"

/* map stands first, so that a pointer to it is one to its box. */
struct map_box {
	struct cluster_map map;
	atomic_uint refs;
};

struct cluster_map *cluster_map_alloc(void)
{
	struct map_box *box = calloc(1, sizeof(*box));

	if (box == NULL)
		return NULL;
	atomic_store_explicit(&box->refs, 1, memory_order_relaxed);
	return &box->map;
}

struct cluster_map *cluster_map_ref(struct cluster_map *map)
{
	struct map_box *box = (struct map_box *)map;
	unsigned before = atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);

	expects(before > 0);
	return map;
}

void cluster_map_unref(struct cluster_map *map)
{
	struct map_box *box = (struct map_box *)map;
	unsigned before;

	if (map == NULL)
		return;
	before = atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel);
	expects(before > 0);
	if (before > 1)
		return;
	for (size_t i = 0; map->pools != NULL && i < map->pool_count; i++)
		free(map->pools[i].chains);
	free(map->pools);
	free(map->servers);
	free(map->targets);
	free(map->fenced);
	free(box);
}

/* The arrays are sorted by id: see cluster_map.h. */
#define FIND(array, count, wanted)                                                                 \
	do {                                                                                       \
		size_t low_ = 0, high_ = (count);                                                  \
		while (low_ < high_) {                                                             \
			size_t middle_ = low_ + (high_ - low_) / 2;                                \
			if ((array)[middle_].id == (wanted))                                       \
				return &(array)[middle_];                                          \
			if ((array)[middle_].id < (wanted))                                        \
				low_ = middle_ + 1;                                                \
			else                                                                       \
				high_ = middle_;                                                   \
		}                                                                                  \
		return NULL;                                                                       \
	} while (0)

const struct map_pool *cluster_map_pool(const struct cluster_map *map, uint32_t pool)
{
	FIND(map->pools, map->pool_count, pool);
}

const struct map_target *cluster_map_target(const struct cluster_map *map, uint32_t target_id)
{
	FIND(map->targets, map->target_count, target_id);
}

const struct map_server *cluster_map_server(const struct cluster_map *map, uint64_t server_id)
{
	FIND(map->servers, map->server_count, server_id);
}

const struct map_chain *cluster_map_chain(const struct cluster_map *map, uint32_t pool,
					  uint32_t partition)
{
	const struct map_pool *found = cluster_map_pool(map, pool);

	if (found == NULL || partition >= found->partitions)
		return NULL;
	return &found->chains[partition];
}

const struct map_server *cluster_map_target_server(const struct cluster_map *map,
						   uint32_t target_id)
{
	const struct map_target *target = cluster_map_target(map, target_id);

	return target == NULL ? NULL : cluster_map_server(map, target->server_id);
}

bool cluster_map_session_over(const struct cluster_map *map, uint64_t session)
{
	size_t low = 0, high = map->fenced_count;

	if (session < map->session_floor)
		return session != 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->fenced[middle] == session)
			return true;
		if (map->fenced[middle] < session)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

int cluster_map_chain_head(const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		if (chain->members[i].state == MEMBER_IN_SYNC)
			return (int)i;
	}
	return -1;
}

int cluster_map_chain_tail(const struct map_chain *chain)
{
	for (uint32_t i = chain->count; i > 0; i--) {
		if (chain->members[i - 1].state == MEMBER_IN_SYNC)
			return (int)i - 1;
	}
	return -1;
}

int cluster_map_chain_index(const struct map_chain *chain, uint32_t target_id)
{
	for (uint32_t i = 0; i < chain->count; i++) {
		if (chain->members[i].target_id == target_id)
			return (int)i;
	}
	return -1;
}
