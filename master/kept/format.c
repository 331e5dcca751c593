/* format.c - see format.h. */
#include "master/kept/format.h"
#include <errno.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"

/* A head: 16 bytes of magic, format, size and CRC32C of the rest; then the rest. */
static const char magic[16] = "CATENA-KEPT-LOG\n";

#define HEAD_START 28u
#define HEAD_USED  (HEAD_START + 8 * 4 + LOG_HASH_BYTES + 8 + 1 + KEPT_CLUSTER_MAX + 4)
_Static_assert(HEAD_USED <= KEPT_HEAD_BYTES, "a head has room for all");

/* A record: size of its body and CRC32C of size and body; then the body: kind, index, the rest. */
#define FRAME_BYTES 8u
#define BODY_START  9u
#define BODY_MAX    (BODY_START + ENTRY_BYTES_MAX)
#define RESULT_BODY (BODY_START + 12 + LOG_HASH_BYTES)
_Static_assert(FRAME_BYTES + BODY_START == KEPT_ENTRY_FRAME, "the frame of an entry");
_Static_assert(FRAME_BYTES + RESULT_BODY == KEPT_RESULT_BYTES, "a result");
_Static_assert(FRAME_BYTES + BODY_START == KEPT_MARK_BYTES, "a mark");

/* ---- writing ---- */

void kept_write_head(const struct kept_head *head, uint8_t out[KEPT_HEAD_BYTES])
{
	uint8_t *at = out + HEAD_START;

	memset(out, 0, KEPT_HEAD_BYTES);
	memcpy(out, magic, sizeof(magic));
	put_le32(out + 16, KEPT_FORMAT);
	put_le32(out + 20, KEPT_HEAD_BYTES - HEAD_START);
	put_le64(at, head->instance);
	put_le64(at + 8, head->life);
	put_le64(at + 16, head->chance);
	put_le64(at + 24, head->index);
	memcpy(at + 32, head->hash, LOG_HASH_BYTES);
	put_le64(at + 64, (uint64_t)head->time);
	at[72] = head->begins;
	memcpy(at + 73, head->cluster, strnlen(head->cluster, KEPT_CLUSTER_MAX - 1));
	put_le32(at + 73 + KEPT_CLUSTER_MAX, head->level);
	put_le32(out + 24, crc32c(at, KEPT_HEAD_BYTES - HEAD_START));
}

/* Completes the frame of a body that begins behind it in @out and ends with @more bytes. */
static void frame(uint8_t *out, size_t body, const uint8_t *more, size_t more_size)
{
	uint32_t crc;

	put_le32(out, (uint32_t)(body + more_size));
	crc = crc32c_extend(crc32c(out, 4), out + FRAME_BYTES, body);
	put_le32(out + 4, crc32c_extend(crc, more, more_size));
}

static void start_body(uint8_t *out, enum kept_kind kind, uint64_t index)
{
	out[FRAME_BYTES] = (uint8_t)kind;
	put_le64(out + FRAME_BYTES + 1, index);
}

void kept_write_entry(uint64_t index, const uint8_t *entry, size_t size,
		      uint8_t out[KEPT_ENTRY_FRAME])
{
	expects(size <= ENTRY_BYTES_MAX);
	start_body(out, KEPT_ENTRY, index);
	frame(out, BODY_START, entry, size);
}

void kept_write_result(uint64_t index, const struct log_trace *trace,
		       uint8_t out[KEPT_RESULT_BYTES])
{
	uint8_t *at = out + FRAME_BYTES + BODY_START;

	start_body(out, KEPT_RESULT, index);
	put_le32(at, (uint32_t)trace->result);
	put_le32(at + 4, trace->answer_crc);
	put_le32(at + 8, trace->changes_crc);
	memcpy(at + 12, trace->hash, LOG_HASH_BYTES);
	frame(out, RESULT_BODY, NULL, 0);
}

void kept_write_undone(uint64_t index, uint8_t out[KEPT_MARK_BYTES])
{
	start_body(out, KEPT_UNDONE, index);
	frame(out, BODY_START, NULL, 0);
}

/* ---- reading ---- */

static bool all_zeros(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (data[i] != 0)
			return false;
	return true;
}

int kept_read_head(const uint8_t *data, size_t size, struct kept_head *out)
{
	const uint8_t *at = data + HEAD_START;
	uint32_t format;

	if (size < KEPT_HEAD_BYTES)
		return memcmp(data, magic, size < sizeof(magic) ? size : sizeof(magic)) == 0 ||
				       all_zeros(data, size)
			       ? -ENODATA
			       : -EBADMSG;
	if (all_zeros(data, size))
		return -ENODATA;
	format = get_le32(data + 16);
	if (memcmp(data, magic, sizeof(magic)) != 0 || format == 0)
		return -EBADMSG;
	if (format != KEPT_FORMAT)
		return -EPROTONOSUPPORT;
	if (get_le32(data + 20) != KEPT_HEAD_BYTES - HEAD_START ||
	    get_le32(data + 24) != crc32c(at, KEPT_HEAD_BYTES - HEAD_START) || at[72] > 1 ||
	    at[73 + KEPT_CLUSTER_MAX - 1] != '\0')
		return -EBADMSG;
	out->instance = get_le64(at);
	out->life = get_le64(at + 8);
	out->chance = get_le64(at + 16);
	out->index = get_le64(at + 24);
	memcpy(out->hash, at + 32, LOG_HASH_BYTES);
	out->time = (int64_t)get_le64(at + 64);
	out->begins = at[72] == 1;
	memcpy(out->cluster, at + 73, KEPT_CLUSTER_MAX);
	out->level = get_le32(at + 73 + KEPT_CLUSTER_MAX);
	return 0;
}

static bool is_whole(const uint8_t *record, size_t left)
{
	size_t body;

	if (left < FRAME_BYTES)
		return false;
	body = get_le32(record);
	return body >= BODY_START && body <= BODY_MAX && body <= left - FRAME_BYTES &&
	       get_le32(record + 4) == crc32c_extend(crc32c(record, 4), record + FRAME_BYTES, body);
}

/* What a record that does not fit is. A write that was cut off is the last one: so it is damage when
 * a whole result is found anywhere behind it, and a torn tail otherwise. */
static int torn_or_damaged(const uint8_t *data, size_t left)
{
	for (size_t at = 1; at + KEPT_RESULT_BYTES <= left; at++)
		if (get_le32(data + at) == RESULT_BODY && data[at + FRAME_BYTES] == KEPT_RESULT &&
		    is_whole(data + at, left - at))
			return -EBADMSG;
	return -ENODATA;
}

static int read_body(const uint8_t *body, size_t size, struct kept_record *out)
{
	struct reader r = reader_on(body, size);
	const uint8_t *hash;

	*out = (struct kept_record){.kind = (enum kept_kind)reader_u8(&r)};
	out->index = reader_le64(&r);
	switch (out->kind) {
	case KEPT_ENTRY:
		out->entry_size = r.left;
		out->entry = reader_bytes(&r, r.left);
		break;
	case KEPT_RESULT:
		out->trace.result = (int32_t)reader_le32(&r);
		out->trace.answer_crc = reader_le32(&r);
		out->trace.changes_crc = reader_le32(&r);
		hash = reader_bytes(&r, LOG_HASH_BYTES);
		if (hash != NULL)
			memcpy(out->trace.hash, hash, LOG_HASH_BYTES);
		break;
	case KEPT_UNDONE:
		break;
	default:
		return out->kind == 0 ? -EBADMSG : -EPROTONOSUPPORT;
	}
	return reader_done(&r) ? 1 : -EBADMSG;
}

int kept_read_record(const uint8_t *data, size_t size, size_t *at, struct kept_record *out)
{
	const uint8_t *record = data + *at;
	size_t left = size - *at, body;

	if (left == 0)
		return 0;
	if (!is_whole(record, left))
		return torn_or_damaged(record, left);
	body = get_le32(record);
	*at += FRAME_BYTES + body;
	return read_body(record + FRAME_BYTES, body, out);
}
