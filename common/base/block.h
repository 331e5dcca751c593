/* block.h - the blocks of a chunk, and their checksums (CRC32C).
 *
 * Blocks are BLOCK_SIZE bytes at multiples of BLOCK_SIZE from the chunk's start. A range that
 * begins or ends inside a block has a checksum over just its own bytes of that block. Thread: any.
 */
#ifndef CATENA_COMMON_BASE_BLOCK_H
#define CATENA_COMMON_BASE_BLOCK_H
#include <stdint.h>

#define BLOCK_SIZE  4096u
#define BLOCK_SHIFT 12u

/* Returns how many blocks the range touches; 0 for @length 0. */
uint32_t block_count(uint64_t offset, uint32_t length);
/* Writes block_count(offset, length) checksums of @data, which is at @offset of its chunk. */
void block_checksums(const void *data, uint64_t offset, uint32_t length, uint32_t *out);
/* Compares. Returns -1 when all are good, else the index of the first block that differs. */
int block_checksums_verify(const void *data, uint64_t offset, uint32_t length,
			   const uint32_t *crcs);
/* The checksum of a block of zeros. */
extern const uint32_t block_checksum_zero;
#endif
