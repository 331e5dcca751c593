/* bitmap.h - a bit for each of a row of things, in bytes: bit i % 8 of byte i / 8. So it is the
 * same in memory, on the wire and in a store. */
#ifndef CATENA_COMMON_BASE_BITMAP_H
#define CATENA_COMMON_BASE_BITMAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that @count bits take. */
#define BITMAP_BYTES(count) (((count) + 7) / 8)

static inline bool bitmap_test(const uint8_t *bitmap, size_t i)
{
	return (bitmap[i / 8] >> i % 8 & 1) != 0;
}

static inline void bitmap_set(uint8_t *bitmap, size_t i)
{
	bitmap[i / 8] |= (uint8_t)(1u << i % 8);
}

static inline void bitmap_clear(uint8_t *bitmap, size_t i)
{
	bitmap[i / 8] &= (uint8_t) ~(1u << i % 8);
}
#endif
