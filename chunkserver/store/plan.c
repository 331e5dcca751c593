/* plan.c - an update between its prepare and its commit. */
#include "chunkserver/store/plan.h"
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/space.h"
#include "chunkserver/chunk/timer.h"
#include "common/base/expects.h"
#include "common/os/buf.h"

#define FREE_PLANS_MAX 256u

struct plan *plan_new(struct store_view *view, struct store_update *update)
{
	struct plan *plan = view->free_plans;

	if (plan != NULL) {
		view->free_plans = plan->next_free;
		view->free_plan_count--;
	} else {
		plan = malloc(sizeof(*plan));
		if (plan == NULL)
			return NULL;
	}
	memset(plan, 0, sizeof(*plan));
	list_init(&plan->link);
	plan->view = view;
	plan->update = update;
	return plan;
}

void plan_free(struct plan *plan)
{
	struct store_view *view = plan->view;

	expects(!plan->linked);
	for (unsigned i = 0; i < plan->edge_count; i++)
		free(plan->edges[i].bytes);
	buf_unref(plan->payload);
	file_unref(plan->file);
	if (view->free_plan_count >= FREE_PLANS_MAX) {
		free(plan);
		return;
	}
	plan->next_free = view->free_plans;
	view->free_plans = plan;
	view->free_plan_count++;
}

void plan_free_kept(struct store_view *view)
{
	while (view->free_plans != NULL) {
		struct plan *plan = view->free_plans;

		view->free_plans = plan->next_free;
		free(plan);
	}
}

/* ---- conflicts ---- */

static bool overwrites(const struct plan *plan, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct bits range = bits_range(plan->first_piece + i, first, end);

		range = bits_and(range, &plan->in_place[i]);
		if (bits_any(&range))
			return true;
	}
	return false;
}

bool plan_conflicts(struct chunk *chunk, uint32_t first, uint32_t end, bool for_read)
{
	if (chunk_repairs(chunk, first, end))
		return true;
	if (!for_read)
		return chunk->removing ||
		       (chunk->bg != BG_NONE && chunk->bg_end > first >> PIECE_SHIFT &&
			chunk->bg_first <= (end - 1) >> PIECE_SHIFT);
	for (struct list *at = chunk->prepared.next; at != &chunk->prepared; at = at->next)
		if (overwrites(container_of(at, struct plan, link), first, end))
			return true;
	return false;
}

/* ---- the end without a commit ---- */

static void plan_unlink(struct plan *plan)
{
	if (!plan->linked)
		return;
	plan->linked = false;
	list_del(&plan->link);
	space_release(&plan->view->store->disk, plan->promised, 0);
	plan->promised = 0;
}

void plan_drop(struct plan *plan)
{
	struct chunk *chunk = plan->chunk;
	bool wrote = plan->wrote;

	expects(plan->update->store_private == plan);
	expects(chunk->pins > 0);
	plan->update->store_private = NULL;
	plan_unlink(plan);
	for (uint32_t i = 0; wrote && i < 2; i++) {
		struct bits fresh = bits_without(plan->to_file[i], &plan->in_place[i]);
		struct mark *mark;

		if (!bits_any(&plan->to_file[i]))
			continue;
		plan->update->touched |= bits_any(&plan->in_place[i]);
		mark = chunk_mark(chunk, plan->first_piece + i, true);
		if (mark == NULL) /* the mark in kv has it repaired at the next open */
			continue;
		mark->repair = bits_or(mark->repair, &plan->in_place[i]);
		mark->reclaim = bits_or(mark->reclaim, &fresh);
		chunk->dirty->file_dirty = true;
	}
	if (wrote && !chunk->has_file)
		atomic_store(&plan->view->store->disk.leftovers, true);
	chunk->change++;
	if (chunk->dirty != NULL) {
		plan->view->round_due = true;
		timer_soon(plan->view);
	}
	chunk_wake(chunk);
	chunk_unpin(chunk);
	plan_free(plan);
}
