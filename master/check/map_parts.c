/* map_parts.c - pools, servers, targets and lives of the master; see map.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bitmap.h"
#include "common/base/bytes.h"
#include "common/cluster/chunk.h"
#include "master/check/map.h"
#include "master/servers/failure_domain.h"

/* ---- finding ---- */

struct check_pool *check_map_pool(const struct check_map *map, uint32_t id)
{
	for (size_t i = 0; i < map->pool_count; i++)
		if (map->pools[i].id == id)
			return &map->pools[i];
	return NULL;
}

static int by_server(const void *key, const void *server)
{
	uint64_t id = *(const uint64_t *)key, other = ((const struct check_server *)server)->id;

	return id < other ? -1 : id > other;
}

const struct check_server *check_map_server(const struct check_map *map, uint64_t id)
{
	return map->server_count == 0 ? NULL
				      : bsearch(&id, map->servers, map->server_count,
						sizeof(*map->servers), by_server);
}

static int by_target(const void *key, const void *target)
{
	uint32_t id = *(const uint32_t *)key, other = ((const struct check_target *)target)->id;

	return id < other ? -1 : id > other;
}

const struct check_target *check_map_target(const struct check_map *map, uint32_t id)
{
	return map->target_count == 0 ? NULL
				      : bsearch(&id, map->targets, map->target_count,
						sizeof(*map->targets), by_target);
}

/* ---- reading ---- */

/* Returns a zeroed place behind the last one of an array; NULL: out of memory. */
static void *more(void **array, size_t count, size_t item)
{
	void *bigger = *array;

	/* There is room up to the next power of two. */
	if ((count & (count - 1)) == 0) {
		bigger = realloc(*array, (count == 0 ? 1 : 2 * count) * item);
		if (bigger == NULL)
			return NULL;
		*array = bigger;
	}
	memset((char *)bigger + count * item, 0, item);
	return (char *)bigger + count * item;
}

static void tell_damaged(struct check_map *map, struct check_finding finding, const char *what,
			 uint64_t id)
{
	finding.code = CHECK_RECORD_DAMAGED;
	check_tell(map->run, finding, "%s %llu", what, (unsigned long long)id);
}

static int take_pool(struct check_map *map, const struct check_scan *scan)
{
	struct check_pool *pool = more((void **)&map->pools, map->pool_count, sizeof(*pool));
	const struct state_pool *is;

	if (pool == NULL)
		return -ENOMEM;
	map->pool_count++;
	pool->id = get_be32(scan->key + 1);
	pool->readable = cluster_decode_pool(scan->key, scan->value, scan->value_size, &pool->pool);
	if (!pool->readable) {
		tell_damaged(map, (struct check_finding){.pool = pool->id}, "pool", pool->id);
		return 0;
	}
	pool->present = calloc(BITMAP_BYTES(pool->pool.partitions), 1);
	if (pool->present == NULL)
		return -ENOMEM;
	is = &pool->pool;
	if (is->copies == 0 || is->copies > CHAIN_MEMBERS_MAX || is->chunk_size < CHUNK_SIZE_MIN ||
	    is->chunk_size > CHUNK_SIZE_MAX || is->chunk_size % CHUNK_SIZE_MIN != 0)
		check_tell(map->run, (struct check_finding){.code = CHECK_POOL, .pool = pool->id},
			   "pool %u: %u copies, chunks of %u bytes", pool->id, is->copies,
			   is->chunk_size);
	return 0;
}

static int take_server(struct check_map *map, const struct check_scan *scan)
{
	struct check_server *server =
		more((void **)&map->servers, map->server_count, sizeof(*server));
	struct map_server is;

	if (server == NULL)
		return -ENOMEM;
	map->server_count++;
	server->id = get_be64(scan->key + 1);
	server->readable = cluster_decode_server(scan->key, scan->value, scan->value_size, &is);
	check_highest_note(&map->run->highest.server, server->id);
	if (!server->readable) {
		tell_damaged(map, (struct check_finding){.other = server->id}, "server",
			     server->id);
		return 0;
	}
	memcpy(server->name, is.name, sizeof(server->name));
	for (unsigned level = 0; level < CHECK_DOMAIN_LEVELS; level++)
		server->domains[level] = failure_domain_of(&is, (enum failure_domain)level);
	return 0;
}

static int take_target(struct check_map *map, const struct check_scan *scan)
{
	struct check_target *target =
		more((void **)&map->targets, map->target_count, sizeof(*target));

	if (target == NULL)
		return -ENOMEM;
	map->target_count++;
	target->id = get_be32(scan->key + 1);
	target->readable =
		cluster_decode_target(scan->key, scan->value, scan->value_size, &target->target);
	check_highest_note(&map->run->highest.target, target->id);
	if (!target->readable)
		tell_damaged(map, (struct check_finding){.target = target->id}, "target",
			     target->id);
	return 0;
}

static int take_recovery(struct check_map *map, const struct check_scan *scan)
{
	struct state_recovery recovery;

	if (!cluster_decode_recovery(scan->value, scan->value_size, &recovery))
		tell_damaged(map, (struct check_finding){0}, "how fast copies are made, of",
			     get_be64(scan->key + 1));
	return 0;
}

static int take_fence(struct check_map *map, const struct check_scan *scan)
{
	size_t count;

	if (!cluster_decode_fence(scan->value, scan->value_size, &count))
		tell_damaged(map, (struct check_finding){0}, "who has to be told first, of",
			     get_be64(scan->key + 1));
	return 0;
}

/* Maps and commands of a life are later than its beginning. */
static int take_life(struct check_map *map, const struct check_scan *scan)
{
	const struct counters *counters = &map->run->store.counters;
	struct state_life life;

	if (!map->run->store.has_counters ||
	    !meta_decode_life(get_be64(scan->key + 1), scan->value, scan->value_size, &life))
		return 0; /* told by check_namespace() */
	if (life.first_version > counters->map_version || life.first_index > counters->index)
		check_tell(map->run,
			   (struct check_finding){.code = CHECK_MAP_VERSION,
						  .is = counters->map_version,
						  .should = life.first_version},
			   "life %llu began with map %llu and command %llu, it is %llu and %llu",
			   (unsigned long long)life.number, (unsigned long long)life.first_version,
			   (unsigned long long)life.first_index,
			   (unsigned long long)counters->map_version,
			   (unsigned long long)counters->index);
	return 0;
}

/* @half: the keys have a number in 4 bytes, and zeros. @single: only zeros. */
static int take_all(struct check_map *map, enum meta_tag tag, const char *what, bool half,
		    bool single, int (*take)(struct check_map *map, const struct check_scan *scan))
{
	struct check_run *run = map->run;
	char key[CHECK_KEY_TEXT];
	struct check_scan scan;
	int rc = check_scan_open(run, FAMILY_META, (uint8_t)tag, what, &scan);

	while (rc == 0 && !scan.ended) {
		check_run_progress(run, what, 0, 0);
		if (scan.key_size != META_KEY_MAX || (half && get_be32(scan.key + 5) != 0) ||
		    (single && get_be64(scan.key + 1) != 0))
			check_tell(run, (struct check_finding){.code = CHECK_RECORD_UNKNOWN},
				   "key %s", check_key_text(scan.key, scan.key_size, key));
		else
			rc = take(map, &scan);
		rc = rc != 0 ? check_run_failed(run, rc, what) : check_scan_step(run, &scan);
	}
	check_scan_close(&scan);
	return rc;
}

/* ---- comparing ---- */

static int by_name(const void *a, const void *b)
{
	const struct check_server *x = *(const struct check_server *const *)a;
	const struct check_server *y = *(const struct check_server *const *)b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : by_server(&x->id, y);
}

/* -ENOMEM. */
static int compare_servers(struct check_map *map)
{
	const struct check_server **sorted = malloc((map->server_count + 1) * sizeof(*sorted));
	size_t count = 0;

	if (sorted == NULL)
		return check_run_failed(map->run, -ENOMEM, "servers");
	for (size_t i = 0; i < map->server_count; i++)
		if (map->servers[i].readable)
			sorted[count++] = &map->servers[i];
	qsort(sorted, count, sizeof(*sorted), by_name);
	for (size_t i = 1; i < count; i++)
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
			check_tell(map->run,
				   (struct check_finding){.code = CHECK_SERVER_TWICE,
							  .other = sorted[i]->id},
				   "server %llu and server %llu: %s",
				   (unsigned long long)sorted[i - 1]->id,
				   (unsigned long long)sorted[i]->id, sorted[i]->name);
	free(sorted);
	return 0;
}

static int by_uuid(const void *a, const void *b)
{
	const struct check_target *x = *(const struct check_target *const *)a;
	const struct check_target *y = *(const struct check_target *const *)b;
	int order = strcmp(x->target.uuid, y->target.uuid);

	return order != 0 ? order : by_target(&x->id, y);
}

/* -ENOMEM. */
static int compare_targets(struct check_map *map)
{
	const struct check_target **sorted = malloc((map->target_count + 1) * sizeof(*sorted));
	size_t count = 0;

	if (sorted == NULL)
		return check_run_failed(map->run, -ENOMEM, "targets");
	for (size_t i = 0; i < map->target_count; i++) {
		const struct check_target *target = &map->targets[i];

		if (!target->readable)
			continue;
		sorted[count++] = target;
		if (check_map_server(map, target->target.server_id) == NULL)
			check_tell(map->run,
				   (struct check_finding){.code = CHECK_TARGET_WITHOUT_SERVER,
							  .target = target->id,
							  .other = target->target.server_id},
				   "target %u: server %llu", target->id,
				   (unsigned long long)target->target.server_id);
	}
	qsort(sorted, count, sizeof(*sorted), by_uuid);
	for (size_t i = 1; i < count; i++)
		if (strcmp(sorted[i - 1]->target.uuid, sorted[i]->target.uuid) == 0)
			check_tell(map->run,
				   (struct check_finding){.code = CHECK_TARGET_TWICE,
							  .target = sorted[i]->id},
				   "target %u and target %u: %s", sorted[i - 1]->id, sorted[i]->id,
				   sorted[i]->target.uuid);
	free(sorted);
	return 0;
}

/* ---- all together ---- */

int check_map_read(struct check_map *map)
{
	int rc = take_all(map, META_POOL, "pools", true, false, take_pool);

	if (rc == 0)
		rc = take_all(map, META_SERVER, "servers", false, false, take_server);
	if (rc == 0)
		rc = take_all(map, META_TARGET, "targets", true, false, take_target);
	if (rc == 0)
		rc = take_all(map, META_RECOVERY, "recovery", false, true, take_recovery);
	if (rc == 0)
		rc = take_all(map, META_FENCE, "fences", false, true, take_fence);
	if (rc == 0)
		rc = take_all(map, META_LIFE, "lives", false, false, take_life);
	if (rc == 0)
		rc = compare_servers(map);
	return rc == 0 ? compare_targets(map) : rc;
}

void check_map_free(struct check_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++)
		free(map->pools[i].present);
	free(map->pools);
	free(map->servers);
	free(map->targets);
}
