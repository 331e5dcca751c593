/* info.c - what is known of a chunk, and which chunks there are. */
#include <errno.h>
#include <string.h>
#include "chunkserver/record/key.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/store.h"
#include "common/base/bitmap.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/kv/kv.h"

int store_info(struct store_view *view, const struct chunk_key *key, struct chunk_info *info)
{
	struct chunk *chunk;
	int rc = chunk_get(view, key, &chunk);

	if (rc != 0)
		return rc;
	memset(info, 0, offsetof(struct chunk_info, ops));
	if (!chunk->exists)
		return 0;
	info->exists = true;
	/* An overwrite that was broken off and has not been looked at yet counts too. */
	info->unsure = chunk->unsure || chunk_repairs(chunk, 0, CHUNK_BLOCKS_MAX);
	info->epoch = chunk->epoch;
	info->version = chunk->version;
	info->history = chunk->history;
	info->length = chunk->length;
	info->op_count = chunk->op_count;
	if (chunk->op_count > 0)
		memcpy(info->ops, chunk->ops, chunk->op_count * sizeof(*info->ops));
	return 0;
}

int store_digest(struct store_view *view, const struct chunk_key *key, uint32_t *digest)
{
	struct chunk *chunk;
	uint8_t bytes[4];
	uint32_t crc;
	int rc = chunk_get(view, key, &chunk);

	if (rc == 0 && chunk_repairs(chunk, 0, CHUNK_BLOCKS_MAX))
		rc = -EAGAIN;
	if (rc != 0)
		return rc;
	put_le32(bytes, chunk->length);
	crc = crc32c(bytes, sizeof(bytes));
	for (uint32_t i = 0; i < pieces_of(chunk->length); i++) {
		put_le32(bytes, chunk->slots[i].digest);
		crc = crc32c_extend(crc, bytes, sizeof(bytes));
	}
	*digest = crc;
	return 0;
}

int store_presence(struct store_view *view, const struct chunk_key *key, uint8_t *bitmap,
		   uint32_t *bytes)
{
	struct chunk *chunk;
	uint32_t blocks;
	int rc = chunk_get(view, key, &chunk);

	if (rc != 0)
		return rc;
	blocks = blocks_of(chunk->length);
	if ((blocks + 7) / 8 > *bytes)
		return -ENOSPC;
	*bytes = BITMAP_BYTES(blocks);
	memset(bitmap, 0, *bytes);
	for (uint32_t i = 0; i < pieces_of(chunk->length); i++) {
		struct piece *piece;

		rc = chunk_piece(chunk, i, &piece);
		if (rc != 0)
			return rc;
		for (uint32_t b = 0; piece != NULL && b < bits_end(&piece->present); b++)
			if (bits_test(&piece->present, b))
				bitmap_set(bitmap, i * PIECE_BLOCKS + b);
	}
	return 0;
}

int store_checksums(struct store_view *view, const struct chunk_key *key, uint32_t count,
		    uint32_t *crcs, uint8_t *bitmap)
{
	struct chunk *chunk;
	int rc = chunk_get(view, key, &chunk);

	if (rc == 0 && chunk_repairs(chunk, 0, CHUNK_BLOCKS_MAX))
		rc = -EAGAIN;
	if (rc != 0)
		return rc;
	memset(crcs, 0, count * sizeof(*crcs));
	memset(bitmap, 0, BITMAP_BYTES(count));
	for (uint32_t i = 0; i < pieces_of(chunk->length) && i * PIECE_BLOCKS < count; i++) {
		struct piece *piece;

		rc = chunk_piece(chunk, i, &piece);
		if (rc != 0)
			return rc;
		for (uint32_t b = piece == NULL ? PIECE_BLOCKS : bits_next(&piece->present, 0);
		     b < PIECE_BLOCKS && i * PIECE_BLOCKS + b < count;
		     b = bits_next(&piece->present, b + 1)) {
			uint32_t block = i * PIECE_BLOCKS + b;

			crcs[block] = piece->crcs[b];
			bitmap_set(bitmap, block);
		}
	}
	return 0;
}

int store_scan(struct store_view *view, uint32_t pool, uint32_t partition,
	       const struct chunk_key *after, struct chunk_key *out, int max)
{
	struct chunk_key first = {.pool = pool, .partition = partition};
	struct chunk_key last = {
		.pool = pool, .partition = partition, .file_id = UINT64_MAX, .index = UINT32_MAX};
	uint8_t start[KEY_BYTES_MAX + 1], end[KEY_BYTES_MAX + 1];
	size_t start_size = key_record(after != NULL ? after : &first, start);
	size_t end_size = key_record(&last, end);
	struct kv_iter *iter;
	const uint8_t *key;
	size_t size;
	int n = 0, rc;

	/* A zero byte more: the next possible key. */
	if (after != NULL)
		start[start_size++] = 0;
	end[end_size++] = 0;
	rc = kv_iter_open(view->store->disk.kv, FAMILY_MAIN, start, start_size, end, end_size,
			  &iter);
	if (rc != 0)
		return rc;
	while (n < max && (rc = kv_iter_next(iter, &key, &size, NULL, NULL)) > 0)
		if (size == 1 + CHUNK_KEY_BYTES)
			chunk_key_decode(key + 1, &out[n++]);
	kv_iter_free(iter);
	return rc < 0 ? rc : n;
}
