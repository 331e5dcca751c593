/* data_read.c - a read: what is dirty here, over what was read ahead, over what the chains have.
 *
 * The story of a read: data_read() waits for memory if there is none. Under the file's lock it
 * takes what is dirty, finds the fetches that cover the rest, and makes those that are missing
 * (find_parts()). Then readahead_access() says whether the read belongs to a sequential stream, and
 * what to fetch ahead (read_ahead()); these fetches wait in the file's list until they are asked
 * for. All are sent without the lock. When the last one is answered, the pieces are given to the
 * caller as vectors.
 *
 * Failures. A fetch fails: each read that needs it ends with its error, and it leaves the list, so
 * that a later read tries again. Another mount may have written: data_invalidate() takes all
 * fetches off the list. What was fetched ahead and not asked for is dropped after DATA_CACHE_NS, or
 * when memory is short, oldest first. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/lock.h"
#include "fs/data/data_file.h"
#include "fs/data/data_read.h"
#include "fs/data/data_room.h"

/* From this length on, a read is likely one of many. */
#define BULK_MIN (256u << 10)
/* More vectors than this are put together into one: writev() takes no more than IOV_MAX. */
#define IOV_MOST    512
#define ZEROS_BYTES (256u << 10)

struct file_read {
	struct data_file *file; /* a reference */
	uint64_t offset, readahead_end;
	uint32_t length;
	data_read_fn *done;
	void *user;
	struct writeback_segment *segs; /* what was dirty when the read began */
	size_t seg_count;
	struct file_fetch_part *parts; /* in order; with references to their fetches */
	unsigned part_count;
	atomic_uint pending;
	atomic_int error;
	struct file_read *next;
};

/* Never written: holes are read from here. */
static uint8_t zeros[ZEROS_BYTES];

/* ---- the answer ---- */

struct vectors {
	struct iovec *iov;
	int count, room;
};

static int add_vector(struct vectors *v, const uint8_t *data, uint64_t length)
{
	struct iovec *last = v->count > 0 ? &v->iov[v->count - 1] : NULL, *iov;

	if (last != NULL && (uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += length;
		return 0;
	}
	if (v->count == v->room) {
		int room = v->room == 0 ? 8 : v->room * 2;

		iov = reallocarray(v->iov, (size_t)room, sizeof(*iov));
		if (iov == NULL)
			return -ENOMEM;
		v->iov = iov;
		v->room = room;
	}
	v->iov[v->count++] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
	return 0;
}

static int add_zeros(struct vectors *v, uint64_t length)
{
	int rc = 0;

	while (rc == 0 && length > 0) {
		uint64_t n = length < ZEROS_BYTES ? length : ZEROS_BYTES;

		rc = add_vector(v, zeros, n);
		length -= n;
	}
	return rc;
}

/* The chain's bytes of [from, to). */
static int add_base(const struct file_read *read, unsigned *part, struct vectors *v, uint64_t from,
		    uint64_t to)
{
	int rc = 0;

	while (rc == 0 && from < to) {
		const struct file_fetch *fetch;
		uint64_t end, have;

		while (*part < read->part_count && read->parts[*part].fetch->to <= from)
			(*part)++;
		/* Cannot be: parts are made to cover what is not dirty. */
		if (*part == read->part_count || read->parts[*part].fetch->from > from)
			return -EIO;
		fetch = read->parts[*part].fetch;
		end = to < fetch->to ? to : fetch->to;
		have = fetch->from + (fetch->bytes == NULL ? 0 : fetch->bytes->length);
		if (from < have) {
			if (end > have)
				end = have;
			rc = add_vector(v, buf_payload(fetch->bytes) + (from - fetch->from),
					end - from);
		} else {
			rc = add_zeros(v, end - from);
		}
		from = end;
	}
	return rc;
}

static int build(const struct file_read *read, struct vectors *v)
{
	uint64_t at = read->offset, end = at + read->length;
	unsigned part = 0;
	size_t seg = 0;
	int rc = 0;

	while (rc == 0 && at < end) {
		const struct writeback_segment *s = seg < read->seg_count ? &read->segs[seg] : NULL;

		if (s != NULL && s->offset == at) {
			rc = add_vector(v, s->data, s->length);
			at += s->length;
			seg++;
		} else {
			uint64_t to = s == NULL ? end : s->offset;

			rc = add_base(read, &part, v, at, to);
			at = to;
		}
	}
	return rc;
}

/* One vector for all; its memory is freed with free(). */
static int flatten(struct vectors *v, uint32_t length, uint8_t **memory)
{
	uint8_t *to = malloc(length);

	if (to == NULL)
		return -ENOMEM;
	*memory = to;
	for (int i = 0; i < v->count; i++) {
		memcpy(to, v->iov[i].iov_base, v->iov[i].iov_len);
		to += v->iov[i].iov_len;
	}
	v->iov[0] = (struct iovec){.iov_base = *memory, .iov_len = length};
	v->count = 1;
	return 0;
}

/* Read-ahead that has been given out whole is not needed any more. */
static void use_up(struct file_read *read)
{
	struct data_file *file = read->file;
	bool locked = false;

	for (unsigned i = 0; i < read->part_count; i++) {
		struct file_fetch *fetch = read->parts[i].fetch;
		uint64_t from = read->offset > fetch->from ? read->offset : fetch->from;
		uint64_t to = read->offset + read->length;

		if (!fetch->request.bulk)
			continue;
		if (!locked)
			pthread_mutex_lock(&file->lock);
		locked = true;
		fetch->used += (to < fetch->to ? to : fetch->to) - from;
		if (fetch->listed && fetch->used >= fetch->to - fetch->from)
			data_fetch_unlist(file, fetch);
	}
	if (locked)
		pthread_mutex_unlock(&file->lock);
}

static void read_end(struct file_read *read)
{
	struct data_file *file = read->file;
	struct data *data = file->data;
	struct vectors v = {0};
	uint8_t *memory = NULL;
	int error = atomic_load(&read->error);

	if (error == 0)
		error = build(read, &v);
	if (error == 0 && v.count > IOV_MOST)
		error = flatten(&v, read->length, &memory);
	if (error == 0)
		use_up(read);
	read->done(read->user, error, error == 0 ? v.iov : NULL, error == 0 ? v.count : 0);
	free(v.iov);
	free(memory);
	for (size_t i = 0; i < read->seg_count; i++)
		writeback_buffer_unpin(read->segs[i].mem);
	free(read->segs);
	for (unsigned i = 0; i < read->part_count; i++)
		data_fetch_unref(data, read->parts[i].fetch);
	free(read->parts);
	free(read);
	data_reads_admit(data);
	data_file_drop(file);
}

static void read_step(struct file_read *read)
{
	if (atomic_fetch_sub_explicit(&read->pending, 1, memory_order_acq_rel) == 1)
		read_end(read);
}

void data_read_parts_done(struct data *data, struct file_fetch_part *parts)
{
	while (parts != NULL) {
		struct file_fetch_part *part = parts;
		struct file_read *read = part->read;

		parts = part->next;
		if (part->fetch->error != 0)
			atomic_store(&read->error, part->fetch->error);
		read_step(read);
	}
	/* A fetch that has come may be dropped for a read that waits for memory. */
	data_reads_admit(data);
}

/* ---- the beginning ---- */

struct fetches {
	struct file_fetch *first, **end; /* to be sent */
};

static void add_fetch(struct fetches *list, struct file_fetch *fetch)
{
	*list->end = fetch;
	list->end = &fetch->send_next;
}

/* Makes the fetches that the read's stream is to have ahead. Locks: the file's. */
static void read_ahead(struct file_read *read, struct fetches *list)
{
	struct data_file *file = read->file;
	struct data *data = file->data;
	struct readahead_range ranges[READAHEAD_RANGES_MAX];
	size_t used = data_read_used(data);
	uint64_t allowed = used < data->read_limit ? data->read_limit - used : 0;
	unsigned count;

	lock_held(&read->file->lock);
	if (read->readahead_end == 0)
		return;
	/* One stream is not to take it all. */
	count = readahead_access(&file->ra, read->offset, read->length, read->readahead_end,
				 data->read_limit / 4, allowed, ranges);
	for (unsigned i = 0; i < count; i++) {
		struct file_fetch *other = data_fetch_at(file, ranges[i].from), *fetch;

		/* What is dirty now would be stale here once it has been written back. */
		if ((other != NULL && other->from < ranges[i].to) ||
		    writeback_overlaps(file->wb, ranges[i].from, ranges[i].to))
			continue;
		fetch = data_fetch_new(file, ranges[i].from, ranges[i].to, true);
		if (fetch == NULL)
			return;
		data_fetch_list(file, fetch);
		add_fetch(list, fetch);
		atomic_fetch_add_explicit(&data->stat_ahead_bytes, ranges[i].to - ranges[i].from,
					  memory_order_relaxed);
	}
}

/* [*from, *to): from the first to the last byte that is not dirty, in whole blocks. */
static void missing_range(const struct file_read *read, uint64_t *from, uint64_t *to)
{
	size_t first = 0, last = read->seg_count;

	*from = read->offset;
	*to = read->offset + read->length;
	while (first < last && read->segs[first].offset == *from)
		*from += read->segs[first++].length;
	while (last > first && read->segs[last - 1].offset + read->segs[last - 1].length == *to)
		*to = read->segs[--last].offset;
	if (*from >= *to)
		return;
	*from = *from / BLOCK_SIZE * BLOCK_SIZE;
	*to = (*to + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
}

static int add_part(struct file_read *read, struct file_fetch *fetch)
{
	struct file_fetch_part *parts =
		reallocarray(read->parts, read->part_count + 1, sizeof(*parts));

	if (parts == NULL)
		return -ENOMEM;
	read->parts = parts;
	parts[read->part_count++] = (struct file_fetch_part){.read = read, .fetch = fetch};
	atomic_fetch_add_explicit(&fetch->refs, 1, memory_order_relaxed);
	return 0;
}

/* Finds or makes the fetches that cover what is missing. Locks: the file's. */
static int find_parts(struct file_read *read, struct fetches *list)
{
	struct data_file *file = read->file;
	uint64_t at, end;
	int rc = 0;

	lock_held(&read->file->lock);
	missing_range(read, &at, &end);
	while (rc == 0 && at < end) {
		struct file_fetch *fetch = data_fetch_at(file, at);

		if (fetch == NULL || fetch->from > at) {
			uint64_t to = (at / FRAME_PAYLOAD_MAX + 1) * FRAME_PAYLOAD_MAX;

			/* One request for what is not aligned, as long as it is of one chunk. */
			if (end - at <= FRAME_PAYLOAD_MAX &&
			    at / file->chunk_size == (end - 1) / file->chunk_size)
				to = end;
			if (fetch != NULL && fetch->from < to)
				to = fetch->from;
			if (end < to)
				to = end;
			fetch = data_fetch_new(file, at, to, read->length >= BULK_MIN);
			if (fetch == NULL)
				return -ENOMEM;
			add_fetch(list, fetch);
		}
		rc = add_part(read, fetch);
		at = fetch->to;
	}
	return rc;
}

static void read_start(struct file_read *read)
{
	struct data_file *file = read->file;
	struct data *data = file->data;
	struct fetches list = {.end = &list.first};
	int rc;

	atomic_init(&read->pending, 1);
	pthread_mutex_lock(&file->lock);
	rc = writeback_lookup(file->wb, read->offset, read->length, &read->segs, &read->seg_count);
	if (rc == 0)
		rc = find_parts(read, &list);
	if (rc == 0)
		read_ahead(read, &list);
	/* Only now do the parts stay where they are. */
	for (unsigned i = 0; i < read->part_count; i++) {
		struct file_fetch_part *part = &read->parts[i];

		if (part->fetch->done || rc < 0)
			continue;
		part->next = part->fetch->waiting;
		part->fetch->waiting = part;
		atomic_fetch_add_explicit(&read->pending, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&file->lock);
	if (rc < 0)
		atomic_store(&read->error, rc);
	data_fetch_send(data, list.first);
	read_step(read);
}

/* ---- as far as there is memory ---- */

static bool read_fits(struct data *data, const struct file_read *read)
{
	struct chunk_key key =
		data_file_key(read->file, (uint32_t)(read->offset / read->file->chunk_size));

	return data_read_room(data, chains_slot(&key), read->length);
}

/* The first of the queue, when there is memory for it; else what it needs. */
static struct file_read *next_waiting(struct data *data, uint32_t *need)
{
	struct file_read *read;

	pthread_mutex_lock(&data->memory_lock);
	read = data->read_queue;
	*need = read == NULL ? 0 : read->length;
	if (read != NULL && !read_fits(data, read))
		read = NULL;
	if (read != NULL) {
		data->read_queue = read->next;
		if (data->read_queue == NULL)
			data->read_queue_end = &data->read_queue;
		atomic_fetch_sub_explicit(&data->reads_waiting, 1, memory_order_release);
	}
	pthread_mutex_unlock(&data->memory_lock);
	return read;
}

void data_reads_admit(struct data *data)
{
	static _Thread_local bool busy;
	struct file_read *read;
	uint32_t need;

	/* The loop further up goes on. */
	if (busy || atomic_load_explicit(&data->reads_waiting, memory_order_acquire) == 0)
		return;
	busy = true;
	while (atomic_load_explicit(&data->reads_waiting, memory_order_acquire) > 0) {
		read = next_waiting(data, &need);
		if (read != NULL)
			read_start(read);
		else if (need == 0 || !data_cache_shrink(data, need))
			break;
	}
	busy = false;
}

void data_read(struct data_file *file, uint64_t offset, uint32_t length, uint64_t readahead_end,
	       data_read_fn *done, void *user)
{
	struct data *data = file->data;
	struct file_read *read = NULL;

	if (length > 0 && offset <= (uint64_t)INT64_MAX - length)
		read = calloc(1, sizeof(*read));
	if (read == NULL) {
		if (length > 0)
			done(user, offset > (uint64_t)INT64_MAX - length ? -EINVAL : -ENOMEM, NULL,
			     0);
		else
			done(user, 0, NULL, 0);
		return;
	}
	atomic_fetch_add_explicit(&data->stat_reads, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&data->stat_read_bytes, length, memory_order_relaxed);
	*read = (struct file_read){
		.file = file,
		.offset = offset,
		.length = length,
		.readahead_end = readahead_end,
		.done = done,
		.user = user,
	};
	data_file_hold(file);
	if (atomic_load_explicit(&data->reads_waiting, memory_order_relaxed) > 0 ||
	    !read_fits(data, read)) {
		pthread_mutex_lock(&data->memory_lock);
		*data->read_queue_end = read;
		data->read_queue_end = &read->next;
		atomic_fetch_add_explicit(&data->reads_waiting, 1, memory_order_release);
		pthread_mutex_unlock(&data->memory_lock);
		/* What it waits for may have happened just before. */
		data_reads_admit(data);
		data_room_tick(data, chains_client_now(data->chain));
	} else {
		read_start(read);
	}
}
