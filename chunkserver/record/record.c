/* record.c - the value of a chunk's record in the db.
 *
 * Format: flags u8; varints: epoch, version, length, inner_count, op_count; ops: deltas of client,
 * op and version to the one before; with TURNS their count u8, and deltas of epoch and version of
 * each to the one before (of the first epoch to the record's); then the piece of a short chunk, or
 * the digests of a longer one. */
#include "chunkserver/record/record.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/record/key.h"
#include "chunkserver/record/seal.h"

#define RECORD_FORMAT   1
#define RECORD_UNSURE   1u
#define RECORD_HAS_FILE 2u
#define RECORD_LOST     4u
#define RECORD_TURNS    8u
#define RECORD_FLAGS    15u

/* Differences wrap around, so any value has one. Small ones of either sign become short. */
static uint64_t delta_of(uint64_t value, uint64_t before)
{
	uint64_t d = value - before;

	return d >> 63 != 0 ? ~(d << 1) : d << 1;
}

static uint64_t delta_apply(uint64_t delta, uint64_t before)
{
	return before + ((delta & 1) != 0 ? ~(delta >> 1) : delta >> 1);
}

static void write_ops(struct writer *w, const struct record *record)
{
	struct op_id before = {.version = record->version};

	seal_write_varint(w, record->op_count);
	for (uint32_t i = 0; i < record->op_count; i++) {
		const struct op_id *op = &record->ops[i];

		seal_write_varint(w, delta_of(op->client_id, before.client_id));
		seal_write_varint(w, delta_of(op->op_id, before.op_id));
		seal_write_varint(w, delta_of(op->version, before.version));
		before = *op;
	}
}

static void read_ops(struct reader *r, struct record *record)
{
	struct op_id before = {.version = record->version};
	uint64_t count = seal_read_varint(r);

	if (count > OP_IDS_KEPT) {
		r->failed = true;
		return;
	}
	record->op_count = (uint32_t)count;
	for (uint32_t i = 0; i < record->op_count && reader_ok(r); i++) {
		before.client_id = delta_apply(seal_read_varint(r), before.client_id);
		before.op_id = delta_apply(seal_read_varint(r), before.op_id);
		before.version = delta_apply(seal_read_varint(r), before.version);
		record->ops[i] = before;
	}
}

static void write_turns(struct writer *w, const struct record *record)
{
	const struct chunk_history *history = &record->history;
	struct history_turn before = {.epoch = record->epoch};

	if (history->count == 0)
		return;
	write_u8(w, (uint8_t)history->count);
	for (uint32_t i = 0; i < history->count; i++) {
		seal_write_varint(w, delta_of(history->turns[i].epoch, before.epoch));
		seal_write_varint(w, delta_of(history->turns[i].version, before.version));
		before = history->turns[i];
	}
}

static void read_turns(struct reader *r, struct record *record)
{
	struct chunk_history *history = &record->history;
	struct history_turn before = {.epoch = record->epoch};

	history->count = reader_u8(r);
	if (history->count == 0 || history->count > HISTORY_TURNS) {
		history->count = 0;
		r->failed = true;
	}
	for (uint32_t i = 0; i < history->count && reader_ok(r); i++) {
		before.epoch = delta_apply(seal_read_varint(r), before.epoch);
		before.version = delta_apply(seal_read_varint(r), before.version);
		history->turns[i] = before;
	}
	if (!chunk_history_is_sound(history))
		r->failed = true;
}

size_t record_encode(const struct chunk_key *key, const struct record *record,
		     const struct piece *piece, uint8_t out[RECORD_VALUE_MAX])
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_record(key, name);
	struct writer w = {.at = out};

	write_u8(&w, RECORD_FORMAT);
	write_u8(&w, (uint8_t)((record->unsure ? RECORD_UNSURE : 0) |
			       (record->has_file ? RECORD_HAS_FILE : 0) |
			       (record->history.lost ? RECORD_LOST : 0) |
			       (record->history.count > 0 ? RECORD_TURNS : 0)));
	seal_write_varint(&w, record->epoch);
	seal_write_varint(&w, record->version);
	seal_write_varint(&w, record->length);
	seal_write_varint(&w, record->inner_count);
	write_ops(&w, record);
	write_turns(&w, record);
	if (!record_is_inline(record->length)) {
		for (uint32_t i = 0; i < pieces_of(record->length); i++)
			write_le32(&w, record->digests[i]);
	} else if (record->length > 0 && piece != NULL) {
		piece_write(&w, piece);
	}
	return seal_close(name, name_size, out, &w);
}

static void read_pieces(struct reader *r, struct record *record, struct piece *piece)
{
	uint32_t count = pieces_of(record->length);

	if (!record_is_inline(record->length)) {
		for (uint32_t i = 0; i < count; i++)
			record->digests[i] = reader_le32(r);
		if (reader_ok(r) && record->digests[count - 1] == 0)
			r->failed = true;
		return;
	}
	if (record->length == 0)
		return;
	piece_read(r, piece);
	if (!reader_ok(r) || bits_end(&piece->present) != blocks_of(record->length)) {
		r->failed = true;
		return;
	}
	record->digests[0] = piece_digest(piece);
}

int record_decode(const struct chunk_key *key, const void *data, size_t size, struct record *record,
		  struct piece *piece)
{
	uint8_t name[KEY_BYTES_MAX], flags;
	size_t name_size = key_record(key, name);
	struct reader r = seal_open(name, name_size, data, size, RECORD_FORMAT);
	uint64_t length, inner;

	memset(&piece->present, 0, sizeof(piece->present));
	memset(&piece->inner, 0, sizeof(piece->inner));
	flags = reader_u8(&r);
	record->unsure = (flags & RECORD_UNSURE) != 0;
	record->has_file = (flags & RECORD_HAS_FILE) != 0;
	record->history = (struct chunk_history){.lost = (flags & RECORD_LOST) != 0};
	record->epoch = seal_read_varint(&r);
	record->version = seal_read_varint(&r);
	length = seal_read_varint(&r);
	inner = seal_read_varint(&r);
	if (!reader_ok(&r) || length > CHUNK_SIZE_MAX || inner > CHUNK_BLOCKS_MAX ||
	    (flags & ~RECORD_FLAGS) != 0)
		return -EBADMSG;
	record->length = (uint32_t)length;
	record->inner_count = (uint32_t)inner;
	read_ops(&r, record);
	if ((flags & RECORD_TURNS) != 0)
		read_turns(&r, record);
	if (reader_ok(&r))
		read_pieces(&r, record, piece);
	return reader_done(&r) ? 0 : -EBADMSG;
}
