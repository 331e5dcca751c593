#include "tests/lib/map_gen.h"

void *map_gen_array(size_t count, size_t size)
{
	void *array = calloc(count == 0 ? 1 : count, size);

	if (array == NULL)
		abort();
	return array;
}

void map_gen_free(struct cluster_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++)
		free(map->pools[i].chains);
	free(map->pools);
	free(map->servers);
	free(map->targets);
}

static void map_gen_chain(uint64_t *state, const struct cluster_map *map, struct map_chain *chain)
{
	uint32_t in_sync;

	if (map->target_count == 0 || fuzz_random(state) % 8 == 0)
		return;
	chain->epoch = 1 + fuzz_random(state) % 1000000;
	chain->count = 1 + (uint32_t)(fuzz_random(state) % CHAIN_MEMBERS_MAX);
	if (chain->count > map->target_count)
		chain->count = (uint32_t)map->target_count;
	in_sync = (uint32_t)(fuzz_random(state) % (chain->count + 1));
	for (uint32_t i = 0, first = (uint32_t)fuzz_random(state); i < chain->count; i++) {
		/* Neighbours in the array, so that none comes twice. */
		chain->members[i].target_id =
			map->targets[(first % map->target_count + i) % map->target_count].id;
		chain->members[i].state = i < in_sync                   ? MEMBER_IN_SYNC
					  : fuzz_random(state) % 2 == 0 ? MEMBER_SYNCING
									: MEMBER_OFFLINE;
	}
}

struct cluster_map map_gen(uint64_t *state, uint32_t most)
{
	struct cluster_map map = {.version = fuzz_random(state), .instance = fuzz_random(state)};
	uint64_t id = 0;

	snprintf(map.cluster, sizeof(map.cluster), "cluster-%u", (unsigned)fuzz_random(state));
	map.server_count = fuzz_random(state) % (most + 1);
	map.servers = map_gen_array(map.server_count, sizeof(*map.servers));
	for (size_t i = 0; i < map.server_count; i++) {
		struct map_server *s = &map.servers[i];

		s->id = id += 1 + fuzz_random(state) % 3;
		s->workers = 1 + (uint32_t)(fuzz_random(state) % 16);
		s->online = fuzz_random(state) % 2 != 0;
		snprintf(s->name, sizeof(s->name), "server-%u", (unsigned)s->id);
		snprintf(s->address, sizeof(s->address), "127.0.0.1:%u",
			 (unsigned)(fuzz_random(state) % 65536));
		memset(s->host, 'h', fuzz_random(state) % MAP_NAME_MAX);
		snprintf(s->zone, sizeof(s->zone), "z");
	}
	map.target_count = map.server_count == 0 ? 0 : fuzz_random(state) % (most + 1);
	map.targets = map_gen_array(map.target_count, sizeof(*map.targets));
	id = 0;
	for (size_t i = 0; i < map.target_count; i++) {
		struct map_target *t = &map.targets[i];

		t->id = (uint32_t)(id += 1 + fuzz_random(state) % 3);
		t->server_id = map.servers[fuzz_random(state) % map.server_count].id;
		t->capacity = fuzz_random(state);
		t->used = fuzz_random(state);
		t->full = fuzz_random(state) % 2 != 0;
		snprintf(t->uuid, sizeof(t->uuid), "00000000-0000-4000-8000-%012x", t->id);
	}
	map.pool_count = fuzz_random(state) % (most < 4 ? most + 1 : 4);
	map.pools = map_gen_array(map.pool_count, sizeof(*map.pools));
	id = fuzz_random(state) % 2; /* 0 is a good pool id */
	for (size_t i = 0; i < map.pool_count; i++) {
		struct map_pool *p = &map.pools[i];

		p->id = (uint32_t)id;
		id += 1 + fuzz_random(state) % 3;
		p->copies = 1 + (uint32_t)(fuzz_random(state) % CHAIN_MEMBERS_MAX);
		p->partitions = 1 + (uint32_t)(fuzz_random(state) % (most * 4 + 1));
		p->chunk_size = CHUNK_SIZE_MIN << fuzz_random(state) % 7;
		p->failure_domain =
			(enum failure_domain)(fuzz_random(state) % (FAILURE_DOMAIN_ZONE + 1));
		p->chains = map_gen_array(p->partitions, sizeof(*p->chains));
		for (uint32_t j = 0; j < p->partitions; j++)
			map_gen_chain(state, &map, &p->chains[j]);
	}
	return map;
}

static bool map_gen_chains_equal(const struct map_chain *a, const struct map_chain *b)
{
	if (a->epoch != b->epoch || a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		if (a->members[i].target_id != b->members[i].target_id ||
		    a->members[i].state != b->members[i].state)
			return false;
	}
	return true;
}

static bool map_gen_servers_equal(const struct map_server *a, const struct map_server *b)
{
	return a->id == b->id && a->workers == b->workers && a->online == b->online &&
	       strcmp(a->name, b->name) == 0 && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->host, b->host) == 0 && strcmp(a->rack, b->rack) == 0 &&
	       strcmp(a->zone, b->zone) == 0;
}

bool map_gen_equal(const struct cluster_map *a, const struct cluster_map *b)
{
	if (a->version != b->version || a->instance != b->instance ||
	    strcmp(a->cluster, b->cluster) != 0 || a->pool_count != b->pool_count ||
	    a->server_count != b->server_count || a->target_count != b->target_count ||
	    a->session_floor != b->session_floor || a->fenced_count != b->fenced_count ||
	    (a->fenced_count != 0 &&
	     memcmp(a->fenced, b->fenced, a->fenced_count * sizeof(*a->fenced)) != 0))
		return false;
	for (size_t i = 0; i < a->server_count; i++) {
		if (!map_gen_servers_equal(&a->servers[i], &b->servers[i]))
			return false;
	}
	for (size_t i = 0; i < a->target_count; i++) {
		const struct map_target *x = &a->targets[i], *y = &b->targets[i];

		if (x->id != y->id || x->server_id != y->server_id || x->capacity != y->capacity ||
		    x->used != y->used || x->full != y->full || x->draining != y->draining ||
		    strcmp(x->uuid, y->uuid) != 0)
			return false;
	}
	for (size_t i = 0; i < a->pool_count; i++) {
		const struct map_pool *x = &a->pools[i], *y = &b->pools[i];

		if (x->id != y->id || x->copies != y->copies || x->partitions != y->partitions ||
		    x->chunk_size != y->chunk_size || x->failure_domain != y->failure_domain)
			return false;
		for (uint32_t j = 0; j < x->partitions; j++) {
			if (!map_gen_chains_equal(&x->chains[j], &y->chains[j]))
				return false;
		}
	}
	return true;
}
