/* chunk.h - names of chunks, and their placement in partitions. Pure.
 *
 * The placement hash is part of the on-disk contract of a cluster: chunk_test.c pins its
 * vectors, and it may never change. It is splitmix64's finaliser (Steele, Lea, Flood 2014) over the
 * file id and chunk index. */
#ifndef CATENA_COMMON_CLUSTER_CHUNK_H
#define CATENA_COMMON_CLUSTER_CHUNK_H
#include <stdbool.h>
#include <stdint.h>

#define CHUNK_SIZE_MIN     (1u << 20)
#define CHUNK_SIZE_MAX     (64u << 20)
#define CHUNK_SIZE_DEFAULT (16u << 20)
struct chunk_key {
	uint32_t pool;
	uint32_t partition;
	uint64_t file_id;
	uint32_t index;
};

/* Byte order of keys is (pool, partition, file id, index), so a partition is one range. */
#define CHUNK_KEY_BYTES 20
void chunk_key_encode(const struct chunk_key *key, uint8_t out[CHUNK_KEY_BYTES]);
void chunk_key_decode(const uint8_t in[CHUNK_KEY_BYTES], struct chunk_key *key);
bool chunk_key_equal(const struct chunk_key *a, const struct chunk_key *b);
int chunk_key_compare(const struct chunk_key *a, const struct chunk_key *b);
/* Hashes a key for tables in memory only; it may change. */
uint64_t chunk_key_hash(const struct chunk_key *key);

/* Returns the partition of a chunk, 0 .. partitions-1. @partitions is at least 1. */
uint32_t chunk_partition(uint64_t file_id, uint32_t index, uint32_t partitions);
/* Makes the whole key of a chunk from its file's record. */
struct chunk_key chunk_key_of(uint32_t pool, uint32_t partitions, uint64_t file_id, uint32_t index);
#endif
