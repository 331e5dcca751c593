/* sync.c - making committed updates durable: the log-sync thread, and syncs of chunks.
 *
 * A sync of a chunk is up to two things, side by side: fdatasync() of its file when that was
 * written, and a sync of the db's log, which all waiters share. Each may be durable before the
 * other: a record without its data is what marks are for. */
#include "chunkserver/store/internal.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"

#define LOG_MODULE "store"

/* ---- the log-sync thread ---- */

void log_wait_begin(struct store_view *view, struct log_wait *wait)
{
	wait->view = view;
	wait->next = NULL;
	if (view->waits++ == 0)
		uv_ref((uv_handle_t *)&view->async);
	pthread_mutex_lock(&view->mutex);
	view->in_thread++;
	pthread_mutex_unlock(&view->mutex);
}

void log_wait_deliver(struct log_wait *wait, int error)
{
	struct store_view *view = wait->view;

	wait->error = error;
	wait->next = NULL;
	pthread_mutex_lock(&view->mutex);
	*view->finished_tail = wait;
	view->finished_tail = &wait->next;
	/* Inside the lock: when in_thread is 0 the handle may be closed. */
	if (view->finished == wait)
		uv_async_send(&view->async);
	if (--view->in_thread == 0)
		pthread_cond_broadcast(&view->idle);
	pthread_mutex_unlock(&view->mutex);
}

int log_sync_now(struct store *store, uint64_t seq)
{
	int rc = store_check(store);
	uint64_t old;

	if (rc != 0)
		return rc;
	rc = kv_sync(store->kv);
	if (rc == -ENOSPC) {
		store_write_failed(store, rc, "kv_sync");
		return rc;
	}
	if (rc != 0) {
		store_poison(store, "kv_sync", rc);
		return -EIO;
	}
	old = atomic_load(&store->synced_seq);
	while (old < seq &&
	       !atomic_compare_exchange_weak_explicit(&store->synced_seq, &old, seq,
						      memory_order_release, memory_order_relaxed))
		;
	return 0;
}

static void *sync_thread(void *arg)
{
	struct store *store = arg;

	for (;;) {
		struct log_wait *list, *next;
		bool soon;
		int rc;

		pthread_mutex_lock(&store->sync_mutex);
		while (store->sync_head == NULL && !store->sync_stop && !store->sync_soon)
			pthread_cond_wait(&store->sync_cond, &store->sync_mutex);
		list = store->sync_head;
		soon = store->sync_soon;
		store->sync_soon = false;
		store->sync_head = NULL;
		store->sync_tail = &store->sync_head;
		pthread_mutex_unlock(&store->sync_mutex);
		if (list == NULL && !soon)
			return NULL;
		/* All in the list have written before this. */
		rc = log_sync_now(store, atomic_load(&store->written_seq));
		for (; list != NULL; list = next) {
			next = list->next;
			log_wait_deliver(list, rc);
		}
	}
}

void log_sync_soon(struct store *store)
{
	pthread_mutex_lock(&store->sync_mutex);
	store->sync_soon = true;
	pthread_cond_signal(&store->sync_cond);
	pthread_mutex_unlock(&store->sync_mutex);
}

int log_sync_start(struct store *store)
{
	int rc = pthread_create(&store->sync_thread, NULL, sync_thread, store);

	if (rc != 0)
		return -rc;
	store->sync_thread_runs = true;
	return 0;
}

void log_sync_stop(struct store *store)
{
	if (!store->sync_thread_runs)
		return;
	pthread_mutex_lock(&store->sync_mutex);
	store->sync_stop = true;
	pthread_cond_signal(&store->sync_cond);
	pthread_mutex_unlock(&store->sync_mutex);
	pthread_join(store->sync_thread, NULL);
	store->sync_thread_runs = false;
}

void log_sync(struct store_view *view, struct log_wait *wait)
{
	struct store *store = view->store;

	log_wait_begin(view, wait);
	pthread_mutex_lock(&store->sync_mutex);
	*store->sync_tail = wait;
	store->sync_tail = &wait->next;
	pthread_mutex_unlock(&store->sync_mutex);
	/* Unlocked, or it wakes only to wait for the lock. */
	pthread_cond_signal(&store->sync_cond);
}

/* ---- syncs of a chunk ---- */

struct sync_op {
	struct list link; /* chunk->fsync_now or fsync_next */
	struct log_wait wait;
	struct store_view *view;
	struct chunk *chunk;     /* pinned */
	struct store_sync *sync; /* NULL: settle()'s own */
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
		settle_more(view);
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
	struct store_view *view = job->view;
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
	while (!view->closing && !list_empty(&ready)) {
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
	job_start(chunk->view, &fsync->job, fsync_run, fsync_after);
	return 0;
}

static void on_log_synced(struct log_wait *wait)
{
	struct sync_op *op = container_of(wait, struct sync_op, wait);

	part_done(op, wait->error);
}

static void sync_start(struct sync_op *op)
{
	struct chunk *chunk = op->chunk;
	int rc = store_check(op->view->store);

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
	if (rc == 0 && !log_synced(op->view->store, chunk->last_seq)) {
		op->pending++;
		op->wait.done = on_log_synced;
		log_sync(op->view, &op->wait);
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

void sync_quietly(struct store_view *view, struct chunk *chunk)
{
	view->settling++;
	if (sync_begin(view, chunk, NULL) != 0)
		view->settling--;
}

void store_sync(struct store_view *view, struct store_sync *sync)
{
	struct chunk *chunk;
	int rc = store_check(view->store);

	sync->store_private = NULL;
	atomic_store_explicit(&view->store->last_sync_ns, clock_monotonic_ns(),
			      memory_order_relaxed);
	if (rc == 0)
		rc = chunk_get(view, &sync->key, &chunk);
	if (rc == 0)
		rc = sync_begin(view, chunk, sync);
	if (rc != 0)
		sync->done(sync, rc);
}
