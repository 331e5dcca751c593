/* data_seek.c - where data and holes are. What is dirty is written back first, so that the chains
 * know all; then chunk after chunk is asked for its presence map, some at a time. When the first of
 * them are empty and data is sought, the chains are asked which chunks exist at all, and the others
 * are passed over. */
#include <errno.h>
#include <stdlib.h>
#include "common/base/bitmap.h"
#include "fs/data/data_file.h"

#define ASKED_AT_ONCE 16u

struct file_seek_ask {
	struct chains_request request;
	struct file_seek *seek;
	struct buf *bitmap;
	uint32_t length; /* of the chunk */
};

struct file_seek {
	struct data_waiter waiter;
	struct data_file *file; /* a reference */
	uint64_t offset, size;
	uint64_t at; /* all before has been looked at; then a chunk's start */
	bool hole;
	bool listed;      /* data is only in these chunks, ascending */
	uint32_t *chunks; /* malloc()ed */
	size_t chunk_count, chunk_next;
	atomic_uint pending;
	atomic_int error;
	unsigned count; /* asked together: one at first, which mostly does */
	struct file_seek_ask asks[ASKED_AT_ONCE];
	data_seek_fn *done;
	void *user;
};

static void seek_ask(struct file_seek *seek);
static void seek_list(struct file_seek *seek);

static void seek_end(struct file_seek *seek, int error, uint64_t result)
{
	struct data_file *file = seek->file;

	seek->done(seek->user, error, error == 0 ? result : 0);
	free(seek->chunks);
	free(seek);
	data_file_drop(file);
}

static bool block_present(const struct file_seek_ask *ask, uint32_t block)
{
	const struct buf *bitmap = ask->bitmap;

	if (bitmap == NULL || block / 8 >= bitmap->length ||
	    (uint64_t)block * BLOCK_SIZE >= ask->length)
		return false;
	return bitmap_test(buf_payload(bitmap), block);
}

/* Looks from seek->at to the end of the asked chunk. */
static bool find_in(struct file_seek *seek, const struct file_seek_ask *ask, uint64_t *result)
{
	uint32_t chunk_size = seek->file->chunk_size;
	uint64_t start = (uint64_t)ask->request.key.index * chunk_size;
	uint32_t block = (uint32_t)((seek->at - start) / BLOCK_SIZE);

	for (; block < chunk_size / BLOCK_SIZE; block++) {
		uint64_t at = start + (uint64_t)block * BLOCK_SIZE;

		if (at >= seek->size)
			break;
		if (block_present(ask, block) == seek->hole)
			continue;
		*result = at > seek->at ? at : seek->at;
		return true;
	}
	seek->at = start + chunk_size;
	return false;
}

/* All that were asked have answered. */
static void seek_evaluate(struct file_seek *seek)
{
	uint64_t result = seek->size;
	bool found = false;
	int error = atomic_load(&seek->error);

	for (unsigned i = 0; i < seek->count; i++) {
		if (error == 0 && !found)
			found = find_in(seek, &seek->asks[i], &result);
		buf_unref(seek->asks[i].bitmap);
		seek->asks[i].bitmap = NULL;
	}
	if (error != 0 || found || seek->at >= seek->size) {
		seek_end(seek, error, found ? result : seek->size);
		return;
	}
	if (!seek->hole && !seek->listed && seek->count == ASKED_AT_ONCE) {
		seek_list(seek);
		return;
	}
	seek->count = ASKED_AT_ONCE;
	seek_ask(seek);
}

static void seek_listed(void *user, int error, const struct data_listed *chunks, size_t count)
{
	struct file_seek *seek = user;

	if (error == 0 && count > 0) {
		seek->chunks = malloc(count * sizeof(*seek->chunks));
		error = seek->chunks == NULL ? -ENOMEM : 0;
	}
	if (error != 0) {
		seek_end(seek, error, 0);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (chunks[i].blocks > 0)
			seek->chunks[seek->chunk_count++] = chunks[i].index;
	seek->listed = true;
	seek_ask(seek);
}

static void seek_list(struct file_seek *seek)
{
	uint32_t chunk_size = seek->file->chunk_size;

	data_list(seek->file, (uint32_t)(seek->at / chunk_size),
		  (uint32_t)((seek->size - 1) / chunk_size) + 1, 0, seek_listed, seek);
}

static void ask_done(struct chains_request *request, int error, const struct frame_header *answer,
		     struct buf *payload)
{
	struct file_seek_ask *ask = request->user;
	struct file_seek *seek = ask->seek;

	if (error == 0 && payload != NULL &&
	    block_checksums_verify(buf_payload(payload), 0, payload->length, payload->crcs) >= 0)
		error = -EIO;
	if (error != 0) {
		buf_unref(payload);
		payload = NULL;
		atomic_store(&seek->error, error);
	}
	ask->bitmap = payload;
	ask->length = answer == NULL ? 0 : (uint32_t)answer->arg;
	if (atomic_fetch_sub_explicit(&seek->pending, 1, memory_order_acq_rel) == 1)
		seek_evaluate(seek);
}

/* To the next chunk that exists, which alone is asked. False: there is none. */
static bool seek_jump(struct file_seek *seek)
{
	uint32_t chunk_size = seek->file->chunk_size;
	uint64_t start;

	while (seek->chunk_next < seek->chunk_count &&
	       seek->chunks[seek->chunk_next] < seek->at / chunk_size)
		seek->chunk_next++;
	if (seek->chunk_next == seek->chunk_count)
		return false;
	start = (uint64_t)seek->chunks[seek->chunk_next] * chunk_size;
	if (seek->at < start)
		seek->at = start;
	seek->count = 1;
	return true;
}

static void seek_ask(struct file_seek *seek)
{
	struct data_file *file = seek->file;
	uint32_t index;
	uint64_t left;
	unsigned count;

	if (seek->listed && !seek_jump(seek)) {
		seek_end(seek, 0, seek->size);
		return;
	}
	index = (uint32_t)(seek->at / file->chunk_size);
	left = (seek->size - 1) / file->chunk_size - index + 1;

	if (seek->count > left)
		seek->count = (unsigned)left;
	count = seek->count;
	atomic_store(&seek->pending, count);
	pthread_mutex_lock(&file->lock);
	for (unsigned i = 0; i < count; i++) {
		seek->asks[i] = (struct file_seek_ask){
			.seek = seek,
			.request =
				{
					.op = FRAME_STAT,
					.key = data_file_key(file, index + i),
					.done = ask_done,
					.user = &seek->asks[i],
				},
		};
	}
	pthread_mutex_unlock(&file->lock);
	/* After the last one has been sent the seek may be gone. */
	for (unsigned i = 0; i < count; i++)
		chains_client_send(file->data->chain, &seek->asks[i].request);
}

static void seek_fired(struct data_waiter *waiter)
{
	struct file_seek *seek = (struct file_seek *)waiter;

	pthread_mutex_lock(&seek->file->lock);
	seek->file->waiting--;
	pthread_mutex_unlock(&seek->file->lock);
	seek_ask(seek);
}

void data_seek(struct data_file *file, uint64_t offset, uint64_t size, bool hole,
	       data_seek_fn *done, void *user)
{
	struct data_work work;
	struct file_seek *seek;
	int rc;

	if (offset >= size || (size - 1) / file->chunk_size > UINT32_MAX - 1) {
		done(user, offset >= size ? 0 : -EFBIG, offset >= size ? size : 0);
		return;
	}
	seek = calloc(1, sizeof(*seek));
	if (seek == NULL) {
		done(user, -ENOMEM, 0);
		return;
	}
	*seek = (struct file_seek){
		.waiter = {.fired = seek_fired},
		.file = file,
		.offset = offset,
		.size = size,
		.at = offset,
		.hole = hole,
		.count = 1,
		.done = done,
		.user = user,
	};
	pthread_mutex_lock(&file->lock);
	rc = writeback_wait(file->wb, &seek->waiter.wait);
	if (rc < 0) {
		pthread_mutex_unlock(&file->lock);
		free(seek);
		done(user, rc, 0);
		return;
	}
	data_file_hold(file);
	file->waiting++;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
}
