/* inner.c - blocks kept inside the db. */
#include "chunkserver/chunk/inner.h"
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "common/base/bytes.h"
#include "common/kv/kv.h"

#define SCAN_MIN 4u /* from so many blocks on, a scan is cheaper than single reads */

static int scan_blocks(struct disk *disk, const struct chunk_key *key, uint32_t first,
		       const struct bits *set, const uint32_t *crcs, uint8_t *data)
{
	uint8_t start[KEY_BYTES_MAX], end[KEY_BYTES_MAX];
	size_t start_size = key_inner(key, first + bits_next(set, 0), start);
	size_t end_size = key_inner(key, first + bits_end(set), end);
	uint32_t missing = bits_count(set);
	struct kv_iter *iter;
	const uint8_t *name, *value;
	size_t name_size, value_size;
	int rc = kv_iter_open(disk->kv, FAMILY_INNER, start, start_size, end, end_size, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &name, &name_size, &value, &value_size)) > 0) {
		uint32_t i;

		if (name_size != CHUNK_KEY_BYTES + 4)
			continue;
		i = get_be32(name + CHUNK_KEY_BYTES) - first;
		if (i >= PIECE_BLOCKS || !bits_test(set, i))
			continue;
		rc = value_inner_decode(value, value_size, crcs[i], data + (size_t)i * BLOCK_SIZE);
		if (rc != 0)
			break;
		missing--;
	}
	kv_iter_free(iter);
	return rc == 0 && missing > 0 ? -EBADMSG : rc;
}

int inner_read(struct disk *disk, const struct chunk_key *key, uint32_t first,
	       const struct bits *set, const uint32_t *crcs, uint8_t *data)
{
	if (bits_count(set) >= SCAN_MIN)
		return scan_blocks(disk, key, first, set, crcs, data);
	for (uint32_t i = bits_next(set, 0); i < PIECE_BLOCKS; i = bits_next(set, i + 1)) {
		uint8_t name[KEY_BYTES_MAX], *value;
		size_t size;
		int rc = kv_get(disk->kv, FAMILY_INNER, name, key_inner(key, first + i, name),
				&value, &size);

		if (rc == -ENOENT)
			return -EBADMSG;
		if (rc != 0)
			return rc;
		rc = value_inner_decode(value, size, crcs[i], data + (size_t)i * BLOCK_SIZE);
		free(value);
		if (rc != 0)
			return rc;
	}
	return 0;
}
