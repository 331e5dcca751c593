/* chunk_flush.c - making the committed updates of one chunk durable.
 *
 * A flush of a chunk is up to two things, side by side: fdatasync() of its file when that was
 * written, and a flush of the db's log, which all waits share. Each may be durable before the
 * other: a record without its data is what marks are for. */
#include "chunkserver/store/chunk_flush.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/disk/log_flush.h"
#include "chunkserver/store/marks.h"
#include "chunkserver/store/store.h"
#include "chunkserver/chunk/timer.h"
#include "common/base/expects.h"
#include "common/os/clock.h"

struct flush_op {
	struct list link; /* chunk->file_flush_now or file_flush_next */
	struct flush_wait wait;
	struct store_view *view;
	struct chunk *chunk;       /* pinned */
	struct store_flush *flush; /* NULL: background_step()'s own */
	unsigned pending;
	int error;
};

struct file_flush_job {
	struct job job;
	struct chunk *chunk;
	struct chunk_file *file;
	int error;
};

static void flush_start(struct flush_op *op);

static bool file_is_dirty(const struct chunk *chunk)
{
	return chunk->dirty != NULL && chunk->dirty->file_dirty;
}

static void part_done(struct flush_op *op, int error)
{
	struct store_flush *flush = op->flush;
	struct store_view *view = op->view;
	int rc;

	expects(op->pending > 0);
	if (op->error == 0)
		op->error = error;
	if (--op->pending > 0)
		return;
	rc = op->error;
	chunk_unpin(op->chunk);
	free(op);
	if (flush == NULL) {
		expects(view->settling > 0);
		view->settling--;
		/* After an error the next one waits for its time, or they would fail without end. */
		if (rc == 0)
			timer_soon(view);
		return;
	}
	flush->store_private = NULL;
	flush->done(flush, rc);
}

static void file_flush_run(struct job *job)
{
	struct file_flush_job *flush = container_of(job, struct file_flush_job, job);

	flush->error = file_flush(flush->file);
}

static void file_flush_after(struct job *job)
{
	struct file_flush_job *flush = container_of(job, struct file_flush_job, job);
	struct store_view *view = view_of(job);
	struct chunk *chunk = flush->chunk;
	int rc = flush->error;
	struct list ready;

	file_unref(flush->file);
	free(flush);
	expects(chunk->file_flush_running);
	chunk->file_flush_running = false;
	if (rc != 0 && chunk->dirty != NULL)
		chunk->dirty->file_dirty = true;
	list_init(&ready);
	list_move(&chunk->file_flush_now, &ready);
	while (!list_empty(&ready)) {
		struct flush_op *op = container_of(ready.next, struct flush_op, link);

		list_del(&op->link);
		part_done(op, rc);
	}
	list_move(&chunk->file_flush_next, &ready);
	while (!view->jobs.closing && !list_empty(&ready)) {
		struct flush_op *op = container_of(ready.next, struct flush_op, link);

		list_del(&op->link);
		flush_start(op);
	}
	chunk_wake(chunk);
	chunk_unpin(chunk);
}

static int file_flush_start(struct chunk *chunk)
{
	struct file_flush_job *flush;
	int rc;

	expects(!chunk->file_flush_running && chunk->dirty != NULL);
	rc = marks_guard(chunk);
	if (rc != 0)
		return rc;
	flush = calloc(1, sizeof(*flush));
	if (flush == NULL || chunk_file_of(chunk) == NULL) {
		free(flush);
		return -ENOMEM;
	}
	chunk->dirty->file_dirty = false;
	chunk->dirty->since_ns = clock_monotonic_ns();
	for (uint32_t i = 0; i < PIECES_MAX; i++)
		if (chunk->dirty->marks[i] != NULL)
			memset(&chunk->dirty->marks[i]->fresh, 0, sizeof(struct bits));
	flush->chunk = chunk;
	flush->file = file_ref(chunk->file);
	chunk->file_flush_running = true;
	chunk_pin(chunk);
	jobs_start(&chunk->view->jobs, &flush->job, file_flush_run, file_flush_after);
	return 0;
}

static void on_log_flushed(struct flush_wait *wait)
{
	struct flush_op *op = container_of(wait, struct flush_op, wait);

	part_done(op, wait->error);
}

static void flush_start(struct flush_op *op)
{
	struct chunk *chunk = op->chunk;
	int rc = health_check(&op->view->store->disk);

	op->pending = 1;
	if (rc == 0 && file_is_dirty(chunk)) {
		if (chunk->file_flush_running) { /* it began too early for us */
			list_add(&chunk->file_flush_next, &op->link);
			return;
		}
		rc = file_flush_start(chunk);
	}
	if (rc == 0 && chunk->file_flush_running) {
		op->pending++;
		list_add(&chunk->file_flush_now, &op->link);
	}
	if (rc == 0 && !log_flush_covers(&op->view->store->disk, chunk->last_seq)) {
		op->pending++;
		op->wait.done = on_log_flushed;
		log_flush(&op->view->store->disk, &op->view->jobs, &op->wait);
	}
	part_done(op, rc);
}

static int flush_begin(struct store_view *view, struct chunk *chunk, struct store_flush *flush)
{
	struct flush_op *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return -ENOMEM;
	list_init(&op->link);
	op->view = view;
	op->chunk = chunk;
	op->flush = flush;
	chunk_pin(chunk);
	flush_start(op);
	return 0;
}

void chunk_flush_quietly(struct store_view *view, struct chunk *chunk)
{
	view->settling++;
	if (flush_begin(view, chunk, NULL) != 0)
		view->settling--;
}

void store_flush(struct store_view *view, struct store_flush *flush)
{
	struct chunk *chunk;
	int rc = health_check(&view->store->disk);

	flush->store_private = NULL;
	atomic_store_explicit(&view->store->last_flush_ns, clock_monotonic_ns(),
			      memory_order_relaxed);
	if (rc == 0)
		rc = chunk_get(view, &flush->key, &chunk);
	if (rc == 0)
		rc = flush_begin(view, chunk, flush);
	if (rc != 0)
		flush->done(flush, rc);
}
