/* data_file.c - the files that have data here: the table of them, their lives, and the carrying out
 * of what the write-back has decided. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/data/data_fetch.h"
#include "fs/data/data_file.h"
#include "fs/data/data_punch.h"
#include "fs/data/data_write.h"

#define LOG_MODULE "data"

#define LINGER_NS  (30 * NS_PER_SEC)
#define LINGER_MAX 20000u /* files; the oldest are flushed earlier */
/* Lingering files that are flushed by one tick. */
#define LINGER_BATCH   256u
#define LINGER_TICK_NS (NS_PER_SEC)

/* An update under way. */
struct data_update {
	struct chains_request request;
	struct data_file *file; /* a reference */
	struct writeback_extent *extent;
	struct buf *payload;
	struct data_update *next;
};

/* ---- the table; files_lock held ---- */

static uint64_t hash_of(uint32_t pool, uint64_t file_id)
{
	return table_hash(file_id) + pool;
}

static struct data_file *file_find(const struct data *data, uint32_t pool, uint64_t file_id)
{
	struct table_node *node = table_first(&data->files, hash_of(pool, file_id));

	for (; node != NULL; node = table_more(node)) {
		struct data_file *file = container_of(node, struct data_file, node);

		if (file->file_id == file_id && file->pool == pool)
			return file;
	}
	return NULL;
}

static int file_add(struct data *data, struct data_file *file)
{
	return table_add(&data->files, &file->node, hash_of(file->pool, file->file_id));
}

/* ---- life ---- */

static void file_free(struct data_file *file)
{
	struct data *data = file->data;

	atomic_fetch_sub_explicit(&data->write_used, file->memory_seen, memory_order_relaxed);
	writeback_destroy(file->wb);
	pthread_mutex_destroy(&file->lock);
	free(file);
}

/* Lock held, or nobody else has the file. */
static atomic_size_t *count_of_chunk(void *arg, uint32_t index)
{
	struct data_file *file = arg;
	struct chunk_key key = data_file_key(file, index);

	return &file->data->chains[chains_slot(&key)].writing;
}

static int file_new(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out)
{
	struct cluster_map *map = chains_client_map(data->chain);
	const struct map_pool *map_pool = map == NULL ? NULL : cluster_map_pool(map, pool);
	struct data_file *file = NULL;
	int rc = -EIO;

	if (map_pool == NULL) {
		log_error("file of an unknown pool pool=%" PRIu32 " file=%016" PRIx64, pool,
			  file_id);
		goto out;
	}
	rc = -ENOMEM;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		goto out;
	file->data = data;
	file->pool = pool;
	file->partitions = map_pool->partitions;
	file->chunk_size = map_pool->chunk_size;
	file->file_id = file_id;
	file->session = chains_client_session(data->chain);
	atomic_init(&file->refs, 1);
	atomic_init(&file->users, 1);
	pthread_mutex_init(&file->lock, NULL);
	rc = writeback_create(file->chunk_size, DATA_UPDATES_PER_CHUNK, data->pool, &file->wb);
	if (rc < 0) {
		file_free(file);
		goto out;
	}
	writeback_count(file->wb, count_of_chunk, file);
	*out = file;
out:
	cluster_map_unref(map);
	return rc;
}

static void linger_remove(struct data *data, struct data_file *file)
{
	DL_DELETE2(data->linger_first, file, linger_prev, linger_next);
	file->lingering = false;
	data->linger_count--;
}

static void linger_add(struct data *data, struct data_file *file)
{
	file->lingering = true;
	file->linger_ns = chains_client_now(data->chain) + LINGER_NS;
	DL_APPEND2(data->linger_first, file, linger_prev, linger_next);
	data->linger_count++;
	chains_client_wake(data->chain, file->linger_ns);
}

int data_file_get(struct data *data, uint32_t pool, uint64_t file_id, struct data_file **out)
{
	struct data_file *file;
	int rc = 0;

	pthread_mutex_lock(&data->files_lock);
	file = file_find(data, pool, file_id);
	if (file != NULL) {
		if (file->lingering)
			linger_remove(data, file);
		atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&file->users, 1, memory_order_relaxed);
	} else {
		rc = file_new(data, pool, file_id, &file);
		if (rc == 0) {
			rc = file_add(data, file);
			if (rc != 0)
				file_free(file);
		}
	}
	pthread_mutex_unlock(&data->files_lock);
	if (rc == 0)
		*out = file;
	return rc;
}

void data_file_set_ino(struct data_file *file, uint64_t ino)
{
	atomic_store_explicit(&file->ino, ino, memory_order_relaxed);
}

struct data_file *data_file_ref(struct data_file *file)
{
	data_file_hold(file);
	atomic_fetch_add_explicit(&file->users, 1, memory_order_relaxed);
	return file;
}

void data_file_hold(struct data_file *file)
{
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
}

void data_file_drop(struct data_file *file)
{
	struct data *data = file->data;
	unsigned refs = atomic_load_explicit(&file->refs, memory_order_relaxed);

	while (refs > 1)
		if (atomic_compare_exchange_weak_explicit(&file->refs, &refs, refs - 1,
							  memory_order_acq_rel,
							  memory_order_relaxed))
			return;
	/* Perhaps the last one: the table must not give it out meanwhile. */
	pthread_mutex_lock(&data->files_lock);
	if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) == 1) {
		if (writeback_has_unflushed(file->wb)) {
			linger_add(data, file);
		} else {
			table_remove(&data->files, &file->node);
			file_free(file);
		}
	}
	pthread_mutex_unlock(&data->files_lock);
}

void data_file_send_all(struct data_file *file)
{
	struct data_work work;

	pthread_mutex_lock(&file->lock);
	file->send_all = true;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
}

void data_file_put(struct data_file *file)
{
	if (file == NULL)
		return;
	if (atomic_fetch_sub_explicit(&file->users, 1, memory_order_acq_rel) == 1) {
		pthread_mutex_lock(&file->lock);
		data_fetch_unlist_range(file, 0, UINT64_MAX);
		readahead_forget(&file->ra);
		pthread_mutex_unlock(&file->lock);
		data_file_send_all(file);
	}
	data_file_drop(file);
}

static void cancel_update(void *arg, struct writeback_extent *extent)
{
	struct data_update *update = extent->user;

	chains_client_cancel(&update->request);
}

/* Its bytes are not wanted any more. Lock held. */
static void file_forget(struct data_file *file)
{
	lock_held(&file->lock);
	writeback_each_in_flight(file->wb, cancel_update, NULL);
	writeback_drop(file->wb);
	data_fetch_unlist_range(file, 0, UINT64_MAX);
	file->ra = (struct readahead){0};
	file->generation++;
}

void data_file_replace(struct data_file *file, uint64_t file_id)
{
	struct data *data = file->data;
	struct data_work work;

	pthread_mutex_lock(&data->files_lock);
	pthread_mutex_lock(&file->lock);
	table_remove(&data->files, &file->node);
	file_forget(file);
	file->file_id = file_id;
	(void)file_add(data, file); /* there is memory: it was in the table just now */
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	pthread_mutex_unlock(&data->files_lock);
	data_file_run(file, &work);
}

void data_file_discard(struct data_file *file)
{
	struct data_work work;

	pthread_mutex_lock(&file->lock);
	file_forget(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
}

/* ---- sessions ---- */

bool data_file_enter_session(struct data_file *file, uint64_t session)
{
	uint64_t now = chains_client_session(file->data->chain);

	lock_held(&file->lock);
	if (file->session != now && file->session != 0) {
		/* What is in flight fails by itself, see chains_client_set_session(). */
		file->lost += writeback_bytes(file->wb) + (file->punches != NULL ? 1 : 0);
		writeback_lose(file->wb, -EIO);
		data_punch_lose(file, -EIO);
	}
	file->session = now;
	return session == 0 || session == now;
}

void data_set_session(struct data *data, uint64_t session_id)
{
	chains_client_set_session(data->chain, session_id);
}

uint64_t data_lose(struct data_file *file)
{
	struct data_work work;
	uint64_t lost;

	pthread_mutex_lock(&file->lock);
	data_file_enter_session(file, 0);
	lost = file->lost;
	file->lost = 0;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	return lost;
}

uint64_t data_lose_all(struct data *data)
{
	struct data_file **files = NULL;
	size_t count = 0;
	uint64_t lost = 0;

	if (data_files_collect(data, &files, &count) != 0) {
		/* Each finds out when it is used next, and none sends anything before that. */
		log_error("out of memory: what is lost with the session is told late");
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		lost += data_lose(files[i]);
		data_file_drop(files[i]);
	}
	free(files);
	return lost;
}

bool data_any_dirty(struct data *data)
{
	struct data_file **files = NULL;
	size_t count = 0;
	bool any = false;

	if (data_files_collect(data, &files, &count) != 0)
		return true;
	for (size_t i = 0; i < count; i++) {
		any = any || data_dirty(files[i]);
		data_file_drop(files[i]);
	}
	free(files);
	return any;
}

/* ---- work ---- */

struct chunk_key data_file_key(const struct data_file *file, uint32_t index)
{
	return chunk_key_of(file->pool, file->partitions, file->file_id, index);
}

static void update_done(struct chains_request *request, int error,
			const struct frame_header *answer, struct buf *payload);

/* NULL: out of memory. */
static struct data_update *next_update(struct data_file *file, bool all, bool durable,
				       struct data_update *u)
{
	struct writeback_extent *e = writeback_next(file->wb, all, durable);

	if (e == NULL)
		return NULL;
	u->file = file;
	u->extent = e;
	u->payload = writeback_payload(file->wb, e);
	if (u->payload == NULL) {
		/* Nothing but to say so at the next flush. */
		writeback_done(file->wb, e, -ENOMEM, 0, 0, false);
		return NULL;
	}
	e->user = u;
	u->request = (struct chains_request){
		.op = FRAME_WRITE,
		.durable = e->durable,
		.session = file->session,
		.known = writeback_known(e->chunk),
		.key = data_file_key(file, (uint32_t)(e->offset / file->chunk_size)),
		.offset = (uint32_t)(e->offset % file->chunk_size),
		.payload = u->payload,
		.done = update_done,
		.user = u,
	};
	data_file_hold(file);
	return u;
}

static void gather_updates(struct data_file *file, struct data_work *work)
{
	/* What a stuck chain has is not made less by sending more: then others go on gathering. */
	bool all = file->send_all || file->waiting > 0 ||
		   atomic_load_explicit(&file->data->hurry, memory_order_relaxed);
	struct data_update *u;

	while (writeback_has_dirty(file->wb)) {
		u = calloc(1, sizeof(*u));
		if (u == NULL)
			break;
		if (next_update(file, all, file->flushing > 0, u) == NULL) {
			free(u);
			break;
		}
		*work->updates_end = u;
		work->updates_end = &u->next;
		work->count++;
	}
}

static void settle_memory(struct data_file *file, struct data_work *work)
{
	size_t memory = writeback_memory(file->wb);

	if (memory > file->memory_seen)
		atomic_fetch_add_explicit(&file->data->write_used, memory - file->memory_seen,
					  memory_order_relaxed);
	else if (memory < file->memory_seen) {
		atomic_fetch_sub_explicit(&file->data->write_used, file->memory_seen - memory,
					  memory_order_relaxed);
		work->freed = true;
	}
	file->memory_seen = memory;
}

void data_file_gather(struct data_file *file, struct data_work *work)
{
	lock_held(&file->lock);
	*work = (struct data_work){0};
	work->updates_end = &work->updates;
	data_punch_gather(file, work);
	gather_updates(file, work);
	if (!writeback_has_dirty(file->wb))
		file->send_all = false;
	else
		data_dirty_join(file);
	work->fired = writeback_fired(file->wb);
	settle_memory(file, work);
}

void data_file_run(struct data_file *file, struct data_work *work)
{
	struct data *data = file->data;
	bool batch = work->count > 1;

	if (batch)
		chains_client_batch(data->chain, true);
	while (work->updates != NULL) {
		struct data_update *u = work->updates;
		struct buf *payload = u->payload;

		work->updates = u->next;
		atomic_fetch_add_explicit(&data->stat_updates, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&data->stat_update_bytes, payload->length,
					  memory_order_relaxed);
		if (!u->extent->summed)
			block_checksums(buf_payload(payload), u->request.offset, payload->length,
					payload->crcs);
		chains_client_send(data->chain, &u->request);
	}
	if (batch)
		chains_client_batch(data->chain, false);
	data_punch_run(data, work);
	while (work->fired != NULL) {
		struct data_waiter *waiter = (struct data_waiter *)work->fired;

		work->fired = waiter->wait.next;
		waiter->fired(waiter);
	}
	if (work->freed)
		data_writes_admit(data);
}

static void report_loss(struct data_file *file, const struct data_update *u, int error)
{
	static struct log_rate rate;

	atomic_fetch_add_explicit(&file->data->stat_lost, 1, memory_order_relaxed);
	if (log_rate_ok(&rate, 5))
		log_warn("written data is lost file=%016" PRIx64 " chunk=%" PRIu32
			 " offset=%" PRIu32 " length=%" PRIu32 " error=\"%s\"",
			 u->request.key.file_id, u->request.key.index, u->request.offset,
			 u->payload->length,
			 error == -ENODATA ? "what was written before is lost" : strerror(-error));
}

void data_tell_lost(struct data_file *file, uint64_t file_id, uint64_t bytes)
{
	struct data *data = file->data;
	uint64_t ino = atomic_load_explicit(&file->ino, memory_order_relaxed);

	if (data->lost != NULL)
		data->lost(data->user, ino, file_id, bytes);
	else
		log_error("answered data is lost file=%016" PRIx64 " bytes=%" PRIu64, file_id,
			  bytes);
}

static void update_done(struct chains_request *request, int error,
			const struct frame_header *answer, struct buf *payload)
{
	struct data_update *u = request->user;
	struct data_file *file = u->file;
	struct data_work work;
	bool flushed = request->durable && !request->repeated;
	const uint64_t file_id = request->key.file_id;
	uint64_t lost = 0;

	buf_unref(payload);
	if (error == -ECANCELED)
		error = 0; /* nobody wants these bytes any more */
	else if (error != 0)
		report_loss(file, u, error);
	pthread_mutex_lock(&file->lock);
	if (error == -ENODATA) {
		lost = writeback_lost(file->wb, u->extent->chunk);
		error = -EIO;
	}
	writeback_done(file->wb, u->extent, error, answer == NULL ? 0 : answer->version,
		       answer == NULL ? 0 : answer->epoch, flushed);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	buf_unref(u->payload);
	free(u);
	data_file_run(file, &work);
	if (lost > 0)
		data_tell_lost(file, file_id, lost);
	data_file_drop(file);
}

/* ---- files closed with something not yet durable ---- */

static void linger_flushed(void *user, int error)
{
	struct data_file *file = user;
	uint64_t ino = atomic_load_explicit(&file->ino, memory_order_relaxed);

	if (error != 0) {
		log_warn("background flush of a closed file failed file=%016" PRIx64
			 " error=\"%s\"",
			 file->file_id, strerror(-error));
		/* Trying for ever would help nobody; who opens it next is told. */
		pthread_mutex_lock(&file->lock);
		writeback_forget_unflushed(file->wb);
		pthread_mutex_unlock(&file->lock);
		if (file->data->failed != NULL && ino != 0)
			file->data->failed(file->data->user, ino, error);
	}
	data_file_drop(file);
}

void data_linger_tick(struct data *data, uint64_t now)
{
	struct data_file *list = NULL, *file;
	unsigned count = 0;
	uint64_t next = UINT64_MAX;

	pthread_mutex_lock(&data->files_lock);
	while ((file = data->linger_first) != NULL && count < LINGER_BATCH &&
	       (file->linger_ns <= now || data->linger_count > LINGER_MAX)) {
		linger_remove(data, file);
		data_file_hold(file);
		file->linger_next = list;
		list = file;
		count++;
	}
	if (data->linger_first != NULL)
		next = count == LINGER_BATCH ? now + LINGER_TICK_NS / 10
					     : data->linger_first->linger_ns;
	pthread_mutex_unlock(&data->files_lock);
	if (next != UINT64_MAX)
		chains_client_wake(data->chain, next);
	chains_client_batch(data->chain, true);
	while (list != NULL) {
		file = list;
		list = file->linger_next;
		file->linger_next = NULL;
		data_flush(file, true, linger_flushed, file);
	}
	chains_client_batch(data->chain, false);
}

int data_files_collect(struct data *data, struct data_file ***out, size_t *count)
{
	struct table_node *node = NULL;
	struct data_file **files;
	size_t found = 0;

	pthread_mutex_lock(&data->files_lock);
	files = calloc(data->files.count + 1, sizeof(struct data_file *));
	while (files != NULL && (node = table_walk(&data->files, node)) != NULL) {
		struct data_file *file = container_of(node, struct data_file, node);

		if (file->lingering)
			linger_remove(data, file);
		data_file_hold(file);
		files[found++] = file;
	}
	pthread_mutex_unlock(&data->files_lock);
	if (files == NULL)
		return -ENOMEM;
	*out = files;
	*count = found;
	return 0;
}

void data_files_destroy(struct data *data)
{
	struct table_node *node = table_walk(&data->files, NULL);

	while (node != NULL) {
		struct data_file *file = container_of(node, struct data_file, node);

		node = table_walk(&data->files, node);
		file_free(file);
	}
	table_free(&data->files);
}
