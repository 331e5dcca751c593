/* prepare.c - the first step of an update: its bytes are written.
 *
 * The story of a write at one member.
 *   1. store_prepare() makes a plan: where each block goes (below). Blocks of which the update sets
 *      a part get the rest of their bytes first (edge.c). Space is promised.
 *   2. Live file blocks get a durable mark (marks.c). A pool thread writes the file. A write that
 *      has only inner blocks does no I/O here.
 *   3. store_commit() makes the next record, pieces, marks and inner blocks as one batch, writes it
 *      to the db unflushed, and takes it over in memory (commit.c, change.c).
 *   4. store_flush() flushes the file, if the chunk's was written, and the log (chunk_flush.c).
 *   5. In the background marks are deleted once their blocks are durable (background.c). Inner
 *      blocks of a longer chunk move to its file (migrate.c).
 *
 * When it goes otherwise:
 *   - No space: -ENOSPC at step 1, or from the file at step 2. The chunk is as before, and fresh
 *     blocks that were written are given back.
 *   - The plan must wait: for a removal, a move, or blocks whose overwrite was broken off. It begins
 *     again when the chunk wakes.
 *   - The write fails, or the update is given up after step 2: blocks overwritten in place are read
 *     back and their checksums taken anew. The chunk is unsure.
 *   - Another update changes a block that this one sets in part: the rest is read again at step 3.
 *   - The ids of updates that may come again fill the chunk's list: -EBUSY at step 3.
 *   - An fdatasync fails: the target is poisoned and refuses everything until the next start.
 *   - Power goes after step 2: no mark, no record, so the file has garbage that is absent; under a
 *     mark the next start compares (store.c). After step 3 likewise, if the log was not flushed.
 *
 * Where blocks go. Inside, where the payload waits for the commit's batch: all blocks of a small
 * write, blocks set in part, and blocks that are inner already. Only there do the old bytes stay
 * whole until the new ones are durable. Into the file: the rest. Those that are not live there are
 * written at once: nothing reads them before the commit. Live ones are overwritten in place, under
 * a durable mark. Fresh ones need no mark: they were never flushed, so a power cut may lose them
 * anyway. */
#include <errno.h>
#include <string.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/store/compact.h"
#include "chunkserver/store/edge.h"
#include "chunkserver/chunk/file.h"
#include "chunkserver/store/marks.h"
#include "chunkserver/store/plan.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"
#include "common/net/frame.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

static struct log_rate prepare_rate;

/* ---- the end of a prepare ---- */

static void plan_finish(struct plan *plan, int rc)
{
	struct store_update *update = plan->update;

	expects(!plan->prepared);
	if (rc == 0 && plan->cancelled)
		rc = -ECANCELED;
	if (rc == 0)
		plan->prepared = true;
	else
		plan_drop(plan);
	update->done(update, rc);
}

/* ---- what goes where ---- */

static void plan_blocks(struct plan *plan)
{
	const struct store_update *update = plan->update;
	uint64_t end = (uint64_t)update->offset + update->length;

	plan->first = update->offset >> BLOCK_SHIFT;
	switch (update->op) {
	case STORE_WRITE:
	case STORE_PUNCH:
		plan->end = (uint32_t)((end + BLOCK_SIZE - 1) >> BLOCK_SHIFT);
		break;
	case STORE_TRUNCATE:
		plan->end = CHUNK_BLOCKS_MAX;
		break;
	}
	plan->first_piece = plan->first >> PIECE_SHIFT;
}

static int plan_file_blocks(struct plan *plan)
{
	const struct store_update *update = plan->update;
	uint32_t first = (uint32_t)(((uint64_t)update->offset + BLOCK_SIZE - 1) >> BLOCK_SHIFT);
	uint32_t end = (uint32_t)(((uint64_t)update->offset + update->length) >> BLOCK_SHIFT);

	if (update->op != STORE_WRITE || update->length <= STORE_SMALL_WRITE)
		return 0;
	for (uint32_t i = 0; i < 2; i++) {
		struct piece *piece;
		int rc;

		plan->to_file[i] = bits_range(plan->first_piece + i, first, end);
		if (!bits_any(&plan->to_file[i]))
			continue;
		rc = chunk_piece(plan->chunk, plan->first_piece + i, &piece);
		if (rc != 0)
			return rc;
		if (piece == NULL)
			continue;
		plan->to_file[i] = bits_without(plan->to_file[i], &piece->inner);
		plan->in_place[i] = bits_and(plan->to_file[i], &piece->present);
	}
	return 0;
}

static int plan_space(struct plan *plan)
{
	const struct store_update *update = plan->update;
	uint32_t in_file = bits_count(&plan->to_file[0]) + bits_count(&plan->to_file[1]);
	uint32_t in_place = bits_count(&plan->in_place[0]) + bits_count(&plan->in_place[1]);
	uint64_t bytes;
	int rc;

	if (update->op != STORE_WRITE)
		return 0;
	/* An inner block is for a while in the log and in a file of the db. */
	bytes = (uint64_t)(in_file - in_place) * BLOCK_SIZE +
		(uint64_t)(plan->end - plan->first - in_file) * 2 * BLOCK_SIZE;
	rc = space_promise(&plan->view->store->disk, bytes, update->catching_up);
	if (rc == 0)
		plan->promised = bytes;
	else
		compact_consider(plan->view, true);
	return rc;
}

/* ---- file I/O, on a pool thread ---- */

static int run_edges(struct plan *plan)
{
	for (unsigned i = 0; i < plan->edge_count; i++) {
		struct edge *edge = &plan->edges[i];
		uint32_t got;
		int rc;

		if (!edge->in_file)
			continue;
		rc = file_read(plan->file, edge->bytes, BLOCK_SIZE,
			       (uint64_t)edge->block * BLOCK_SIZE, false, &got);
		if (rc == -ENOENT)
			rc = -EBADMSG;
		if (rc == 0 &&
		    (got != BLOCK_SIZE || crc32c(edge->bytes, BLOCK_SIZE) != edge->base_crc))
			rc = -EBADMSG;
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Calls @each for every run of blocks of the two sets, also across the border between them. */
static int each_run(struct plan *plan, const struct bits set[2],
		    int (*each)(struct plan *plan, uint32_t block, uint32_t count))
{
	uint32_t base = plan->first_piece * PIECE_BLOCKS, from = 0, count = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < 2 * PIECE_BLOCKS; i++) {
		if (bits_test(&set[i / PIECE_BLOCKS], i % PIECE_BLOCKS)) {
			if (count++ == 0)
				from = i;
		} else if (count > 0) {
			rc = each(plan, base + from, count);
			count = 0;
		}
	}
	return rc == 0 && count > 0 ? each(plan, base + from, count) : rc;
}

static int write_run(struct plan *plan, uint32_t block, uint32_t count)
{
	return file_write(plan->file, plan_payload_at(plan, block, 0), count * BLOCK_SIZE,
			  (uint64_t)block * BLOCK_SIZE);
}

static int punch_run(struct plan *plan, uint32_t block, uint32_t count)
{
	file_punch(plan->file, (uint64_t)block * BLOCK_SIZE, (uint64_t)count * BLOCK_SIZE);
	return 0;
}

static void plan_run(struct job *job)
{
	struct plan *plan = container_of(job, struct plan, job);
	struct bits fresh[2];

	plan->error = run_edges(plan);
	if (plan->error != 0 || !plan_uses_file(plan))
		return;
	plan->wrote = true;
	plan->error = each_run(plan, plan->to_file, write_run);
	if (plan->error == 0)
		return;
	/* What was written of the new blocks is garbage; on a full disk its space is wanted. */
	for (unsigned i = 0; i < 2; i++)
		fresh[i] = bits_without(plan->to_file[i], &plan->in_place[i]);
	each_run(plan, fresh, punch_run);
}

static int merge_edges(struct plan *plan)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < plan->edge_count; i++)
		if (!plan->edges[i].stale)
			rc = edge_merge(plan, &plan->edges[i]);
	return rc;
}

static void plan_after(struct job *job)
{
	struct plan *plan = container_of(job, struct plan, job);
	struct chunk *chunk = plan->chunk;
	int rc = plan->error;

	plan->error = 0;
	expects(chunk->io_plans > 0 && plan->linked);
	chunk->io_plans--;
	/* An edge that another update changed meanwhile is read again at the commit. */
	for (unsigned i = 0; rc == -EBADMSG && i < plan->edge_count; i++)
		if (plan->edges[i].stale && !plan_uses_file(plan))
			rc = 0;
	if (rc == 0)
		rc = merge_edges(plan);
	if (rc != 0) {
		if (log_rate_ok(&prepare_rate, 5))
			log_warn("update not prepared path=%s chunk=%u/%u/%llu/%u offset=%u "
				 "length=%u error=\"%s\"",
				 plan->view->store->disk.path, chunk->key.pool,
				 chunk->key.partition, (unsigned long long)chunk->key.file_id,
				 chunk->key.index, plan->update->offset, plan->update->length,
				 strerror(-rc));
		rc = health_write_failed(&plan->view->store->disk, rc, "prepare");
	}
	chunk_wake(chunk);
	plan_finish(plan, rc);
}

static void plan_io(struct plan *plan)
{
	jobs_start(&plan->view->jobs, &plan->job, plan_run, plan_after);
}

static void on_marks_flushed(struct flush_wait *wait)
{
	struct plan *plan = container_of(wait, struct plan, wait);

	if (wait->error == 0) {
		plan_io(plan);
		return;
	}
	expects(plan->chunk->io_plans > 0);
	plan->chunk->io_plans--;
	chunk_wake(plan->chunk);
	plan_finish(plan, wait->error);
}

/* ---- a prepare from its beginning ---- */

/* A block to be changed in part, whose page is cached, takes no thread. */
static bool edges_cached(struct plan *plan)
{
	if (plan_uses_file(plan))
		return false;
	for (unsigned i = 0; i < plan->edge_count; i++) {
		struct edge *edge = &plan->edges[i];

		if (edge->in_file && (file_read_cached(plan->file, edge->bytes, BLOCK_SIZE,
						       (uint64_t)edge->block * BLOCK_SIZE) != 0 ||
				      crc32c(edge->bytes, BLOCK_SIZE) != edge->base_crc))
			return false;
	}
	return true;
}

static int plan_bases(struct plan *plan, bool *in_file)
{
	*in_file = plan_uses_file(plan);
	for (unsigned i = 0; i < plan->edge_count; i++) {
		int rc = edge_base(plan, &plan->edges[i]);

		if (rc < 0)
			return rc;
		*in_file = *in_file || rc > 0;
	}
	return 0;
}

static void plan_start(struct plan *plan)
{
	struct chunk *chunk = plan->chunk;
	bool in_file;
	int rc = plan_bases(plan, &in_file);

	if (rc == 0 && in_file) {
		plan->file = chunk_file_of(chunk);
		if (plan->file == NULL)
			rc = -ENOMEM;
		else
			file_ref(plan->file);
	}
	if (rc == 0 && (!in_file || edges_cached(plan))) {
		plan_finish(plan, merge_edges(plan));
		return;
	}
	if (rc == 0 && plan_uses_file(plan)) {
		/* Readers of these blocks wait from now on. */
		chunk->change++;
		rc = marks_for_plan(plan);
	}
	if (rc < 0) {
		plan_finish(plan, rc);
		return;
	}
	chunk->io_plans++;
	if (rc > 0) {
		plan->wait.done = on_marks_flushed;
		log_flush(&plan->view->store->disk, &plan->view->jobs, &plan->wait);
	} else {
		plan_io(plan);
	}
}

static void plan_begin(struct plan *plan);

static void on_wake(struct chunk_waiter *waiter)
{
	plan_begin(container_of(waiter, struct plan, waiter));
}

/* Must the update wait for what is going on in the chunk? */
static bool plan_must_wait(struct plan *plan)
{
	struct chunk *chunk = plan->chunk;

	if (plan_uses_file(plan) && plan_conflicts(chunk, plan->first, plan->end, false))
		return true;
	for (unsigned i = 0; i < plan->edge_count; i++)
		if (chunk_repairs(chunk, plan->edges[i].block, plan->edges[i].block + 1))
			return true;
	return false;
}

static void plan_begin(struct plan *plan)
{
	const struct store_update *update = plan->update;
	struct chunk *chunk = plan->chunk;
	int rc = health_check(&plan->view->store->disk);

	expects(!plan->linked && plan->promised == 0);
	if (rc == 0)
		rc = chunk_current(chunk);
	if (rc == 0)
		rc = plan_file_blocks(plan);
	if (rc == 0 && plan->edge_count == 0)
		rc = edge_make_all(plan, update->offset,
				   update->op == STORE_TRUNCATE
					   ? plan->end * (uint64_t)BLOCK_SIZE
					   : (uint64_t)update->offset + update->length);
	if (rc == 0 && plan_must_wait(plan)) {
		memset(plan->to_file, 0, sizeof(plan->to_file));
		memset(plan->in_place, 0, sizeof(plan->in_place));
		chunk_wait(chunk, &plan->waiter, on_wake);
		return;
	}
	if (rc == 0)
		rc = plan_space(plan);
	if (rc != 0) {
		plan_finish(plan, rc);
		return;
	}
	plan->linked = true;
	list_add(&chunk->prepared, &plan->link);
	plan_start(plan);
}

static bool update_ok(const struct store_update *update)
{
	uint64_t end = (uint64_t)update->offset + update->length;

	switch (update->op) {
	case STORE_WRITE:
		return update->length > 0 && update->length <= FRAME_PAYLOAD_MAX &&
		       end <= CHUNK_SIZE_MAX && update->payload != NULL &&
		       update->payload->length >= update->length;
	case STORE_PUNCH:
		return update->length > 0 && end <= CHUNK_SIZE_MAX;
	case STORE_TRUNCATE:
		return update->offset <= CHUNK_SIZE_MAX;
	}
	return false;
}

void store_prepare(struct store_view *view, struct store_update *update)
{
	struct chunk *chunk = NULL;
	struct plan *plan;
	int rc = update_ok(update) ? health_check(&view->store->disk) : -EINVAL;

	update->store_private = NULL;
	update->touched = false;
	if (rc == 0)
		rc = chunk_get(view, &update->key, &chunk);
	plan = rc == 0 ? plan_new(view, update) : NULL;
	if (rc == 0 && plan == NULL)
		rc = -ENOMEM;
	if (rc != 0) {
		update->done(update, rc);
		return;
	}
	update->store_private = plan;
	plan->chunk = chunk;
	chunk_pin(chunk);
	if (update->op == STORE_WRITE)
		plan->payload = buf_ref(update->payload);
	plan_blocks(plan);
	plan_begin(plan);
}
