/* published_map.c - the cluster map with liveness and usage; see published_map.h. */
#define LOG_MODULE "map"
#include "master/shared/published_map.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"
#include "master/chains/fence_map.h"

static struct map_server *server_of(struct view *view, uint64_t id)
{
	return (struct map_server *)cluster_map_server(view->map, id);
}

static struct map_target *target_of(struct view *view, uint32_t id)
{
	return (struct map_target *)cluster_map_target(view->map, id);
}

/* What is known in memory only goes from one map to the next. */
static void carry_over(const struct cluster_map *from, struct view *view)
{
	for (size_t i = 0; i < from->server_count; i++) {
		struct map_server *server = server_of(view, from->servers[i].id);

		if (server != NULL)
			server->online = from->servers[i].online;
	}
	for (size_t i = 0; i < from->target_count; i++) {
		const struct map_target *was = &from->targets[i];

		view_set_usage(view, was->id, was->capacity, was->used, was->full);
	}
}

int view_refresh(struct view *view, struct state *state)
{
	struct cluster_map *map = state_map(state), *old = view->map;

	if (map == NULL)
		return -ENOMEM;
	view->map = map;
	if (old != NULL)
		carry_over(old, view);
	cluster_map_unref(old);
	return 0;
}

bool view_set_online(struct view *view, uint64_t server_id, bool online)
{
	struct map_server *server = server_of(view, server_id);

	if (server == NULL || server->online == online)
		return false;
	server->online = online;
	return true;
}

void view_set_usage(struct view *view, uint32_t target_id, uint64_t capacity, uint64_t used,
		    bool full)
{
	struct map_target *target = target_of(view, target_id);

	if (target == NULL)
		return;
	target->capacity = capacity;
	target->used = used;
	target->full = full;
}

uint64_t view_version_of(uint64_t state_version)
{
	return state_version << MAP_CHANGE_BITS;
}

static uint64_t shown_version(const struct view *view)
{
	return view_version_of(view->map->version) |
	       (view->changes & ((1ull << MAP_CHANGE_BITS) - 1));
}

uint64_t view_version(const struct view *view)
{
	return shown_version(view);
}

/* Encodes with the version that fits; the map itself keeps the state's. */
static int encode(struct view *view, uint8_t **out, size_t *size)
{
	uint64_t stored = view->map->version;
	int rc;

	view->map->version = shown_version(view);
	rc = cluster_map_encode(view->map, out, size);
	view->map->version = stored;
	return rc;
}

int view_publish(struct view *view)
{
	uint8_t *encoded;
	size_t size;
	int rc;

	view->changes++;
	rc = encode(view, &encoded, &size);
	if (rc != 0) {
		log_error("the cluster map cannot be encoded error=\"%s\"", strerror(-rc));
		return rc;
	}
	free(view->encoded);
	view->encoded = encoded;
	view->encoded_size = size;
	return 0;
}

int view_prepare(struct view *view, struct state *state, uint64_t server, uint8_t **out,
		 size_t *size)
{
	struct view next = *view;
	int rc;

	next.map = state_map(state);
	if (next.map == NULL)
		return -ENOMEM;
	carry_over(view->map, &next);
	fence_map_restrict(next.map, view->map, server);
	rc = encode(&next, out, size);
	cluster_map_unref(next.map);
	return rc;
}

int view_encode_now(struct view *view, uint8_t **out, size_t *size)
{
	return encode(view, out, size);
}

int view_open(struct view *view, struct state *state)
{
	int rc;

	memset(view, 0, sizeof(*view));
	rc = view_refresh(view, state);
	if (rc == 0)
		rc = view_publish(view);
	if (rc != 0)
		view_close(view);
	return rc;
}

void view_close(struct view *view)
{
	cluster_map_unref(view->map);
	free(view->encoded);
	memset(view, 0, sizeof(*view));
}

/* The part of all partitions that a target holds. */
static double share_of(const struct map_pool *pool, uint32_t target_id)
{
	uint32_t in = 0;

	for (uint32_t p = 0; p < pool->partitions; p++) {
		int at = cluster_map_chain_index(&pool->chains[p], target_id);

		/* Who is out of a chain gets nothing of what is written to it. */
		if (at >= 0 && pool->chains[p].members[at].state != MEMBER_OFFLINE)
			in++;
	}
	return (double)in / pool->partitions;
}

void view_space(const struct view *view, struct view_space *out)
{
	const struct map_pool *pool = &view->map->pools[0];
	double total = -1, left = -1;

	memset(out, 0, sizeof(*out));
	if (view->map->pool_count == 0)
		return;
	out->copies = pool->copies;
	for (size_t i = 0; i < view->map->target_count; i++) {
		const struct map_target *target = &view->map->targets[i];
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
