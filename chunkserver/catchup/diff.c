/* diff.c - the successor's side of a comparison: which records and blocks differ from its own, and
 * which chunks it alone has. */
#include "chunkserver/catchup/catchup.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bitmap.h"

static struct chunk_key whole_key(uint32_t pool, uint32_t partition, struct catchup_key key)
{
	return (struct chunk_key){
		.pool = pool, .partition = partition, .file_id = key.file_id, .index = key.index};
}

static struct catchup_key inner_key(const struct chunk_key *key)
{
	return (struct catchup_key){.file_id = key->file_id, .index = key->index};
}

/* Are all updates that the member lacks among those that are sent again after the walk? Only of
 * this epoch is it certain that equal versions are equal updates. */
static bool covered(const struct catchup_record *record, const struct chunk_info *own,
		    uint64_t epoch)
{
	if (own->unsure || own->version >= record->version || own->version < record->base)
		return false;
	return own->exists ? own->epoch == epoch && own->version > 0 : true;
}

/* 1: differs. 0: equal, or soon. -errno */
static int differs(const struct catchup_store *store, void *ctx, const struct chunk_key *key,
		   const struct catchup_record *record, uint64_t epoch)
{
	struct chunk_info own;
	uint32_t digest;
	int rc;

	if (record->epoch == CATCHUP_EPOCH_DAMAGED)
		return 0;
	rc = store->info(ctx, key, &own);
	if (rc == -EBADMSG)
		return 1;
	if (rc < 0)
		return rc;
	if (own.exists && own.epoch > epoch)
		return -ESTALE;
	if (covered(record, &own, epoch))
		return 0;
	if (!own.exists || own.version != record->version || own.length != record->length ||
	    chunk_history_digest(&own.history) != record->history)
		return 1;
	rc = store->digest(ctx, key, &digest);
	if (rc == -EBADMSG)
		return 1;
	if (rc < 0)
		return rc;
	if (digest != record->digest)
		return 1;
	/* Another update may have led to the same blocks: then its ids differ. */
	if (own.epoch != record->epoch)
		return 1;
	if (!own.unsure)
		return 0;
	own.unsure = false;
	return store->complete(ctx, key, &own);
}

int catchup_differs(const struct catchup_store *store, void *ctx, uint32_t pool, uint32_t partition,
		    const struct catchup_compare *compare, uint64_t epoch,
		    bool (*suspect)(void *arg, const struct chunk_key *key), void *arg,
		    uint8_t bitmap[CATCHUP_BITMAP_MAX])
{
	memset(bitmap, 0, CATCHUP_BITMAP_MAX);
	for (uint32_t i = 0; i < compare->count; i++) {
		struct chunk_key key = whole_key(pool, partition, compare->records[i].key);
		int rc = 1;

		if (suspect == NULL || !suspect(arg, &key) ||
		    compare->records[i].epoch == CATCHUP_EPOCH_DAMAGED)
			rc = differs(store, ctx, &key, &compare->records[i], epoch);
		if (rc < 0)
			return rc;
		if (rc > 0)
			bitmap_set(bitmap, i);
	}
	return 0;
}

int catchup_blocks_differ(const struct catchup_store *store, void *ctx, const struct chunk_key *key,
			  const struct catchup_blocks *blocks, bool all, uint8_t *bitmap)
{
	uint8_t presence[CHUNK_BLOCKS_MAX / 8] = {0};
	uint32_t *crcs;
	int rc;

	memset(bitmap, 0xff, BITMAP_BYTES(blocks->count));
	if (all)
		return 0;
	crcs = calloc(blocks->count, sizeof(*crcs));
	if (crcs == NULL)
		return -ENOMEM;
	rc = store->checksums(ctx, key, blocks->count, crcs, presence);
	for (uint32_t i = 0; rc == 0 && i < blocks->count; i++) {
		bool here = bitmap_test(presence, i);

		if (here == bitmap_test(blocks->presence, i) &&
		    (!here || crcs[i] == blocks->crcs[i]))
			bitmap_clear(bitmap, i);
	}
	free(crcs);
	return rc == -EBADMSG ? 0 : rc;
}

static bool has_record(const struct catchup_compare *compare, struct catchup_key key)
{
	uint32_t low = 0, high = compare->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = catchup_key_compare(compare->records[mid].key, key);

		if (order == 0)
			return true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* The key before the range's first; false: the range begins with the lowest. */
static bool before(const struct catchup_compare *compare, struct chunk_key *key)
{
	struct catchup_key from = compare->from;

	if (from.index == 0 && from.file_id == 0)
		return false;
	key->file_id = from.index == 0 ? from.file_id - 1 : from.file_id;
	key->index = from.index == 0 ? UINT32_MAX : from.index - 1;
	return true;
}

int catchup_extra(const struct catchup_store *store, void *ctx, uint32_t pool, uint32_t partition,
		  const struct catchup_compare *compare, uint64_t epoch,
		  struct catchup_cursor *cursor, struct chunk_key *out, int max)
{
	struct chunk_info info;
	bool from_start = false;
	int found = 0, n;

	if (!cursor->begun) {
		cursor->after = (struct chunk_key){.pool = pool, .partition = partition};
		from_start = !before(compare, &cursor->after);
		cursor->begun = true;
	}
	n = store->scan(ctx, pool, partition, from_start ? NULL : &cursor->after, out, max);
	if (n < 0)
		return n;
	cursor->done = n < max;
	for (int i = 0; i < n; i++) {
		struct catchup_key key = inner_key(&out[i]);

		if (catchup_key_compare(key, compare->to) > 0) {
			cursor->done = true;
			break;
		}
		cursor->after = out[i];
		if (has_record(compare, key))
			continue;
		/* One that cannot be read is of no use. */
		if (store->info(ctx, &out[i], &info) == 0 && info.exists && info.epoch > epoch)
			return -ESTALE;
		out[found++] = out[i];
	}
	return found;
}
