/* list.c - every chunk of a target that is not in use, with its content read back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/record/key.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/chunk/inner.h"
#include "chunkserver/store/store.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/kv/kv.h"

static int read_piece(struct chunk *chunk, uint32_t index, const struct piece *piece, uint8_t *data)
{
	struct bits live = bits_without(piece->present, &piece->inner);
	uint32_t got = 0, bytes = bits_end(&live) * BLOCK_SIZE;
	int rc = 0;

	if (bytes > 0)
		rc = file_read(chunk->file, data, bytes, (uint64_t)index * PIECE_BYTES, true, &got);
	if (rc == -ENOENT || (rc == 0 && got < bytes))
		return -EBADMSG;
	if (rc == 0 && bits_any(&piece->inner))
		rc = inner_read(&chunk->store->disk, &chunk->key, index * PIECE_BLOCKS,
				&piece->inner, piece->crcs, data);
	for (uint32_t i = 0; rc == 0 && i < PIECE_BLOCKS; i++) {
		uint8_t *block = data + (size_t)i * BLOCK_SIZE;

		if (!bits_test(&piece->present, i))
			memset(block, 0, BLOCK_SIZE);
		else if (crc32c(block, BLOCK_SIZE) != piece->crcs[i])
			rc = -EBADMSG;
	}
	return rc;
}

static int content(struct chunk *chunk, uint8_t *data, uint32_t *crc)
{
	*crc = 0;
	if (chunk_file_of(chunk) == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < pieces_of(chunk->length); i++) {
		uint32_t left = chunk->length - i * PIECE_BYTES;
		struct piece *piece;
		int rc = chunk_piece(chunk, i, &piece);

		if (rc == 0 && piece != NULL)
			rc = read_piece(chunk, i, piece, data);
		else if (rc == 0)
			memset(data, 0, PIECE_BYTES);
		if (rc != 0)
			return rc;
		*crc = crc32c_extend(*crc, data, left < PIECE_BYTES ? left : PIECE_BYTES);
	}
	return 0;
}

static void fill_info(const struct chunk *chunk, struct chunk_info *info)
{
	memset(info, 0, sizeof(*info));
	info->exists = chunk->exists;
	info->unsure = chunk->unsure;
	info->epoch = chunk->epoch;
	info->version = chunk->version;
	info->history = chunk->history;
	info->length = chunk->length;
	info->op_count = chunk->op_count;
	if (chunk->op_count > 0)
		memcpy(info->ops, chunk->ops, chunk->op_count * sizeof(*info->ops));
}

struct listing {
	struct store *store;
	uint8_t *data;
	struct chunk_info info;
	int (*each)(void *user, const struct chunk_key *key, const struct chunk_info *info,
		    uint32_t content_crc, int error);
	void *user;
};

static int list_chunk(struct listing *listing, const struct chunk_key *key)
{
	struct chunk *chunk = chunk_new(listing->store, key);
	uint32_t crc = 0;
	int rc;

	if (chunk == NULL)
		return -ENOMEM;
	rc = chunk_load(chunk);
	fill_info(chunk, &listing->info);
	listing->info.exists = true;
	if (rc == 0)
		rc = content(chunk, listing->data, &crc);
	chunk_free(chunk);
	return listing->each(listing->user, key, &listing->info, rc == 0 ? crc : 0, rc);
}

static int list_all(struct listing *listing)
{
	static const uint8_t start[] = {KEY_RECORD}, end[] = {KEY_RECORD + 1};
	struct kv_iter *iter;
	const uint8_t *name;
	size_t size;
	int rc = kv_iter_open(listing->store->disk.kv, FAMILY_MAIN, start, sizeof(start), end,
			      sizeof(end), &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &name, &size, NULL, NULL)) > 0) {
		struct chunk_key key;

		if (size != 1 + CHUNK_KEY_BYTES)
			continue;
		chunk_key_decode(name + 1, &key);
		rc = list_chunk(listing, &key);
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

int store_list(const char *path,
	       int (*each)(void *user, const struct chunk_key *key, const struct chunk_info *info,
			   uint32_t content_crc, int error),
	       void *user, char *error, size_t error_size)
{
	struct store_options options = {.path = path};
	struct listing *listing = calloc(1, sizeof(*listing));
	int rc;

	error[0] = '\0';
	if (listing == NULL)
		return -ENOMEM;
	listing->each = each;
	listing->user = user;
	rc = store_open(&options, &listing->store, error, error_size);
	if (rc != 0)
		goto out;
	listing->data = aligned_alloc(BLOCK_SIZE, PIECE_BYTES);
	rc = listing->data == NULL ? -ENOMEM : list_all(listing);
	if (rc != 0 && error[0] == '\0')
		snprintf(error, error_size, "%s: %s", path, strerror(rc < 0 ? -rc : EIO));
	store_close(listing->store);
	free(listing->data);
out:
	free(listing);
	return rc;
}
