/* chunk.h - names of chunks, and where they are placed.
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
/* File ids are below: the rest of their 64 bits is for what is not thought of yet. */
#define FILE_ID_END (UINT64_C(1) << 52)

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
/* For in-memory hash tables only; may change. */
uint64_t chunk_key_hash(const struct chunk_key *key);

/* The partition of a chunk, 0 .. partitions-1. @partitions is at least 1. */
uint32_t chunk_partition(uint64_t file_id, uint32_t index, uint32_t partitions);
/* The whole key from a file's record. */
struct chunk_key chunk_key_of(uint32_t pool, uint32_t partitions, uint64_t file_id, uint32_t index);
#endif
