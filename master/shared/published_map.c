/* published_map.c - the cluster map with liveness and usage; see published_map.h. */
#define LOG_MODULE "map"
#include "master/shared/published_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"
#include "master/chains/fence_map.h"

static struct map_server *server_of(struct published_map *published, uint64_t id)
{
	return (struct map_server *)cluster_map_server(published->map, id);
}

static struct map_target *target_of(struct published_map *published, uint32_t id)
{
	return (struct map_target *)cluster_map_target(published->map, id);
}

/* Carries what is known in memory only from one map to the next. */
static void carry_over(const struct cluster_map *from, struct published_map *published)
{
	for (size_t i = 0; i < from->server_count; i++) {
		struct map_server *server = server_of(published, from->servers[i].id);

		if (server != NULL)
			server->online = from->servers[i].online;
	}
	for (size_t i = 0; i < from->target_count; i++) {
		const struct map_target *was = &from->targets[i];

		published_map_set_usage(published, was->id, was->capacity, was->used, was->full);
	}
}

int published_map_refresh(struct published_map *published, struct state *state)
{
	struct cluster_map *map = state_map(state), *old = published->map;

	if (map == NULL)
		return -ENOMEM;
	published->map = map;
	if (old != NULL)
		carry_over(old, published);
	cluster_map_unref(old);
	return 0;
}

bool published_map_set_online(struct published_map *published, uint64_t server_id, bool online)
{
	struct map_server *server = server_of(published, server_id);

	if (server == NULL || server->online == online)
		return false;
	server->online = online;
	return true;
}

void published_map_set_usage(struct published_map *published, uint32_t target_id, uint64_t capacity,
			     uint64_t used, bool full)
{
	struct map_target *target = target_of(published, target_id);

	if (target == NULL)
		return;
	target->capacity = capacity;
	target->used = used;
	target->full = full;
}

uint64_t published_map_version_of(uint64_t state_version)
{
	return state_version << MAP_CHANGE_BITS;
}

static uint64_t shown_version(const struct published_map *published)
{
	return published_map_version_of(published->map->version) |
	       (published->changes & ((1ull << MAP_CHANGE_BITS) - 1));
}

uint64_t published_map_version(const struct published_map *published)
{
	return shown_version(published);
}

/* Encodes with the version that fits; the map itself keeps the state's. */
static int encode(struct published_map *published, uint8_t **out, size_t *size)
{
	uint64_t stored = published->map->version;
	int rc;

	published->map->version = shown_version(published);
	rc = cluster_map_encode(published->map, out, size);
	published->map->version = stored;
	return rc;
}

int published_map_publish(struct published_map *published)
{
	uint8_t *encoded;
	size_t size;
	int rc;

	published->changes++;
	rc = encode(published, &encoded, &size);
	if (rc != 0) {
		log_error("the cluster map cannot be encoded error=\"%s\"", strerror(-rc));
		return rc;
	}
	free(published->encoded);
	published->encoded = encoded;
	published->encoded_size = size;
	return 0;
}

int published_map_prepare(struct published_map *published, struct state *state, uint64_t server,
			  uint8_t **out, size_t *size)
{
	struct published_map next = *published;
	int rc;

	next.map = state_map(state);
	if (next.map == NULL)
		return -ENOMEM;
	carry_over(published->map, &next);
	fence_map_restrict(next.map, published->map, server);
	rc = encode(&next, out, size);
	cluster_map_unref(next.map);
	return rc;
}

int published_map_encode_now(struct published_map *published, uint8_t **out, size_t *size)
{
	return encode(published, out, size);
}

int published_map_open(struct published_map *published, struct state *state)
{
	int rc;

	memset(published, 0, sizeof(*published));
	rc = published_map_refresh(published, state);
	if (rc == 0)
		rc = published_map_publish(published);
	if (rc != 0)
		published_map_close(published);
	return rc;
}

void published_map_close(struct published_map *published)
{
	cluster_map_unref(published->map);
	free(published->encoded);
	memset(published, 0, sizeof(*published));
}

/* Gives the part of all partitions that a target holds. */
static double share_of(const struct map_pool *pool, uint32_t target_id)
{
	uint32_t in = 0;

	for (uint32_t p = 0; p < pool->partitions; p++) {
		int at = cluster_map_chain_index(&pool->chains[p], target_id);

		/* An offline member gets nothing of what is written. */
		if (at >= 0 && pool->chains[p].members[at].state != MEMBER_OFFLINE)
			in++;
	}
	return (double)in / pool->partitions;
}

void published_map_space(const struct published_map *published, struct published_map_space *out)
{
	const struct map_pool *pool = &published->map->pools[0];
	double total = -1, left = -1;

	memset(out, 0, sizeof(*out));
	if (published->map->pool_count == 0)
		return;
	out->copies = pool->copies;
	for (size_t i = 0; i < published->map->target_count; i++) {
		const struct map_target *target = &published->map->targets[i];
		double share = share_of(pool, target->id), capacity, room;

		if (share == 0)
			continue;
		capacity = (double)target->capacity / share;
		room = target->full || target->used > target->capacity
			       ? 0
			       : (double)(target->capacity - target->used) / share;
		total = total < 0 || capacity < total ? capacity : total;
		left = left < 0 || room < left ? room : left;
	}
	out->total = total < 0 ? 0 : (uint64_t)total;
	out->free = left < 0 ? 0 : (uint64_t)left;
}
