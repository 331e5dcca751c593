/* codec.c - payloads of the CATCHUP frames; catchup.h has the layout. */
#include "chunkserver/catchup/catchup.h"
#include <errno.h>
#include <string.h>
#include "common/base/bitmap.h"
#include "common/base/bytes.h"

enum { FLAG_FIRST = 1, FLAG_LAST = 2 };

int catchup_key_compare(struct catchup_key a, struct catchup_key b)
{
	if (a.file_id != b.file_id)
		return a.file_id < b.file_id ? -1 : 1;
	if (a.index != b.index)
		return a.index < b.index ? -1 : 1;
	return 0;
}

uint64_t catchup_version_of(const struct chunk_info *info)
{
	uint64_t version = info->version;

	if (!info->exists || version > 0)
		return version;
	for (uint32_t i = 0; i < info->op_count; i++)
		if (info->ops[i].version > version)
			version = info->ops[i].version;
	return version > 0 ? version : 1;
}

int catchup_compare_kind(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	if (size < 8 || bytes[0] < CATCHUP_KIND_RANGE || bytes[0] > CATCHUP_KIND_RESUME)
		return -EBADMSG;
	return bytes[0];
}

/* ---- kind 1 ---- */

size_t catchup_compare_encode(const struct catchup_compare *compare,
			      uint8_t out[CATCHUP_COMPARE_MAX])
{
	uint8_t *at = out;

	memset(out, 0, CATCHUP_HEAD_BYTES);
	at[0] = CATCHUP_KIND_RANGE;
	at[1] = (uint8_t)((compare->first ? FLAG_FIRST : 0) | (compare->last ? FLAG_LAST : 0));
	put_le16(at + 2, (uint16_t)compare->count);
	put_le64(at + 8, compare->from.file_id);
	put_le32(at + 16, compare->from.index);
	put_le32(at + 20, compare->to.index);
	put_le64(at + 24, compare->to.file_id);
	at += CATCHUP_HEAD_BYTES;
	for (uint32_t i = 0; i < compare->count; i++, at += CATCHUP_RECORD_BYTES) {
		const struct catchup_record *record = &compare->records[i];

		put_le64(at, record->key.file_id);
		put_le32(at + 8, record->key.index);
		put_le32(at + 12, record->length);
		put_le64(at + 16, record->epoch);
		put_le64(at + 24, record->version);
		put_le64(at + 32, record->base);
		put_le32(at + 40, record->digest);
		put_le32(at + 44, record->history);
	}
	return (size_t)(at - out);
}

static void record_get(struct reader *r, struct catchup_record *record)
{
	record->key.file_id = reader_le64(r);
	record->key.index = reader_le32(r);
	record->length = reader_le32(r);
	record->epoch = reader_le64(r);
	record->version = reader_le64(r);
	record->base = reader_le64(r);
	record->digest = reader_le32(r);
	record->history = reader_le32(r);
}

static bool compare_ok(const struct catchup_compare *c)
{
	const struct catchup_key lowest = {0, 0};

	if (catchup_key_compare(c->from, c->to) > 0 ||
	    (c->first && catchup_key_compare(c->from, lowest) != 0) ||
	    (c->last && catchup_key_compare(c->to, CATCHUP_KEY_MAX) != 0))
		return false;
	for (uint32_t i = 0; i < c->count; i++) {
		const struct catchup_record *record = &c->records[i];

		if (record->length > CHUNK_SIZE_MAX || record->base > record->version ||
		    catchup_key_compare(record->key, c->from) < 0 ||
		    catchup_key_compare(record->key, c->to) > 0 ||
		    (i > 0 && catchup_key_compare(record[-1].key, record->key) >= 0))
			return false;
	}
	return true;
}

int catchup_compare_decode(const void *data, size_t size, struct catchup_compare *out)
{
	struct reader r = reader_on(data, size);
	uint8_t kind = reader_u8(&r), flags = reader_u8(&r);
	uint32_t reserved;

	out->count = reader_le16(&r);
	reserved = reader_le32(&r);
	out->from.file_id = reader_le64(&r);
	out->from.index = reader_le32(&r);
	out->to.index = reader_le32(&r);
	out->to.file_id = reader_le64(&r);
	out->first = (flags & FLAG_FIRST) != 0;
	out->last = (flags & FLAG_LAST) != 0;
	if (!reader_ok(&r) || kind != CATCHUP_KIND_RANGE || reserved != 0 ||
	    (flags & ~(FLAG_FIRST | FLAG_LAST)) != 0 || out->count > CATCHUP_RECORDS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < out->count; i++)
		record_get(&r, &out->records[i]);
	return reader_done(&r) && compare_ok(out) ? 0 : -EBADMSG;
}

/* ---- kind 2 ---- */

size_t catchup_gone_encode(const struct catchup_key *keys, uint32_t count,
			   uint8_t out[CATCHUP_GONE_ALL_MAX])
{
	uint8_t *at = out;

	memset(at, 0, 8);
	at[0] = CATCHUP_KIND_GONE;
	put_le16(at + 2, (uint16_t)count);
	at += 8;
	for (uint32_t i = 0; i < count; i++, at += CATCHUP_GONE_BYTES) {
		put_le64(at, keys[i].file_id);
		put_le32(at + 8, keys[i].index);
	}
	return (size_t)(at - out);
}

int catchup_gone_decode(const void *data, size_t size, struct catchup_key out[CATCHUP_GONE_MAX])
{
	struct reader r = reader_on(data, size);
	uint8_t kind = reader_u8(&r), flags = reader_u8(&r);
	uint16_t count = reader_le16(&r);
	uint32_t reserved = reader_le32(&r);

	if (!reader_ok(&r) || kind != CATCHUP_KIND_GONE || flags != 0 || reserved != 0 ||
	    count == 0 || count > CATCHUP_GONE_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < count; i++) {
		out[i].file_id = reader_le64(&r);
		out[i].index = reader_le32(&r);
	}
	return reader_done(&r) ? count : -EBADMSG;
}

/* ---- kind 3 ---- */

size_t catchup_blocks_encode(const struct catchup_blocks *blocks, uint8_t out[CATCHUP_BLOCKS_MAX])
{
	uint8_t *at = out + CATCHUP_BLOCKS_HEAD;
	size_t bitmap = BITMAP_BYTES(blocks->count);

	memset(out, 0, CATCHUP_BLOCKS_HEAD);
	out[0] = CATCHUP_KIND_BLOCKS;
	put_le32(out + 4, blocks->count);
	put_le64(out + 8, blocks->key.file_id);
	put_le32(out + 16, blocks->key.index);
	for (uint32_t i = 0; i < blocks->count; i++, at += 4)
		put_le32(at, blocks->crcs[i]);
	memcpy(at, blocks->presence, bitmap);
	return (size_t)(at - out) + bitmap;
}

int catchup_blocks_decode(const void *data, size_t size, struct catchup_blocks *out)
{
	struct reader r = reader_on(data, size);
	uint8_t kind = reader_u8(&r), flags = reader_u8(&r);
	uint16_t reserved = reader_le16(&r);
	const uint8_t *bitmap;

	out->count = reader_le32(&r);
	out->key.file_id = reader_le64(&r);
	out->key.index = reader_le32(&r);
	if (reader_le32(&r) != 0 || !reader_ok(&r) || kind != CATCHUP_KIND_BLOCKS || flags != 0 ||
	    reserved != 0 || out->count == 0 || out->count > CHUNK_BLOCKS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < out->count; i++)
		out->crcs[i] = reader_le32(&r);
	bitmap = reader_bytes(&r, BITMAP_BYTES(out->count));
	if (bitmap == NULL || !reader_done(&r))
		return -EBADMSG;
	memset(out->presence, 0, sizeof(out->presence));
	memcpy(out->presence, bitmap, BITMAP_BYTES(out->count));
	return 0;
}

/* ---- kind 4 ---- */

void catchup_resume_encode(uint8_t out[CATCHUP_RESUME_BYTES])
{
	memset(out, 0, CATCHUP_RESUME_BYTES);
	out[0] = CATCHUP_KIND_RESUME;
}

/* ---- CATCHUP_COMMIT ---- */

size_t catchup_commit_encode(const struct chunk_info *info, uint8_t out[CATCHUP_COMMIT_MAX])
{
	uint8_t *at = out;

	put_le64(at, info->epoch);
	put_le64(at + 8, info->version);
	put_le32(at + 16, info->length);
	put_le32(at + 20, info->op_count);
	put_le32(at + 24, info->history.lost ? 1 : 0);
	put_le32(at + 28, info->history.count);
	at += CATCHUP_COMMIT_HEAD;
	for (uint32_t i = 0; i < info->history.count; i++, at += 16) {
		put_le64(at, info->history.turns[i].epoch);
		put_le64(at + 8, info->history.turns[i].version);
	}
	for (uint32_t i = 0; i < info->op_count; i++, at += 24) {
		put_le64(at, info->ops[i].client_id);
		put_le64(at + 8, info->ops[i].op_id);
		put_le64(at + 16, info->ops[i].version);
	}
	return (size_t)(at - out);
}

static bool history_get(struct reader *r, struct chunk_history *history)
{
	uint32_t lost = reader_le32(r);

	history->lost = lost == 1;
	history->count = reader_le32(r);
	if (!reader_ok(r) || lost > 1 || history->count > HISTORY_TURNS)
		return false;
	for (uint32_t i = 0; i < history->count; i++) {
		history->turns[i].epoch = reader_le64(r);
		history->turns[i].version = reader_le64(r);
	}
	return reader_ok(r) && chunk_history_is_sound(history);
}

int catchup_commit_decode(const void *data, size_t size, struct chunk_info *out)
{
	struct reader r = reader_on(data, size);

	memset(out, 0, sizeof(*out));
	out->exists = true;
	out->epoch = reader_le64(&r);
	out->version = reader_le64(&r);
	out->length = reader_le32(&r);
	out->op_count = reader_le32(&r);
	if (!history_get(&r, &out->history) || out->length > CHUNK_SIZE_MAX ||
	    out->op_count > OP_IDS_KEPT)
		return -EBADMSG;
	for (uint32_t i = 0; i < out->op_count; i++) {
		out->ops[i].client_id = reader_le64(&r);
		out->ops[i].op_id = reader_le64(&r);
		out->ops[i].version = reader_le64(&r);
	}
	return reader_done(&r) ? 0 : -EBADMSG;
}
