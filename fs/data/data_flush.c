/* data_flush.c - waiting until what was written is with every copy, or on every copy's disk. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/data/data_file.h"

#define LOG_MODULE "data"

struct file_flush {
	struct data_waiter waiter;
	struct data_file *file; /* a reference */
	bool durable;
	int error;
	bool untold;             /* counted in the file's */
	struct file_flush *next; /* of the file's that are behind others */
	uint64_t generation;     /* of the file when the frames were sent */
	/* Of chunks whose copies have not all that they have answered. */
	uint32_t lost_chunks;
	uint64_t lost_file_id, lost_bytes;
	atomic_size_t pending;
	data_done_fn *done;
	void *user;
};

struct flush_frame {
	struct chains_request request;
	struct chains_answered answered;
	struct file_flush *flush;
	struct writeback_unflushed covers;
};

/* ---- what one has found is told before another is told that all is well ---- */

/* There is an error, or will be. With the file's lock held. */
static void flush_found(struct file_flush *flush, int error)
{
	lock_held(&flush->file->lock);
	if (flush->error == 0)
		flush->error = error;
	if (!flush->untold)
		flush->file->untold++;
	flush->untold = true;
}

static void flush_tell(struct file_flush *flush);

/* One of those that are untold has been told. A reference is the caller's. */
static void file_told(struct data_file *file)
{
	struct file_flush *list = NULL, *next;

	pthread_mutex_lock(&file->lock);
	if (--file->untold == 0) {
		list = file->behind;
		file->behind = NULL;
	}
	pthread_mutex_unlock(&file->lock);
	for (; list != NULL; list = next) {
		next = list->next;
		flush_tell(list);
	}
}

static void flush_tell(struct file_flush *flush)
{
	struct data_file *file = flush->file;
	bool untold = flush->untold;

	flush->done(flush->user, flush->error);
	free(flush);
	if (untold)
		file_told(file);
	data_file_drop(file);
}

/* What another flush of the file has found may be this one's, too, and each is found once. Its user
 * hears of it when that has been told. (Only those that have sent all they have to send wait:
 * others may be waited for by the master.) */
static void flush_over(struct file_flush *flush)
{
	struct data_file *file = flush->file;
	bool waits;

	pthread_mutex_lock(&file->lock);
	waits = flush->durable && !flush->untold && file->untold > 0;
	if (waits) {
		if (file->behind == NULL)
			file->behind_end = &file->behind;
		*file->behind_end = flush;
		file->behind_end = &flush->next;
	}
	pthread_mutex_unlock(&file->lock);
	if (!waits)
		flush_tell(flush);
}

/* Copies have lost power with answered updates that were not flushed yet; or the file is gone, with
 * its chunks. */
static void flush_judged(void *arg, bool gone)
{
	struct file_flush *flush = arg;

	if (!gone) {
		data_tell_lost(flush->file, flush->lost_file_id, flush->lost_bytes);
		if (flush->error == 0)
			flush->error = -EIO;
	}
	flush_over(flush);
}

static void flush_end(struct file_flush *flush)
{
	struct data *data = flush->file->data;
	uint64_t ino = atomic_load_explicit(&flush->file->ino, memory_order_relaxed);

	if (flush->lost_chunks == 0)
		flush_over(flush);
	else if (ino != 0 && data->ask_gone != NULL)
		data->ask_gone(data->user, ino, flush->lost_file_id, flush_judged, flush);
	else
		flush_judged(flush, false);
}

/* The head says so; or it has less, or (of a partition without a chain) nothing. */
static bool is_lost(const struct flush_frame *frame, int error, const struct frame_header *answer)
{
	return error == -ENODATA || (error == 0 && answer->version < frame->covers.version);
}

static void frame_done(struct chains_request *request, int error, const struct frame_header *answer,
		       struct buf *payload)
{
	struct flush_frame *frame = request->user;
	struct file_flush *flush = frame->flush;
	struct data_file *file = flush->file;

	buf_unref(payload);
	pthread_mutex_lock(&file->lock);
	if (is_lost(frame, error, answer)) {
		/* Unless it was truncated to nothing meanwhile: that was on purpose. */
		if (file->generation == flush->generation) {
			flush_found(flush, 0);
			flush->lost_chunks++;
			flush->lost_file_id = request->key.file_id;
			flush->lost_bytes += frame->covers.bytes;
			writeback_flush_lost(file->wb, &frame->covers);
		}
	} else if (error != 0) {
		flush_found(flush, error);
	} else if (file->generation == flush->generation) {
		writeback_flushed(file->wb, frame->covers.index, frame->covers.version);
	}
	pthread_mutex_unlock(&file->lock);
	free(frame);
	if (atomic_fetch_sub_explicit(&flush->pending, 1, memory_order_acq_rel) == 1)
		flush_end(flush);
}

static void send_frames(struct file_flush *flush, const struct writeback_unflushed *list,
			size_t count, const struct chunk_key *keys)
{
	struct data *data = flush->file->data;

	/* Ours until all have been sent. */
	atomic_store(&flush->pending, count + 1);
	chains_client_batch(data->chain, true);
	for (size_t i = 0; i < count; i++) {
		struct flush_frame *frame = calloc(1, sizeof(*frame));

		if (frame == NULL) {
			pthread_mutex_lock(&flush->file->lock);
			flush_found(flush, -ENOMEM);
			pthread_mutex_unlock(&flush->file->lock);
			atomic_fetch_sub(&flush->pending, 1);
			continue;
		}
		frame->flush = flush;
		frame->covers = list[i];
		chains_answered_set(&frame->answered, list[i].version, list[i].epoch);
		frame->request = (struct chains_request){
			.op = FRAME_FLUSH,
			.known = &frame->answered,
			.key = keys[i],
			.done = frame_done,
			.user = frame,
		};
		atomic_fetch_add_explicit(&data->stat_flush_frames, 1, memory_order_relaxed);
		chains_client_send(data->chain, &frame->request);
	}
	chains_client_batch(data->chain, false);
	if (atomic_fetch_sub_explicit(&flush->pending, 1, memory_order_acq_rel) == 1)
		flush_end(flush);
}

/* Everything has been answered. What has not been flushed with the answers is flushed now. */
static void flush_fired(struct data_waiter *waiter)
{
	struct file_flush *flush = (struct file_flush *)waiter;
	struct data_file *file = flush->file;
	struct writeback_unflushed *list = NULL;
	struct chunk_key *keys = NULL;
	size_t count = 0;
	int rc = 0;

	pthread_mutex_lock(&file->lock);
	file->waiting--;
	if (flush->durable) {
		file->flushing--;
		rc = writeback_unflushed(file->wb, &list, &count);
	}
	if (count > 0) {
		keys = calloc(count, sizeof(*keys));
		if (keys == NULL) {
			rc = -ENOMEM;
			count = 0;
		}
	}
	for (size_t i = 0; i < count; i++)
		keys[i] = data_file_key(file, list[i].index);
	flush->generation = file->generation;
	flush->error = writeback_take_error(file->wb);
	if (flush->error == 0)
		flush->error = waiter->wait.error;
	if (flush->error == 0)
		flush->error = rc;
	if (flush->error != 0)
		flush_found(flush, 0);
	pthread_mutex_unlock(&file->lock);
	if (count > 0)
		send_frames(flush, list, count, keys);
	else
		flush_end(flush);
	free(list);
	free(keys);
}

void data_flush(struct data_file *file, bool durable, data_done_fn *done, void *user)
{
	struct file_flush *flush = NULL;
	struct data_work work;
	bool needed;
	int rc = 0;

	atomic_fetch_add_explicit(&file->data->stat_flushes, 1, memory_order_relaxed);
	pthread_mutex_lock(&file->lock);
	needed = writeback_busy(file->wb) ||
		 (durable && (writeback_has_unflushed(file->wb) || file->untold > 0));
	if (needed) {
		flush = calloc(1, sizeof(*flush));
		rc = flush == NULL ? -ENOMEM : writeback_wait(file->wb, &flush->waiter.wait);
	} else {
		rc = writeback_take_error(file->wb);
	}
	if (!needed || rc < 0) {
		if (rc < 0) {
			data_file_hold(file); /* @done may let it go */
			file->untold++;
		}
		pthread_mutex_unlock(&file->lock);
		free(flush);
		done(user, rc);
		if (rc < 0) {
			file_told(file);
			data_file_drop(file);
		}
		return;
	}
	flush->waiter.fired = flush_fired;
	flush->file = file;
	flush->durable = durable;
	flush->done = done;
	flush->user = user;
	data_file_hold(file);
	file->waiting++;
	if (durable)
		file->flushing++;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
}

/* ---- all files ---- */

struct flush_all {
	atomic_size_t pending;
	atomic_int error;
	data_done_fn *done;
	void *user;
};

static void flush_all_one(void *user, int error)
{
	struct flush_all *all = user;
	int none = 0;

	if (error != 0)
		atomic_compare_exchange_strong(&all->error, &none, error);
	if (atomic_fetch_sub_explicit(&all->pending, 1, memory_order_acq_rel) > 1)
		return;
	all->done(all->user, atomic_load(&all->error));
	free(all);
}

void data_flush_all(struct data *data, bool durable, data_done_fn *done, void *user)
{
	struct flush_all *all = calloc(1, sizeof(*all));
	struct data_file **files = NULL;
	size_t count = 0;
	int rc = all == NULL ? -ENOMEM : data_files_collect(data, &files, &count);

	if (rc < 0) {
		free(all);
		done(user, rc);
		return;
	}
	all->done = done;
	all->user = user;
	atomic_init(&all->pending, count + 1);
	chains_client_batch(data->chain, true);
	for (size_t i = 0; i < count; i++) {
		data_flush(files[i], durable, flush_all_one, all);
		data_file_drop(files[i]);
	}
	chains_client_batch(data->chain, false);
	free(files);
	flush_all_one(all, 0);
}
