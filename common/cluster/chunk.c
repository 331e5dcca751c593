#include "common/cluster/chunk.h"
#include "common/base/bytes.h"

void chunk_key_encode(const struct chunk_key *key, uint8_t out[CHUNK_KEY_BYTES])
{
	put_be32(out, key->pool);
	put_be32(out + 4, key->partition);
	put_be64(out + 8, key->file_id);
	put_be32(out + 16, key->index);
}

void chunk_key_decode(const uint8_t in[CHUNK_KEY_BYTES], struct chunk_key *key)
{
	key->pool = get_be32(in);
	key->partition = get_be32(in + 4);
	key->file_id = get_be64(in + 8);
	key->index = get_be32(in + 16);
}

bool chunk_key_equal(const struct chunk_key *a, const struct chunk_key *b)
{
	return a->file_id == b->file_id && a->index == b->index && a->partition == b->partition &&
	       a->pool == b->pool;
}

int chunk_key_compare(const struct chunk_key *a, const struct chunk_key *b)
{
	if (a->pool != b->pool)
		return a->pool < b->pool ? -1 : 1;
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	if (a->file_id != b->file_id)
		return a->file_id < b->file_id ? -1 : 1;
	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return 0;
}

/* The finaliser of splitmix64 (Stafford's mix 13). */
static uint64_t mix64(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Chunk i of a file gets output i of a splitmix64 generator seeded with the mixed file id: file
 * ids are consecutive, and without the first mixing the chunks of neighbours would share a
 * sequence. Never to be changed: see chunk.h. */
static uint64_t placement_hash(uint64_t file_id, uint32_t index)
{
	return mix64(mix64(file_id) + 0x9e3779b97f4a7c15ull * ((uint64_t)index + 1));
}

uint64_t chunk_key_hash(const struct chunk_key *key)
{
	return placement_hash(key->file_id ^ ((uint64_t)key->pool << 48), key->index);
}

uint32_t chunk_partition(uint64_t file_id, uint32_t index, uint32_t partitions)
{
	return (uint32_t)(placement_hash(file_id, index) % partitions);
}

struct chunk_key chunk_key_of(uint32_t pool, uint32_t partitions, uint64_t file_id, uint32_t index)
{
	return (struct chunk_key){
		.pool = pool,
		.partition = chunk_partition(file_id, index, partitions),
		.file_id = file_id,
		.index = index,
	};
}
