/* read.c - reads, from any member that is ready.
 *
 * A read at a member:
 *
 * 1. The member must be ready, and the server must have its lease (chain_read_refused()).
 * 2. No update of the same blocks may be queued or pending here. A member before the tail says
 *    ASK_TAIL then; the tail lets the read wait in the chunk (defer()).
 * 3. The store reads (CHAIN_READ).
 * 4. The member looks again when the bytes are there: an update may have been committed meanwhile.
 *    ASK_TAIL, or at the tail: wait and read again.
 * 5. Bytes and version go to the client.
 *
 * So a reader never sees an update that another reader, asking later, might not see: what the tail
 * has committed, all members have.
 *
 * What may fail: a block does not match its checksum: EIO, the client asks another member, and the
 * chunk is remembered as damaged. The store fails: NOT_READY, and the caller is told to look at it.
 * The member is ready no longer when the bytes come: NOT_READY. */
#include "chunkserver/chain/read.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/request.h"

bool chain_read_overlaps(const struct request *r, uint32_t offset, uint32_t length)
{
	uint64_t first = r->work.offset / BLOCK_SIZE, end;
	uint64_t other_first = offset / BLOCK_SIZE;
	uint64_t other_end = ((uint64_t)offset + length + BLOCK_SIZE - 1) / BLOCK_SIZE;

	if (r->work.op == FRAME_FLUSH || r->work.closing)
		return false;
	if (r->work.op == FRAME_TRUNCATE)
		return other_end > first;
	end = ((uint64_t)r->work.offset + r->work.length + BLOCK_SIZE - 1) / BLOCK_SIZE;
	return first < other_end && other_first < end;
}

static bool any_overlaps(struct request *list, uint32_t offset, uint32_t length)
{
	struct request *r;

	DL_FOREACH(list, r)
	if (!r->dropped && chain_read_overlaps(r, offset, length))
		return true;
	return false;
}

static bool any_touched(struct request *list, uint32_t offset, uint32_t length)
{
	struct request *r;

	DL_FOREACH(list, r)
	if (r->touched && chain_read_overlaps(r, offset, length))
		return true;
	return false;
}

/* Returns the bytes that @op looks at: STAT looks at the whole chunk. */
static uint32_t extent(uint8_t op, uint32_t range)
{
	return op == FRAME_STAT ? CHUNK_SIZE_MAX : range;
}

/* True when only the tail can answer: an update of these bytes is queued or pending here, and no
 * member behind has shown it to readers yet. */
static bool must_ask_tail(struct chain *chain, const struct chunk_key *key, uint32_t offset,
			  uint32_t length)
{
	struct chain_chunk *chunk = chain->role.tail ? NULL : chain_chunk_find(chain, key);

	return chunk != NULL && (any_overlaps(chunk->queue, offset, length) ||
				 any_overlaps(chunk->pending, offset, length));
}

uint32_t chain_read_status(int error)
{
	switch (error) {
	case 0:
		return FRAME_OK;
	case -EBADMSG:
		return EIO;
	case -ENOMEM:
	case -EAGAIN:
		return FRAME_STATUS_NOT_READY;
	default:
		return error < 0 ? FRAME_STATUS_NOT_READY : EIO;
	}
}

/* Returns how far the chunk has come. The store has no version for a chunk that was being copied
 * over when its predecessor went, although what was answered is in it. */
static uint64_t version_reached(const struct request *r, uint64_t version)
{
	struct chunk_info info;

	if (version != 0 || r->env->ops->store.info(r->env->ctx, &r->work.key, &info) < 0)
		return version;
	return catchup_version_of(&info);
}

/* ---- STAT: the store knows it at once ---- */

static int stat_lookup(struct request *r, uint32_t *length, struct buf **bitmap)
{
	const struct catchup_store *store = &r->env->ops->store;
	struct chunk_info info;
	uint32_t bytes;
	int rc = store->info(r->env->ctx, &r->work.key, &info);

	if (rc < 0)
		return rc;
	r->work.version = catchup_version_of(&info);
	*length = info.length;
	bytes = (info.length + 8 * BLOCK_SIZE - 1) / (8 * BLOCK_SIZE);
	if (bytes == 0)
		return 0;
	*bitmap = store->buffer(r->env->ctx, bytes);
	if (*bitmap == NULL)
		return -ENOMEM;
	rc = store->presence(r->env->ctx, &r->work.key, (*bitmap)->data, &bytes);
	(*bitmap)->start = 0;
	(*bitmap)->length = bytes;
	if (rc == 0)
		block_checksums((*bitmap)->data, 0, bytes, (*bitmap)->crcs);
	return rc;
}

static void stat_answer(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_source source = r->source;
	struct frame_header header;
	struct buf *bitmap = NULL;
	uint32_t length = 0;
	int rc = stat_lookup(r, &length, &bitmap);

	if (rc == -EIO)
		chain_trouble(chain);
	chain_request_fill_header(r, &header);
	header.arg = rc == 0 ? length : 0;
	chain_answer_source(chain, &source, &header, chain_read_status(rc), r->work.version,
			    bitmap);
	buf_unref(bitmap);
	chain_request_end_silently(r);
}

/* ---- READ ---- */

static void start(struct request *r)
{
	r->chunk = NULL;
	if (r->work.op == FRAME_STAT)
		stat_answer(r);
	else
		chain_request_begin_reading(r, CHAIN_READ);
}

static bool must_wait(const struct chain_chunk *chunk, const struct request *r)
{
	uint32_t length = extent(r->work.op, r->work.length);

	return any_overlaps(chunk->queue, r->work.offset, length) ||
	       any_touched(chunk->queue, r->work.offset, length) ||
	       any_overlaps(chunk->pending, r->work.offset, length);
}

/* Lets the read wait while an update of its blocks is under way at the tail. The tail has pending
 * updates only while it makes a member behind it equal. That member may be the tail already by a
 * map that has not come here: nothing is shown before it has it. False: the read need not wait. */
static bool defer(struct request *r)
{
	struct chain_chunk *chunk = chain_chunk_find(r->chain, &r->work.key);

	if (chunk == NULL || !must_wait(chunk, r))
		return false;
	chain_request_move(r, REQUEST_QUEUED);
	r->chunk = chunk;
	DL_APPEND(chunk->deferred, r);
	return true;
}

void chain_reads_advance(struct chain_chunk *chunk)
{
	struct request *r, *next;

	DL_FOREACH_SAFE(chunk->deferred, r, next)
	{
		if (must_wait(chunk, r))
			continue;
		DL_DELETE(chunk->deferred, r);
		chain_request_move(r, REQUEST_NEW);
		if (chain_is_ready(r->chain)) {
			start(r);
			continue;
		}
		chain_request_end(r, FRAME_STATUS_NOT_READY, NULL);
	}
}

uint32_t chain_read_refused(const struct chain *chain, const struct frame_header *header)
{
	if ((header->flags & FRAME_FORWARD) != 0)
		return EINVAL;
	if (chain->env->failed || chain->env->stopped)
		return FRAME_STATUS_NOT_READY;
	if (!chain_is_leased(chain->env))
		return FRAME_STATUS_NO_LEASE;
	return chain_is_ready(chain) ? 0 : FRAME_STATUS_NOT_READY;
}

static uint32_t check(struct chain *chain, const struct frame_header *header)
{
	uint32_t length = extent(header->op, header->range);
	uint32_t status = chain_read_refused(chain, header);

	if ((uint64_t)header->offset + length > CHUNK_SIZE_MAX)
		return EINVAL;
	if (status != 0)
		return status;
	if (must_ask_tail(chain, &header->key, header->offset, length))
		return FRAME_STATUS_ASK_TAIL;
	return 0;
}

void chain_read_arrived(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header)
{
	uint32_t status = check(chain, header);
	struct request *r;

	if (status != 0) {
		chain_answer_source(chain, source, header, status, 0, NULL);
		return;
	}
	r = chain_request_new(chain, source, header, NULL);
	if (!chain->role.tail || !defer(r))
		start(r);
}

/* Lets the tail read again: an update was committed while the store read, and the member behind has
 * not answered it yet; or it was put in place in part, and waits for space. */
static bool read_again(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_chunk *chunk = chain->role.tail ? chain_chunk_find(chain, &r->work.key) : NULL;

	if (chunk == NULL || (!any_overlaps(chunk->pending, r->work.offset, r->work.length) &&
			      !any_touched(chunk->queue, r->work.offset, r->work.length)))
		return false;
	DL_DELETE2(chain->reading, r, chain_prev, chain_next);
	return defer(r);
}

static uint32_t read_outcome(struct request *r, int error)
{
	struct chain *chain = r->chain;

	if (error == -EBADMSG) {
		chain_suspect_add(chain, &r->work.key);
		(void)chain_report_unfit(chain);
	} else if (error < 0 && error != -ENOMEM) {
		chain_trouble(chain);
	}
	if (!chain_is_ready(chain))
		return FRAME_STATUS_NOT_READY;
	if (must_ask_tail(chain, &r->work.key, r->work.offset, r->work.length))
		return FRAME_STATUS_ASK_TAIL;
	return chain_read_status(error);
}

void chain_read_done(struct chain_work *request, int error, struct buf *payload, uint64_t version)
{
	struct request *r = request_of_work(request);

	expects(r->env->operations > 0);
	r->env->operations--;
	if (r->chain != NULL && !read_again(r)) {
		r->work.version = version_reached(r, version);
		chain_request_end(r, read_outcome(r, error), payload);
	}
	buf_unref(payload);
	chain_request_unref(r);
}
