/* data_list.c - which chunks of a file exist: each partition that can hold some is asked, so that
 * the cost is that of the data, whatever the size of the holes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bitmap.h"
#include "common/base/bytes.h"
#include "common/base/list.h"
#include "fs/data/data_file.h"
#include "fs/data/data_internal.h"
#include "fs/data/data_list.h"

#define ASKED_AT_ONCE 16u

struct list_ask {
	struct chains_request request;
	struct file_listing *listing;
	bool active;
};

struct file_listing {
	struct data_file *file;           /* a reference */
	uint64_t file_id;                 /* as it was at the beginning */
	uint32_t from, to;                /* chunks [from, to) */
	uint64_t deadline_ns;             /* 0: none */
	struct file_listing *prev, *next; /* of data.listings, when it has a deadline */

	pthread_mutex_t lock; /* of what follows */
	uint8_t *wanted;      /* bit i%8 of byte i/8: partition i is still to be asked */
	uint32_t partition;   /* all before have been asked */
	unsigned active;
	int error;
	struct data_listed *chunks;
	size_t count, room;
	struct list_ask asks[ASKED_AT_ONCE];

	data_list_fn *done;
	void *user;
};

/* ---- what is asked ---- */

static void want(struct file_listing *listing)
{
	const struct data_file *file = listing->file;
	uint32_t count = listing->to - listing->from;

	if (count / 2 >= file->partitions) {
		memset(listing->wanted, 0xff, BITMAP_BYTES(file->partitions));
		return;
	}
	for (uint32_t i = listing->from; i < listing->to; i++) {
		uint32_t p = chunk_partition(listing->file_id, i, file->partitions);

		bitmap_set(listing->wanted, p);
	}
}

/* The lock is held. False: there is nothing more to ask. */
static bool next_partition(struct file_listing *listing, struct list_ask *ask)
{
	const struct data_file *file = listing->file;
	uint32_t p = listing->partition;

	while (p < file->partitions && !bitmap_test(listing->wanted, p))
		p++;
	listing->partition = p < file->partitions ? p + 1 : p;
	if (p >= file->partitions || listing->error != 0)
		return false;
	ask->request.key = (struct chunk_key){.pool = file->pool,
					      .partition = p,
					      .file_id = listing->file_id,
					      .index = listing->from};
	return true;
}

/* ---- answers; the lock is held ---- */

static int add(struct file_listing *listing, uint32_t index, uint32_t blocks)
{
	uint32_t all = listing->file->chunk_size / BLOCK_SIZE;

	if (listing->count == listing->room) {
		size_t room = listing->room == 0 ? 64 : listing->room * 2;
		struct data_listed *bigger = reallocarray(listing->chunks, room, sizeof(*bigger));

		if (bigger == NULL)
			return -ENOMEM;
		listing->chunks = bigger;
		listing->room = room;
	}
	/* Of a damaged chunk it is not known, so it counts as full. */
	listing->chunks[listing->count++] =
		(struct data_listed){.index = index, .blocks = blocks < all ? blocks : all};
	return 0;
}

static int take(struct file_listing *listing, const struct list_ask *ask,
		const struct frame_header *answer, const struct buf *payload)
{
	uint32_t length = payload == NULL ? 0 : payload->length;
	uint64_t least = ask->request.key.index;
	int rc = 0;

	if (payload != NULL &&
	    block_checksums_verify(buf_payload(payload), 0, length, payload->crcs) >= 0)
		return -EIO;
	for (uint32_t at = 0; rc == 0 && at < length; at += FRAME_LIST_ENTRY_BYTES) {
		uint32_t index = get_le32(buf_payload(payload) + at);

		if (index < least)
			return -EIO;
		least = (uint64_t)index + 1;
		if (index < listing->to)
			rc = add(listing, index, get_le32(buf_payload(payload) + at + 4));
	}
	/* It would go round in circles. */
	if (rc == 0 && answer->arg != 0 && (length == 0 || answer->arg < least))
		return -EIO;
	return rc;
}

/* ---- the way of a listing ---- */

static void ask_done(struct chains_request *request, int error, const struct frame_header *answer,
		     struct buf *payload);

/* The request's key is set; the lock is held, and what is made ready is sent without it. */
static void ask_prepare(struct list_ask *ask)
{
	ask->request = (struct chains_request){
		.op = FRAME_LIST, .key = ask->request.key, .done = ask_done, .user = ask};
	ask->active = true;
	ask->listing->active++;
}

static int by_index(const void *a, const void *b)
{
	const struct data_listed *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static void listing_free(struct file_listing *listing)
{
	pthread_mutex_destroy(&listing->lock);
	free(listing->wanted);
	free(listing->chunks);
	free(listing);
}

static void listing_end(struct file_listing *listing)
{
	struct data_file *file = listing->file;
	struct data *data = file->data;

	if (listing->deadline_ns != 0) {
		pthread_mutex_lock(&data->listings_lock);
		DL_DELETE(data->listings, listing);
		pthread_mutex_unlock(&data->listings_lock);
	}
	if (listing->error == 0 && listing->count > 0)
		qsort(listing->chunks, listing->count, sizeof(*listing->chunks), by_index);
	listing->done(listing->user, listing->error, listing->chunks,
		      listing->error == 0 ? listing->count : 0);
	listing_free(listing);
	data_file_drop(file);
}

static void ask_done(struct chains_request *request, int error, const struct frame_header *answer,
		     struct buf *payload)
{
	struct list_ask *ask = request->user;
	struct file_listing *listing = ask->listing;
	uint32_t next = error == 0 && answer != NULL ? (uint32_t)answer->arg : 0;
	bool more, over;

	pthread_mutex_lock(&listing->lock);
	ask->active = false;
	listing->active--;
	if (error == 0)
		error = take(listing, ask, answer, payload);
	if (error != 0 && listing->error == 0)
		listing->error = error == -ECANCELED ? -ETIMEDOUT : error;
	more = listing->error == 0 && next != 0 && next < listing->to;
	if (more)
		ask->request.key.index = next;
	else
		more = next_partition(listing, ask);
	if (more)
		ask_prepare(ask);
	over = listing->active == 0;
	pthread_mutex_unlock(&listing->lock);
	buf_unref(payload);
	if (more)
		chains_client_send(listing->file->data->chain, &ask->request);
	else if (over)
		listing_end(listing);
}

void data_lists_tick(struct data *data, uint64_t now)
{
	uint64_t next_ns = UINT64_MAX;

	pthread_mutex_lock(&data->listings_lock);
	for (struct file_listing *listing = data->listings; listing != NULL;
	     listing = listing->next) {
		if (listing->deadline_ns > now) {
			if (listing->deadline_ns < next_ns)
				next_ns = listing->deadline_ns;
			continue;
		}
		pthread_mutex_lock(&listing->lock);
		if (listing->error == 0)
			listing->error = -ETIMEDOUT;
		for (unsigned i = 0; i < ASKED_AT_ONCE; i++)
			if (listing->asks[i].active)
				chains_client_cancel(&listing->asks[i].request);
		pthread_mutex_unlock(&listing->lock);
	}
	pthread_mutex_unlock(&data->listings_lock);
	if (next_ns != UINT64_MAX)
		chains_client_wake(data->chain, next_ns);
}

static void keep_deadline(struct file_listing *listing, uint64_t patience_ns)
{
	struct data *data = listing->file->data;

	listing->deadline_ns = chains_client_now(data->chain) + patience_ns;
	pthread_mutex_lock(&data->listings_lock);
	DL_PREPEND(data->listings, listing);
	pthread_mutex_unlock(&data->listings_lock);
	chains_client_wake(data->chain, listing->deadline_ns);
}

static struct file_listing *listing_new(struct data_file *file, uint32_t from, uint32_t to)
{
	struct file_listing *listing = calloc(1, sizeof(*listing));

	if (listing == NULL)
		return NULL;
	listing->wanted = calloc(1, BITMAP_BYTES(file->partitions));
	if (listing->wanted == NULL) {
		free(listing);
		return NULL;
	}
	pthread_mutex_init(&listing->lock, NULL);
	listing->file = file;
	listing->from = from;
	listing->to = to;
	pthread_mutex_lock(&file->lock);
	listing->file_id = file->file_id;
	pthread_mutex_unlock(&file->lock);
	return listing;
}

void data_list(struct data_file *file, uint32_t from, uint32_t to, uint64_t patience_ns,
	       data_list_fn *done, void *user)
{
	struct file_listing *listing = from < to ? listing_new(file, from, to) : NULL;
	unsigned count = 0;

	if (listing == NULL) {
		done(user, from < to ? -ENOMEM : 0, NULL, 0);
		return;
	}
	data_file_hold(file);
	listing->done = done;
	listing->user = user;
	want(listing);
	if (patience_ns != 0)
		keep_deadline(listing, patience_ns);
	pthread_mutex_lock(&listing->lock);
	while (count < ASKED_AT_ONCE && next_partition(listing, &listing->asks[count])) {
		listing->asks[count].listing = listing;
		ask_prepare(&listing->asks[count++]);
	}
	pthread_mutex_unlock(&listing->lock);
	/* Once the last one has been sent the listing may be gone. */
	for (unsigned i = 0; i < count; i++)
		chains_client_send(file->data->chain, &listing->asks[i].request);
}

uint64_t data_chunks(const struct data_file *file, uint64_t size)
{
	return (size + file->chunk_size - 1) / file->chunk_size;
}

size_t data_memory(struct data_file *file)
{
	size_t bytes;

	pthread_mutex_lock(&file->lock);
	bytes = writeback_memory(file->wb);
	pthread_mutex_unlock(&file->lock);
	return bytes;
}
