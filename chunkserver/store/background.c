/* background.c - bringing dirty chunks to rest, in the background.
 *
 * A dirty chunk takes these steps, in this order. Repair: blocks whose overwrite was broken off are
 * read and their checksums taken. Flush: a file that has been dirty for long is flushed, so that a
 * crash leaves little to replay. Punch: file blocks that are no more are given back to the
 * filesystem. Rest: when nothing is open, the marks are deleted. */
#include "chunkserver/store/background.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/db.h"
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/record/key.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/store/chunk_flush.h"
#include "chunkserver/store/plan.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define DIRTY_MANY   256u
#define SETTLING_MAX 4u

static struct log_rate settle_rate;

static void bg_leave(struct store_view *view, struct chunk *chunk)
{
	chunk_wake(chunk);
	background_step(view, chunk, clock_monotonic_ns());
	chunk_unpin(chunk);
}

static struct bits live_blocks(const struct piece *piece)
{
	struct bits none = {{0}};

	return piece == NULL ? none : bits_without(piece->present, &piece->inner);
}

/* ---- repair: what is in the file now? ---- */

struct repair {
	struct job job;
	struct chunk *chunk;
	struct chunk_file *file;
	uint32_t index;
	struct bits blocks, seen;
	uint32_t crcs[PIECE_BLOCKS];
	struct bits changed[PIECES_MAX];
	uint8_t *block;
};

static void repair_run(struct job *job)
{
	struct repair *repair = container_of(job, struct repair, job);

	for (uint32_t i = bits_next(&repair->blocks, 0); i < PIECE_BLOCKS;
	     i = bits_next(&repair->blocks, i + 1)) {
		uint64_t offset = (uint64_t)repair->index * PIECE_BYTES + (uint64_t)i * BLOCK_SIZE;
		uint32_t got;

		if (file_read(repair->file, repair->block, BLOCK_SIZE, offset, true, &got) != 0 ||
		    got != BLOCK_SIZE)
			continue;
		repair->crcs[i] = crc32c(repair->block, BLOCK_SIZE);
		bits_set(&repair->seen, i);
	}
}

static int repair_apply(struct repair *repair, struct chunk *chunk)
{
	struct change *change = chunk->view->change;
	struct bits blocks = bits_without(repair->seen, &repair->changed[repair->index]);
	struct piece *piece;
	struct bits live;
	bool differs = false;
	int rc = chunk_current(chunk);

	if (rc != 0 || !chunk->exists)
		return rc;
	change_begin(change, chunk);
	rc = change_piece(change, repair->index, &piece);
	if (rc != 0)
		return rc;
	live = live_blocks(piece);
	blocks = bits_and(blocks, &live);
	for (uint32_t i = bits_next(&blocks, 0); i < PIECE_BLOCKS; i = bits_next(&blocks, i + 1)) {
		differs = differs || piece->crcs[i] != repair->crcs[i];
		piece->crcs[i] = repair->crcs[i];
	}
	if (!differs)
		return 0;
	change->next.unsure = true;
	return change_write(change);
}

static void repair_after(struct job *job)
{
	struct repair *repair = container_of(job, struct repair, job);
	struct chunk *chunk = repair->chunk;
	struct mark *mark;
	int rc;

	file_unref(repair->file);
	if (view_of(job)->jobs.closing)
		goto out;
	chunk_bg_finish(chunk);
	rc = repair_apply(repair, chunk);
	mark = chunk_mark(chunk, repair->index, false);
	/* Blocks that cannot be read stay what they are: bad. */
	if ((rc == 0 || rc == -EBADMSG) && mark != NULL)
		mark->repair = bits_without(mark->repair, &repair->blocks);
	bg_leave(view_of(job), chunk);
out:
	free(repair->block);
	free(repair);
}

static void repair_start(struct store_view *view, struct chunk *chunk, uint32_t index)
{
	struct mark *mark = chunk->dirty->marks[index];
	struct repair *repair = calloc(1, sizeof(*repair));

	if (repair == NULL)
		return;
	repair->block = aligned_alloc(BLOCK_SIZE, BLOCK_SIZE);
	if (repair->block == NULL || chunk_file_of(chunk) == NULL) {
		free(repair->block);
		free(repair);
		return;
	}
	repair->chunk = chunk;
	repair->file = file_ref(chunk->file);
	repair->index = index;
	repair->blocks = mark->repair;
	chunk_bg_begin(chunk, BG_REPAIR, index, index + 1, repair->changed);
	jobs_start(&view->jobs, &repair->job, repair_run, repair_after);
}

/* ---- punch: space that is not used any more ---- */

struct punch {
	struct job job;
	struct chunk *chunk;
	struct chunk_file *file;
	uint32_t index;
	struct bits blocks;
};

static void punch_blocks(struct chunk_file *file, uint32_t index, const struct bits *blocks)
{
	for (uint32_t i = bits_next(blocks, 0), from; i < PIECE_BLOCKS; i = bits_next(blocks, i)) {
		for (from = i; i < PIECE_BLOCKS && bits_test(blocks, i);)
			i++;
		file_punch(file, (uint64_t)index * PIECE_BYTES + (uint64_t)from * BLOCK_SIZE,
			   (uint64_t)(i - from) * BLOCK_SIZE);
	}
}

static void punch_run(struct job *job)
{
	struct punch *punch = container_of(job, struct punch, job);

	punch_blocks(punch->file, punch->index, &punch->blocks);
}

static void punch_after(struct job *job)
{
	struct punch *punch = container_of(job, struct punch, job);
	struct store_view *view = view_of(job);
	struct chunk *chunk = punch->chunk;
	struct mark *mark;

	file_unref(punch->file);
	if (!view->jobs.closing) {
		chunk_bg_finish(chunk);
		mark = chunk_mark(chunk, punch->index, false);
		if (mark != NULL)
			mark->reclaim = bits_without(mark->reclaim, &punch->blocks);
		bg_leave(view, chunk);
	}
	free(punch);
}

static void punch_start(struct store_view *view, struct chunk *chunk, uint32_t index)
{
	struct mark *mark = chunk->dirty->marks[index];
	struct punch *punch = calloc(1, sizeof(*punch));
	struct piece *piece;
	struct bits live;

	if (punch == NULL || chunk_file_of(chunk) == NULL ||
	    chunk_piece(chunk, index, &piece) != 0) {
		free(punch);
		return;
	}
	live = live_blocks(piece);
	mark->reclaim = bits_without(mark->reclaim, &live);
	punch->chunk = chunk;
	punch->file = file_ref(chunk->file);
	punch->index = index;
	punch->blocks = mark->reclaim;
	chunk_bg_begin(chunk, BG_PUNCH, index, index + 1, NULL);
	jobs_start(&view->jobs, &punch->job, punch_run, punch_after);
}

/* ---- the order of it ---- */

static bool file_plans(const struct chunk *chunk)
{
	for (const struct list *at = chunk->prepared.next; at != &chunk->prepared; at = at->next)
		if (plan_uses_file(container_of(at, struct plan, link)))
			return true;
	return false;
}

static int find_mark(const struct chunk *chunk, size_t which)
{
	for (uint32_t i = 0; i < PIECES_MAX; i++) {
		const struct mark *mark = chunk->dirty->marks[i];

		if (mark != NULL &&
		    bits_any((const struct bits *)(const void *)((const char *)mark + which)))
			return (int)i;
	}
	return -1;
}

static void delete_marks(const struct chunk *chunk, struct kv_batch *batch)
{
	uint8_t key[KEY_BYTES_MAX];

	for (uint32_t i = 0; i < PIECES_MAX; i++) {
		const struct mark *mark = chunk->dirty->marks[i];

		if (mark != NULL && mark->in_kv)
			kv_batch_delete(batch, FAMILY_MAIN, key, key_mark(&chunk->key, i, key));
	}
}

static void come_to_rest(struct store_view *view, struct chunk *chunk)
{
	struct kv_batch *batch = view->change->batch;
	int rc = 0;

	kv_batch_clear(batch);
	delete_marks(chunk, batch);
	/* The deletion is behind all commits in the log: no flush is needed in between. */
	if (kv_batch_count(batch) > 0)
		rc = db_write(&view->store->disk, batch, NULL);
	if (rc == 0)
		chunk_clean(chunk);
	else if (log_rate_ok(&settle_rate, 1))
		log_warn("marks not deleted path=%s error=\"%s\"", view->store->disk.path,
			 strerror(-rc));
}

void background_step(struct store_view *view, struct chunk *chunk, uint64_t now)
{
	struct dirty *dirty = chunk->dirty;
	bool many = view->dirty_count > DIRTY_MANY || space_is_short(&view->store->disk);
	bool flushed;
	int index;

	if (dirty == NULL || view->jobs.closing || health_check(&view->store->disk) != 0 ||
	    chunk->removing || chunk->bg != BG_NONE)
		return;
	index = find_mark(chunk, offsetof(struct mark, repair));
	if (index >= 0) {
		repair_start(view, chunk, (uint32_t)index);
		return;
	}
	flushed = log_flush_covers(&view->store->disk, chunk->last_seq);
	index = find_mark(chunk, offsetof(struct mark, reclaim));
	if (dirty->file_dirty || (index >= 0 && !flushed)) {
		if (!chunk->file_flush_running && view->settling < SETTLING_MAX &&
		    (many || now - dirty->since_ns > view->store->flush_after_ns))
			chunk_flush_quietly(view, chunk);
		return;
	}
	if (chunk->file_flush_running || file_plans(chunk))
		return;
	if (index >= 0)
		punch_start(view, chunk, (uint32_t)index);
	else if (many || now - dirty->last_ns > view->store->rest_after_ns)
		come_to_rest(view, chunk);
}

void background_round(struct store_view *view, uint64_t now)
{
	bool down = health_check(&view->store->disk) != 0;

	/* Once around: background_step() may take any chunk out of the list. */
	for (unsigned n = view->dirty_count; n > 0 && !list_empty(&view->dirty); n--) {
		struct dirty *dirty = container_of(view->dirty.next, struct dirty, link);

		list_del(&dirty->link);
		list_add(&view->dirty, &dirty->link);
		/* Waits for what cannot happen now end with an error. */
		if (down)
			chunk_wake(dirty->chunk);
		else
			background_step(view, dirty->chunk, now);
	}
}

void background_more(struct store_view *view, uint64_t now)
{
	if (view->jobs.closing || view->dirty_count <= DIRTY_MANY)
		return;
	for (unsigned n = view->dirty_count; n > 0 && view->settling < SETTLING_MAX; n--) {
		struct dirty *dirty = container_of(view->dirty.next, struct dirty, link);

		list_del(&dirty->link);
		list_add(&view->dirty, &dirty->link);
		background_step(view, dirty->chunk, now);
		if (list_empty(&view->dirty))
			break;
	}
}

static bool finish_chunk(struct chunk *chunk)
{
	if (find_mark(chunk, offsetof(struct mark, repair)) >= 0 ||
	    find_mark(chunk, offsetof(struct mark, reclaim)) >= 0)
		return false;
	if (!chunk->dirty->file_dirty && !chunk->file_flush_running)
		return true;
	return chunk_file_of(chunk) != NULL && file_flush(chunk->file) == 0;
}

void background_end(struct store_view *view)
{
	struct kv_batch *batch = view->change->batch;

	kv_batch_clear(batch);
	while (!list_empty(&view->dirty)) {
		struct chunk *chunk = container_of(view->dirty.next, struct dirty, link)->chunk;

		/* What is not finished keeps its marks, for the next open. */
		if (health_check(&view->store->disk) == 0 && finish_chunk(chunk))
			delete_marks(chunk, batch);
		chunk_clean(chunk);
	}
	if (health_check(&view->store->disk) == 0 && kv_batch_count(batch) > 0)
		db_write(&view->store->disk, batch, NULL);
}
