/* cluster.c - pools, servers, targets and chains in memory and in the store; see cluster.h. */
#include "master/records/cluster.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/records/core.h"
#include "master/records/scan.h"

/* Pools and targets of format 1 have no failure domain, life and flags. */
#define RECORD_FORMAT    1
#define RECORD_FORMAT_2  2
#define TARGET_DRAINING  1u
#define CHAIN_BYTES_MAX  (10 + CHAIN_MEMBERS_MAX * 5)
#define RECORD_BYTES_MAX (32 + 5 * (MAP_NAME_MAX + 2))

/* ---- records ---- */

static uint8_t *add_text(uint8_t *at, const char *text)
{
	size_t size = strlen(text);

	if (size >= MAP_NAME_MAX)
		size = MAP_NAME_MAX - 1;

	put_le16(at, (uint16_t)size);
	memcpy(at + 2, text, size);
	return at + 2 + size;
}

static void get_text(struct reader *r, char *out, size_t room)
{
	uint16_t size = reader_le16(r);
	const uint8_t *bytes = reader_bytes(r, size);

	if (bytes == NULL || size >= room) {
		r->failed = true;
		return;
	}
	memcpy(out, bytes, size);
	out[size] = '\0';
}

void cluster_put_pool(struct kv_batch *batch, const struct state_pool *pool)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX];

	value[0] = RECORD_FORMAT_2;
	put_le32(value + 1, pool->copies);
	put_le32(value + 5, pool->partitions);
	put_le32(value + 9, pool->chunk_size);
	value[13] = (uint8_t)pool->failure_domain;
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_POOL, pool->id, 0), value,
		     (size_t)(add_text(value + 14, pool->name) - value));
}

void cluster_put_server(struct kv_batch *batch, const struct map_server *server)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX], *at;

	value[0] = RECORD_FORMAT;
	put_le32(value + 1, server->workers);
	at = add_text(value + 5, server->name);
	at = add_text(at, server->address);
	at = add_text(at, server->host);
	at = add_text(at, server->rack);
	at = add_text(at, server->zone);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_SERVER, server->id), value,
		     (size_t)(at - value));
}

void cluster_put_target(struct kv_batch *batch, const struct state_target *target)
{
	uint8_t key[META_KEY_MAX], value[RECORD_BYTES_MAX];

	value[0] = RECORD_FORMAT_2;
	put_le64(value + 1, target->server_id);
	put_le64(value + 9, target->life);
	value[17] = target->draining ? TARGET_DRAINING : 0;
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_TARGET, target->id, 0), value,
		     (size_t)(add_text(value + 18, target->uuid) - value));
}

void cluster_put_recovery(struct kv_batch *batch, const struct state_recovery *recovery)
{
	uint8_t key[META_KEY_MAX], value[10];

	value[0] = RECORD_FORMAT;
	put_le64(value + 1, recovery->rate);
	value[9] = recovery->paused ? 1 : 0;
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_RECOVERY, 0), value,
		     sizeof(value));
}

int cluster_put_fence(struct kv_batch *batch, const uint64_t *servers, size_t count)
{
	uint8_t key[META_KEY_MAX], *value = malloc(1 + count * 8);

	if (value == NULL)
		return -ENOMEM;
	value[0] = RECORD_FORMAT;
	for (size_t i = 0; i < count; i++)
		put_le64(value + 1 + i * 8, servers[i]);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_FENCE, 0), value, 1 + count * 8);
	free(value);
	return 0;
}

void cluster_put_chain(struct kv_batch *batch, uint32_t pool, uint32_t partition,
		       const struct map_chain *chain)
{
	uint8_t key[META_KEY_MAX], value[CHAIN_BYTES_MAX], *at = value + 10;

	value[0] = RECORD_FORMAT;
	put_le64(value + 1, chain->epoch);
	value[9] = (uint8_t)chain->count;
	for (uint32_t i = 0; i < chain->count; i++, at += 5) {
		put_le32(at, chain->members[i].target_id);
		at[4] = (uint8_t)chain->members[i].state;
	}
	kv_batch_put(batch, FAMILY_META, key, key_meta32(key, META_CHAIN, pool, partition), value,
		     (size_t)(at - value));
}

/* ---- reading ---- */

/* Reads the format; then of format 1 or 2. */
static uint8_t get_format(struct reader *r)
{
	uint8_t format = reader_u8(r);

	if (format != RECORD_FORMAT && format != RECORD_FORMAT_2)
		r->failed = true;
	return format;
}

bool cluster_decode_pool(const uint8_t *key, const uint8_t *data, size_t size,
			 struct state_pool *pool)
{
	struct reader r = reader_on(data, size);
	uint8_t format = get_format(&r);

	memset(pool, 0, sizeof(*pool));
	pool->id = get_be32(key + 1);
	pool->copies = reader_le32(&r);
	pool->partitions = reader_le32(&r);
	pool->chunk_size = reader_le32(&r);
	if (format == RECORD_FORMAT_2)
		pool->failure_domain = (enum failure_domain)reader_u8(&r);
	get_text(&r, pool->name, sizeof(pool->name));
	return reader_done(&r) && pool->partitions != 0 && pool->partitions <= PARTITIONS_MAX &&
	       pool->failure_domain <= FAILURE_DOMAIN_ZONE;
}

bool cluster_decode_server(const uint8_t *key, const uint8_t *data, size_t size,
			   struct map_server *server)
{
	struct reader r = reader_on(data, size);

	memset(server, 0, sizeof(*server));
	(void)get_format(&r);
	server->id = get_be64(key + 1);
	server->workers = reader_le32(&r);
	get_text(&r, server->name, sizeof(server->name));
	get_text(&r, server->address, sizeof(server->address));
	get_text(&r, server->host, sizeof(server->host));
	get_text(&r, server->rack, sizeof(server->rack));
	get_text(&r, server->zone, sizeof(server->zone));
	return reader_done(&r);
}

bool cluster_decode_target(const uint8_t *key, const uint8_t *data, size_t size,
			   struct state_target *target)
{
	struct reader r = reader_on(data, size);
	uint8_t format = get_format(&r);

	memset(target, 0, sizeof(*target));
	target->id = get_be32(key + 1);
	target->server_id = reader_le64(&r);
	if (format == RECORD_FORMAT_2) {
		target->life = reader_le64(&r);
		target->draining = (reader_u8(&r) & TARGET_DRAINING) != 0;
	}
	get_text(&r, target->uuid, sizeof(target->uuid));
	return reader_done(&r);
}

bool cluster_decode_recovery(const uint8_t *data, size_t size, struct state_recovery *recovery)
{
	struct reader r = reader_on(data, size);

	(void)get_format(&r);
	recovery->rate = reader_le64(&r);
	recovery->paused = reader_u8(&r) != 0;
	return reader_done(&r);
}

bool cluster_decode_chain(const uint8_t *data, size_t size, struct map_chain *chain)
{
	struct reader r = reader_on(data, size);

	memset(chain, 0, sizeof(*chain));
	(void)get_format(&r);
	chain->epoch = reader_le64(&r);
	chain->count = reader_u8(&r);
	if (chain->count > CHAIN_MEMBERS_MAX)
		return false;
	for (uint32_t i = 0; i < chain->count; i++) {
		chain->members[i].target_id = reader_le32(&r);
		chain->members[i].state = (enum member_state)reader_u8(&r);
	}
	return reader_done(&r);
}

bool cluster_decode_fence(const uint8_t *data, size_t size, size_t *count)
{
	struct reader r = reader_on(data, size);

	(void)get_format(&r);
	*count = r.left / 8;
	return reader_ok(&r) && r.left % 8 == 0;
}

/* ---- loading ---- */

/* Adds a zeroed place at the end of an array; NULL: out of memory. */
static void *grow(void **array, size_t *count, size_t item)
{
	void *bigger = realloc(*array, (*count + 1) * item);

	if (bigger == NULL)
		return NULL;
	*array = bigger;
	memset((char *)bigger + *count * item, 0, item);
	return (char *)bigger + (*count)++ * item;
}

static int load_pool(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct cluster *cluster = user;
	struct state_pool *pool =
		grow((void **)&cluster->pools, &cluster->pool_count, sizeof(*pool));

	if (pool == NULL)
		return -ENOMEM;
	if (!cluster_decode_pool(key, value, size, pool))
		return -EUCLEAN;
	pool->chains = calloc(pool->partitions, sizeof(*pool->chains));
	return pool->chains == NULL ? -ENOMEM : 0;
}

static int load_server(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct cluster *cluster = user;
	struct map_server *server =
		grow((void **)&cluster->servers, &cluster->server_count, sizeof(*server));

	if (server == NULL)
		return -ENOMEM;
	return cluster_decode_server(key, value, size, server) ? 0 : -EUCLEAN;
}

static int load_target(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct cluster *cluster = user;
	struct state_target *target =
		grow((void **)&cluster->targets, &cluster->target_count, sizeof(*target));

	if (target == NULL)
		return -ENOMEM;
	return cluster_decode_target(key, value, size, target) ? 0 : -EUCLEAN;
}

struct state_pool *cluster_find_pool(struct cluster *cluster, uint32_t id)
{
	for (size_t i = 0; i < cluster->pool_count; i++)
		if (cluster->pools[i].id == id)
			return &cluster->pools[i];
	return NULL;
}

/* Targets are in the order of their ids, as these are given. */
struct state_target *cluster_find_target(struct cluster *cluster, uint32_t id)
{
	size_t low = 0, high = cluster->target_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (cluster->targets[middle].id == id)
			return &cluster->targets[middle];
		if (cluster->targets[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int load_recovery(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct cluster *cluster = user;

	return cluster_decode_recovery(value, size, &cluster->recovery) ? 0 : -EUCLEAN;
}

static int load_fence(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct cluster *cluster = user;
	size_t count;

	if (!cluster_decode_fence(value, size, &count))
		return -EUCLEAN;
	for (size_t i = 0; i < count; i++) {
		uint64_t *server =
			grow((void **)&cluster->fenced, &cluster->fenced_count, sizeof(*server));

		if (server == NULL)
			return -ENOMEM;
		*server = get_le64(value + 1 + i * 8);
	}
	return 0;
}

static int load_chain(void *user, const uint8_t *key, const uint8_t *value, size_t size)
{
	struct state_pool *pool = cluster_find_pool(user, get_be32(key + 1));
	uint32_t partition = get_be32(key + 5);
	struct map_chain chain;

	if (pool == NULL || partition >= pool->partitions ||
	    !cluster_decode_chain(value, size, &chain))
		return -EUCLEAN;
	pool->chains[partition] = chain;
	return 0;
}

static int load_tag(struct state *state, enum meta_tag tag, scan_record_fn *load)
{
	return scan_tag(state->kv, tag, load, &state->cluster);
}

int cluster_load(struct state *state)
{
	int rc = load_tag(state, META_POOL, load_pool);

	if (rc == 0)
		rc = load_tag(state, META_CHAIN, load_chain);
	if (rc == 0)
		rc = load_tag(state, META_SERVER, load_server);
	if (rc == 0)
		rc = load_tag(state, META_TARGET, load_target);
	if (rc == 0)
		rc = load_tag(state, META_RECOVERY, load_recovery);
	if (rc == 0)
		rc = load_tag(state, META_FENCE, load_fence);
	return rc;
}

void cluster_unload(struct state *state)
{
	struct cluster *cluster = &state->cluster;

	for (size_t i = 0; i < cluster->pool_count; i++)
		free(cluster->pools[i].chains);
	free(cluster->pools);
	free(cluster->servers);
	free(cluster->targets);
	free(cluster->fenced);
	memset(cluster, 0, sizeof(*cluster));
}
