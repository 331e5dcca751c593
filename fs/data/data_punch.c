/* data_punch.c - making ranges of files holes, chunk by chunk, in order with the writes.
 *
 * Of a long range the chains are asked first which of its chunks exist, and only these are punched:
 * cutting off a hole costs nothing. Updates of ours that were under way when the punch began may
 * not be in that answer, so their chunks count as existing. Later ones wait for the punch. */
#include <errno.h>
#include <stdlib.h>
#include "common/os/lock.h"
#include "fs/data/data_fetch.h"
#include "fs/data/data_file.h"
#include "fs/data/data_punch.h"

#define OPS_MAX 32u /* of one punch under way */
/* With more chunks than this each is made durable at once, instead of being remembered until the
 * next fsync. */
#define REMEMBER_MAX 1024u
/* With more chunks than this it is asked first which of them exist. */
#define LIST_MIN 32u

struct file_punch_op {
	struct chains_request request;
	struct file_punch *punch;
	struct writeback_chunk *chunk;
	struct file_punch_op *next;
};

struct file_punch {
	struct writeback_hole hole;
	struct data_file *file; /* a reference */
	uint64_t at;            /* chunks before it have been sent */
	unsigned active;
	bool durable;
	int error;
	uint64_t generation;
	bool listing;     /* not known yet which chunks exist */
	bool listed;      /* only these are punched: ascending, maybe twice */
	uint32_t *chunks; /* malloc()ed */
	size_t count, room, next;
	data_done_fn *done;
	void *user;
	struct file_punch *next_punch;
};

static void op_done(struct chains_request *request, int error, const struct frame_header *answer,
		    struct buf *payload)
{
	struct file_punch_op *op = request->user;
	struct file_punch *punch = op->punch;
	struct data_file *file = punch->file;
	struct data_work work;
	uint64_t lost = 0;

	buf_unref(payload);
	pthread_mutex_lock(&file->lock);
	if (error == -ENODATA) {
		lost = writeback_lost(file->wb, op->chunk);
		error = -EIO;
	}
	writeback_hole_answered(file->wb, op->chunk, error, answer == NULL ? 0 : answer->version,
				answer == NULL ? 0 : answer->epoch,
				request->durable && !request->repeated);
	if (error != 0 && punch->error == 0)
		punch->error = error;
	punch->active--;
	free(op);
	/* The punch may be gone after this. */
	data_file_hold(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	if (lost > 0)
		data_tell_lost(file, request->key.file_id, lost);
	data_file_drop(file);
}

/* Passes over chunks that do not exist. */
static void skip_holes(const struct data_file *file, struct file_punch *punch)
{
	uint64_t start;

	if (!punch->listed)
		return;
	while (punch->next < punch->count &&
	       punch->chunks[punch->next] < punch->at / file->chunk_size)
		punch->next++;
	if (punch->next == punch->count) {
		punch->at = punch->hole.to;
		return;
	}
	start = (uint64_t)punch->chunks[punch->next] * file->chunk_size;
	if (punch->at < start)
		punch->at = start < punch->hole.to ? start : punch->hole.to;
}

/* False: not now. */
static bool start_op(struct data_file *file, struct file_punch *punch, struct data_work *work)
{
	uint32_t index = (uint32_t)(punch->at / file->chunk_size);
	uint64_t start = (uint64_t)index * file->chunk_size, end = start + file->chunk_size;
	uint64_t to = punch->hole.to < end ? punch->hole.to : end;
	struct file_punch_op *op = calloc(1, sizeof(*op));
	int rc = op == NULL ? -ENOMEM
			    : writeback_hole_chunk(file->wb, &punch->hole, index, punch->at, to,
						   &op->chunk);

	if (rc < 0) {
		free(op);
		if (rc != -EAGAIN && punch->error == 0)
			punch->error = rc;
		return false;
	}
	op->punch = punch;
	op->request = (struct chains_request){
		.op = to == end ? FRAME_TRUNCATE : FRAME_PUNCH,
		.durable = punch->durable,
		.session = file->session,
		.known = writeback_known(op->chunk),
		.key = data_file_key(file, index),
		.offset = (uint32_t)(punch->at - start),
		.range = to == end ? 0 : (uint32_t)(to - punch->at),
		.done = op_done,
		.user = op,
	};
	op->next = work->ops;
	work->ops = op;
	punch->at = to;
	punch->active++;
	return true;
}

void data_punch_gather(struct data_file *file, struct data_work *work)
{
	struct file_punch **at = &file->punches;

	lock_held(&file->lock);
	while (*at != NULL) {
		struct file_punch *punch = *at;

		if (punch->listing) {
			at = &punch->next_punch;
			continue;
		}
		/* Of a former self of the file: what is under way ends, the rest is not needed. */
		if (punch->generation != file->generation || punch->error != 0)
			punch->at = punch->hole.to;
		skip_holes(file, punch);
		while (punch->active < OPS_MAX && punch->at < punch->hole.to &&
		       start_op(file, punch, work))
			skip_holes(file, punch);
		if (punch->error != 0)
			punch->at = punch->hole.to;
		if (punch->active > 0 || punch->at < punch->hole.to) {
			at = &punch->next_punch;
			continue;
		}
		*at = punch->next_punch;
		writeback_hole_end(file->wb, &punch->hole);
		punch->next_punch = work->punched;
		work->punched = punch;
		/* Those after it may have waited for it. */
		at = &file->punches;
	}
}

void data_punch_lose(struct data_file *file, int error)
{
	lock_held(&file->lock);
	for (struct file_punch *punch = file->punches; punch != NULL; punch = punch->next_punch)
		if (punch->error == 0)
			punch->error = error;
}

void data_punch_run(struct data *data, struct data_work *work)
{
	while (work->ops != NULL) {
		struct file_punch_op *op = work->ops;

		work->ops = op->next;
		chains_client_send(data->chain, &op->request);
	}
	while (work->punched != NULL) {
		struct file_punch *punch = work->punched;
		struct data_file *file = punch->file;

		work->punched = punch->next_punch;
		punch->done(punch->user, punch->error);
		free(punch->chunks);
		free(punch);
		data_file_drop(file);
	}
}

/* ---- which chunks there are ---- */

static bool punch_adds(struct file_punch *punch, uint32_t index)
{
	if (punch->count == punch->room) {
		size_t room = punch->room == 0 ? 64 : punch->room * 2;
		uint32_t *bigger = reallocarray(punch->chunks, room, sizeof(*bigger));

		if (bigger == NULL)
			return false;
		punch->chunks = bigger;
		punch->room = room;
	}
	punch->chunks[punch->count++] = index;
	return true;
}

static void add_in_flight(void *arg, struct writeback_extent *extent)
{
	struct file_punch *punch = arg;
	uint32_t index = (uint32_t)(extent->offset / punch->file->chunk_size);

	if (extent->offset < punch->hole.to && extent->offset + extent->length > punch->hole.from &&
	    !punch_adds(punch, index))
		punch->error = -ENOMEM;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void punch_listed(void *user, int error, const struct data_listed *chunks, size_t count)
{
	struct file_punch *punch = user;
	struct data_file *file = punch->file;
	struct data_work work;

	pthread_mutex_lock(&file->lock);
	for (size_t i = 0; error == 0 && i < count; i++)
		if (!punch_adds(punch, chunks[i].index))
			error = -ENOMEM;
	if (error != 0 && punch->error == 0)
		punch->error = error;
	if (punch->count > 0)
		qsort(punch->chunks, punch->count, sizeof(*punch->chunks), by_number);
	punch->durable = punch->count > REMEMBER_MAX;
	punch->listing = false;
	punch->listed = true;
	/* The punch may be gone after this. */
	data_file_hold(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	data_file_drop(file);
}

static uint32_t chunks_of(const struct data_file *file, uint64_t from, uint64_t to)
{
	return (uint32_t)((to - 1) / file->chunk_size - from / file->chunk_size) + 1;
}

/* Under the file's lock: -ENOMEM, and nothing has changed. */
static int punch_begin(struct data_file *file, struct file_punch *punch, uint64_t from, uint64_t to)
{
	struct file_punch **end;
	int rc;

	data_fetch_unlist_range(file, from, to);
	rc = writeback_hole_begin(file->wb, &punch->hole, from, to);
	if (rc < 0)
		return rc;
	if (punch->listing)
		writeback_each_in_flight(file->wb, add_in_flight, punch);
	punch->generation = file->generation;
	for (end = &file->punches; *end != NULL; end = &(*end)->next_punch)
		;
	*end = punch;
	return 0;
}

void data_punch(struct data_file *file, uint64_t from, uint64_t to, data_done_fn *done, void *user)
{
	data_punch_within(file, 0, from, to, done, user);
}

void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user)
{
	struct file_punch *punch = NULL;
	struct data_work work;
	bool listing;
	int rc = 0;

	if (from < to && (to - 1) / file->chunk_size > UINT32_MAX - 1)
		rc = -EFBIG;
	if (rc == 0 && from < to) {
		punch = calloc(1, sizeof(*punch));
		rc = punch == NULL ? -ENOMEM : 0;
	}
	if (punch == NULL) {
		done(user, rc);
		return;
	}
	punch->file = file;
	punch->at = from;
	punch->listing = listing = chunks_of(file, from, to) > LIST_MIN;
	punch->done = done;
	punch->user = user;

	pthread_mutex_lock(&file->lock);
	rc = data_file_enter_session(file, session) ? punch_begin(file, punch, from, to) : -EIO;
	if (rc < 0) {
		data_file_gather(file, &work);
		pthread_mutex_unlock(&file->lock);
		data_file_run(file, &work);
		free(punch);
		done(user, rc);
		return;
	}
	/* One for the punch, one for this function. */
	data_file_hold(file);
	data_file_hold(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	if (listing)
		data_list(file, (uint32_t)(from / file->chunk_size),
			  (uint32_t)((to - 1) / file->chunk_size) + 1, 0, punch_listed, punch);
	data_file_drop(file);
}
