/* crc32c.h - CRC32C (Castagnoli, RFC 3720 B.4) over ISA-L. Thread: any. */
#ifndef CATENA_COMMON_BASE_CRC32C_H
#define CATENA_COMMON_BASE_CRC32C_H
#include <stddef.h>
#include <stdint.h>

/* Returns the standard CRC32C: crc32c("123456789") == 0xe3069283. */
uint32_t crc32c(const void *data, size_t size);
/* Continues: crc32c_extend(crc32c(a), b) == crc32c(a then b); crc32c_extend(0, a) == crc32c(a). */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size);
#endif
