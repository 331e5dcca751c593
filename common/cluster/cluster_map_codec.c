#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/cluster/cluster_map.h"
#include "common/cluster/cluster_map_internal.h"
#include "catena.pb-c.h"

/* Bounds of what a peer can make us hold. */
#define POOLS_MAX      64u
#define PARTITIONS_MAX 65536u
#define SERVERS_MAX    4096u
#define TARGETS_MAX    65536u
#define WORKERS_MAX    1024u
#define FENCED_MAX     (1u << 20)

/* --- memory for protobuf-c: one arena per message ----------------------------------------------
 *
 * Unpacking makes many small objects, and a hostile message can make it ask for some thirty times
 * its size; the arena bounds that, and is freed as a whole. */

#define ARENA_BLOCK (256u << 10)
#define ARENA_MAX   (128u << 20)

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	max_align_t data[];
};

struct arena {
	struct arena_block *blocks;
	size_t left;
	bool no_memory; /* the system's fault, not the message's */
};

static void *arena_alloc(void *user, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	struct arena *arena = user;
	struct arena_block *block = arena->blocks;
	void *out;

	if (size > arena->left)
		return NULL;
	size = size == 0 ? align : (size + align - 1) / align * align;
	if (block == NULL || block->size - block->used < size) {
		size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;

		block = malloc(sizeof(*block) + room);
		if (block == NULL) {
			arena->no_memory = true;
			return NULL;
		}
		block->next = arena->blocks;
		block->used = 0;
		block->size = room;
		arena->blocks = block;
	}
	out = (uint8_t *)block->data + block->used;
	block->used += size;
	arena->left -= size < arena->left ? size : arena->left;
	return out;
}

static void arena_keep(void *user, void *pointer)
{
}

static void arena_free(struct arena *arena)
{
	while (arena->blocks != NULL) {
		struct arena_block *next = arena->blocks->next;

		free(arena->blocks);
		arena->blocks = next;
	}
}

/* --- decoding ----------------------------------------------------------------------------------
 */

static int text_get(const char *from, char *to, size_t size)
{
	size_t length = strlen(from);

	if (length >= size)
		return -EBADMSG;
	memcpy(to, from, length + 1);
	return 0;
}

static int chain_get(const Catena__Chain *from, const struct cluster_map *map, struct map_chain *to)
{
	bool others = false;

	if (from->n_members > CHAIN_MEMBERS_MAX || (from->epoch == 0 && from->n_members != 0))
		return -EBADMSG;
	to->epoch = from->epoch;
	for (size_t i = 0; i < from->n_members; i++) {
		const Catena__ChainMember *member = from->members[i];

		if (member->state < MEMBER_IN_SYNC || member->state > MEMBER_OFFLINE)
			return -EBADMSG;
		/* In-sync ones first: the order is who is head and who is tail. */
		if (member->state == MEMBER_IN_SYNC && others)
			return -EBADMSG;
		others = member->state != MEMBER_IN_SYNC;
		if (cluster_map_target(map, member->target_id) == NULL ||
		    cluster_map_chain_index(to, member->target_id) >= 0)
			return -EBADMSG;
		to->members[i].target_id = member->target_id;
		to->members[i].state = (enum member_state)member->state;
		to->count++;
	}
	return 0;
}

static int pool_get(const Catena__Pool *from, const struct cluster_map *map, struct map_pool *to)
{
	int rc = 0;

	if (from->copies == 0 || from->copies > CHAIN_MEMBERS_MAX || from->partitions == 0 ||
	    from->partitions > PARTITIONS_MAX || from->n_chains != from->partitions ||
	    from->chunk_size < CHUNK_SIZE_MIN || from->chunk_size > CHUNK_SIZE_MAX ||
	    from->chunk_size % CHUNK_SIZE_MIN != 0 || from->failure_domain > FAILURE_DOMAIN_ZONE)
		return -EBADMSG;
	to->id = from->id;
	to->copies = from->copies;
	to->partitions = from->partitions;
	to->chunk_size = from->chunk_size;
	to->failure_domain = (enum failure_domain)from->failure_domain;
	to->chains = calloc(to->partitions, sizeof(*to->chains));
	if (to->chains == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < to->partitions; i++)
		rc = chain_get(from->chains[i], map, &to->chains[i]);
	return rc; /* the chains belong to the map, also on failure */
}

static int server_get(const Catena__Server *from, struct map_server *to)
{
	/* partition % workers says who serves it: 0 must not get through. */
	if (from->id == 0 || from->workers == 0 || from->workers > WORKERS_MAX)
		return -EBADMSG;
	to->id = from->id;
	to->workers = from->workers;
	to->online = from->online != 0;
	if (text_get(from->name, to->name, sizeof(to->name)) < 0 ||
	    text_get(from->address, to->address, sizeof(to->address)) < 0 ||
	    text_get(from->host, to->host, sizeof(to->host)) < 0 ||
	    text_get(from->rack, to->rack, sizeof(to->rack)) < 0 ||
	    text_get(from->zone, to->zone, sizeof(to->zone)) < 0)
		return -EBADMSG;
	return 0;
}

static int target_get(const Catena__Target *from, const struct cluster_map *map,
		      struct map_target *to)
{
	if (from->id == 0 || cluster_map_server(map, from->server_id) == NULL)
		return -EBADMSG;
	to->id = from->id;
	to->server_id = from->server_id;
	to->capacity = from->capacity;
	to->used = from->used;
	to->full = from->full != 0;
	to->draining = from->draining != 0;
	return text_get(from->uuid, to->uuid, sizeof(to->uuid));
}

#define COMPARE_BY_ID(name, type)                                                                  \
	static int name(const void *a, const void *b)                                              \
	{                                                                                          \
		const type *x = a, *y = b;                                                         \
		return x->id < y->id ? -1 : x->id > y->id;                                         \
	}
COMPARE_BY_ID(compare_pools, struct map_pool)
COMPARE_BY_ID(compare_servers, struct map_server)
COMPARE_BY_ID(compare_targets, struct map_target)

/* Sorts by id for the lookups; two of the same id are refused. */
static int sort_unique(void *array, size_t count, size_t size,
		       int (*compare)(const void *, const void *))
{
	const uint8_t *at = array;

	if (count < 2)
		return 0;
	qsort(array, count, size, compare);
	for (size_t i = 1; i < count; i++, at += size) {
		if (compare(at, at + size) == 0)
			return -EBADMSG;
	}
	return 0;
}

static int servers_get(const Catena__ClusterMap *from, struct cluster_map *map)
{
	if (from->n_servers == 0)
		return 0;
	map->servers = calloc(from->n_servers, sizeof(*map->servers));
	if (map->servers == NULL)
		return -ENOMEM;
	map->server_count = from->n_servers;
	for (size_t i = 0; i < from->n_servers; i++) {
		int rc = server_get(from->servers[i], &map->servers[i]);

		if (rc < 0)
			return rc;
	}
	return sort_unique(map->servers, map->server_count, sizeof(*map->servers), compare_servers);
}

static int targets_get(const Catena__ClusterMap *from, struct cluster_map *map)
{
	if (from->n_targets == 0)
		return 0;
	map->targets = calloc(from->n_targets, sizeof(*map->targets));
	if (map->targets == NULL)
		return -ENOMEM;
	map->target_count = from->n_targets;
	for (size_t i = 0; i < from->n_targets; i++) {
		int rc = target_get(from->targets[i], map, &map->targets[i]);

		if (rc < 0)
			return rc;
	}
	return sort_unique(map->targets, map->target_count, sizeof(*map->targets), compare_targets);
}

static int pools_get(const Catena__ClusterMap *from, struct cluster_map *map)
{
	if (from->n_pools == 0)
		return 0;
	map->pools = calloc(from->n_pools, sizeof(*map->pools));
	if (map->pools == NULL)
		return -ENOMEM;
	map->pool_count = from->n_pools;
	for (size_t i = 0; i < from->n_pools; i++) {
		int rc = pool_get(from->pools[i], map, &map->pools[i]);

		if (rc < 0)
			return rc;
	}
	return sort_unique(map->pools, map->pool_count, sizeof(*map->pools), compare_pools);
}

static int compare_sessions(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int fenced_get(const Catena__ClusterMap *from, struct cluster_map *map)
{
	map->session_floor = from->session_floor;
	if (from->n_fenced == 0)
		return 0;
	map->fenced = calloc(from->n_fenced, sizeof(*map->fenced));
	if (map->fenced == NULL)
		return -ENOMEM;
	map->fenced_count = from->n_fenced;
	memcpy(map->fenced, from->fenced, from->n_fenced * sizeof(*map->fenced));
	return sort_unique(map->fenced, map->fenced_count, sizeof(*map->fenced), compare_sessions);
}

int cluster_map_from_message(const Catena__ClusterMap *message, struct cluster_map **out)
{
	struct cluster_map *map;
	int rc;

	if (message->n_pools > POOLS_MAX || message->n_servers > SERVERS_MAX ||
	    message->n_targets > TARGETS_MAX || message->n_fenced > FENCED_MAX)
		return -EBADMSG;
	map = cluster_map_alloc();
	if (map == NULL)
		return -ENOMEM;
	map->version = message->version;
	map->instance = message->instance;
	rc = text_get(message->cluster, map->cluster, sizeof(map->cluster));
	/* In this order: each is checked against the one before. */
	if (rc == 0)
		rc = servers_get(message, map);
	if (rc == 0)
		rc = targets_get(message, map);
	if (rc == 0)
		rc = pools_get(message, map);
	if (rc == 0)
		rc = fenced_get(message, map);
	if (rc == 0)
		*out = map;
	else
		cluster_map_unref(map);
	return rc;
}

int cluster_map_decode(const void *data, size_t size, struct cluster_map **out)
{
	struct arena arena = {.left = ARENA_MAX};
	ProtobufCAllocator allocator = {
		.alloc = arena_alloc,
		.free = arena_keep,
		.allocator_data = &arena,
	};
	Catena__ClusterMap *message;
	int rc;

	message = catena__cluster_map__unpack(&allocator, size, data);
	if (message != NULL)
		rc = cluster_map_from_message(message, out);
	else
		rc = arena.no_memory ? -ENOMEM : -EBADMSG;
	arena_free(&arena);
	return rc;
}

/* --- encoding ----------------------------------------------------------------------------------
 */

/* All parts of the message, and the arrays of pointers that protobuf-c wants beside them. */
struct parts {
	Catena__Pool *pools;
	Catena__Pool **pool_list;
	Catena__Server *servers;
	Catena__Server **server_list;
	Catena__Target *targets;
	Catena__Target **target_list;
	Catena__Chain *chains;
	Catena__Chain **chain_list;
	Catena__ChainMember *members;
	Catena__ChainMember **member_list;
};

static void parts_free(struct parts *p)
{
	free(p->pools);
	free(p->pool_list);
	free(p->servers);
	free(p->server_list);
	free(p->targets);
	free(p->target_list);
	free(p->chains);
	free(p->chain_list);
	free(p->members);
	free(p->member_list);
}

static void *array(size_t count, size_t size)
{
	return calloc(count == 0 ? 1 : count, size);
}

static int parts_alloc(const struct cluster_map *map, struct parts *p)
{
	size_t chains = 0, members = 0;

	for (size_t i = 0; i < map->pool_count; i++) {
		chains += map->pools[i].partitions;
		for (size_t j = 0; j < map->pools[i].partitions; j++)
			members += map->pools[i].chains[j].count;
	}
	p->pools = array(map->pool_count, sizeof(*p->pools));
	p->pool_list = array(map->pool_count, sizeof(*p->pool_list));
	p->servers = array(map->server_count, sizeof(*p->servers));
	p->server_list = array(map->server_count, sizeof(*p->server_list));
	p->targets = array(map->target_count, sizeof(*p->targets));
	p->target_list = array(map->target_count, sizeof(*p->target_list));
	p->chains = array(chains, sizeof(*p->chains));
	p->chain_list = array(chains, sizeof(*p->chain_list));
	p->members = array(members, sizeof(*p->members));
	p->member_list = array(members, sizeof(*p->member_list));
	if (p->pools == NULL || p->pool_list == NULL || p->servers == NULL ||
	    p->server_list == NULL || p->targets == NULL || p->target_list == NULL ||
	    p->chains == NULL || p->chain_list == NULL || p->members == NULL ||
	    p->member_list == NULL)
		return -ENOMEM;
	return 0;
}

/* protobuf-c only reads the strings that its messages point to, but lacks the const. */
static char *text_put(const char *text)
{
	return (char *)(uintptr_t)text;
}

static void pools_put(const struct cluster_map *map, struct parts *p)
{
	size_t chain = 0, member = 0;

	for (size_t i = 0; i < map->pool_count; i++) {
		const struct map_pool *from = &map->pools[i];
		Catena__Pool *to = p->pool_list[i] = &p->pools[i];

		catena__pool__init(to);
		to->id = from->id;
		to->copies = from->copies;
		to->partitions = from->partitions;
		to->chunk_size = from->chunk_size;
		to->failure_domain = (uint32_t)from->failure_domain;
		to->n_chains = from->partitions;
		to->chains = &p->chain_list[chain];
		for (size_t j = 0; j < from->partitions; j++, chain++) {
			Catena__Chain *c = p->chain_list[chain] = &p->chains[chain];

			catena__chain__init(c);
			c->epoch = from->chains[j].epoch;
			c->n_members = from->chains[j].count;
			c->members = &p->member_list[member];
			for (size_t k = 0; k < c->n_members; k++, member++) {
				Catena__ChainMember *m = p->member_list[member] =
					&p->members[member];

				catena__chain_member__init(m);
				m->target_id = from->chains[j].members[k].target_id;
				m->state = (uint32_t)from->chains[j].members[k].state;
			}
		}
	}
}

static void servers_put(const struct cluster_map *map, struct parts *p)
{
	for (size_t i = 0; i < map->server_count; i++) {
		const struct map_server *from = &map->servers[i];
		Catena__Server *to = p->server_list[i] = &p->servers[i];

		catena__server__init(to);
		to->id = from->id;
		to->workers = from->workers;
		to->online = from->online;
		to->name = text_put(from->name);
		to->address = text_put(from->address);
		to->host = text_put(from->host);
		to->rack = text_put(from->rack);
		to->zone = text_put(from->zone);
	}
}

static void targets_put(const struct cluster_map *map, struct parts *p)
{
	for (size_t i = 0; i < map->target_count; i++) {
		const struct map_target *from = &map->targets[i];
		Catena__Target *to = p->target_list[i] = &p->targets[i];

		catena__target__init(to);
		to->id = from->id;
		to->server_id = from->server_id;
		to->capacity = from->capacity;
		to->used = from->used;
		to->full = from->full;
		to->draining = from->draining;
		to->uuid = text_put(from->uuid);
	}
}

int cluster_map_encode(const struct cluster_map *map, uint8_t **out, size_t *size)
{
	Catena__ClusterMap message = CATENA__CLUSTER_MAP__INIT;
	struct parts parts = {0};
	uint8_t *bytes;
	size_t length;
	int rc;

	rc = parts_alloc(map, &parts);
	if (rc < 0)
		goto done;
	pools_put(map, &parts);
	servers_put(map, &parts);
	targets_put(map, &parts);
	message.version = map->version;
	message.instance = map->instance;
	message.cluster = text_put(map->cluster);
	message.n_pools = map->pool_count;
	message.pools = parts.pool_list;
	message.n_servers = map->server_count;
	message.servers = parts.server_list;
	message.n_targets = map->target_count;
	message.targets = parts.target_list;
	message.n_fenced = map->fenced_count;
	message.fenced = map->fenced;
	message.session_floor = map->session_floor;
	length = catena__cluster_map__get_packed_size(&message);
	bytes = malloc(length == 0 ? 1 : length);
	if (bytes == NULL) {
		rc = -ENOMEM;
		goto done;
	}
	*size = catena__cluster_map__pack(&message, bytes);
	*out = bytes;
done:
	parts_free(&parts);
	return rc;
}
