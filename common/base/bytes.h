/* bytes.h - little-endian wire and disk integers, big-endian ordered keys, bounded readers.
 *
 * All data from a peer or a disk is read through struct reader: it never reads past its end, and
 * after a failed get every later one fails too, so callers check reader_ok() once at the end. */
#ifndef CATENA_COMMON_BASE_BYTES_H
#define CATENA_COMMON_BASE_BYTES_H
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* clang-format off */
static inline void put_le16(void *p, uint16_t v) { v = htole16(v); memcpy(p, &v, 2); }
static inline void put_le32(void *p, uint32_t v) { v = htole32(v); memcpy(p, &v, 4); }
static inline void put_le64(void *p, uint64_t v) { v = htole64(v); memcpy(p, &v, 8); }
static inline void put_be32(void *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static inline void put_be64(void *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }
static inline uint16_t get_le16(const void *p) { uint16_t v; memcpy(&v, p, 2); return le16toh(v); }
static inline uint32_t get_le32(const void *p) { uint32_t v; memcpy(&v, p, 4); return le32toh(v); }
static inline uint64_t get_le64(const void *p) { uint64_t v; memcpy(&v, p, 8); return le64toh(v); }
static inline uint32_t get_be32(const void *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static inline uint64_t get_be64(const void *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }
/* clang-format on */

struct reader {
	const uint8_t *at;
	size_t left;
	bool failed;
};

static inline struct reader reader_on(const void *data, size_t size)
{
	return (struct reader){.at = data, .left = size, .failed = false};
}

/* The next @size bytes, or NULL (and the reader has failed). */
static inline const uint8_t *reader_bytes(struct reader *r, size_t size)
{
	const uint8_t *at = r->at;

	if (r->failed || size > r->left) {
		r->failed = true;
		return NULL;
	}
	r->at += size;
	r->left -= size;
	return at;
}

static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 1);
	return p == NULL ? 0 : *p;
}

static inline uint16_t reader_le16(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 2);
	return p == NULL ? 0 : get_le16(p);
}

static inline uint32_t reader_le32(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 4);
	return p == NULL ? 0 : get_le32(p);
}

static inline uint64_t reader_le64(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 8);
	return p == NULL ? 0 : get_le64(p);
}

/* Nothing failed and nothing is left over: the whole input was what it should be. */
static inline bool reader_done(const struct reader *r)
{
	return !r->failed && r->left == 0;
}

static inline bool reader_ok(const struct reader *r)
{
	return !r->failed;
}
#endif
