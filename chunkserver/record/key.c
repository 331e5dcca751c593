/* key.c - the families and keys of a target's db. */
#include "chunkserver/record/key.h"
#include "common/base/bytes.h"

size_t key_record(const struct chunk_key *key, uint8_t out[KEY_BYTES_MAX])
{
	out[0] = KEY_RECORD;
	chunk_key_encode(key, out + 1);
	return 1 + CHUNK_KEY_BYTES;
}

static size_t key_numbered(uint8_t kind, const struct chunk_key *key, uint32_t index,
			   uint8_t out[KEY_BYTES_MAX])
{
	out[0] = kind;
	chunk_key_encode(key, out + 1);
	out[1 + CHUNK_KEY_BYTES] = (uint8_t)index;
	return 2 + CHUNK_KEY_BYTES;
}

size_t key_piece(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX])
{
	return key_numbered(KEY_PIECE, key, index, out);
}

size_t key_mark(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX])
{
	return key_numbered(KEY_MARK, key, index, out);
}

size_t key_inner(const struct chunk_key *key, uint32_t block, uint8_t out[KEY_BYTES_MAX])
{
	chunk_key_encode(key, out);
	put_be32(out + CHUNK_KEY_BYTES, block);
	return CHUNK_KEY_BYTES + 4;
}
