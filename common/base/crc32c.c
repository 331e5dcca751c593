#include "common/base/crc32c.h"
#include <isa-l/crc.h>

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size)
{
	/* crc32_iscsi() works on the bare register, without the inversions before and after, takes
	 * its length as int, and only lacks the const. */
	const size_t step_max = 1u << 30;
	const unsigned char *at = data;

	crc = ~crc;
	while (size > 0) {
		size_t step = size < step_max ? size : step_max;

		crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)step, crc);
		at += step;
		size -= step;
	}
	return ~crc;
}

uint32_t crc32c(const void *data, size_t size)
{
	return crc32c_extend(0, data, size);
}
