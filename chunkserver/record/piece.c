/* piece.c - a piece of a chunk: its digest and its value in the db.
 *
 * Format: first u8, last u8: the present blocks are within; presence and inner bitmaps from first
 * to last; one le32 for each present block. */
#include "chunkserver/record/piece.h"
#include <errno.h>
#include "chunkserver/record/key.h"
#include "common/base/crc32c.h"

#define PIECE_FORMAT 1

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

void piece_write_map(struct writer *w, const struct bits *bits, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i += 8) {
		uint8_t byte = 0;

		for (uint32_t j = 0; j < 8 && i + j <= last; j++)
			byte = (uint8_t)(byte | (bits_test(bits, i + j) ? 1u << j : 0));
		write_u8(w, byte);
	}
}

void piece_read_map(struct reader *r, struct bits *bits, uint32_t first, uint32_t last)
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

void piece_write(struct writer *w, const struct piece *piece)
{
	uint32_t first = bits_next(&piece->present, 0);
	uint32_t last = bits_end(&piece->present) - 1;

	write_u8(w, (uint8_t)first);
	write_u8(w, (uint8_t)last);
	piece_write_map(w, &piece->present, first, last);
	piece_write_map(w, &piece->inner, first, last);
	for (uint32_t i = first; i <= last; i++)
		if (bits_test(&piece->present, i))
			write_le32(w, piece->crcs[i]);
}

void piece_read(struct reader *r, struct piece *piece)
{
	uint32_t first = reader_u8(r), last = reader_u8(r);
	struct bits stray;

	memset(&piece->present, 0, sizeof(piece->present));
	memset(&piece->inner, 0, sizeof(piece->inner));
	if (!reader_ok(r) || first > last) {
		r->failed = true;
		return;
	}
	piece_read_map(r, &piece->present, first, last);
	piece_read_map(r, &piece->inner, first, last);
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
	piece_write(&w, piece);
	return seal_close(name, name_size, out, &w);
}

int piece_decode(const struct chunk_key *key, uint32_t index, const void *data, size_t size,
		 struct piece *piece)
{
	uint8_t name[KEY_BYTES_MAX];
	size_t name_size = key_piece(key, index, name);
	struct reader r = seal_open(name, name_size, data, size, PIECE_FORMAT);

	piece_read(&r, piece);
	return reader_done(&r) ? 0 : -EBADMSG;
}
