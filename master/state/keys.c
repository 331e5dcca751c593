/* keys.c - keys and values of the master's store. docs/store-format.md has the formats. */
#include <string.h>
#include "common/base/bytes.h"
#include "master/state/internal.h"

#define INODE_FORMAT    2 /* 1: without what counts and dates truncations and set times */
#define COUNTERS_FORMAT 1

const struct kv_family state_families[] = {
	[FAMILY_META] = {.name = "default"},      [FAMILY_INODES] = {.name = "inodes"},
	[FAMILY_DENTRIES] = {.name = "dentries"}, [FAMILY_XATTRS] = {.name = "xattrs"},
	[FAMILY_REPLIES] = {.name = "replies"},   [FAMILY_OPENS] = {.name = "opens"},
	[FAMILY_REMOVALS] = {.name = "removals"},
};
const unsigned state_family_count = FAMILY_COUNT;

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

/* SipHash-2-4 (Aumasson, Bernstein 2012): whoever makes names in a directory of others must not be
 * able to make many with one hash, though he sees the hashes of his own. */
uint64_t name_hash(const uint8_t key[NAME_KEY_BYTES], const uint8_t *name, size_t size)
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

uint64_t name_cookie(const struct state *state, const uint8_t *name, size_t size)
{
	uint64_t hash = name_hash(state->name_key, name, size) & state->name_mask;

	/* In [2^62, 2^63): a positive off_t, above the cookies of the client's own entries. The low
	 * bits are the slots: those of one hash never meet those of another. */
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

static uint8_t *add32(uint8_t *at, uint32_t value)
{
	put_le32(at, value);
	return at + 4;
}

static uint8_t *add64(uint8_t *at, uint64_t value)
{
	put_le64(at, value);
	return at + 8;
}

void inode_encode(const struct inode *inode, uint8_t out[INODE_VALUE_BYTES])
{
	uint8_t *at = out;

	*at++ = INODE_FORMAT;
	*at++ = inode->flags;
	at = add32(at, inode->mode);
	at = add32(at, inode->nlink);
	at = add32(at, inode->uid);
	at = add32(at, inode->gid);
	at = add32(at, inode->rdev);
	at = add32(at, inode->pool);
	at = add64(at, inode->size);
	at = add64(at, (uint64_t)inode->atime);
	at = add64(at, (uint64_t)inode->mtime);
	at = add64(at, (uint64_t)inode->ctime);
	at = add64(at, inode->file_id);
	at = add64(at, inode->version);
	at = add64(at, inode->allocated);
	at = add64(at, inode->parent);
	at = add64(at, inode->trim_from);
	at = add64(at, inode->trim_to);
	at = add64(at, inode->trim_session);
	at = add64(at, inode->entries);
	at = add32(at, inode->xattr_bytes);
	at = add64(at, inode->truncations);
	at = add64(at, (uint64_t)inode->truncated_at);
	at = add64(at, (uint64_t)inode->atime_set);
	add64(at, (uint64_t)inode->mtime_set);
}

bool inode_decode(uint64_t ino, const uint8_t *data, size_t size, struct inode *inode)
{
	struct reader r = reader_on(data, size);
	uint8_t format = reader_u8(&r);

	if (format == 0 || format > INODE_FORMAT)
		return false;
	inode->ino = ino;
	inode->flags = reader_u8(&r);
	inode->mode = reader_le32(&r);
	inode->nlink = reader_le32(&r);
	inode->uid = reader_le32(&r);
	inode->gid = reader_le32(&r);
	inode->rdev = reader_le32(&r);
	inode->pool = reader_le32(&r);
	inode->size = reader_le64(&r);
	inode->atime = (int64_t)reader_le64(&r);
	inode->mtime = (int64_t)reader_le64(&r);
	inode->ctime = (int64_t)reader_le64(&r);
	inode->file_id = reader_le64(&r);
	inode->version = reader_le64(&r);
	inode->allocated = reader_le64(&r);
	inode->parent = reader_le64(&r);
	inode->trim_from = reader_le64(&r);
	inode->trim_to = reader_le64(&r);
	inode->trim_session = reader_le64(&r);
	inode->entries = reader_le64(&r);
	inode->xattr_bytes = reader_le32(&r);
	inode->truncations = format == 1 ? 0 : reader_le64(&r);
	inode->truncated_at = format == 1 ? 0 : (int64_t)reader_le64(&r);
	inode->atime_set = format == 1 ? 0 : (int64_t)reader_le64(&r);
	inode->mtime_set = format == 1 ? 0 : (int64_t)reader_le64(&r);
	return reader_done(&r);
}

size_t dentry_encode(const struct dentry *dentry, uint8_t out[DENTRY_VALUE_MAX])
{
	put_le64(out, dentry->ino);
	out[8] = dentry->type;
	memcpy(out + 9, dentry->name, dentry->name_size);
	return 9 + (size_t)dentry->name_size;
}

bool dentry_decode(const uint8_t *data, size_t size, struct dentry *dentry)
{
	if (size < 9 || size > DENTRY_VALUE_MAX)
		return false;
	dentry->ino = get_le64(data);
	dentry->type = data[8];
	dentry->name_size = (uint8_t)(size - 9);
	memcpy(dentry->name, data + 9, size - 9);
	/* Only a deleted entry has no name. */
	return (dentry->ino == 0) == (dentry->name_size == 0);
}

void counters_encode(const struct counters *counters, uint8_t out[COUNTERS_VALUE_BYTES])
{
	uint8_t *at = out;

	*at++ = COUNTERS_FORMAT;
	at = add64(at, counters->index);
	at = add64(at, counters->next_ino);
	at = add64(at, counters->next_file_id);
	at = add64(at, counters->next_session);
	at = add64(at, counters->next_server);
	at = add64(at, counters->next_removal);
	at = add64(at, counters->map_version);
	at = add64(at, counters->inodes);
	at = add64(at, counters->orphans);
	at = add64(at, counters->removals);
	at = add64(at, counters->bytes);
	add32(at, counters->next_target);
}

bool counters_decode(const uint8_t *data, size_t size, struct counters *counters)
{
	struct reader r = reader_on(data, size);

	if (reader_u8(&r) != COUNTERS_FORMAT)
		return false;
	counters->index = reader_le64(&r);
	counters->next_ino = reader_le64(&r);
	counters->next_file_id = reader_le64(&r);
	counters->next_session = reader_le64(&r);
	counters->next_server = reader_le64(&r);
	counters->next_removal = reader_le64(&r);
	counters->map_version = reader_le64(&r);
	counters->inodes = reader_le64(&r);
	counters->orphans = reader_le64(&r);
	counters->removals = reader_le64(&r);
	counters->bytes = reader_le64(&r);
	counters->next_target = reader_le32(&r);
	return reader_done(&r);
}
