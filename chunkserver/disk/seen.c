/* seen.c - what a target remembers of the masters it has had to do with, and of its chains.
 *
 * It is written before the target acts by it, and not waited for. The db's log keeps its order, so
 * whatever the target does by a map and then flushes is never there without this. A flush of its
 * own follows in the background.
 *
 * Thread: the front loop alone. */
#include "chunkserver/disk/seen.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "common/base/bytes.h"
#include "common/kv/kv.h"

#define LOG_MODULE "store"

#define SEEN_CHAIN_KEY_BYTES (1 + 4 + 4)

/* A chain of which the target is, or was, a member. */
struct seen_chain {
	uint64_t key; /* pool << 32 | partition */
	uint64_t epoch;
	UT_hash_handle hh;
};

static size_t key_seen_chain(uint32_t pool, uint32_t partition, uint8_t out[KEY_BYTES_MAX])
{
	out[0] = KEY_SEEN_CHAIN;
	put_be32(out + 1, pool);
	put_be32(out + 5, partition);
	return SEEN_CHAIN_KEY_BYTES;
}

/* ---- reading ---- */

static int read_chains(struct disk *disk, seen_each *each, void *user)
{
	static const uint8_t start = KEY_SEEN_CHAIN, end = KEY_SEEN_CHAIN + 1;
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = kv_iter_open(disk->kv, FAMILY_MAIN, &start, 1, &end, 1, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		struct map_chain chain;

		rc = key_size == SEEN_CHAIN_KEY_BYTES ? 0 : -EBADMSG;
		if (rc == 0)
			rc = value_seen_chain_decode(key, key_size, value, size, &chain);
		if (rc == 0)
			rc = each(user, get_be32(key + 1), get_be32(key + 5), &chain);
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

static int remember(struct disk *disk, uint64_t key, uint64_t epoch)
{
	struct seen_chain *chain;

	HASH_FIND(hh, disk->seen_chains, &key, sizeof(key), chain);
	if (chain == NULL) {
		chain = calloc(1, sizeof(*chain));
		if (chain == NULL)
			return -ENOMEM;
		chain->key = key;
		HASH_ADD(hh, disk->seen_chains, key, sizeof(chain->key), chain);
	}
	chain->epoch = epoch;
	return 0;
}

static int load_one(void *user, uint32_t pool, uint32_t partition, const struct map_chain *chain)
{
	return remember(user, (uint64_t)pool << 32 | partition, chain->epoch);
}

int seen_open(struct disk *disk)
{
	static const uint8_t key[] = {KEY_SEEN};
	uint8_t *value;
	size_t size;
	int rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);

	if (rc == 0) {
		rc = value_seen_decode(value, size, &disk->seen);
		free(value);
	} else if (rc == -ENOENT) {
		rc = 0; /* new, or of a time without */
	}
	if (rc == 0)
		rc = read_chains(disk, load_one, disk);
	return rc == -EBADMSG ? -EUCLEAN : rc;
}

void seen_close(struct disk *disk)
{
	struct seen_chain *chain, *next = NULL;

	HASH_ITER(hh, disk->seen_chains, chain, next)
	{
		HASH_DEL(disk->seen_chains, chain);
		free(chain);
	}
}

void seen_get(const struct disk *disk, struct store_seen *out)
{
	*out = disk->seen;
}

int seen_chains(struct disk *disk, seen_each *each, void *user)
{
	return read_chains(disk, each, user);
}

/* ---- writing ---- */

static void put_seen(struct kv_batch *batch, const struct store_seen *seen)
{
	static const uint8_t key[] = {KEY_SEEN};
	uint8_t value[SEEN_VALUE_MAX];

	kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value, value_seen_encode(seen, value));
}

static int write_to_flush_later(struct disk *disk, const struct kv_batch *batch)
{
	int rc = health_check(disk);

	if (rc == 0)
		rc = db_write(disk, batch, NULL);
	if (rc == 0)
		log_flush_soon(disk);
	return rc;
}

int seen_set(struct disk *disk, const struct store_seen *seen)
{
	struct kv_batch *batch;
	int rc;

	if (memcmp(seen, &disk->seen, sizeof(*seen)) == 0)
		return 0;
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	put_seen(batch, seen);
	rc = write_to_flush_later(disk, batch);
	kv_batch_free(batch);
	if (rc == 0)
		disk->seen = *seen;
	return rc;
}

int seen_set_index(struct disk *disk, uint64_t index)
{
	struct store_seen seen = disk->seen;
	struct kv_batch *batch;
	int rc = health_check(disk);

	if (rc != 0 || index <= seen.index)
		return rc;
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	seen.index = index;
	put_seen(batch, &seen);
	rc = db_write(disk, batch, NULL);
	kv_batch_free(batch);
	if (rc == 0)
		disk->seen = seen;
	return rc;
}

static bool is_news(const struct disk *disk, uint64_t key, const struct map_chain *chain)
{
	struct seen_chain *seen;

	HASH_FIND(hh, disk->seen_chains, &key, sizeof(key), seen);
	return seen_chain_is_news(&disk->seen, seen != NULL ? &seen->epoch : NULL, chain);
}

/* Calls for each chain of @map that the target has not seen so yet. */
static int each_news(struct disk *disk, const struct cluster_map *map, struct kv_batch *batch)
{
	uint8_t key[KEY_BYTES_MAX], value[SEEN_VALUE_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < map->pool_count; i++) {
		const struct map_pool *pool = &map->pools[i];

		for (uint32_t p = 0; rc == 0 && p < pool->partitions; p++) {
			uint64_t number = (uint64_t)pool->id << 32 | p;
			size_t size;

			if (!is_news(disk, number, &pool->chains[p]))
				continue;
			if (batch == NULL) {
				rc = remember(disk, number, pool->chains[p].epoch);
				continue;
			}
			size = key_seen_chain(pool->id, p, key);
			kv_batch_put(batch, FAMILY_MAIN, key, size, value,
				     value_seen_chain_encode(key, size, &pool->chains[p], value));
		}
	}
	return rc;
}

static bool has_news(const struct disk *disk, const struct cluster_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++)
			if (is_news(disk, (uint64_t)map->pools[i].id << 32 | p,
				    &map->pools[i].chains[p]))
				return true;
	return false;
}

int seen_set_map(struct disk *disk, const struct cluster_map *map)
{
	struct store_seen seen = disk->seen;
	struct kv_batch *batch;
	int rc;

	/* Two maps may have one version of what is stored: a server that loses a place is told of that
	 * first, by a map that holds other changes back. */
	if (seen_is_ahead(&seen, map->version) ||
	    (seen_has_map(&seen, map->version) && !has_news(disk, map)))
		return 0;
	if (map->version > seen.version)
		seen.version = map->version;
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	put_seen(batch, &seen);
	rc = each_news(disk, map, batch);
	if (rc == 0)
		rc = write_to_flush_later(disk, batch);
	kv_batch_free(batch);
	if (rc == 0)
		rc = each_news(disk, map, NULL);
	if (rc == 0)
		disk->seen = seen;
	return rc;
}
