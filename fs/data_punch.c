/* data_punch.c - making ranges of files holes, chunk by chunk, in order with the writes. */
#include <errno.h>
#include <stdlib.h>
#include "fs/data_internal.h"

#define OPS_MAX 32u /* of one punch under way */
/* With more chunks than this each is made durable at once, instead of being remembered until the
 * next fsync. */
#define REMEMBER_MAX 1024u

struct punch {
	struct wb_hole hole;
	struct data_file *file; /* a reference */
	uint64_t at;            /* chunks before it have been sent */
	unsigned active;
	bool sync;
	int error;
	uint64_t generation;
	data_done_fn *done;
	void *user;
	struct punch *next;
};

static void op_done(struct chain_request *request, int error, const struct frame_header *answer,
		    struct buf *payload)
{
	struct punch_op *op = request->user;
	struct punch *punch = op->punch;
	struct data_file *file = punch->file;
	struct data_work work;

	buf_unref(payload);
	pthread_mutex_lock(&file->lock);
	if (file->generation == punch->generation)
		writeback_hole_answered(file->wb, request->key.index, error,
					answer == NULL ? 0 : answer->version,
					request->sync && !request->repeated);
	if (error != 0 && punch->error == 0)
		punch->error = error;
	punch->active--;
	free(op);
	/* The punch may be gone after this. */
	data_file_hold(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	data_file_drop(file);
}

/* False: not now. */
static bool start_op(struct data_file *file, struct punch *punch, struct data_work *work)
{
	uint32_t index = (uint32_t)(punch->at / file->chunk_size);
	uint64_t start = (uint64_t)index * file->chunk_size, end = start + file->chunk_size;
	uint64_t to = punch->hole.to < end ? punch->hole.to : end;
	struct punch_op *op = calloc(1, sizeof(*op));
	int rc = op == NULL ? -ENOMEM
			    : writeback_hole_chunk(file->wb, &punch->hole, index, punch->at, to);

	if (rc < 0) {
		free(op);
		if (rc != -EAGAIN && punch->error == 0)
			punch->error = rc;
		return false;
	}
	op->punch = punch;
	op->request = (struct chain_request){
		.op = to == end ? FRAME_TRUNCATE : FRAME_PUNCH,
		.sync = punch->sync,
		.session = file->session,
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
	struct punch **at = &file->punches;

	while (*at != NULL) {
		struct punch *punch = *at;

		/* Of a former self of the file: what is under way ends, the rest is not needed. */
		if (punch->generation != file->generation || punch->error != 0)
			punch->at = punch->hole.to;
		while (punch->active < OPS_MAX && punch->at < punch->hole.to &&
		       start_op(file, punch, work))
			;
		if (punch->error != 0)
			punch->at = punch->hole.to;
		if (punch->active > 0 || punch->at < punch->hole.to) {
			at = &punch->next;
			continue;
		}
		*at = punch->next;
		writeback_hole_end(file->wb, &punch->hole);
		punch->next = work->punched;
		work->punched = punch;
		/* Those after it may have waited for it. */
		at = &file->punches;
	}
}

void data_punch_lose(struct data_file *file, int error)
{
	for (struct punch *punch = file->punches; punch != NULL; punch = punch->next)
		if (punch->error == 0)
			punch->error = error;
}

void data_punch_run(struct data *data, struct data_work *work)
{
	while (work->ops != NULL) {
		struct punch_op *op = work->ops;

		work->ops = op->next;
		chain_client_send(data->chain, &op->request);
	}
	while (work->punched != NULL) {
		struct punch *punch = work->punched;
		struct data_file *file = punch->file;

		work->punched = punch->next;
		punch->done(punch->user, punch->error);
		free(punch);
		data_file_drop(file);
	}
}

void data_punch(struct data_file *file, uint64_t from, uint64_t to, data_done_fn *done, void *user)
{
	data_punch_within(file, 0, from, to, done, user);
}

void data_punch_within(struct data_file *file, uint64_t session, uint64_t from, uint64_t to,
		       data_done_fn *done, void *user)
{
	struct punch *punch = NULL, **end;
	struct data_work work;
	int rc = 0;

	if (from < to && (to - 1) / file->chunk_size > UINT32_MAX)
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
	punch->sync = (to - from) / file->chunk_size > REMEMBER_MAX;
	punch->done = done;
	punch->user = user;

	pthread_mutex_lock(&file->lock);
	rc = -EIO;
	if (data_file_enter_session(file, session)) {
		data_fetch_unlist_range(file, from, to);
		rc = writeback_hole_begin(file->wb, &punch->hole, from, to);
	}
	if (rc < 0) {
		data_file_gather(file, &work);
		pthread_mutex_unlock(&file->lock);
		data_file_run(file, &work);
		free(punch);
		done(user, rc);
		return;
	}
	punch->generation = file->generation;
	for (end = &file->punches; *end != NULL; end = &(*end)->next)
		;
	*end = punch;
	/* One for the punch, one for this function. */
	data_file_hold(file);
	data_file_hold(file);
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	data_file_run(file, &work);
	data_file_drop(file);
}
