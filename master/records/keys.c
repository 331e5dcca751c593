/* keys.c - the families and keys of the master's store. */
#include "master/records/keys.h"
#include <string.h>
#include "common/base/bytes.h"

const struct kv_family records_families[] = {
	[FAMILY_META] = {.name = "default"},      [FAMILY_INODES] = {.name = "inodes"},
	[FAMILY_DENTRIES] = {.name = "dentries"}, [FAMILY_XATTRS] = {.name = "xattrs"},
	[FAMILY_REPLIES] = {.name = "replies"},   [FAMILY_OPENS] = {.name = "opens"},
	[FAMILY_REMOVALS] = {.name = "removals"},
};
const unsigned records_family_count = FAMILY_COUNT;

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

/* SipHash-2-4 (Aumasson, Bernstein 2012). A user who sees the hashes of his own names must not be
 * able to make many names with one hash. */
uint64_t key_name_hash(const uint8_t key[NAME_KEY_BYTES], const uint8_t *name, size_t size)
{
	uint64_t k0 = get_le64(key), k1 = get_le64(key + 8), word;
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull,
			 k0 ^ 0x6c7967656e657261ull, k1 ^ 0x7465646279746573ull};
	uint8_t tail[8] = {0};
	size_t left = size;

	for (; left >= 8; left -= 8, name += 8) {
		word = get_le64(name);
		v[3] ^= word;
		sip_rounds(v, 2);
		v[0] ^= word;
	}
	if (left > 0)
		memcpy(tail, name, left);
	tail[7] = (uint8_t)size;
	word = get_le64(tail);
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t key_name_cookie(const uint8_t key[NAME_KEY_BYTES], uint64_t mask, const uint8_t *name,
			 size_t size)
{
	uint64_t hash = key_name_hash(key, name, size) & mask;

	/* Cookies are in [2^62, 2^63): positive off_t, above those of the client's own entries. The
	 * low bits are the slots: those of one hash never meet those of another. */
	return UINT64_C(1) << 62 | (hash >> 2 & ~(uint64_t)(DENTRY_SLOTS - 1));
}

void key_u64(uint8_t key[8], uint64_t a)
{
	put_be64(key, a);
}

void key_u64_u64(uint8_t key[16], uint64_t a, uint64_t b)
{
	put_be64(key, a);
	put_be64(key + 8, b);
}

size_t key_meta(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint64_t id)
{
	key[0] = (uint8_t)tag;
	put_be64(key + 1, id);
	return 9;
}

size_t key_meta32(uint8_t key[META_KEY_MAX], enum meta_tag tag, uint32_t a, uint32_t b)
{
	key[0] = (uint8_t)tag;
	put_be32(key + 1, a);
	put_be32(key + 5, b);
	return 9;
}

size_t key_xattr(uint8_t key[XATTR_KEY_MAX], uint64_t ino, const void *name, size_t name_size)
{
	put_be64(key, ino);
	if (name_size > 0)
		memcpy(key + 8, name, name_size);
	return 8 + name_size;
}
