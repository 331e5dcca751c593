/* commit.c - the second step of an update: it becomes the chunk's state.
 *
 * The effect of an update is decided here, by the state that all updates of lower version have
 * made, and not by what prepare saw. So equal copies stay equal. */
#include <errno.h>
#include <string.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/space.h"
#include "chunkserver/record/op_ids.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/store/edge.h"
#include "chunkserver/store/plan.h"
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

static struct log_rate commit_rate;

/* Another update changed other bytes of this block after prepare had read it. A block changed in
 * part is inside; only if it has been moved since, the file is read, here on the loop. */
static int edge_again(struct plan *plan, struct edge *edge)
{
	struct chunk_file *file;
	uint32_t got = 0;
	int rc = edge_base(plan, edge);

	if (rc > 0) {
		file = chunk_file_of(plan->chunk);
		rc = file == NULL ? -ENOMEM
				  : file_read(file, edge->bytes, BLOCK_SIZE,
					      (uint64_t)edge->block * BLOCK_SIZE, false, &got);
		if (rc == 0 &&
		    (got != BLOCK_SIZE || crc32c(edge->bytes, BLOCK_SIZE) != edge->base_crc))
			rc = -EBADMSG;
	}
	return rc != 0 ? rc : edge_merge(plan, edge);
}

static struct edge *edge_of(struct plan *plan, uint32_t block)
{
	for (unsigned i = 0; i < plan->edge_count; i++)
		if (plan->edges[i].block == block)
			return &plan->edges[i];
	return NULL;
}

static bool goes_to_file(const struct plan *plan, uint32_t block)
{
	uint32_t i = (block >> PIECE_SHIFT) - plan->first_piece;

	return i < 2 && bits_test(&plan->to_file[i], block % PIECE_BLOCKS);
}

static int commit_write(struct plan *plan, struct change *change)
{
	const struct store_update *update = plan->update;
	uint32_t end = update->offset + update->length;
	const uint8_t *base = buf_payload(plan->payload);

	if (end > change->next.length)
		change->next.length = end;
	for (uint32_t block = plan->first; block < plan->end; block++) {
		struct edge *edge = edge_of(plan, block);
		uint32_t crc = edge != NULL ? edge->crc : plan->payload->crcs[block - plan->first];
		struct piece *piece;
		int rc = change_piece(change, block >> PIECE_SHIFT, &piece);

		if (rc != 0)
			return rc;
		if (goes_to_file(plan, block))
			change_file(change, piece, block, crc);
		else
			change_inner(change, piece, block,
				     edge != NULL ? edge->bytes
						  : base + (block * BLOCK_SIZE - update->offset),
				     crc);
	}
	return 0;
}

/* Zeros in a part of a block, when there is such a block. */
static int commit_edge(struct change *change, const struct edge *edge)
{
	struct piece *piece;
	int rc = change_piece(change, edge->block >> PIECE_SHIFT, &piece);

	if (rc == 0 && bits_test(&piece->present, edge->block % PIECE_BLOCKS))
		change_inner(change, piece, edge->block, edge->bytes, edge->crc);
	return rc;
}

static int commit_truncate(struct plan *plan, struct change *change)
{
	uint32_t at = plan->update->offset, last;
	struct edge *edge = edge_of(plan, at >> BLOCK_SHIFT);
	int rc = 0;

	if (at >= change->chunk->length)
		return 0;
	change->next.length = at;
	if (edge != NULL && at % BLOCK_SIZE != 0)
		rc = commit_edge(change, edge);
	if (rc == 0)
		rc = change_punch(change, blocks_of(at), CHUNK_BLOCKS_MAX);
	if (rc == 0)
		rc = change_last(change, at, &last);
	if (rc == 0)
		change->next.length = last;
	return rc;
}

static int commit_punch(struct plan *plan, struct change *change)
{
	const struct store_update *update = plan->update;
	uint32_t end = update->offset + update->length;
	int rc = 0;

	/* A hole at the end is no part of the chunk. */
	if (end >= change->chunk->length)
		return commit_truncate(plan, change);
	for (unsigned i = 0; rc == 0 && i < plan->edge_count; i++)
		rc = commit_edge(change, &plan->edges[i]);
	if (rc == 0 && blocks_of(update->offset) < end >> BLOCK_SHIFT)
		rc = change_punch(change, blocks_of(update->offset), end >> BLOCK_SHIFT);
	return rc;
}

/* Forgets the ids that are over, and adds the update's. Errors: -EBUSY: there is no room. */
static int note_op(struct change *change, const struct op_id *id, const struct store_update *update)
{
	struct record *next = &change->next;

	next->op_count = op_ids_drop(next->ops, next->op_count, id->client_id, update->answered,
				     update->sessions, OP_IDS_KEPT);
	if (update->closing)
		return 0;
	if (next->op_count >= OP_IDS_KEPT)
		return -EBUSY;
	next->ops[next->op_count++] = *id;
	return 0;
}

static int commit_plan(struct plan *plan)
{
	const struct store_update *update = plan->update;
	struct change *change = plan->view->change;
	struct op_id id = {update->client_id, update->op_id, update->version};
	int rc = health_check(&plan->view->store->disk);

	if (rc == 0)
		rc = chunk_current(plan->chunk);
	for (unsigned i = 0; rc == 0 && i < plan->edge_count; i++)
		if (plan->edges[i].stale)
			rc = edge_again(plan, &plan->edges[i]);
	if (rc != 0 || (update->closing && !plan->chunk->exists))
		return rc;
	change_begin(change, plan->chunk);
	switch (update->op) {
	case STORE_WRITE:
		rc = commit_write(plan, change);
		break;
	case STORE_PUNCH:
		rc = commit_punch(plan, change);
		break;
	case STORE_TRUNCATE:
		rc = commit_truncate(plan, change);
		break;
	}
	if (rc != 0)
		return rc;
	if (update->catching_up) {
		change->next.epoch = update->epoch;
		change->next.op_count =
			op_ids_void(change->next.ops, change->next.op_count, change->next.version);
		change->next.version = 0;
		return change_write(change);
	}
	/* It goes on with parts of two copies, since the better one is gone for good. */
	if (plan->chunk->exists && change->next.version == 0)
		change->next.history.lost = true;
	chunk_history_change(&change->next.history, change->next.epoch, change->next.version,
			     update->epoch);
	change->next.epoch = update->epoch;
	change->next.version = update->version;
	if ((id.client_id | id.op_id) != 0)
		rc = note_op(change, &id, update);
	return rc != 0 ? rc : change_write(change);
}

/* Tells other plans that hold an old copy of a changed block. */
static void mark_stale(struct plan *done)
{
	struct chunk *chunk = done->chunk;

	for (struct list *at = chunk->prepared.next; at != &chunk->prepared; at = at->next) {
		struct plan *plan = container_of(at, struct plan, link);

		for (unsigned i = 0; i < plan->edge_count; i++)
			if (plan->edges[i].block >= done->first && plan->edges[i].block < done->end)
				plan->edges[i].stale = true;
	}
}

int store_commit(struct store_view *view, struct store_update *update)
{
	struct plan *plan = update->store_private;
	struct chunk *chunk;
	bool wake;
	int rc;

	if (plan == NULL || !plan->prepared)
		return -EINVAL;
	expects(plan->update == update && plan->linked);
	chunk = plan->chunk;
	rc = commit_plan(plan);
	if (rc != 0) {
		if (log_rate_ok(&commit_rate, 5))
			log_warn("commit failed path=%s chunk=%u/%u/%llu/%u error=\"%s\"",
				 view->store->disk.path, chunk->key.pool, chunk->key.partition,
				 (unsigned long long)chunk->key.file_id, chunk->key.index,
				 strerror(-rc));
		plan_drop(plan);
		return rc;
	}
	expects(chunk->exists || update->closing);
	update->store_private = NULL;
	plan->linked = false;
	list_del(&plan->link);
	space_release(&view->store->disk, plan->promised, plan->promised);
	mark_stale(plan);
	chunk->last_write_ns = clock_monotonic_ns();
	wake = plan_uses_file(plan);
	plan_free(plan);
	chunk_consider_move(chunk);
	if (wake)
		chunk_wake(chunk);
	chunk_unpin(chunk);
	return 0;
}

void store_abort(struct store_view *view, struct store_update *update)
{
	struct plan *plan = update->store_private;

	(void)view;
	if (plan == NULL)
		return;
	if (plan->prepared)
		plan_drop(plan);
	else
		plan->cancelled = true; /* done comes, and says so */
}

/* ---- the end of a copy ---- */

static int complete_length(struct change *change, uint32_t length)
{
	uint32_t last;
	int rc;

	if (length < change->chunk->length) {
		rc = change_punch(change, blocks_of(length), CHUNK_BLOCKS_MAX);
		if (rc != 0)
			return rc;
	}
	/* The copied blocks are whole ones; within the last one the length is what we are told. */
	rc = change_last(change, blocks_of(length) * BLOCK_SIZE, &last);
	if (rc == 0 && blocks_of(last) != blocks_of(length))
		rc = -EINVAL;
	change->next.length = length;
	return rc;
}

int store_complete(struct store_view *view, const struct chunk_key *key,
		   const struct chunk_info *info)
{
	struct change *change = view->change;
	struct chunk *chunk;
	int rc = health_check(&view->store->disk);

	if (!info->exists || info->length > CHUNK_SIZE_MAX || info->op_count > OP_IDS_KEPT ||
	    !chunk_history_is_sound(&info->history))
		return -EINVAL;
	if (rc == 0)
		rc = chunk_get(view, key, &chunk);
	if (rc != 0)
		return rc;
	change_begin(change, chunk);
	rc = complete_length(change, info->length);
	if (rc != 0)
		return rc;
	change->next.epoch = info->epoch;
	change->next.version = info->version;
	change->next.unsure = info->unsure;
	change->next.history = info->history;
	change->next.op_count = info->op_count;
	if (info->op_count > 0)
		memcpy(change->next.ops, info->ops, info->op_count * sizeof(*info->ops));
	return change_write(change);
}
