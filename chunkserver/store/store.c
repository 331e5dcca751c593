/* store.c - a target as its users see it: opening and closing, and what its disk says of itself.
 *
 * The story of a start. store_open() brings a target back from whatever ended its last life.
 *   1. The identity is read and the lock taken (disk/identity.c). Then the db is opened: it replays
 *      its own log.
 *   2. The state says whether the target was closed, and whether the machine has been down since
 *      (disk/life.c).
 *   3. The witness says whether the db has all that was ever flushed (disk/witness.c).
 *   4. What the target remembers of masters is read (disk/seen.c), and a new life begins, durably.
 *   5. Marks are replayed: pieces that were being overwritten are compared with their checksums.
 *      Then files without a record are removed (replay.c).
 *   6. The threads start: flushes of the log, the witness.
 *
 * When it goes otherwise:
 *   - After a close there are no marks and no files without a record, so step 5 finds nothing; but
 *     for chunks that could not be brought to rest: then the close is not noted as clean.
 *   - After the death of the process, whatever was written is there. A block that differs from its
 *     checksum is taken as it is, and its chunk is unsure.
 *   - After a power cut, new blocks may be missing: they become absent, and the record says that
 *     something is lost.
 *   - The db lacks something flushed: the target is damaged. It opens, but nothing is copied from it
 *     until the master has put it behind the others. Files without a record stay.
 *   - The db cannot be read, or the life: -EUCLEAN. A new target takes its place.
 *   - A power cut during a start: all steps may be done again from the beginning. */
#include "chunkserver/store/store.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/epoch.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/make.h"
#include "chunkserver/disk/open.h"
#include "chunkserver/disk/seen.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/disk/witness.h"
#include "chunkserver/store/replay.h"
#include "chunkserver/chunk/shared.h"
#include "chunkserver/chunk/view.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define VIEW_CACHE_BYTES (32u << 20)
#define VIEW_FILES_MAX   512u
#define FLUSH_AFTER_NS   (5 * NS_PER_SEC)
#define REST_AFTER_NS    NS_PER_SEC
#define MIGRATE_IDLE_NS  (500 * NS_PER_MSEC)
#define MIGRATE_MIN      64u

int store_init(const char *path, const char *cluster, char *error, size_t error_size)
{
	return disk_make(path, cluster, error, error_size);
}

/* ---- opening and closing ---- */

static struct store *store_alloc(const struct store_options *options)
{
	struct store *store = calloc(1, sizeof(*store));

	if (store == NULL)
		return NULL;
	store->pool = options->pool;
	store->cache_bytes = options->cache_bytes == 0 ? VIEW_CACHE_BYTES : options->cache_bytes;
	store->files_max = VIEW_FILES_MAX;
	store->flush_after_ns = FLUSH_AFTER_NS;
	store->rest_after_ns = REST_AFTER_NS;
	store->migrate_idle_ns = MIGRATE_IDLE_NS;
	store->migrate_min = MIGRATE_MIN;
	return store;
}

int store_open_on(const struct store_options *options, struct kv *kv, struct store **out,
		  char *error, size_t error_size)
{
	struct store *store = store_alloc(options);
	int rc;

	error[0] = '\0';
	if (store == NULL)
		return -ENOMEM;
	rc = disk_open(&store->disk, options->path, options->cluster, kv, error, error_size);
	if (rc != 0)
		goto fail;
	rc = replay_all(store);
	if (rc == 0)
		rc = disk_start(&store->disk);
	if (rc != 0) {
		disk_abandon(&store->disk);
		goto fail;
	}
	*out = store;
	return 0;
fail:
	if (error[0] == '\0')
		snprintf(error, error_size, "%s: cannot be opened: %s", options->path,
			 strerror(-rc));
	free(store);
	return rc;
}

int store_open(const struct store_options *options, struct store **out, char *error,
	       size_t error_size)
{
	return store_open_on(options, NULL, out, error, error_size);
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	if (atomic_load(&store->views) != 0)
		log_error("target closed with views open path=%s", store->disk.path);
	disk_close(&store->disk);
	free(store);
}

int store_recover(struct store *store)
{
	return disk_recover(&store->disk);
}

bool store_is_down(struct store *store)
{
	return health_check(&store->disk) != 0;
}

/* ---- whose the target is ---- */

const char *store_uuid(const struct store *store)
{
	return store->disk.uuid;
}

uint64_t store_instance(const struct store *store)
{
	return store->disk.instance;
}

int store_adopt(struct store *store, uint64_t instance)
{
	return disk_adopt(&store->disk, instance);
}

uint64_t store_life(const struct store *store)
{
	return store->disk.life;
}

bool store_damaged(const struct store *store)
{
	return witness_is_damaged(&store->disk);
}

int store_damage_settled(struct store *store)
{
	return witness_damage_settled(&store->disk);
}

/* ---- what it remembers ---- */

void store_seen(const struct store *store, struct store_seen *out)
{
	seen_get(&store->disk, out);
}

int store_set_seen(struct store *store, const struct store_seen *seen)
{
	return seen_set(&store->disk, seen);
}

int store_set_seen_index(struct store *store, uint64_t index)
{
	return seen_set_index(&store->disk, index);
}

int store_set_seen_map(struct store *store, const struct cluster_map *map)
{
	return seen_set_map(&store->disk, map);
}

int store_seen_chains(struct store *store, store_seen_each *each, void *user)
{
	return seen_chains(&store->disk, each, user);
}

int store_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t *epoch)
{
	return epoch_get(&view->store->disk, pool, partition, epoch);
}

int store_set_epoch(struct store_view *view, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	return epoch_set(&view->store->disk, pool, partition, epoch);
}

/* ---- space ---- */

void store_space(struct store *store, uint64_t *capacity, uint64_t *used, uint64_t *free_bytes)
{
	space_tell(&store->disk, capacity, used, free_bytes);
}

bool store_is_full(struct store *store)
{
	return space_is_full(&store->disk);
}

bool store_is_low(struct store *store, bool was)
{
	return space_is_low(&store->disk, was);
}
