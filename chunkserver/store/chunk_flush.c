/* chunk_flush.c - making the committed updates of one chunk durable.
 *
 * A flush of a chunk is up to two things, side by side: fdatasync() of its file when that was
 * written, and a flush of the db's log, which all waits share. Each may be durable before the other:
 * a record without its data is what marks are for. */
#include "chunkserver/store/chunk_flush.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/store/marks.h"
#include "chunkserver/store/timer.h"
#include "common/os/clock.h"

struct sync_op {
	struct list link; /* chunk->fsync_now or fsync_next */
	struct flush_wait wait;
	struct store_view *view;
	struct chunk *chunk;     /* pinned */
	struct store_sync *sync; /* NULL: background_step()'s own */
	unsigned pending;
	int error;
};

struct fsync_job {
	struct job job;
	struct chunk *chunk;
	struct chunk_file *file;
	int error;
};

static void sync_start(struct sync_op *op);

static bool file_is_dirty(const struct chunk *chunk)
{
	return chunk->dirty != NULL && chunk->dirty->file_dirty;
}

static void part_done(struct sync_op *op, int error)
{
	struct store_sync *sync = op->sync;
	struct store_view *view = op->view;
	int rc;

	if (op->error == 0)
		op->error = error;
	if (--op->pending > 0)
		return;
	rc = op->error;
	chunk_unpin(op->chunk);
	free(op);
	if (sync == NULL) {
		view->settling--;
		timer_soon(view);
		return;
	}
	sync->store_private = NULL;
	sync->done(sync, rc);
}

static void fsync_run(struct job *job)
{
	struct fsync_job *fsync = container_of(job, struct fsync_job, job);

	fsync->error = file_sync(fsync->file);
}

static void fsync_after(struct job *job)
{
	struct fsync_job *fsync = container_of(job, struct fsync_job, job);
	struct store_view *view = view_of(job);
	struct chunk *chunk = fsync->chunk;
	int rc = fsync->error;
	struct list ready;

	file_unref(fsync->file);
	free(fsync);
	chunk->fsync_running = false;
	if (rc != 0 && chunk->dirty != NULL)
		chunk->dirty->file_dirty = true;
	list_init(&ready);
	list_move(&chunk->fsync_now, &ready);
	while (!list_empty(&ready)) {
		struct sync_op *op = container_of(ready.next, struct sync_op, link);

		list_del(&op->link);
		part_done(op, rc);
	}
	list_move(&chunk->fsync_next, &ready);
	while (!view->jobs.closing && !list_empty(&ready)) {
		struct sync_op *op = container_of(ready.next, struct sync_op, link);

		list_del(&op->link);
		sync_start(op);
	}
	chunk_wake(chunk);
	chunk_unpin(chunk);
}

static int fsync_start(struct chunk *chunk)
{
	struct fsync_job *fsync;
	int rc = marks_guard(chunk);

	if (rc != 0)
		return rc;
	fsync = calloc(1, sizeof(*fsync));
	if (fsync == NULL || chunk_file_of(chunk) == NULL) {
		free(fsync);
		return -ENOMEM;
	}
	chunk->dirty->file_dirty = false;
	chunk->dirty->since_ns = clock_monotonic_ns();
	for (uint32_t i = 0; i < PIECES_MAX; i++)
		if (chunk->dirty->marks[i] != NULL)
			memset(&chunk->dirty->marks[i]->fresh, 0, sizeof(struct bits));
	fsync->chunk = chunk;
	fsync->file = file_ref(chunk->file);
	chunk->fsync_running = true;
	chunk_pin(chunk);
	jobs_start(&chunk->view->jobs, &fsync->job, fsync_run, fsync_after);
	return 0;
}

static void on_log_synced(struct flush_wait *wait)
{
	struct sync_op *op = container_of(wait, struct sync_op, wait);

	part_done(op, wait->error);
}

static void sync_start(struct sync_op *op)
{
	struct chunk *chunk = op->chunk;
	int rc = health_check(&op->view->store->disk);

	op->pending = 1;
	if (rc == 0 && file_is_dirty(chunk)) {
		if (chunk->fsync_running) { /* it began too early for us */
			list_add(&chunk->fsync_next, &op->link);
			return;
		}
		rc = fsync_start(chunk);
	}
	if (rc == 0 && chunk->fsync_running) {
		op->pending++;
		list_add(&chunk->fsync_now, &op->link);
	}
	if (rc == 0 && !log_flush_covers(&op->view->store->disk, chunk->last_seq)) {
		op->pending++;
		op->wait.done = on_log_synced;
		log_flush(&op->view->store->disk, &op->view->jobs, &op->wait);
	}
	part_done(op, rc);
}

static int sync_begin(struct store_view *view, struct chunk *chunk, struct store_sync *sync)
{
	struct sync_op *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return -ENOMEM;
	list_init(&op->link);
	op->view = view;
	op->chunk = chunk;
	op->sync = sync;
	chunk_pin(chunk);
	sync_start(op);
	return 0;
}

void chunk_flush_quietly(struct store_view *view, struct chunk *chunk)
{
	view->settling++;
	if (sync_begin(view, chunk, NULL) != 0)
		view->settling--;
}

void store_sync(struct store_view *view, struct store_sync *sync)
{
	struct chunk *chunk;
	int rc = health_check(&view->store->disk);

	sync->store_private = NULL;
	atomic_store_explicit(&view->store->last_flush_ns, clock_monotonic_ns(),
			      memory_order_relaxed);
	if (rc == 0)
		rc = chunk_get(view, &sync->key, &chunk);
	if (rc == 0)
		rc = sync_begin(view, chunk, sync);
	if (rc != 0)
		sync->done(sync, rc);
}
