/* value.c - the smaller values of a target's db. */
#include "chunkserver/record/value.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/record/key.h"
#include "chunkserver/record/piece.h"
#include "chunkserver/record/seal.h"

#define MARK_FORMAT   1
#define INNER_FORMAT  1
#define STATE_FORMAT  1
#define NUMBER_FORMAT 1
#define SEEN_FORMAT   1

size_t value_mark_encode(const struct chunk_key *key, uint32_t index, const struct bits *over,
			 uint8_t out[MARK_VALUE_MAX])
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_mark(key, index, name);
	struct writer w = {.at = out};

	write_u8(&w, MARK_FORMAT);
	if (bits_any(over))
		piece_write_map(&w, over, 0, PIECE_BLOCKS - 1);
	return seal_close(name, name_size, out, &w);
}

int value_mark_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		      struct bits *over)
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_mark(key, index, name);
	struct reader r = seal_open(name, name_size, data, size, MARK_FORMAT);

	memset(over, 0, sizeof(*over));
	if (reader_ok(&r) && r.left > 0)
		piece_read_map(&r, over, 0, PIECE_BLOCKS - 1);
	return reader_done(&r) ? 0 : -EBADMSG;
}

size_t value_inner_encode(uint32_t crc, const void *bytes, uint32_t length,
			  uint8_t out[INNER_VALUE_MAX])
{
	out[0] = INNER_FORMAT;
	put_le32(out + 1, crc);
	memcpy(out + INNER_HEAD, bytes, length);
	return INNER_HEAD + length;
}

int value_inner_decode(const void *data, size_t size, uint32_t crc, uint8_t out[BLOCK_SIZE])
{
	const uint8_t *p = data;
	size_t length;

	if (size < INNER_HEAD || size > INNER_VALUE_MAX || p[0] != INNER_FORMAT ||
	    get_le32(p + 1) != crc)
		return -EBADMSG;
	length = size - INNER_HEAD;
	memcpy(out, p + INNER_HEAD, length);
	memset(out + length, 0, BLOCK_SIZE - length);
	return 0;
}

static const uint8_t state_key[] = {KEY_STATE};

size_t value_state_encode(bool clean, const char *boot_id, uint8_t out[STATE_VALUE_MAX])
{
	struct writer w = {.at = out};
	size_t n = strnlen(boot_id, BOOT_ID_BYTES - 1);

	write_u8(&w, STATE_FORMAT);
	write_u8(&w, clean ? 1 : 0);
	write_u8(&w, (uint8_t)n);
	memcpy(w.at, boot_id, n);
	w.at += n;
	return seal_close(state_key, sizeof(state_key), out, &w);
}

int value_state_decode(const void *data, size_t size, bool *clean, char boot_id[BOOT_ID_BYTES])
{
	struct reader r = seal_open(state_key, sizeof(state_key), data, size, STATE_FORMAT);
	uint8_t flag = reader_u8(&r), n = reader_u8(&r);
	const uint8_t *text = reader_bytes(&r, n);

	if (!reader_done(&r) || flag > 1 || n >= BOOT_ID_BYTES)
		return -EBADMSG;
	*clean = flag == 1;
	memcpy(boot_id, text, n);
	boot_id[n] = '\0';
	return 0;
}

size_t value_number_encode(uint8_t key, uint64_t number, uint8_t out[NUMBER_VALUE_MAX])
{
	struct writer w = {.at = out};

	write_u8(&w, NUMBER_FORMAT);
	put_le64(w.at, number);
	w.at += 8;
	return seal_close(&key, sizeof(key), out, &w);
}

int value_number_decode(uint8_t key, const void *data, size_t size, uint64_t *number)
{
	struct reader r = seal_open(&key, sizeof(key), data, size, NUMBER_FORMAT);
	const uint8_t *bytes = reader_bytes(&r, 8);

	if (!reader_done(&r) || get_le64(bytes) == 0)
		return -EBADMSG;
	*number = get_le64(bytes);
	return 0;
}

size_t value_seen_encode(const struct store_seen *seen, uint8_t out[SEEN_VALUE_MAX])
{
	static const uint8_t key[] = {KEY_SEEN};
	struct writer w = {.at = out};

	write_u8(&w, SEEN_FORMAT);
	put_le64(w.at, seen->life);
	put_le64(w.at + 8, seen->chance);
	put_le64(w.at + 16, seen->version);
	put_le64(w.at + 24, seen->server_id);
	put_le64(w.at + 32, seen->target_id);
	put_le64(w.at + 40, seen->index);
	w.at += 48;
	return seal_close(key, sizeof(key), out, &w);
}

int value_seen_decode(const void *data, size_t size, struct store_seen *seen)
{
	static const uint8_t key[] = {KEY_SEEN};
	struct reader r = seal_open(key, sizeof(key), data, size, SEEN_FORMAT);
	struct store_seen read = {0};

	read.life = reader_le64(&r);
	read.chance = reader_le64(&r);
	read.version = reader_le64(&r);
	read.server_id = reader_le64(&r);
	read.target_id = reader_le64(&r);
	/* There was a time without the index. */
	if (!reader_done(&r))
		read.index = reader_le64(&r);
	if (!reader_done(&r))
		return -EBADMSG;
	*seen = read;
	return 0;
}

size_t value_seen_chain_encode(const void *key, size_t key_size, const struct map_chain *chain,
			       uint8_t out[SEEN_VALUE_MAX])
{
	struct writer w = {.at = out};

	write_u8(&w, SEEN_FORMAT);
	put_le64(w.at, chain->epoch);
	w.at += 8;
	write_u8(&w, (uint8_t)chain->count);
	for (uint32_t i = 0; i < chain->count; i++) {
		put_le32(w.at, chain->members[i].target_id);
		w.at += 4;
		write_u8(&w, (uint8_t)chain->members[i].state);
	}
	return seal_close(key, key_size, out, &w);
}

int value_seen_chain_decode(const void *key, size_t key_size, const void *data, size_t size,
			    struct map_chain *chain)
{
	struct reader r = seal_open(key, key_size, data, size, SEEN_FORMAT);

	memset(chain, 0, sizeof(*chain));
	chain->epoch = reader_le64(&r);
	chain->count = reader_u8(&r);
	if (chain->count > CHAIN_MEMBERS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < chain->count; i++) {
		chain->members[i].target_id = reader_le32(&r);
		chain->members[i].state = (enum member_state)reader_u8(&r);
		if (chain->members[i].state < MEMBER_IN_SYNC ||
		    chain->members[i].state > MEMBER_OFFLINE)
			return -EBADMSG;
	}
	return reader_done(&r) ? 0 : -EBADMSG;
}
