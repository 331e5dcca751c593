/* view.c - a loop's view of the store: jobs in the thread pool, the timer, what is known of
 * chunks. */
#include "chunkserver/store/internal.h"
#include <errno.h>
#include <stdlib.h>
#include "common/base/bitmap.h"
#include "common/os/clock.h"

#define LOG_MODULE "store"

#define TICK_MS      200u
#define TICK_BUSY_MS 20u

/* ---- jobs ---- */

static void view_unref(struct store_view *view);

static void job_run(uv_work_t *work)
{
	struct job *job = container_of(work, struct job, work);
	struct store_view *view = job->view;

	job->run(job);
	pthread_mutex_lock(&view->mutex);
	if (--view->jobs == 0)
		pthread_cond_broadcast(&view->idle);
	pthread_mutex_unlock(&view->mutex);
}

static void job_after(uv_work_t *work, int status)
{
	struct job *job = container_of(work, struct job, work);
	struct store_view *view = job->view;

	(void)status; /* never cancelled */
	job->after(job);
	view_unref(view);
}

void job_start(struct store_view *view, struct job *job, void (*run)(struct job *),
	       void (*after)(struct job *))
{
	job->view = view;
	job->run = run;
	job->after = after;
	pthread_mutex_lock(&view->mutex);
	view->jobs++;
	pthread_mutex_unlock(&view->mutex);
	view->refs++;
	uv_queue_work(view->loop, &job->work, job_run, job_after);
}

/* ---- the timer ---- */

static void on_timer(uv_timer_t *timer)
{
	struct store_view *view = timer->data;
	uint64_t now = clock_monotonic_ns();

	view->timer_ms = 0;
	settle_all(view, now);
	migrate_next(view, now);
	unlink_next(view, now);
	cache_trim(view);
	view_timer(view);
}

void view_timer(struct store_view *view)
{
	bool busy = !list_empty(&view->migrate) || !list_empty(&view->unlinks);
	unsigned ms = busy ? TICK_BUSY_MS : TICK_MS;

	if (view->closing || (!busy && list_empty(&view->dirty)) ||
	    (view->timer_ms != 0 && view->timer_ms <= ms))
		return;
	view->timer_ms = ms;
	uv_timer_start(&view->timer, on_timer, ms, 0);
}

/* ---- opening and closing ---- */

static void on_async(uv_async_t *async)
{
	struct store_view *view = async->data;
	struct log_wait *wait, *next;

	pthread_mutex_lock(&view->mutex);
	wait = view->finished;
	view->finished = NULL;
	view->finished_tail = &view->finished;
	pthread_mutex_unlock(&view->mutex);
	for (; wait != NULL; wait = next) {
		next = wait->next;
		/* The handle keeps the loop alive just while someone waits. */
		if (--view->waits == 0)
			uv_unref((uv_handle_t *)&view->async);
		wait->done(wait);
	}
}

static struct store_view *view_alloc(struct store *store, uv_loop_t *loop)
{
	struct store_view *view = calloc(1, sizeof(*view));

	if (view == NULL)
		return NULL;
	view->store = store;
	view->loop = loop;
	pthread_mutex_init(&view->mutex, NULL);
	pthread_cond_init(&view->idle, NULL);
	view->finished_tail = &view->finished;
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

static void view_free(struct store_view *view)
{
	while (view->free_plans != NULL) {
		struct plan *plan = view->free_plans;

		view->free_plans = plan->next_free;
		free(plan);
	}
	for (size_t i = 0; i < view->bucket_count; i++) {
		for (struct chunk *chunk = view->buckets[i], *next; chunk != NULL; chunk = next) {
			next = chunk->hash_next;
			chunk_free(chunk);
		}
	}
	free(view->buckets);
	change_free(view->change);
	pthread_mutex_destroy(&view->mutex);
	pthread_cond_destroy(&view->idle);
	free(view);
}

static void view_unref(struct store_view *view)
{
	if (--view->refs == 0)
		view_free(view);
}

int store_view_open(struct store *store, uv_loop_t *loop, struct store_view **out)
{
	struct store_view *view = view_alloc(store, loop);
	int rc;

	if (view == NULL)
		return -ENOMEM;
	rc = uv_async_init(loop, &view->async, on_async);
	if (rc != 0) {
		view_free(view);
		return rc;
	}
	uv_timer_init(loop, &view->timer);
	view->async.data = view->timer.data = view;
	uv_unref((uv_handle_t *)&view->async);
	uv_unref((uv_handle_t *)&view->timer);
	view->refs = 2;
	atomic_fetch_add(&store->views, 1);
	*out = view;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	view_unref(handle->data);
}

void store_view_close(struct store_view *view)
{
	struct store *store;

	if (view == NULL)
		return;
	store = view->store;
	view->closing = true;
	if (atomic_load(&store->compacting))
		kv_compact_stop(store->kv);
	/* What is under way is ours (background); its callbacks find the view closing. */
	pthread_mutex_lock(&view->mutex);
	while (view->jobs > 0 || view->in_thread > 0)
		pthread_cond_wait(&view->idle, &view->mutex);
	pthread_mutex_unlock(&view->mutex);
	on_async(&view->async);
	settle_finally(view);
	uv_timer_stop(&view->timer);
	uv_close((uv_handle_t *)&view->async, on_closed);
	uv_close((uv_handle_t *)&view->timer, on_closed);
	atomic_fetch_sub(&store->views, 1);
}

/* ---- what is known of a chunk ---- */

int store_info(struct store_view *view, const struct chunk_key *key, struct chunk_info *info)
{
	struct chunk *chunk;
	int rc = chunk_get(view, key, &chunk);

	if (rc != 0)
		return rc;
	memset(info, 0, offsetof(struct chunk_info, ops));
	if (!chunk->exists)
		return 0;
	info->exists = true;
	/* An overwrite that was broken off and has not been looked at yet counts too. */
	info->unsure = chunk->unsure || chunk_repairs(chunk, 0, STORE_BLOCKS_MAX);
	info->epoch = chunk->epoch;
	info->version = chunk->version;
	info->history = chunk->history;
	info->length = chunk->length;
	info->op_count = chunk->op_count;
	if (chunk->op_count > 0)
		memcpy(info->ops, chunk->ops, chunk->op_count * sizeof(*info->ops));
	return 0;
}

int store_digest(struct store_view *view, const struct chunk_key *key, uint32_t *digest)
{
	struct chunk *chunk;
	uint8_t bytes[4];
	uint32_t crc;
	int rc = chunk_get(view, key, &chunk);

	if (rc == 0 && chunk_repairs(chunk, 0, STORE_BLOCKS_MAX))
		rc = -EAGAIN;
	if (rc != 0)
		return rc;
	put_le32(bytes, chunk->length);
	crc = crc32c(bytes, sizeof(bytes));
	for (uint32_t i = 0; i < pieces_of(chunk->length); i++) {
		put_le32(bytes, chunk->slots[i].digest);
		crc = crc32c_extend(crc, bytes, sizeof(bytes));
	}
	*digest = crc;
	return 0;
}

int store_presence(struct store_view *view, const struct chunk_key *key, uint8_t *bitmap,
		   uint32_t *bytes)
{
	struct chunk *chunk;
	uint32_t blocks;
	int rc = chunk_get(view, key, &chunk);

	if (rc != 0)
		return rc;
	blocks = blocks_of(chunk->length);
	if ((blocks + 7) / 8 > *bytes)
		return -ENOSPC;
	*bytes = BITMAP_BYTES(blocks);
	memset(bitmap, 0, *bytes);
	for (uint32_t i = 0; i < pieces_of(chunk->length); i++) {
		struct piece *piece;

		rc = chunk_piece(chunk, i, &piece);
		if (rc != 0)
			return rc;
		for (uint32_t b = 0; piece != NULL && b < bits_end(&piece->present); b++)
			if (bits_test(&piece->present, b))
				bitmap_set(bitmap, i * PIECE_BLOCKS + b);
	}
	return 0;
}

int store_checksums(struct store_view *view, const struct chunk_key *key, uint32_t count,
		    uint32_t *crcs, uint8_t *bitmap)
{
	struct chunk *chunk;
	int rc = chunk_get(view, key, &chunk);

	if (rc == 0 && chunk_repairs(chunk, 0, STORE_BLOCKS_MAX))
		rc = -EAGAIN;
	if (rc != 0)
		return rc;
	memset(crcs, 0, count * sizeof(*crcs));
	memset(bitmap, 0, BITMAP_BYTES(count));
	for (uint32_t i = 0; i < pieces_of(chunk->length) && i * PIECE_BLOCKS < count; i++) {
		struct piece *piece;

		rc = chunk_piece(chunk, i, &piece);
		if (rc != 0)
			return rc;
		for (uint32_t b = piece == NULL ? PIECE_BLOCKS : bits_next(&piece->present, 0);
		     b < PIECE_BLOCKS && i * PIECE_BLOCKS + b < count;
		     b = bits_next(&piece->present, b + 1)) {
			uint32_t block = i * PIECE_BLOCKS + b;

			crcs[block] = piece->crcs[b];
			bitmap_set(bitmap, block);
		}
	}
	return 0;
}

int store_scan(struct store_view *view, uint32_t pool, uint32_t partition,
	       const struct chunk_key *after, struct chunk_key *out, int max)
{
	struct chunk_key first = {.pool = pool, .partition = partition};
	struct chunk_key last = {
		.pool = pool, .partition = partition, .file_id = UINT64_MAX, .index = UINT32_MAX};
	uint8_t start[KEY_BYTES_MAX + 1], end[KEY_BYTES_MAX + 1];
	size_t start_size = key_record(after != NULL ? after : &first, start);
	size_t end_size = key_record(&last, end);
	struct kv_iter *iter;
	const uint8_t *key;
	size_t size;
	int n = 0, rc;

	/* A zero byte more: the next possible key. */
	if (after != NULL)
		start[start_size++] = 0;
	end[end_size++] = 0;
	rc = kv_iter_open(view->store->kv, FAMILY_MAIN, start, start_size, end, end_size, &iter);
	if (rc != 0)
		return rc;
	while (n < max && (rc = kv_iter_next(iter, &key, &size, NULL, NULL)) > 0)
		if (size == 1 + CHUNK_KEY_BYTES)
			chunk_key_decode(key + 1, &out[n++]);
	kv_iter_free(iter);
	return rc < 0 ? rc : n;
}
