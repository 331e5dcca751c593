/* epoch.c - which chains a target has been in: the highest epoch of each partition.
 *
 * It is written with the log's next flush. What is changed in an epoch comes behind it in the log,
 * so no change is ever durable before the epoch that it was made in. */
#include "chunkserver/disk/epoch.h"
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "common/base/bytes.h"

#define KEY_EPOCH_BYTES 9u

static void key_epoch(uint32_t pool, uint32_t partition, uint8_t out[KEY_EPOCH_BYTES])
{
	out[0] = KEY_EPOCH;
	put_be32(out + 1, pool);
	put_be32(out + 5, partition);
}

int epoch_get(struct disk *disk, uint32_t pool, uint32_t partition, uint64_t *epoch)
{
	uint8_t key[KEY_EPOCH_BYTES], *value;
	int rc = health_check(disk);
	size_t size;

	*epoch = 0;
	if (rc != 0)
		return rc;
	key_epoch(pool, partition, key);
	rc = kv_get(disk->kv, FAMILY_MAIN, key, sizeof(key), &value, &size);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	rc = value_number_decode(KEY_EPOCH, value, size, epoch);
	free(value);
	return rc;
}

int epoch_set(struct disk *disk, uint32_t pool, uint32_t partition, uint64_t epoch)
{
	uint8_t key[KEY_EPOCH_BYTES], value[NUMBER_VALUE_MAX];
	struct kv_batch *batch;
	int rc = health_check(disk);

	if (rc != 0)
		return rc;
	batch = kv_batch_new();
	if (batch == NULL)
		return -ENOMEM;
	key_epoch(pool, partition, key);
	kv_batch_put(batch, FAMILY_MAIN, key, sizeof(key), value,
		     value_number_encode(KEY_EPOCH, epoch, value));
	rc = db_write(disk, batch, NULL);
	kv_batch_free(batch);
	return rc;
}
