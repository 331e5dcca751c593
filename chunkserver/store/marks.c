/* marks.c - the marks that make overwriting in place safe.
 *
 * Before live blocks of a file are overwritten for the first time since their flush, a mark on
 * their piece, which names them, is made durable. Fresh blocks were put into the file since the
 * last flush began. They need no mark: a power cut may lose them anyway, and the mark that came
 * with the commit that made them present says that. When a flush begins, fresh blocks cease to be
 * fresh. */
#include "chunkserver/store/marks.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/record/key.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/change.h"
#include "common/base/expects.h"

#define MARKS_AHEAD 3u /* pieces marked together, for writes that go on */

static int mark_put(struct chunk *chunk, struct kv_batch *batch, uint32_t index,
		    const struct piece *piece)
{
	struct mark *mark = chunk_mark(chunk, index, true);
	uint8_t key[KEY_BYTES_MAX], value[MARK_VALUE_MAX];
	struct bits over;

	if (mark == NULL)
		return -ENOMEM;
	over = bits_without(piece->present, &piece->inner);
	over = bits_without(over, &mark->fresh);
	mark->over = bits_or(mark->over, &over);
	mark->in_kv = true;
	mark->over_seq = UINT64_MAX; /* until it is written */
	kv_batch_put(batch, FAMILY_MAIN, key, key_mark(&chunk->key, index, key), value,
		     value_mark_encode(&chunk->key, index, &mark->over, value));
	return 0;
}

static struct bits mark_lacks(const struct chunk *chunk, uint32_t index, struct bits blocks)
{
	struct mark *mark = chunk->dirty == NULL ? NULL : chunk->dirty->marks[index];

	if (mark == NULL)
		return blocks;
	blocks = bits_without(blocks, &mark->fresh);
	return bits_without(blocks, &mark->over);
}

/* The writer is likely to go on: the next pieces too, while a flush is paid for anyway. */
static int marks_ahead(struct plan *plan, struct kv_batch *batch, uint32_t index)
{
	struct chunk *chunk = plan->chunk;

	for (uint32_t i = 0; i < MARKS_AHEAD && ++index < pieces_of(chunk->length); i++) {
		struct bits live;
		struct piece *piece;
		int rc = chunk_piece(chunk, index, &piece);

		if (rc != 0)
			return rc;
		if (piece == NULL)
			continue;
		live = bits_without(piece->present, &piece->inner);
		live = mark_lacks(chunk, index, live);
		if (bits_any(&live))
			rc = mark_put(chunk, batch, index, piece);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* The marks whose over_seq is UINT64_MAX are written in batch @seq; 0: they are not. */
static void marks_written(struct chunk *chunk, uint64_t seq)
{
	for (uint32_t i = 0; chunk->dirty != NULL && i < PIECES_MAX; i++) {
		struct mark *mark = chunk->dirty->marks[i];

		if (mark == NULL || mark->over_seq != UINT64_MAX)
			continue;
		mark->over_seq = seq;
		if (seq == 0) /* kv may have some of it; it is put again when needed */
			memset(&mark->over, 0, sizeof(mark->over));
	}
}

int marks_for_plan(struct plan *plan)
{
	struct chunk *chunk = plan->chunk;
	struct store *store = plan->view->store;
	struct kv_batch *batch = plan->view->change->batch;
	uint64_t seq;
	bool wait = false;
	int rc = 0;

	kv_batch_clear(batch);
	for (uint32_t i = 0; rc == 0 && i < 2; i++) {
		uint32_t index = plan->first_piece + i;
		struct bits lacks, need = plan->in_place[i];
		struct mark *mark;
		struct piece *piece;

		if (!bits_any(&need))
			continue;
		lacks = mark_lacks(chunk, index, need);
		if (bits_any(&lacks)) {
			rc = chunk_piece(chunk, index, &piece);
			if (rc == 0)
				rc = mark_put(chunk, batch, index, piece);
			if (rc == 0)
				rc = marks_ahead(plan, batch, index);
			continue;
		}
		mark = chunk->dirty->marks[index];
		expects(mark != NULL);
		need = bits_without(need, &mark->fresh);
		if (bits_any(&need) && !log_flush_covers(&store->disk, mark->over_seq))
			wait = true;
	}
	if (rc == 0 && kv_batch_count(batch) == 0)
		return wait;
	if (rc != 0) {
		marks_written(chunk, 0);
		return rc;
	}
	rc = db_write(&store->disk, batch, &seq);
	marks_written(chunk, rc == 0 ? seq : 0);
	return rc != 0 ? rc : 1;
}

/* Blocks that are being overwritten now were fresh when that began, so they have no durable mark.
 * The flush will make the old bytes something that may not get lost: it takes the mark along. */
int marks_guard(struct chunk *chunk)
{
	struct kv_batch *batch = chunk->view->change->batch;
	uint8_t key[KEY_BYTES_MAX], value[MARK_VALUE_MAX];
	uint64_t seq;
	int rc;

	kv_batch_clear(batch);
	for (struct list *at = chunk->prepared.next; at != &chunk->prepared; at = at->next) {
		struct plan *plan = container_of(at, struct plan, link);

		for (uint32_t i = 0; i < 2; i++) {
			uint32_t index = plan->first_piece + i;
			struct mark *mark = index < PIECES_MAX ? chunk->dirty->marks[index] : NULL;
			struct bits lacks;

			if (mark == NULL)
				continue;
			lacks = bits_without(plan->in_place[i], &mark->over);
			if (!bits_any(&lacks))
				continue;
			mark->over = bits_or(mark->over, &lacks);
			mark->over_seq = UINT64_MAX;
			kv_batch_put(batch, FAMILY_MAIN, key, key_mark(&chunk->key, index, key),
				     value,
				     value_mark_encode(&chunk->key, index, &mark->over, value));
		}
	}
	if (kv_batch_count(batch) == 0)
		return 0;
	rc = db_write(&chunk->store->disk, batch, &seq);
	marks_written(chunk, rc == 0 ? seq : 0);
	if (rc == 0)
		chunk->last_seq = seq;
	return rc;
}
