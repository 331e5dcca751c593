/* data_write.c - accepts writes as far as there is memory, and sends dirty data in the background.
 *
 * The story of written bytes, from the page to the chain:
 *
 * 1. data_write() looks for memory (data_room.c). Without it the write waits in a queue, and with
 *    it its program. Near the end of the space a write also waits for its answer.
 * 2. accept_write() gives the bytes to the file's write-back (writeback.c), which copies small ones
 *    into windows of 1 MiB and keeps large payloads where they are. The program is answered.
 * 3. data_file_gather() asks under the file's lock what may be sent: full windows, and windows that
 *    their writer has left. The rest goes after DATA_WRITEBACK_DELAY_MS, with a flush, or when
 *    memory is short.
 * 4. data_file_run() sends it without the lock: checksums, then a request to the chunk's chain
 *    (chains/request.c).
 * 5. The answer ends the update. The version is noted as answered and not flushed, the memory is
 *    free, and data_writes_admit() lets queued writes in.
 *
 * Failures. The chain answers an error: the bytes are lost, and the next data_flush() of the file
 * says so, once. The session ends: unanswered bytes are lost with it (data_lose()). The copies lost
 * their power with what they had answered: see data_flush.c. A chain is stuck: its writes get only
 * a part of the memory, so that those of other chains go on. */
#include <errno.h>
#include <stdlib.h>
#include "common/base/bitmap.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "fs/data/data_fetch.h"
#include "fs/data/data_file.h"
#include "fs/data/data_room.h"
#include "fs/data/data_write.h"

#define DELAY_NS     (DATA_WRITEBACK_DELAY_MS * NS_PER_MSEC)
#define EXTENTS_MAX  4096u /* small dirty extents of a file before they are sent */
#define SPACE_MARGIN (16u << 20)

/* A write that waits for memory. */
struct queued_write {
	struct data_waiter waiter; /* when @through */
	struct data_file *file;    /* a reference */
	uint64_t session;          /* only within this one; 0: any */
	uint64_t offset;
	struct buf *payload;
	bool through, summed;
	uint32_t slots[2]; /* of the chains of its first and last byte */
	data_done_fn *done;
	void *user;
	struct queued_write *next;
};

/* ---- the list of dirty files: one after another as they became dirty ---- */

void data_dirty_join(struct data_file *file)
{
	struct data *data = file->data;
	uint64_t at = 0;

	lock_held(&file->lock);
	pthread_mutex_lock(&data->dirty_lock);
	if (!file->in_dirty_list) {
		data_file_hold(file);
		at = chains_client_now(data->chain) + DELAY_NS;
		file->in_dirty_list = true;
		file->dirty_ns = at;
		file->dirty_next = NULL;
		*data->dirty_end = file;
		data->dirty_end = &file->dirty_next;
	}
	pthread_mutex_unlock(&data->dirty_lock);
	if (at != 0)
		chains_client_wake(data->chain, at);
}

static struct data_file *dirty_take(struct data *data, uint64_t until)
{
	struct data_file *file;

	pthread_mutex_lock(&data->dirty_lock);
	file = data->dirty_first;
	if (file != NULL && file->dirty_ns > until) {
		chains_client_wake(data->chain, file->dirty_ns);
		file = NULL;
	}
	if (file != NULL) {
		data->dirty_first = file->dirty_next;
		if (data->dirty_first == NULL)
			data->dirty_end = &data->dirty_first;
		file->in_dirty_list = false;
	}
	pthread_mutex_unlock(&data->dirty_lock);
	return file;
}

static void dirty_send(struct data *data, uint64_t until)
{
	struct data_file *file;

	/* One that cannot send all now comes back, to a later time: this ends. */
	while ((file = dirty_take(data, until)) != NULL) {
		data_file_send_all(file);
		data_file_drop(file);
	}
}

void data_dirty_tick(struct data *data, uint64_t now)
{
	dirty_send(data, now);
}

static void dirty_send_all(struct data *data)
{
	dirty_send(data, chains_client_now(data->chain) + DELAY_NS - 1);
}

/* ---- accepting ---- */

static void through_fired(struct data_waiter *waiter)
{
	struct queued_write *w = (struct queued_write *)waiter;
	struct data_file *file = w->file;
	struct data_work work;

	pthread_mutex_lock(&file->lock);
	file->waiting--;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	w->done(w->user, waiter->wait.error);
	free(w);
	data_file_run(file, &work);
	data_file_drop(file);
}

static void charge(struct data *data, uint32_t slot, int64_t bytes)
{
	atomic_fetch_add_explicit(&data->write_used, (size_t)bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->chains[slot].writing, (size_t)bytes, memory_order_relaxed);
}

/* The memory has been counted already. Takes @w over. */
static void accept_write(struct data *data, struct queued_write *w)
{
	struct data_file *file = w->file;
	uint32_t length = w->payload->length, slot = w->slots[0];
	struct data_work work;
	bool waits;
	int rc = -EIO;

	w->waiter.fired = through_fired;
	pthread_mutex_lock(&file->lock);
	if (data_file_enter_session(file, w->session)) {
		data_fetch_unlist_range(file, w->offset, w->offset + length);
		rc = writeback_write(file->wb, w->offset, w->payload, w->summed,
				     w->through ? &w->waiter.wait : NULL);
	} else {
		buf_unref(w->payload);
	}
	waits = rc == 0 && w->through;
	if (waits)
		file->waiting++;
	if (writeback_extents(file->wb) > EXTENTS_MAX)
		file->send_all = true;
	data_file_gather(file, &work);
	pthread_mutex_unlock(&file->lock);
	/* Now it is counted as what it takes, no longer as what it is. */
	charge(data, slot, -(int64_t)length);
	if (waits) {
		data_file_run(file, &work);
		return;
	}
	/* The writer can go on while this thread sends. */
	w->done(w->user, rc);
	free(w);
	data_file_run(file, &work);
	data_file_drop(file);
}

/* Says whether a write is to wait for its answer: near the end of the space it may fail later. */
static bool space_is_short(struct data *data, uint32_t length)
{
	uint64_t left = chains_client_space_left(data->chain);

	return left != UINT64_MAX &&
	       left < atomic_load_explicit(&data->write_used, memory_order_relaxed) + length +
			       SPACE_MARGIN;
}

/* Chains that have a write in the queue: later ones of them wait behind it, so that what overlaps
 * is accepted in order. */
struct blocked {
	uint8_t slots[BITMAP_BYTES(CHAINS_SLOTS)];
};

static void block(struct blocked *blocked, const struct queued_write *w)
{
	for (unsigned i = 0; i < 2; i++)
		bitmap_set(blocked->slots, w->slots[i]);
}

static bool is_blocked(const struct blocked *blocked, const struct queued_write *w)
{
	for (unsigned i = 0; i < 2; i++)
		if (bitmap_test(blocked->slots, w->slots[i]))
			return true;
	return false;
}

static enum data_room room_of(struct data *data, const struct queued_write *w)
{
	enum data_room room = data_write_room(data, w->slots[0], w->payload->length);

	if (room == DATA_ROOM && w->slots[1] != w->slots[0])
		room = data_write_room(data, w->slots[1], w->payload->length);
	return room;
}

static void queue_remove(struct data *data, struct queued_write **at)
{
	struct queued_write *w = *at;

	*at = w->next;
	if (w->next == NULL)
		data->write_queue_end = at;
	atomic_fetch_sub_explicit(&data->writes_waiting, 1, memory_order_relaxed);
}

/* Takes the first write out of the queue that there is room for, and counts it; NULL: there is
 * none. Locks: data.memory_lock. */
static struct queued_write *next_write(struct data *data)
{
	struct blocked blocked = {0};
	struct queued_write **at = &data->write_queue;
	bool pressure = false, hurry = false;

	lock_held(&data->memory_lock);
	for (; *at != NULL && !pressure; at = &(*at)->next) {
		struct queued_write *w = *at;
		enum data_room room = is_blocked(&blocked, w) ? DATA_HELD : room_of(data, w);

		if (room == DATA_ROOM) {
			queue_remove(data, at);
			charge(data, w->slots[0], w->payload->length);
			return w;
		}
		block(&blocked, w);
		/* Small ones do not overtake a large one for ever. */
		pressure = room == DATA_SHORT;
		hurry = hurry || pressure || room == DATA_FULL;
	}
	atomic_store_explicit(&data->pressure, pressure, memory_order_release);
	atomic_store_explicit(&data->hurry, hurry, memory_order_release);
	return NULL;
}

void data_writes_admit(struct data *data)
{
	if (atomic_load_explicit(&data->writes_waiting, memory_order_acquire) == 0)
		return;
	pthread_mutex_lock(&data->memory_lock);
	/* One thread at a time, so that they are accepted in order. */
	data->admit_again = true;
	if (data->admitting) {
		pthread_mutex_unlock(&data->memory_lock);
		return;
	}
	data->admitting = true;
	while (data->admit_again) {
		struct queued_write *w;

		data->admit_again = false;
		w = next_write(data);
		if (w == NULL)
			continue;
		data->admit_again = true;
		pthread_mutex_unlock(&data->memory_lock);
		accept_write(data, w);
		pthread_mutex_lock(&data->memory_lock);
	}
	data->admitting = false;
	pthread_mutex_unlock(&data->memory_lock);
}

/* Says whether a write of the queue must be accepted before @w. Locks: data.memory_lock. */
static bool must_follow(const struct data *data, const struct queued_write *w)
{
	struct blocked blocked = {0};

	lock_held(&data->memory_lock);
	/* One that has been taken out may not have been accepted yet. */
	if (data->admitting)
		return true;
	if (data->write_queue == NULL)
		return false;
	if (atomic_load_explicit(&data->pressure, memory_order_relaxed))
		return true;
	for (const struct queued_write *q = data->write_queue; q != NULL; q = q->next)
		block(&blocked, q);
	return is_blocked(&blocked, w);
}

/* Counts @w, or puts it into the queue. False: it waits there. */
static bool admit_or_queue(struct data *data, struct queued_write *w)
{
	enum data_room room = DATA_HELD;

	pthread_mutex_lock(&data->memory_lock);
	if (!must_follow(data, w))
		room = room_of(data, w);
	if (room == DATA_ROOM) {
		charge(data, w->slots[0], w->payload->length);
	} else {
		w->next = NULL;
		*data->write_queue_end = w;
		data->write_queue_end = &w->next;
		atomic_fetch_add_explicit(&data->writes_waiting, 1, memory_order_release);
		if (room == DATA_SHORT)
			atomic_store_explicit(&data->pressure, true, memory_order_release);
		if (room == DATA_SHORT || room == DATA_FULL)
			atomic_store_explicit(&data->hurry, true, memory_order_release);
	}
	pthread_mutex_unlock(&data->memory_lock);
	return room == DATA_ROOM;
}

static uint32_t slot_at(const struct data_file *file, uint64_t offset)
{
	struct chunk_key key = data_file_key(file, (uint32_t)(offset / file->chunk_size));

	return chains_slot(&key);
}

void data_write(struct data_file *file, uint64_t offset, struct buf *payload, bool through,
		data_done_fn *done, void *user)
{
	data_write_within(file, 0, offset, payload, through, done, user);
}

void data_write_within(struct data_file *file, uint64_t session, uint64_t offset,
		       struct buf *payload, bool through, data_done_fn *done, void *user)
{
	struct data *data = file->data;
	uint32_t length = payload->length;
	struct queued_write *w;

	if (length == 0 || length > FRAME_PAYLOAD_MAX || offset > (uint64_t)INT64_MAX - length) {
		buf_unref(payload);
		done(user, length == 0 ? 0 : -EINVAL);
		return;
	}
	w = malloc(sizeof(*w));
	if (w == NULL) {
		buf_unref(payload);
		done(user, -ENOMEM);
		return;
	}
	atomic_fetch_add_explicit(&data->stat_writes, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->stat_write_bytes, length, memory_order_relaxed);
	*w = (struct queued_write){
		.file = file,
		.session = session,
		.offset = offset,
		.payload = payload,
		.through = through || space_is_short(data, length),
		.done = done,
		.user = user,
	};
	w->slots[0] = slot_at(file, offset);
	w->slots[1] = slot_at(file, offset + length - 1);
	/* Here, where each writer has a thread of its own, and not where answers come. */
	if (length >= WRITEBACK_KEEP_MIN &&
	    offset / file->chunk_size == (offset + length - 1) / file->chunk_size) {
		block_checksums(buf_payload(payload), offset % file->chunk_size, length,
				payload->crcs);
		w->summed = true;
	}
	data_file_hold(file);
	if (admit_or_queue(data, w)) {
		accept_write(data, w);
		return;
	}
	atomic_fetch_add_explicit(&data->stat_waits, 1, memory_order_relaxed);
	dirty_send_all(data);
	/* What was in flight may have been answered before this one stood in the queue. */
	data_writes_admit(data);
	data_room_tick(data, chains_client_now(data->chain));
}

bool data_dirty(const struct data_file *file)
{
	struct data_file *f = (struct data_file *)file;
	bool dirty;

	pthread_mutex_lock(&f->lock);
	dirty = writeback_busy(f->wb);
	pthread_mutex_unlock(&f->lock);
	return dirty;
}
