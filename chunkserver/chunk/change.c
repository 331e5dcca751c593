/* change.c - changing a chunk: the new state is made beside the old one, written as one
 * batch, and taken over only when that has succeeded. */
#include "chunkserver/chunk/change.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/record/key.h"
#include "common/base/expects.h"
#include "common/os/clock.h"

struct change *change_new(void)
{
	struct change *change = calloc(1, sizeof(*change));

	if (change == NULL)
		return NULL;
	change->batch = kv_batch_new();
	if (change->batch == NULL) {
		free(change);
		return NULL;
	}
	return change;
}

static void drop_scratch(struct change *change)
{
	for (unsigned i = 0; i < change->piece_count; i++)
		free(change->pieces[i].own);
	change->piece_count = 0;
}

void change_free(struct change *change)
{
	drop_scratch(change);
	kv_batch_free(change->batch);
	free(change);
}

void change_begin(struct change *change, struct chunk *chunk)
{
	struct record *next = &change->next;
	uint32_t count = pieces_of(chunk->length);

	drop_scratch(change);
	kv_batch_clear(change->batch);
	change->chunk = chunk;
	change->writes_file = false;
	change->marked = 0;
	next->unsure = chunk->unsure;
	next->has_file = chunk->has_file;
	next->epoch = chunk->epoch;
	next->version = chunk->version;
	next->history = chunk->history;
	next->length = chunk->length;
	next->inner_count = chunk->inner_count;
	memset(next->digests, 0, sizeof(next->digests));
	for (uint32_t i = 0; i < count; i++)
		next->digests[i] = chunk->slots[i].digest;
	next->op_count = chunk->op_count;
	if (chunk->op_count > 0)
		memcpy(next->ops, chunk->ops, chunk->op_count * sizeof(*next->ops));
}

static struct change_piece *find_piece(struct change *change, uint32_t index)
{
	for (unsigned i = 0; i < change->piece_count; i++)
		if (change->pieces[i].index == index)
			return &change->pieces[i];
	return NULL;
}

int change_piece(struct change *change, uint32_t index, struct piece **out)
{
	struct change_piece *own = find_piece(change, index);
	struct piece *old;
	int rc;

	if (own == NULL) {
		rc = chunk_piece(change->chunk, index, &old);
		if (rc != 0)
			return rc;
		if (change->piece_count == sizeof(change->pieces) / sizeof(change->pieces[0]))
			return -EINVAL;
		own = &change->pieces[change->piece_count];
		own->own = NULL;
		if (old == NULL) {
			own->own = malloc(sizeof(*own->own));
			if (own->own == NULL)
				return -ENOMEM;
			memset(&own->piece.present, 0, sizeof(own->piece.present));
			memset(&own->piece.inner, 0, sizeof(own->piece.inner));
		} else {
			own->piece = *old;
		}
		own->index = index;
		change->piece_count++;
	}
	*out = &own->piece;
	return 0;
}

static struct change_mark *mark_of(struct change *change, uint32_t index)
{
	struct change_mark *mark = &change->marks[index];

	if ((change->marked >> index & 1) == 0) {
		memset(mark, 0, sizeof(*mark));
		change->marked |= UINT64_C(1) << index;
	}
	return mark;
}

/* Tells the background work on this piece that the block is not what it began with any more. */
static void touched(struct change *change, uint32_t block)
{
	struct chunk *chunk = change->chunk;

	if (chunk->bg_changed != NULL)
		bits_set(&chunk->bg_changed[block >> PIECE_SHIFT], block % PIECE_BLOCKS);
}

/* ---- blocks ---- */

static void delete_inner(struct change *change, struct piece *piece, uint32_t block)
{
	uint8_t key[KEY_BYTES_MAX];

	kv_batch_delete(change->batch, FAMILY_INNER, key,
			key_inner(&change->chunk->key, block, key));
	atomic_fetch_add_explicit(&change->chunk->store->garbage, BLOCK_SIZE, memory_order_relaxed);
	bits_clear(&piece->inner, block % PIECE_BLOCKS);
	if (change->next.inner_count > 0)
		change->next.inner_count--;
}

void change_inner(struct change *change, struct piece *piece, uint32_t block, const void *bytes,
		  uint32_t crc)
{
	uint32_t i = block % PIECE_BLOCKS, start = block * BLOCK_SIZE;
	uint32_t length = change->next.length - start;
	uint8_t key[KEY_BYTES_MAX];
	size_t size;

	expects(block < CHUNK_BLOCKS_MAX && start < change->next.length);
	size = value_inner_encode(crc, bytes, length < BLOCK_SIZE ? length : BLOCK_SIZE,
				  change->value);
	touched(change, block);
	kv_batch_put(change->batch, FAMILY_INNER, key, key_inner(&change->chunk->key, block, key),
		     change->value, size);
	if (!bits_test(&piece->inner, i)) {
		change->next.inner_count++;
		if (bits_test(&piece->present, i))
			bits_set(&mark_of(change, block >> PIECE_SHIFT)->still, i);
	}
	bits_set(&piece->present, i);
	bits_set(&piece->inner, i);
	piece->crcs[i] = crc;
}

void change_file(struct change *change, struct piece *piece, uint32_t block, uint32_t crc)
{
	uint32_t i = block % PIECE_BLOCKS;
	bool live = bits_test(&piece->present, i) && !bits_test(&piece->inner, i);
	struct change_mark *mark;

	expects(block < CHUNK_BLOCKS_MAX);
	mark = mark_of(change, block >> PIECE_SHIFT);
	touched(change, block);
	if (bits_test(&piece->inner, i))
		delete_inner(change, piece, block);
	if (!live)
		bits_set(&mark->fresh, i);
	bits_set(&piece->present, i);
	piece->crcs[i] = crc;
	change->writes_file = true;
	change->next.has_file = true;
}

void change_absent(struct change *change, struct piece *piece, uint32_t block)
{
	uint32_t i = block % PIECE_BLOCKS;
	struct change_mark *mark;

	if (!bits_test(&piece->present, i))
		return;
	touched(change, block);
	if (bits_test(&piece->inner, i)) {
		delete_inner(change, piece, block);
	} else {
		mark = mark_of(change, block >> PIECE_SHIFT);
		bits_set(&mark->gone, i);
		bits_set(&mark->still, i);
	}
	bits_clear(&piece->present, i);
}

void change_moved(struct change *change, struct piece *piece, uint32_t block)
{
	delete_inner(change, piece, block);
	bits_set(&mark_of(change, block >> PIECE_SHIFT)->still, block % PIECE_BLOCKS);
	change->next.has_file = true;
}

/* A piece of which nothing is left needs no scratch: only its inner blocks are to be known. */
static int drop_piece(struct change *change, uint32_t index)
{
	struct piece *old, rest;
	int rc = chunk_piece(change->chunk, index, &old);

	if (rc != 0 || old == NULL)
		return rc;
	rest = *old;
	for (uint32_t i = bits_next(&old->present, 0); i < PIECE_BLOCKS;
	     i = bits_next(&old->present, i + 1))
		change_absent(change, &rest, index * PIECE_BLOCKS + i);
	change->next.digests[index] = 0;
	return 0;
}

int change_punch(struct change *change, uint32_t first, uint32_t end)
{
	uint32_t limit = blocks_of(change->chunk->length);
	struct piece *piece;
	int rc;

	if (end > limit)
		end = limit;
	for (uint32_t at = first; at < end;) {
		uint32_t index = at >> PIECE_SHIFT, base = index * PIECE_BLOCKS;
		uint32_t stop = base + PIECE_BLOCKS < end ? base + PIECE_BLOCKS : end;

		if (at == base && (stop == base + PIECE_BLOCKS || stop == limit) &&
		    find_piece(change, index) == NULL) {
			rc = drop_piece(change, index);
			if (rc != 0)
				return rc;
		} else if (change->next.digests[index] != 0) {
			rc = change_piece(change, index, &piece);
			if (rc != 0)
				return rc;
			for (; at < stop; at++)
				change_absent(change, piece, at);
		}
		at = stop;
	}
	return 0;
}

int change_last(struct change *change, uint32_t end, uint32_t *last)
{
	uint32_t block = blocks_of(end);

	for (uint32_t index = pieces_of(end); index-- > 0;) {
		struct change_piece *own = find_piece(change, index);
		struct piece *piece = own != NULL ? &own->piece : NULL;
		uint32_t found;
		int rc = 0;

		if (own == NULL && change->next.digests[index] != 0)
			rc = chunk_piece(change->chunk, index, &piece);
		if (rc != 0)
			return rc;
		found = piece == NULL ? 0 : bits_end(&piece->present);
		if (found == 0)
			continue;
		found += index * PIECE_BLOCKS;
		/* Only the last block of all may be present in part. */
		*last = found >= block ? end : found * BLOCK_SIZE;
		return 0;
	}
	*last = 0;
	return 0;
}

/* ---- writing ---- */

static bool stored(bool exists, uint32_t length, uint32_t index, uint32_t digest)
{
	return exists && !record_is_inline(length) && index < pieces_of(length) && digest != 0;
}

static int put_piece(struct change *change, uint32_t index, const struct piece *piece)
{
	uint8_t key[KEY_BYTES_MAX];
	struct piece *old;
	int rc;

	if (piece == NULL) { /* it moves out of the record as it is */
		rc = chunk_piece(change->chunk, index, &old);
		if (rc != 0)
			return rc;
		piece = old;
	}
	kv_batch_put(change->batch, FAMILY_MAIN, key, key_piece(&change->chunk->key, index, key),
		     change->value, piece_encode(&change->chunk->key, index, piece, change->value));
	return 0;
}

static int put_pieces(struct change *change)
{
	struct chunk *chunk = change->chunk;
	uint32_t before = pieces_of(chunk->length), after = pieces_of(change->next.length);
	uint8_t key[KEY_BYTES_MAX];
	int rc = 0;

	for (unsigned i = 0; i < change->piece_count; i++)
		change->next.digests[change->pieces[i].index] =
			piece_digest(&change->pieces[i].piece);
	for (uint32_t i = 0; rc == 0 && i < (before > after ? before : after); i++) {
		uint32_t old = i < before ? chunk->slots[i].digest : 0;
		struct change_piece *own = find_piece(change, i);
		bool had = stored(chunk->exists, chunk->length, i, old);
		bool has = stored(true, change->next.length, i, change->next.digests[i]);

		if (has && (own != NULL || !had))
			rc = put_piece(change, i, own == NULL ? NULL : &own->piece);
		else if (had && !has)
			kv_batch_delete(change->batch, FAMILY_MAIN, key,
					key_piece(&chunk->key, i, key));
	}
	return rc;
}

static int put_record(struct change *change)
{
	struct chunk *chunk = change->chunk;
	struct change_piece *own = find_piece(change, 0);
	struct piece *piece = own == NULL ? NULL : &own->piece;
	uint8_t key[KEY_BYTES_MAX];
	size_t size;
	int rc = 0;

	if (own == NULL && change->next.length > 0 && record_is_inline(change->next.length))
		rc = chunk_piece(chunk, 0, &piece);
	if (rc != 0)
		return rc;
	size = record_encode(&chunk->key, &change->next, piece, change->value);
	kv_batch_put(change->batch, FAMILY_MAIN, key, key_record(&chunk->key, key), change->value,
		     size);
	return 0;
}

/* Does the piece need a mark in kv, and another one than is there? Fresh blocks are covered from
 * the batch that makes them present; those overwritten in place got their mark before. */
static int put_marks(struct change *change)
{
	struct chunk *chunk = change->chunk;
	uint8_t key[KEY_BYTES_MAX];

	for (uint64_t left = change->marked; left != 0; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		struct change_mark *next = &change->marks[i];
		struct mark *mark;
		struct bits over;

		if (!bits_any(&next->fresh) && !bits_any(&next->gone))
			continue;
		mark = chunk_mark(chunk, i, true);
		if (mark == NULL)
			return -ENOMEM;
		over = bits_without(mark->over, &next->fresh);
		if (mark->in_kv && bits_equal(&over, &mark->over))
			continue;
		kv_batch_put(change->batch, FAMILY_MAIN, key, key_mark(&chunk->key, i, key),
			     change->value,
			     value_mark_encode(&chunk->key, i, &over, change->value));
	}
	return 0;
}

static void take_marks(struct change *change)
{
	struct chunk *chunk = change->chunk;

	for (uint64_t left = change->marked; left != 0; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		struct change_mark *next = &change->marks[i];
		struct mark *mark;

		mark = chunk_mark(chunk, i, false);
		if (mark == NULL)
			continue;
		if (bits_any(&next->fresh) || bits_any(&next->gone))
			mark->in_kv = true;
		mark->over = bits_without(mark->over, &next->fresh);
		mark->fresh = bits_without(bits_or(mark->fresh, &next->fresh), &next->still);
		mark->reclaim = bits_without(mark->reclaim, &next->fresh);
		mark->reclaim = bits_without(mark->reclaim, &next->still);
		mark->reclaim = bits_or(mark->reclaim, &next->gone);
		mark->repair = bits_without(mark->repair, &next->still);
	}
}

static void take_pieces(struct change *change)
{
	struct chunk *chunk = change->chunk;
	uint32_t after = pieces_of(change->next.length);

	for (unsigned i = 0; i < change->piece_count; i++) {
		struct change_piece *own = &change->pieces[i];
		struct slot *slot =
			own->index < chunk->slot_room ? &chunk->slots[own->index] : NULL;

		if (slot == NULL || change->next.digests[own->index] == 0)
			continue;
		if (slot->piece == NULL) {
			slot->piece = own->own; /* or NULL: it is read when needed */
			own->own = NULL;
		}
		if (slot->piece != NULL)
			*slot->piece = own->piece;
	}
	for (uint32_t i = 0; i < chunk->slot_room; i++) {
		struct slot *slot = &chunk->slots[i];

		slot->digest = i < after ? change->next.digests[i] : 0;
		if (slot->digest == 0) {
			free(slot->piece);
			slot->piece = NULL;
		}
	}
}

static void take_over(struct change *change, uint64_t seq)
{
	struct chunk *chunk = change->chunk;
	struct record *next = &change->next;

	expects(next->op_count <= chunk->op_room);
	expects(pieces_of(next->length) <= chunk->slot_room);
	take_pieces(change);
	take_marks(change);
	if (change->writes_file && chunk->dirty != NULL) {
		chunk->dirty->file_dirty = true;
		chunk->dirty->last_ns = clock_monotonic_ns();
	}
	chunk->exists = true;
	chunk->unsure = next->unsure;
	chunk->has_file = next->has_file;
	chunk->epoch = next->epoch;
	chunk->version = next->version;
	chunk->history = next->history;
	chunk->length = next->length;
	chunk->inner_count = next->inner_count;
	chunk->op_count = next->op_count;
	if (next->op_count > 0)
		memcpy(chunk->ops, next->ops, next->op_count * sizeof(*next->ops));
	chunk->last_seq = seq;
	chunk->change++;
	chunk_account(chunk);
}

/* So that nothing can fail once the batch is written. */
static int make_room(struct change *change)
{
	struct chunk *chunk = change->chunk;
	int rc = chunk_slots(chunk, pieces_of(change->next.length));

	if (rc == 0 && change->next.op_count > chunk->op_room) {
		uint32_t room = change->next.op_count + 4;
		struct op_id *ops = realloc(chunk->ops, room * sizeof(*ops));

		if (ops == NULL)
			return -ENOMEM;
		chunk->ops = ops;
		chunk->op_room = room;
	}
	/* In-place writes have their dirty state since they were prepared. */
	if (rc == 0 && change->writes_file && chunk_dirty(chunk) == NULL)
		rc = -ENOMEM;
	return rc;
}

int change_write(struct change *change)
{
	uint64_t seq = 0;
	int rc = make_room(change);

	if (rc == 0)
		rc = put_pieces(change);
	if (rc == 0)
		rc = put_marks(change);
	if (rc == 0)
		rc = put_record(change);
	if (rc == 0)
		rc = db_write(&change->chunk->store->disk, change->batch, &seq);
	if (rc == 0)
		take_over(change, seq);
	drop_scratch(change);
	return rc;
}
