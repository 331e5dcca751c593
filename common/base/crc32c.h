/* crc32c.h - CRC32C (Castagnoli, RFC 3720 B.4) over ISA-L, and the block checksums of chunks.
 *
 * A chunk is checked in blocks of BLOCK_SIZE at multiples of BLOCK_SIZE from its start. A range
 * that does not begin or end at a block boundary has a checksum over just its own bytes of the
 * first and last block. Any thread. */
#ifndef CATENA_COMMON_BASE_CRC32C_H
#define CATENA_COMMON_BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

#define BLOCK_SIZE  4096u
#define BLOCK_SHIFT 12u

/* Standard CRC32C: crc32c("123456789") == 0xe3069283. */
uint32_t crc32c(const void *data, size_t size);
/* Continues: crc32c_extend(crc32c(a), b) == crc32c(a then b); crc32c_extend(0, a) == crc32c(a). */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size);

/* How many blocks the range touches; 0 for @length 0. */
uint32_t block_count(uint64_t offset, uint32_t length);
/* Writes block_count(offset, length) checksums of @data, which is at @offset of its chunk. */
void block_checksums(const void *data, uint64_t offset, uint32_t length, uint32_t *out);
/* Compares; -1: all good, else the index of the first block that differs. */
int block_checksums_verify(const void *data, uint64_t offset, uint32_t length,
			   const uint32_t *crcs);
/* The checksum of a block of zeros. */
extern const uint32_t block_checksum_zero;
#endif
