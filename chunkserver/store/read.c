/* read.c - reading chunks.
 *
 * A read takes a picture of where each block is, gets the bytes, and looks whether the chunk has
 * changed meanwhile. If so, the bytes are checked against the checksums of now, and read again
 * where they differ. The read waits for blocks that are being overwritten in place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/disk/health.h"
#include "chunkserver/chunk/chunk.h"
#include "chunkserver/chunk/inner.h"
#include "chunkserver/store/plan.h"
#include "chunkserver/store/store.h"
#include "common/base/block.h"
#include "common/base/expects.h"
#include "common/net/frame.h"
#include "common/os/log.h"

#define LOG_MODULE "store"

#define DIRECT_MIN   65536u /* reads of so many bytes of the file pass by the page cache */
#define INLINE_INNER 8u     /* inner blocks read on the loop */
#define INLINE_FILE  32768u /* bytes looked for in the page cache on the loop */
#define GAP_MAX      8u     /* blocks not wanted between two runs that are read over */
#define TRIES_MAX    16u

static struct log_rate read_rate;

struct read_op {
	struct job job;
	struct chunk_waiter waiter;
	struct store_view *view;
	struct store_read *read;
	struct chunk *chunk; /* pinned */
	struct chunk_file *file;
	uint32_t first, count;
	struct bits in_file, inner; /* relative to first */
	uint32_t file_blocks, inner_blocks;
	uint32_t *crcs; /* of the buffer */
	uint64_t change;
	unsigned tries;
	int error;
};

static uint8_t *block_at(const struct read_op *op, uint32_t i)
{
	return op->read->into->data + (size_t)i * BLOCK_SIZE;
}

static void op_free(struct read_op *op)
{
	file_unref(op->file);
	chunk_unpin(op->chunk);
	free(op);
}

static void op_done(struct read_op *op, int rc)
{
	struct store_read *read = op->read;
	uint32_t length = rc == 0 ? op->count * BLOCK_SIZE : 0;
	uint64_t version = op->chunk->version;

	expects(read->store_private == op && op->chunk->pins > 0);
	read->into->start = 0;
	read->into->length = length;
	read->store_private = NULL;
	op_free(op);
	read->done(read, rc, length, version);
}

/* ---- the picture ---- */

static int take_picture(struct read_op *op)
{
	struct chunk *chunk = op->chunk;
	uint32_t end = op->first + op->count;

	memset(&op->in_file, 0, sizeof(op->in_file));
	memset(&op->inner, 0, sizeof(op->inner));
	op->change = chunk->change;
	for (uint32_t at = op->first; at < end;) {
		uint32_t index = at >> PIECE_SHIFT;
		struct piece *piece;
		int rc = chunk_piece(chunk, index, &piece);

		if (rc != 0)
			return rc;
		for (; at < end && at >> PIECE_SHIFT == index; at++) {
			uint32_t b = at % PIECE_BLOCKS, i = at - op->first;

			if (piece == NULL || !bits_test(&piece->present, b)) {
				op->crcs[i] = block_checksum_zero;
				continue;
			}
			op->crcs[i] = piece->crcs[b];
			bits_set(bits_test(&piece->inner, b) ? &op->inner : &op->in_file, i);
		}
	}
	op->file_blocks = bits_count(&op->in_file);
	op->inner_blocks = bits_count(&op->inner);
	return 0;
}

/* ---- getting the bytes; on a pool thread, or on the loop when that does not block ---- */

/* Next run of file blocks from *at on: [*from, *at). Reads over small gaps. */
static bool next_run(const struct read_op *op, uint32_t *at, uint32_t *from)
{
	uint32_t next = bits_next(&op->in_file, *at);

	if (next >= op->count)
		return false;
	*from = next;
	do {
		*at = next + 1;
		next = bits_next(&op->in_file, *at);
	} while (next < op->count && next - *at <= GAP_MAX);
	return true;
}

static int read_file(struct read_op *op)
{
	uint32_t at = 0, from, got;

	while (next_run(op, &at, &from)) {
		int rc = file_read(op->file, block_at(op, from), (at - from) * BLOCK_SIZE,
				   (uint64_t)(op->first + from) * BLOCK_SIZE,
				   op->file_blocks * BLOCK_SIZE >= DIRECT_MIN, &got);

		/* The last block of a run is one that should be there. */
		if (rc == -ENOENT || (rc == 0 && got < (at - from) * BLOCK_SIZE))
			rc = -EBADMSG;
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int read_rest(struct read_op *op)
{
	for (uint32_t i = 0; i < op->count; i++)
		if (!bits_test(&op->in_file, i) && !bits_test(&op->inner, i))
			memset(block_at(op, i), 0, BLOCK_SIZE);
	if (op->inner_blocks == 0)
		return 0;
	return inner_read(&op->view->store->disk, &op->read->key, op->first, &op->inner, op->crcs,
			  op->read->into->data);
}

static int verify(const struct read_op *op)
{
	int bad = block_checksums_verify(op->read->into->data, 0, op->count * BLOCK_SIZE, op->crcs);

	return bad < 0 ? 0 : -EBADMSG;
}

static int finish_bytes(struct read_op *op)
{
	int rc = read_rest(op);

	return rc == 0 && op->read->verify ? verify(op) : rc;
}

static void op_run(struct job *job)
{
	struct read_op *op = container_of(job, struct read_op, job);

	op->error = op->file_blocks > 0 ? read_file(op) : 0;
	if (op->error == 0)
		op->error = finish_bytes(op);
}

/* ---- the course of a read ---- */

static void op_start(struct read_op *op);

static void on_wake(struct chunk_waiter *waiter)
{
	op_start(container_of(waiter, struct read_op, waiter));
}

static void log_bad(struct read_op *op)
{
	const struct chunk_key *key = &op->chunk->key;
	int bad = block_checksums_verify(op->read->into->data, 0, op->count * BLOCK_SIZE, op->crcs);

	if (log_rate_ok(&read_rate, 5))
		log_error("damaged block path=%s chunk=%u/%u/%llu/%u block=%u",
			  op->view->store->disk.path, key->pool, key->partition,
			  (unsigned long long)key->file_id, key->index,
			  op->first + (bad < 0 ? 0 : (uint32_t)bad));
}

/* The chunk has changed under the read. True: what we have is what it is now. */
static bool still_right(struct read_op *op)
{
	uint32_t length = op->chunk->exists ? op->chunk->length : 0;

	if (op->first + op->count > blocks_of(length))
		return false;
	return take_picture(op) == 0 && verify(op) == 0;
}

static void op_finish(struct read_op *op)
{
	int rc = op->error;

	op->error = 0;
	if (op->chunk->change != op->change && (rc == 0 || rc == -EBADMSG)) {
		if (still_right(op)) {
			rc = 0;
		} else if (++op->tries < TRIES_MAX) {
			op_start(op);
			return;
		}
		/* After so many tries it is not the changes; the reader checks as always. */
	}
	if (rc == -EBADMSG)
		log_bad(op);
	op_done(op, rc);
}

static void op_after(struct job *job)
{
	op_finish(container_of(job, struct read_op, job));
}

/* Everything at once, without a thread? */
static bool read_at_once(struct read_op *op)
{
	uint32_t at = 0, from;

	if (op->inner_blocks > INLINE_INNER || op->file_blocks * BLOCK_SIZE > INLINE_FILE)
		return false;
	while (next_run(op, &at, &from))
		if (file_read_cached(op->file, block_at(op, from), (at - from) * BLOCK_SIZE,
				     (uint64_t)(op->first + from) * BLOCK_SIZE) != 0)
			return false;
	op->error = finish_bytes(op);
	return true;
}

static int op_prepare(struct read_op *op)
{
	const struct store_read *read = op->read;
	struct chunk *chunk = op->chunk;
	uint32_t blocks, want = read->length >> BLOCK_SHIFT;
	int rc = health_check(&op->view->store->disk);

	if (rc == 0)
		rc = chunk_current(chunk);
	if (rc != 0)
		return rc;
	blocks = blocks_of(chunk->length);
	op->first = read->offset >> BLOCK_SHIFT;
	op->count = op->first >= blocks ? 0 : blocks - op->first < want ? blocks - op->first : want;
	return 0;
}

/* The chunk's file may have become another one since the last try. */
static int take_file(struct read_op *op)
{
	struct chunk_file *file = chunk_file_of(op->chunk);

	if (file == NULL)
		return -ENOMEM;
	file_ref(file);
	file_unref(op->file);
	op->file = file;
	return 0;
}

static void op_start(struct read_op *op)
{
	int rc = op_prepare(op);

	if (rc == 0 && op->count > 0 &&
	    plan_conflicts(op->chunk, op->first, op->first + op->count, true)) {
		chunk_wait(op->chunk, &op->waiter, on_wake);
		return;
	}
	if (rc == 0)
		rc = take_picture(op);
	if (rc == 0 && op->file_blocks > 0)
		rc = take_file(op);
	if (rc != 0 || op->count == 0)
		op_done(op, rc);
	else if (read_at_once(op))
		op_finish(op);
	else
		jobs_start(&op->view->jobs, &op->job, op_run, op_after);
}

void store_read(struct store_view *view, struct store_read *read)
{
	struct chunk *chunk = NULL;
	struct read_op *op = NULL;
	int rc = health_check(&view->store->disk);

	read->store_private = NULL;
	if ((read->offset | read->length) % BLOCK_SIZE != 0 || read->length > FRAME_PAYLOAD_MAX ||
	    read->length > read->into->capacity)
		rc = -EINVAL;
	if (rc == 0)
		rc = chunk_get(view, &read->key, &chunk);
	if (rc == 0) {
		op = calloc(1, sizeof(*op));
		if (op == NULL)
			rc = -ENOMEM;
	}
	if (rc != 0) {
		read->into->length = 0;
		read->done(read, rc, 0, 0);
		return;
	}
	op->view = view;
	op->read = read;
	op->chunk = chunk;
	op->crcs = read->into->crcs;
	chunk_pin(chunk);
	read->store_private = op;
	op_start(op);
}
