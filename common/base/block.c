#include "common/base/block.h"
#include "common/base/crc32c.h"

/* tests/unit/common/base/crc32c_test.c computes it again. */
const uint32_t block_checksum_zero = 0x98f94189u;

uint32_t block_count(uint64_t offset, uint32_t length)
{
	if (length == 0)
		return 0;
	return (uint32_t)(((offset & (BLOCK_SIZE - 1)) + length + BLOCK_SIZE - 1) >> BLOCK_SHIFT);
}

/* Bytes from @offset to the end of its block, at most @left. */
static uint32_t block_part(uint64_t offset, uint32_t left)
{
	uint32_t part = BLOCK_SIZE - (uint32_t)(offset & (BLOCK_SIZE - 1));

	return part < left ? part : left;
}

void block_checksums(const void *data, uint64_t offset, uint32_t length, uint32_t *out)
{
	const uint8_t *at = data;

	while (length > 0) {
		uint32_t part = block_part(offset, length);

		*out++ = crc32c(at, part);
		at += part;
		offset += part;
		length -= part;
	}
}

int block_checksums_verify(const void *data, uint64_t offset, uint32_t length, const uint32_t *crcs)
{
	const uint8_t *at = data;

	for (int i = 0; length > 0; i++) {
		uint32_t part = block_part(offset, length);

		if (crc32c(at, part) != crcs[i])
			return i;
		at += part;
		offset += part;
		length -= part;
	}
	return -1;
}
