/* seal.h - building and taking apart values of a target's db. Pure.
 *
 * A value begins with a format byte and ends with a CRC32C over its key and itself. Inner blocks
 * alone have the block's own checksum instead; the piece holds it too. */
#ifndef CATENA_CHUNKSERVER_RECORD_SEAL_H
#define CATENA_CHUNKSERVER_RECORD_SEAL_H
#include <stddef.h>
#include <stdint.h>
#include "common/base/bytes.h"

struct writer {
	uint8_t *at;
};

static inline void write_u8(struct writer *w, uint8_t v)
{
	*w->at++ = v;
}

static inline void write_le32(struct writer *w, uint32_t v)
{
	put_le32(w->at, v);
	w->at += 4;
}

/* Numbers of seven bits a byte, the lowest first. */
void seal_write_varint(struct writer *w, uint64_t v);
uint64_t seal_read_varint(struct reader *r);

/* Ends the value that begins at @value with its checksum; returns its size. */
size_t seal_close(const uint8_t *key, size_t key_size, const uint8_t *value, struct writer *w);
/* Returns a reader behind the format byte; a failed one when checksum or format are wrong. */
struct reader seal_open(const uint8_t *key, size_t key_size, const void *value, size_t size,
			uint8_t format);
#endif
