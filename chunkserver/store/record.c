/* record.c - the formats of keys and values in a target's db. No I/O.
 *
 * Every value begins with a format version and ends with a CRC32C over its key and itself, except
 * inner blocks: theirs is the block's own checksum, which the piece holds too. */
#include "chunkserver/store/internal.h"
#include <errno.h>
#include <string.h>

#define RECORD_FORMAT 1
#define PIECE_FORMAT  1
#define MARK_FORMAT   1
#define INNER_FORMAT  1
#define STATE_FORMAT  1
#define NUMBER_FORMAT 1
#define SEEN_FORMAT   1

#define RECORD_UNSURE   1u
#define RECORD_HAS_FILE 2u
#define RECORD_LOST     4u
#define RECORD_TURNS    8u
#define RECORD_FLAGS    15u
#define CRC_BYTES       4u

const struct kv_family store_families[FAMILY_COUNT] = {
	[FAMILY_MAIN] = {.name = "default", .large_values = false},
	[FAMILY_INNER] = {.name = "inner", .large_values = true},
};

/* ---- keys ---- */

size_t key_record(const struct chunk_key *key, uint8_t out[KEY_BYTES_MAX])
{
	out[0] = KEY_RECORD;
	chunk_key_encode(key, out + 1);
	return 1 + CHUNK_KEY_BYTES;
}

static size_t key_numbered(uint8_t kind, const struct chunk_key *key, uint32_t index,
			   uint8_t out[KEY_BYTES_MAX])
{
	out[0] = kind;
	chunk_key_encode(key, out + 1);
	out[1 + CHUNK_KEY_BYTES] = (uint8_t)index;
	return 2 + CHUNK_KEY_BYTES;
}

size_t key_piece(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX])
{
	return key_numbered(KEY_PIECE, key, index, out);
}

size_t key_mark(const struct chunk_key *key, uint32_t index, uint8_t out[KEY_BYTES_MAX])
{
	return key_numbered(KEY_MARK, key, index, out);
}

size_t key_inner(const struct chunk_key *key, uint32_t block, uint8_t out[KEY_BYTES_MAX])
{
	chunk_key_encode(key, out);
	put_be32(out + CHUNK_KEY_BYTES, block);
	return CHUNK_KEY_BYTES + 4;
}

/* ---- building and taking apart ---- */

struct writer {
	uint8_t *at;
};

static void write_u8(struct writer *w, uint8_t v)
{
	*w->at++ = v;
}

static void write_le32(struct writer *w, uint32_t v)
{
	put_le32(w->at, v);
	w->at += 4;
}

static void write_varint(struct writer *w, uint64_t v)
{
	while (v >= 0x80) {
		*w->at++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*w->at++ = (uint8_t)v;
}

static uint64_t read_varint(struct reader *r)
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

static size_t seal(const uint8_t *key, size_t key_size, const uint8_t *value, struct writer *w)
{
	size_t size = (size_t)(w->at - value);

	write_le32(w, crc32c_extend(crc32c(key, key_size), value, size));
	return size + CRC_BYTES;
}

/* A reader on what is inside, behind the format byte; a failed one when seal or format are wrong.
 */
static struct reader unseal(const uint8_t *key, size_t key_size, const void *value, size_t size,
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

/* ---- pieces ----
 *
 * first u8, last u8: the present blocks are within; presence and inner bitmaps from first to last;
 * one le32 for each present block. */

uint32_t piece_digest(const struct piece *piece)
{
	uint8_t map[PIECE_BLOCKS / 8];
	uint32_t crc, digest;

	if (!bits_any(&piece->present))
		return 0;
	for (unsigned i = 0; i < BITS_WORDS; i++)
		put_le64(map + 8 * i, piece->present.w[i]);
	crc = crc32c(map, sizeof(map));
	for (uint32_t i = bits_next(&piece->present, 0); i < PIECE_BLOCKS;) {
		uint32_t from = i;
		uint8_t bytes[4 * PIECE_BLOCKS];

		while (i < PIECE_BLOCKS && bits_test(&piece->present, i)) {
			put_le32(bytes + (size_t)4 * (i - from), piece->crcs[i]);
			i++;
		}
		crc = crc32c_extend(crc, bytes, (size_t)4 * (i - from));
		i = bits_next(&piece->present, i);
	}
	digest = crc;
	return digest == 0 ? 1 : digest;
}

static void write_map(struct writer *w, const struct bits *bits, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i += 8) {
		uint8_t byte = 0;

		for (uint32_t j = 0; j < 8 && i + j <= last; j++)
			byte = (uint8_t)(byte | (bits_test(bits, i + j) ? 1u << j : 0));
		write_u8(w, byte);
	}
}

static void read_map(struct reader *r, struct bits *bits, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i += 8) {
		uint8_t byte = reader_u8(r);

		for (uint32_t j = 0; j < 8; j++) {
			if ((byte >> j & 1) == 0)
				continue;
			if (i + j > last)
				r->failed = true;
			else
				bits_set(bits, i + j);
		}
	}
}

static void write_piece(struct writer *w, const struct piece *piece)
{
	uint32_t first = bits_next(&piece->present, 0);
	uint32_t last = bits_end(&piece->present) - 1;

	write_u8(w, (uint8_t)first);
	write_u8(w, (uint8_t)last);
	write_map(w, &piece->present, first, last);
	write_map(w, &piece->inner, first, last);
	for (uint32_t i = first; i <= last; i++)
		if (bits_test(&piece->present, i))
			write_le32(w, piece->crcs[i]);
}

static void read_piece(struct reader *r, struct piece *piece)
{
	uint32_t first = reader_u8(r), last = reader_u8(r);
	struct bits stray;

	memset(&piece->present, 0, sizeof(piece->present));
	memset(&piece->inner, 0, sizeof(piece->inner));
	if (!reader_ok(r) || first > last) {
		r->failed = true;
		return;
	}
	read_map(r, &piece->present, first, last);
	read_map(r, &piece->inner, first, last);
	stray = bits_without(piece->inner, &piece->present);
	/* Bounds are tight, so that equal pieces are equal bytes. */
	if (bits_any(&stray) || !bits_test(&piece->present, first) ||
	    !bits_test(&piece->present, last))
		r->failed = true;
	for (uint32_t i = first; i <= last && reader_ok(r); i++)
		if (bits_test(&piece->present, i))
			piece->crcs[i] = reader_le32(r);
}

size_t piece_encode(const struct chunk_key *key, uint32_t index, const struct piece *piece,
		    uint8_t out[PIECE_VALUE_MAX])
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_piece(key, index, name);
	struct writer w = {.at = out};

	write_u8(&w, PIECE_FORMAT);
	write_piece(&w, piece);
	return seal(name, name_size, out, &w);
}

int piece_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		 struct piece *piece)
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_piece(key, index, name);
	struct reader r = unseal(name, name_size, data, size, PIECE_FORMAT);

	read_piece(&r, piece);
	return reader_done(&r) ? 0 : -EBADMSG;
}

/* ---- records ----
 *
 * flags u8; varints: epoch, version, length, inner_count, op_count; ops: deltas of client, op and
 * version to the one before; with TURNS their count u8, and deltas of epoch and version of each to
 * the one before (of the first epoch to the record's); then the piece of a short chunk, or the
 * digests of a longer one. */

static void write_ops(struct writer *w, const struct record *record)
{
	struct store_op_id before = {.version = record->version};

	write_varint(w, record->op_count);
	for (uint32_t i = 0; i < record->op_count; i++) {
		const struct store_op_id *op = &record->ops[i];

		write_varint(w, delta_of(op->client_id, before.client_id));
		write_varint(w, delta_of(op->op_id, before.op_id));
		write_varint(w, delta_of(op->version, before.version));
		before = *op;
	}
}

static void read_ops(struct reader *r, struct record *record)
{
	struct store_op_id before = {.version = record->version};
	uint64_t count = read_varint(r);

	if (count > STORE_OPS_KEPT) {
		r->failed = true;
		return;
	}
	record->op_count = (uint32_t)count;
	for (uint32_t i = 0; i < record->op_count && reader_ok(r); i++) {
		before.client_id = delta_apply(read_varint(r), before.client_id);
		before.op_id = delta_apply(read_varint(r), before.op_id);
		before.version = delta_apply(read_varint(r), before.version);
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
		write_varint(w, delta_of(history->turns[i].epoch, before.epoch));
		write_varint(w, delta_of(history->turns[i].version, before.version));
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
		before.epoch = delta_apply(read_varint(r), before.epoch);
		before.version = delta_apply(read_varint(r), before.version);
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
	write_varint(&w, record->epoch);
	write_varint(&w, record->version);
	write_varint(&w, record->length);
	write_varint(&w, record->inner_count);
	write_ops(&w, record);
	write_turns(&w, record);
	if (!record_is_inline(record->length)) {
		for (uint32_t i = 0; i < pieces_of(record->length); i++)
			write_le32(&w, record->digests[i]);
	} else if (record->length > 0 && piece != NULL) {
		write_piece(&w, piece);
	}
	return seal(name, name_size, out, &w);
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
	read_piece(r, piece);
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
	struct reader r = unseal(name, name_size, data, size, RECORD_FORMAT);
	uint64_t length, inner;

	memset(&piece->present, 0, sizeof(piece->present));
	memset(&piece->inner, 0, sizeof(piece->inner));
	flags = reader_u8(&r);
	record->unsure = (flags & RECORD_UNSURE) != 0;
	record->has_file = (flags & RECORD_HAS_FILE) != 0;
	record->history = (struct chunk_history){.lost = (flags & RECORD_LOST) != 0};
	record->epoch = read_varint(&r);
	record->version = read_varint(&r);
	length = read_varint(&r);
	inner = read_varint(&r);
	if (!reader_ok(&r) || length > CHUNK_SIZE_MAX || inner > STORE_BLOCKS_MAX ||
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

/* ---- marks, inner blocks, the state ---- */

size_t mark_encode(const struct chunk_key *key, uint32_t index, const struct bits *over,
		   uint8_t out[MARK_VALUE_MAX])
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_mark(key, index, name);
	struct writer w = {.at = out};

	write_u8(&w, MARK_FORMAT);
	if (bits_any(over))
		write_map(&w, over, 0, PIECE_BLOCKS - 1);
	return seal(name, name_size, out, &w);
}

int mark_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		struct bits *over)
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_mark(key, index, name);
	struct reader r = unseal(name, name_size, data, size, MARK_FORMAT);

	memset(over, 0, sizeof(*over));
	if (reader_ok(&r) && r.left > 0)
		read_map(&r, over, 0, PIECE_BLOCKS - 1);
	return reader_done(&r) ? 0 : -EBADMSG;
}

size_t inner_encode(uint32_t crc, const void *bytes, uint32_t length, uint8_t out[INNER_VALUE_MAX])
{
	out[0] = INNER_FORMAT;
	put_le32(out + 1, crc);
	memcpy(out + INNER_HEAD, bytes, length);
	return INNER_HEAD + length;
}

int inner_decode(const void *data, size_t size, uint32_t crc, uint8_t out[BLOCK_SIZE])
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

size_t state_encode(bool clean, const char *boot_id, uint8_t out[STATE_VALUE_MAX])
{
	struct writer w = {.at = out};
	size_t n = strnlen(boot_id, BOOT_ID_BYTES - 1);

	write_u8(&w, STATE_FORMAT);
	write_u8(&w, clean ? 1 : 0);
	write_u8(&w, (uint8_t)n);
	memcpy(w.at, boot_id, n);
	w.at += n;
	return seal(state_key, sizeof(state_key), out, &w);
}

int state_decode(const void *data, size_t size, bool *clean, char boot_id[BOOT_ID_BYTES])
{
	struct reader r = unseal(state_key, sizeof(state_key), data, size, STATE_FORMAT);
	uint8_t flag = reader_u8(&r), n = reader_u8(&r);
	const uint8_t *text = reader_bytes(&r, n);

	if (!reader_done(&r) || flag > 1 || n >= BOOT_ID_BYTES)
		return -EBADMSG;
	*clean = flag == 1;
	memcpy(boot_id, text, n);
	boot_id[n] = '\0';
	return 0;
}

/* ---- single numbers ---- */

static size_t number_encode(uint8_t key, uint64_t number, uint8_t out[NUMBER_VALUE_MAX])
{
	struct writer w = {.at = out};

	write_u8(&w, NUMBER_FORMAT);
	put_le64(w.at, number);
	w.at += 8;
	return seal(&key, sizeof(key), out, &w);
}

static int number_decode(uint8_t key, const void *data, size_t size, uint64_t *number)
{
	struct reader r = unseal(&key, sizeof(key), data, size, NUMBER_FORMAT);
	const uint8_t *bytes = reader_bytes(&r, 8);

	if (!reader_done(&r) || get_le64(bytes) == 0)
		return -EBADMSG;
	*number = get_le64(bytes);
	return 0;
}

size_t life_encode(uint64_t life, uint8_t out[NUMBER_VALUE_MAX])
{
	return number_encode(KEY_LIFE, life, out);
}

int life_decode(const void *data, size_t size, uint64_t *life)
{
	return number_decode(KEY_LIFE, data, size, life);
}

size_t synced_encode(uint64_t mark, uint8_t out[NUMBER_VALUE_MAX])
{
	return number_encode(KEY_SYNCED, mark, out);
}

int synced_decode(const void *data, size_t size, uint64_t *mark)
{
	return number_decode(KEY_SYNCED, data, size, mark);
}

size_t damage_encode(uint64_t life, uint8_t out[NUMBER_VALUE_MAX])
{
	return number_encode(KEY_DAMAGE, life, out);
}

size_t epoch_encode(uint64_t epoch, uint8_t out[NUMBER_VALUE_MAX])
{
	return number_encode(KEY_EPOCH, epoch, out);
}

int epoch_decode(const void *data, size_t size, uint64_t *epoch)
{
	return number_decode(KEY_EPOCH, data, size, epoch);
}

/* ---- what was seen of masters ---- */

size_t seen_encode(const struct store_seen *seen, uint8_t out[SEEN_VALUE_MAX])
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
	return seal(key, sizeof(key), out, &w);
}

int seen_decode(const void *data, size_t size, struct store_seen *seen)
{
	static const uint8_t key[] = {KEY_SEEN};
	struct reader r = unseal(key, sizeof(key), data, size, SEEN_FORMAT);
	const uint8_t *bytes = reader_bytes(&r, 40);
	/* There was a time without the index. */
	const uint8_t *more = reader_done(&r) ? NULL : reader_bytes(&r, 8);

	if (!reader_done(&r))
		return -EBADMSG;
	seen->index = more == NULL ? 0 : get_le64(more);
	seen->life = get_le64(bytes);
	seen->chance = get_le64(bytes + 8);
	seen->version = get_le64(bytes + 16);
	seen->server_id = get_le64(bytes + 24);
	seen->target_id = get_le64(bytes + 32);
	return 0;
}

size_t seen_chain_encode(const void *key, size_t key_size, const struct map_chain *chain,
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
	return seal(key, key_size, out, &w);
}

int seen_chain_decode(const void *key, size_t key_size, const void *data, size_t size,
		      struct map_chain *chain)
{
	struct reader r = unseal(key, key_size, data, size, SEEN_FORMAT);

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
