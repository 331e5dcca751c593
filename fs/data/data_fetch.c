/* data_fetch.c - ranges being read from the chains, and those read ahead that wait to be asked for.
 */
#include <errno.h>
#include <stdlib.h>
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/base/expects.h"
#include "fs/data/data_fetch.h"
#include "fs/data/data_file.h"
#include "fs/data/data_read.h"

static void fetch_done(struct chains_request *request, int error, const struct frame_header *answer,
		       struct buf *payload);

struct file_fetch *data_fetch_new(struct data_file *file, uint64_t from, uint64_t to, bool bulk)
{
	struct data *data = file->data;
	struct file_fetch *fetch = calloc(1, sizeof(*fetch));

	if (fetch == NULL)
		return NULL;
	fetch->file = file;
	fetch->from = from;
	fetch->to = to;
	atomic_init(&fetch->refs, 1); /* of the request */
	fetch->request = (struct chains_request){
		.op = FRAME_READ,
		.bulk = bulk,
		.key = data_file_key(file, (uint32_t)(from / file->chunk_size)),
		.offset = (uint32_t)(from % file->chunk_size),
		.range = (uint32_t)(to - from),
		.done = fetch_done,
		.user = fetch,
	};
	data_file_hold(file);
	atomic_fetch_add_explicit(&data->chains[chains_slot(&fetch->request.key)].reading,
				  to - from, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->read_used, to - from, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->stat_fetches, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->stat_fetch_bytes, to - from, memory_order_relaxed);
	return fetch;
}

void data_fetch_unref(struct data *data, struct file_fetch *fetch)
{
	if (atomic_fetch_sub_explicit(&fetch->refs, 1, memory_order_acq_rel) > 1)
		return;
	atomic_fetch_sub_explicit(&data->read_used, fetch->to - fetch->from, memory_order_relaxed);
	buf_unref(fetch->bytes);
	free(fetch);
}

void data_fetch_send(struct data *data, struct file_fetch *list)
{
	bool batch = list != NULL && list->send_next != NULL;

	if (batch)
		chains_client_batch(data->chain, true);
	while (list != NULL) {
		struct file_fetch *fetch = list;

		list = fetch->send_next;
		chains_client_send(data->chain, &fetch->request);
	}
	if (batch)
		chains_client_batch(data->chain, false);
}

/* ---- the cache: listed fetches that are done, of all files, in order of completion ---- */

static void cache_add(struct data *data, struct file_fetch *fetch)
{
	bool first;

	pthread_mutex_lock(&data->cache_lock);
	first = data->cache_oldest == NULL;
	DL_APPEND2(data->cache_oldest, fetch, cache_prev, cache_next);
	pthread_mutex_unlock(&data->cache_lock);
	if (first)
		chains_client_wake(data->chain, fetch->done_ns + DATA_CACHE_NS);
}

static void cache_remove(struct data *data, struct file_fetch *fetch)
{
	pthread_mutex_lock(&data->cache_lock);
	DL_DELETE2(data->cache_oldest, fetch, cache_prev, cache_next);
	pthread_mutex_unlock(&data->cache_lock);
}

/* Drops the oldest one if it was done before @before. */
static bool cache_drop_one(struct data *data, uint64_t before)
{
	struct data_file *file = NULL;
	struct file_fetch *fetch;

	pthread_mutex_lock(&data->cache_lock);
	fetch = data->cache_oldest;
	if (fetch != NULL && fetch->done_ns < before) {
		/* Its file has a user as long as it is listed. */
		file = fetch->file;
		data_file_hold(file);
		atomic_fetch_add_explicit(&fetch->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&data->cache_lock);
	if (file == NULL)
		return false;
	pthread_mutex_lock(&file->lock);
	if (fetch->listed)
		data_fetch_unlist(file, fetch);
	pthread_mutex_unlock(&file->lock);
	data_fetch_unref(data, fetch);
	data_file_drop(file);
	return true;
}

bool data_cache_shrink(struct data *data, uint32_t need)
{
	bool dropped = false;

	while (atomic_load_explicit(&data->read_used, memory_order_relaxed) + need >
		       data->read_limit &&
	       cache_drop_one(data, UINT64_MAX))
		dropped = true;
	return dropped;
}

void data_cache_tick(struct data *data, uint64_t now)
{
	uint64_t next = 0;

	while (now > DATA_CACHE_NS && cache_drop_one(data, now - DATA_CACHE_NS))
		;
	pthread_mutex_lock(&data->cache_lock);
	if (data->cache_oldest != NULL)
		next = data->cache_oldest->done_ns + DATA_CACHE_NS + NS_PER_MSEC;
	pthread_mutex_unlock(&data->cache_lock);
	if (next != 0)
		chains_client_wake(data->chain, next);
}

/* ---- a file's list; its lock held ---- */

void data_fetch_list(struct data_file *file, struct file_fetch *fetch)
{
	lock_held(&file->lock);
	expects(!fetch->listed);
	atomic_fetch_add_explicit(&fetch->refs, 1, memory_order_relaxed);
	fetch->listed = true;
	DL_PREPEND(file->fetches, fetch);
}

void data_fetch_unlist(struct data_file *file, struct file_fetch *fetch)
{
	lock_held(&file->lock);
	expects(fetch->listed);
	DL_DELETE(file->fetches, fetch);
	fetch->listed = false;
	if (fetch->done)
		cache_remove(file->data, fetch);
	data_fetch_unref(file->data, fetch);
}

void data_fetch_unlist_range(struct data_file *file, uint64_t from, uint64_t to)
{
	struct file_fetch *fetch, *next;

	lock_held(&file->lock);
	for (fetch = file->fetches; fetch != NULL; fetch = next) {
		next = fetch->next;
		if (fetch->from < to && fetch->to > from)
			data_fetch_unlist(file, fetch);
	}
}

struct file_fetch *data_fetch_at(const struct data_file *file, uint64_t at)
{
	struct file_fetch *best = NULL;

	for (struct file_fetch *fetch = file->fetches; fetch != NULL; fetch = fetch->next)
		if (fetch->to > at && (best == NULL || fetch->from < best->from))
			best = fetch;
	return best;
}

/* ---- answers ---- */

static void fetch_done(struct chains_request *request, int error, const struct frame_header *answer,
		       struct buf *payload)
{
	struct file_fetch *fetch = request->user;
	struct data_file *file = fetch->file;
	struct data *data = file->data;
	struct file_fetch_part *parts;

	atomic_fetch_sub_explicit(&data->chains[chains_slot(&request->key)].reading,
				  fetch->to - fetch->from, memory_order_relaxed);
	pthread_mutex_lock(&file->lock);
	if (fetch->listed && error != 0)
		data_fetch_unlist(file, fetch);
	fetch->done = true;
	fetch->error = error;
	fetch->bytes = payload;
	parts = fetch->waiting;
	fetch->waiting = NULL;
	if (fetch->listed) {
		fetch->done_ns = chains_client_now(data->chain);
		cache_add(data, fetch);
	}
	pthread_mutex_unlock(&file->lock);
	data_read_parts_done(data, parts);
	data_fetch_unref(data, fetch);
	data_file_drop(file);
}

void data_invalidate(struct data_file *file)
{
	pthread_mutex_lock(&file->lock);
	data_fetch_unlist_range(file, 0, UINT64_MAX);
	readahead_forget(&file->ra);
	pthread_mutex_unlock(&file->lock);
}
