/* view.c - opening and closing a loop's view of a target, and its background work. */
#include "chunkserver/store/store.h"
#include "chunkserver/chunk/view.h"
#include <errno.h>
#include <stdlib.h>
#include "chunkserver/store/background.h"
#include "chunkserver/chunk/change.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/store/migrate.h"
#include "chunkserver/store/plan.h"
#include "chunkserver/store/remove.h"
#include "chunkserver/chunk/timer.h"
#include "common/kv/kv.h"

/* From one round over all dirty chunks to the next: at least, and when nothing else is waited for. A
 * little less than the timer's periods, so that each of these has its round. */
#define ROUND_MIN_NS (15 * NS_PER_MSEC)
#define ROUND_NS     (190 * NS_PER_MSEC)

/* Ticks come also at once, when a flush of the background has ended: those only begin the next one
 * where very many chunks are dirty. */
static void tick(struct store_view *view, uint64_t now)
{
	bool busy = !list_empty(&view->migrate) || !list_empty(&view->unlinks) || view->round_due;

	if (now < view->last_round_ns + ROUND_MIN_NS || (!busy && now < view->round_ns)) {
		background_more(view, now);
		return;
	}
	view->round_due = false;
	view->last_round_ns = now;
	view->round_ns = now + ROUND_NS;
	background_round(view, now);
	migrate_next(view, now);
	remove_unlink_next(view, now);
	chunk_cache_trim(view);
}

static struct store_view *view_alloc(struct store *store)
{
	struct store_view *view = calloc(1, sizeof(*view));

	if (view == NULL)
		return NULL;
	view->store = store;
	view->tick = tick;
	list_init(&view->lru);
	list_init(&view->files);
	list_init(&view->dirty);
	list_init(&view->migrate);
	list_init(&view->unlinks);
	view->change = change_new();
	if (view->change == NULL) {
		free(view);
		return NULL;
	}
	return view;
}

static void free_chunks(struct store_view *view)
{
	for (size_t i = 0; i < view->bucket_count; i++) {
		for (struct chunk *chunk = view->buckets[i], *next; chunk != NULL; chunk = next) {
			next = chunk->hash_next;
			chunk_free(chunk);
		}
	}
	free(view->buckets);
}

static void free_unused(struct jobs *jobs)
{
	struct store_view *view = container_of(jobs, struct store_view, jobs);

	plan_free_kept(view);
	free_chunks(view);
	change_free(view->change);
	jobs_destroy(jobs);
	free(view);
}

int store_view_open(struct store *store, uv_loop_t *loop, struct store_view **out)
{
	struct store_view *view = view_alloc(store);
	int rc;

	if (view == NULL)
		return -ENOMEM;
	rc = jobs_init(&view->jobs, loop, free_unused);
	if (rc != 0) {
		change_free(view->change);
		free(view);
		return rc;
	}
	uv_timer_init(loop, &view->timer);
	view->timer.data = view;
	uv_unref((uv_handle_t *)&view->timer);
	jobs_ref(&view->jobs); /* the timer's */
	atomic_fetch_add(&store->views, 1);
	*out = view;
	return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct store_view *view = handle->data;

	jobs_unref(&view->jobs);
}

void store_view_close(struct store_view *view)
{
	struct store *store;

	if (view == NULL)
		return;
	store = view->store;
	view->jobs.closing = true;
	if (atomic_load(&store->compacting))
		kv_compact_stop(store->disk.kv);
	/* What is under way is ours (background); its callbacks find the view closing. */
	jobs_close(&view->jobs);
	background_end(view);
	uv_timer_stop(&view->timer);
	uv_close((uv_handle_t *)&view->timer, on_timer_closed);
	atomic_fetch_sub(&store->views, 1);
}
