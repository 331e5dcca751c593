/* seal.c - building and taking apart values of a target's db. */
#include "chunkserver/record/seal.h"
#include "common/base/crc32c.h"

#define CRC_BYTES 4u

void seal_write_varint(struct writer *w, uint64_t v)
{
	while (v >= 0x80) {
		*w->at++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*w->at++ = (uint8_t)v;
}

uint64_t seal_read_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = reader_u8(r);

		if (shift == 63 && byte > 1)
			r->failed = true;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return v;
	}
	r->failed = true;
	return 0;
}

size_t seal_close(const uint8_t *key, size_t key_size, const uint8_t *value, struct writer *w)
{
	size_t size = (size_t)(w->at - value);

	write_le32(w, crc32c_extend(crc32c(key, key_size), value, size));
	return size + CRC_BYTES;
}

struct reader seal_open(const uint8_t *key, size_t key_size, const void *value, size_t size,
			uint8_t format)
{
	struct reader r = reader_on(value, size);

	if (size < 1 + CRC_BYTES) {
		r.failed = true;
		return r;
	}
	r.left -= CRC_BYTES;
	if (crc32c_extend(crc32c(key, key_size), value, r.left) != get_le32(r.at + r.left) ||
	    reader_u8(&r) != format)
		r.failed = true;
	return r;
}
