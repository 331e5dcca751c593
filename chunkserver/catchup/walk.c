/* walk.c - the predecessor's side: compares range by range and copies what differs.
 *
 * The course of a walk. SCAN: the records of the next range are sent. COMPARE: the successor
 * answers which differ. COPY: each of those is opened in turn. For a larger one the successor is
 * asked which blocks differ; runs of these are read and sent, holes are told; the record ends the
 * copy. END: when all is answered, CATCHUP_END. ENDING: its answer ends the walk.
 *
 * A chunk that cannot be read here is skipped, and the walk ends without CATCHUP_END: the successor
 * is not equal. A status that is not OK, or a failure of the store, ends the walk at once. */
#include "chunkserver/catchup/catchup.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bitmap.h"
#include "common/base/expects.h"

enum walk_state {
	WALK_SCAN,    /* the next range is to be compared */
	WALK_COMPARE, /* waiting for what differs in it */
	WALK_COPY,    /* the chunks of it that differ */
	WALK_END,     /* everything sent: CATCHUP_END when all is answered */
	WALK_ENDING,  /* waiting for its answer */
	WALK_OVER,
};

struct catchup_walk {
	const struct catchup_store *store;
	void *ctx;
	uint32_t pool, partition;
	struct catchup_owner owner;
	struct catchup_counts counts;

	enum walk_state state;
	bool begun;
	uint32_t failure;    /* status, once it has failed */
	bool told;           /* its end has been given to the caller */
	uint32_t unanswered; /* frames */
	struct catchup_compare range;
	uint8_t unsure[CATCHUP_BITMAP_MAX]; /* records of the range whose chunks are unsure here */
	uint8_t bitmap[CATCHUP_BITMAP_MAX]; /* and that differ there */
	uint8_t lost[CATCHUP_BITMAP_MAX];   /* and that cannot be read here */
	uint32_t next;                      /* record to look at */

	/* The chunk being copied. */
	bool open, damaged;
	bool asking; /* which of its blocks differ */
	struct chunk_key key;
	struct chunk_info info;
	struct catchup_blocks *blocks;        /* ours; only while asking */
	uint8_t wanted[CHUNK_BLOCKS_MAX / 8]; /* blocks that the successor needs */
	uint32_t block;                       /* next one to be sent */
	uint32_t reading;                     /* reads under way */
	uint32_t ready_count;
	struct {
		struct buf *buf;
		uint32_t offset;
	} ready[CATCHUP_WINDOW];
	uint32_t presence_bytes;
	uint8_t presence[CHUNK_BLOCKS_MAX / 8];
};

struct catchup_walk *catchup_walk_new(const struct catchup_store *store, void *ctx, uint32_t pool,
				      uint32_t partition, const struct catchup_owner *owner)
{
	struct catchup_walk *walk = calloc(1, sizeof(*walk));

	if (walk == NULL)
		return NULL;
	walk->store = store;
	walk->ctx = ctx;
	walk->pool = pool;
	walk->partition = partition;
	walk->owner = *owner;
	walk->state = WALK_SCAN;
	return walk;
}

static void drop_ready(struct catchup_walk *walk)
{
	while (walk->ready_count > 0)
		buf_unref(walk->ready[--walk->ready_count].buf);
}

void catchup_walk_free(struct catchup_walk *walk)
{
	if (walk == NULL)
		return;
	drop_ready(walk);
	free(walk->blocks);
	free(walk);
}

struct catchup_counts catchup_walk_counts(const struct catchup_walk *walk)
{
	return walk->counts;
}

static void fail(struct catchup_walk *walk, uint32_t status)
{
	if (walk->state == WALK_OVER)
		return;
	walk->state = WALK_OVER;
	walk->failure = status;
	walk->open = walk->asking = false;
	drop_ready(walk);
}

static void fail_errno(struct catchup_walk *walk, int error)
{
	fail(walk, error < 0 ? (uint32_t)-error : EIO);
}

/* A frame with what @bytes hold as payload. */
static bool send_bytes(struct catchup_walk *walk, struct catchup_action *action, uint8_t op,
		       const struct chunk_key *key, const uint8_t *bytes, size_t size)
{
	struct buf *buf = walk->store->buffer(walk->ctx, (uint32_t)size);

	if (buf == NULL) {
		fail_errno(walk, -ENOMEM);
		return false;
	}
	memcpy(buf->data, bytes, size);
	buf->start = 0;
	buf->length = (uint32_t)size;
	block_checksums(buf->data, 0, (uint32_t)size, buf->crcs);
	walk->unanswered++;
	*action = (struct catchup_action){
		.kind = CATCHUP_SEND, .op = op, .key = *key, .payload = buf};
	return true;
}

/* ---- comparing ---- */

static struct chunk_key key_of(const struct catchup_walk *walk, struct catchup_key key)
{
	return (struct chunk_key){.pool = walk->pool,
				  .partition = walk->partition,
				  .file_id = key.file_id,
				  .index = key.index};
}

static struct catchup_key key_after(struct catchup_key key)
{
	if (key.index < UINT32_MAX)
		return (struct catchup_key){key.file_id, key.index + 1};
	return (struct catchup_key){key.file_id + 1, 0};
}

static int never_completed(struct catchup_walk *walk, const struct chunk_key *key,
			   struct chunk_info *info)
{
	if (walk->owner.others)
		return -EBADMSG;
	info->version = catchup_version_of(info);
	info->history.lost = true;
	return walk->store->complete(walk->ctx, key, info);
}

static int add_record(struct catchup_walk *walk, const struct chunk_key *key)
{
	struct catchup_record *record = &walk->range.records[walk->range.count];
	struct chunk_info info;
	int rc = walk->store->info(walk->ctx, key, &info);

	if (rc == 0 && !info.exists)
		return 0;
	if (rc == 0 && walk->owner.epoch != 0 && info.epoch > walk->owner.epoch)
		return -ESTALE;
	memset(record, 0, sizeof(*record));
	record->key = (struct catchup_key){key->file_id, key->index};
	if (rc == 0 && info.version == 0)
		rc = never_completed(walk, key, &info);
	if (rc == 0)
		rc = walk->store->digest(walk->ctx, key, &record->digest);
	if (rc == -EBADMSG) {
		record->epoch = CATCHUP_EPOCH_DAMAGED;
		walk->counts.skipped++;
		bitmap_set(walk->lost, walk->range.count);
		walk->range.count++;
		return 0;
	}
	if (rc < 0)
		return rc;
	record->epoch = info.epoch;
	record->version = info.version;
	record->length = info.length;
	record->history = chunk_history_digest(&info.history);
	/* An update that was broken off may have changed its bytes. No pending one brings these. */
	record->base =
		info.unsure ? info.version : walk->owner.base(walk->owner.arg, key, info.version);
	if (info.unsure)
		bitmap_set(walk->unsure, walk->range.count);
	walk->range.count++;
	return 0;
}

static int fill_range(struct catchup_walk *walk)
{
	struct chunk_key keys[CATCHUP_RECORDS_MAX];
	struct catchup_compare *range = &walk->range;
	struct chunk_key after = key_of(walk, range->to);
	bool first = !walk->begun;
	int n = walk->store->scan(walk->ctx, walk->pool, walk->partition, first ? NULL : &after,
				  keys, CATCHUP_RECORDS_MAX);

	if (n < 0)
		return n;
	range->from = first ? (struct catchup_key){0, 0} : key_after(range->to);
	range->first = first;
	range->count = 0;
	range->last = n < (int)CATCHUP_RECORDS_MAX;
	memset(walk->unsure, 0, sizeof(walk->unsure));
	memset(walk->lost, 0, sizeof(walk->lost));
	for (int i = 0; i < n; i++) {
		int rc = add_record(walk, &keys[i]);

		if (rc < 0)
			return rc;
	}
	range->to = range->last ? CATCHUP_KEY_MAX
				: (struct catchup_key){keys[n - 1].file_id, keys[n - 1].index};
	walk->counts.compared += range->count;
	walk->begun = true;
	return 0;
}

static bool send_range(struct catchup_walk *walk, struct catchup_action *action)
{
	uint8_t bytes[CATCHUP_COMPARE_MAX];
	struct chunk_key key = {.pool = walk->pool, .partition = walk->partition};
	size_t size;
	int rc;

	/* Only one kind of CATCHUP_COMPARE may be unanswered at a time: the answers do not say
	 * which.
	 */
	if (walk->unanswered > 0)
		return false;
	rc = fill_range(walk);
	if (rc < 0) {
		fail_errno(walk, rc);
		return false;
	}
	walk->state = WALK_COMPARE;
	size = catchup_compare_encode(&walk->range, bytes);
	return send_bytes(walk, action, FRAME_CATCHUP_COMPARE, &key, bytes, size);
}

static void compared(struct catchup_walk *walk, const struct buf *payload)
{
	uint32_t size = payload == NULL ? 0 : payload->length;

	if (walk->state != WALK_COMPARE || size != BITMAP_BYTES(walk->range.count)) {
		fail(walk, EPROTO);
		return;
	}
	memset(walk->bitmap, 0, sizeof(walk->bitmap));
	if (size > 0)
		memcpy(walk->bitmap, buf_payload(payload), size);
	walk->state = WALK_COPY;
	walk->next = 0;
}

/* ---- copying ---- */

/* Small chunks are not worth a question. */
#define ASK_FROM (4 * BLOCK_SIZE)

static bool ask_blocks(struct catchup_walk *walk, struct catchup_action *action)
{
	struct chunk_key where = {.pool = walk->pool, .partition = walk->partition};
	uint8_t *bytes = malloc(CATCHUP_BLOCKS_MAX);
	bool sent = false;
	int rc = -ENOMEM;

	walk->asking = true;
	walk->blocks = malloc(sizeof(*walk->blocks));
	if (bytes == NULL || walk->blocks == NULL)
		goto out;
	walk->blocks->key = (struct catchup_key){walk->key.file_id, walk->key.index};
	walk->blocks->count = (walk->info.length + BLOCK_SIZE - 1) / BLOCK_SIZE;
	memset(walk->blocks->presence, 0, sizeof(walk->blocks->presence));
	rc = walk->store->checksums(walk->ctx, &walk->key, walk->blocks->count, walk->blocks->crcs,
				    walk->blocks->presence);
	/* Damage shows again when the blocks are read. */
	if (rc == -EBADMSG)
		walk->asking = false;
	else if (rc == 0)
		sent = send_bytes(walk, action, FRAME_CATCHUP_COMPARE, &where, bytes,
				  catchup_blocks_encode(walk->blocks, bytes));
out:
	if (rc < 0 && rc != -EBADMSG)
		fail_errno(walk, rc);
	free(bytes);
	free(walk->blocks);
	walk->blocks = NULL;
	return sent;
}

static void blocks_told(struct catchup_walk *walk, const struct buf *payload)
{
	uint32_t count = (walk->info.length + BLOCK_SIZE - 1) / BLOCK_SIZE;

	if (payload->length != BITMAP_BYTES(count)) {
		fail(walk, EPROTO);
		return;
	}
	/* What is behind the end is a hole in any case. */
	memcpy(walk->wanted, buf_payload(payload), payload->length);
	if (count % 8 != 0)
		walk->wanted[count / 8] |= (uint8_t)(0xffu << count % 8);
	walk->asking = false;
}

/* True: there is something to be sent at once. */
static bool open_chunk(struct catchup_walk *walk, uint32_t i, struct catchup_action *action)
{
	int rc;

	expects(!walk->open && walk->reading == 0 && walk->ready_count == 0);
	walk->key = key_of(walk, walk->range.records[i].key);
	rc = walk->store->info(walk->ctx, &walk->key, &walk->info);
	walk->presence_bytes = sizeof(walk->presence);
	if (rc == 0 && walk->info.exists)
		rc = walk->store->presence(walk->ctx, &walk->key, walk->presence,
					   &walk->presence_bytes);
	if (rc < 0) {
		fail_errno(walk, rc);
		return false;
	}
	walk->open = true;
	walk->damaged = walk->asking = false;
	walk->block = 0;
	memset(walk->wanted, 0xff, sizeof(walk->wanted));
	return walk->info.exists && walk->info.length >= ASK_FROM && ask_blocks(walk, action);
}

static bool present(const struct catchup_walk *walk, uint32_t block)
{
	return block / 8 < walk->presence_bytes && bitmap_test(walk->presence, block);
}

/* The first block from there on that the successor needs. */
static void skip_equal(struct catchup_walk *walk)
{
	while (walk->block < CHUNK_BLOCKS_MAX && !bitmap_test(walk->wanted, walk->block))
		walk->block += walk->block % 8 == 0 && walk->wanted[walk->block / 8] == 0 ? 8 : 1;
}

/* Are the eight blocks from @block on all wanted, and all there (@kind) or all holes? */
static bool eight_alike(const struct catchup_walk *walk, uint32_t block, bool kind)
{
	uint32_t at = block / 8;
	uint8_t there = at < walk->presence_bytes ? walk->presence[at] : 0;

	return walk->wanted[at] == 0xff && there == (kind ? 0xff : 0);
}

static uint32_t run_end(const struct catchup_walk *walk, uint32_t limit)
{
	bool kind = present(walk, walk->block);
	uint32_t end = walk->block + 1;

	while (end < limit && bitmap_test(walk->wanted, end) && present(walk, end) == kind)
		end += end % 8 == 0 && end + 8 <= limit && eight_alike(walk, end, kind) ? 8 : 1;
	return end;
}

static void send_hole(struct catchup_walk *walk, struct catchup_action *action)
{
	uint32_t end = run_end(walk, CHUNK_BLOCKS_MAX);

	*action = (struct catchup_action){.kind = CATCHUP_SEND,
					  .op = FRAME_CATCHUP_DATA,
					  .key = walk->key,
					  .offset = walk->block * BLOCK_SIZE,
					  .range = (end - walk->block) * BLOCK_SIZE};
	walk->block = end;
	walk->unanswered++;
}

static bool read_run(struct catchup_walk *walk, struct catchup_action *action)
{
	uint32_t limit = walk->block + FRAME_PAYLOAD_MAX / BLOCK_SIZE;
	uint32_t end = run_end(walk, limit < CHUNK_BLOCKS_MAX ? limit : CHUNK_BLOCKS_MAX);
	uint32_t bytes = (end - walk->block) * BLOCK_SIZE;

	if (walk->owner.may_copy != NULL && !walk->owner.may_copy(walk->owner.arg, bytes))
		return false;
	*action = (struct catchup_action){.kind = CATCHUP_READ,
					  .key = walk->key,
					  .offset = walk->block * BLOCK_SIZE,
					  .range = bytes};
	walk->block = end;
	walk->reading++;
	walk->counts.bytes += bytes;
	return true;
}

static bool send_commit(struct catchup_walk *walk, struct catchup_action *action)
{
	uint8_t bytes[CATCHUP_COMMIT_MAX];
	size_t size = catchup_commit_encode(&walk->info, bytes);

	walk->open = false;
	walk->counts.copied++;
	return send_bytes(walk, action, FRAME_CATCHUP_COMMIT, &walk->key, bytes, size);
}

/* The chunk was removed after the comparison. */
static bool send_gone(struct catchup_walk *walk, struct catchup_action *action)
{
	struct catchup_key key = {walk->key.file_id, walk->key.index};
	struct chunk_key where = {.pool = walk->pool, .partition = walk->partition};
	uint8_t bytes[CATCHUP_GONE_ALL_MAX];
	size_t size = catchup_gone_encode(&key, 1, bytes);

	walk->open = false;
	return send_bytes(walk, action, FRAME_CATCHUP_COMPARE, &where, bytes, size);
}

/* Is the chunk still there at its end? It may have been removed while it was read. */
static bool finish_chunk(struct catchup_walk *walk, struct catchup_action *action)
{
	int rc = walk->store->info(walk->ctx, &walk->key, &walk->info);

	if (rc < 0) {
		fail_errno(walk, rc);
		return false;
	}
	walk->info.unsure = false;
	return walk->info.exists ? send_commit(walk, action) : send_gone(walk, action);
}

static bool send_ready(struct catchup_walk *walk, struct catchup_action *action)
{
	if (walk->ready_count == 0)
		return false;
	walk->ready_count--;
	walk->unanswered++;
	*action = (struct catchup_action){.kind = CATCHUP_SEND,
					  .op = FRAME_CATCHUP_DATA,
					  .key = walk->key,
					  .offset = walk->ready[walk->ready_count].offset,
					  .payload = walk->ready[walk->ready_count].buf};
	return true;
}

static bool copy_chunk(struct catchup_walk *walk, struct catchup_action *action)
{
	if (walk->asking)
		return false;
	if (send_ready(walk, action))
		return true;
	if (walk->damaged && walk->reading == 0) {
		walk->open = false;
		walk->counts.skipped++;
		bitmap_set(walk->lost, walk->next - 1);
		*action = (struct catchup_action){.kind = CATCHUP_DAMAGED, .key = walk->key};
		return true;
	}
	if (walk->unanswered + walk->reading >= CATCHUP_WINDOW || walk->damaged)
		return false;
	skip_equal(walk);
	if (!walk->info.exists || (walk->block == CHUNK_BLOCKS_MAX && walk->reading == 0))
		return finish_chunk(walk, action);
	if (walk->block == CHUNK_BLOCKS_MAX)
		return false;
	if (present(walk, walk->block))
		return read_run(walk, action);
	send_hole(walk, action);
	return true;
}

/* Compared or copied, an unsure chunk is now what the chain says it is. */
static void make_sure(struct catchup_walk *walk)
{
	for (uint32_t i = 0; i < walk->range.count; i++) {
		struct chunk_key key = key_of(walk, walk->range.records[i].key);
		struct chunk_info info;

		if (!bitmap_test(walk->unsure, i) ||
		    walk->store->info(walk->ctx, &key, &info) < 0 || !info.exists)
			continue;
		info.unsure = false;
		(void)walk->store->complete(walk->ctx, &key, &info);
	}
}

/* True: the next one that differs is open, or something is to be sent for it. */
static bool next_chunk(struct catchup_walk *walk, struct catchup_action *action, bool *sent)
{
	*sent = false;
	for (; walk->next < walk->range.count; walk->next++) {
		struct chunk_key key = key_of(walk, walk->range.records[walk->next].key);

		if (!bitmap_test(walk->bitmap, walk->next))
			continue;
		if (walk->unanswered >= CATCHUP_WINDOW)
			return false;
		if (walk->owner.quiet != NULL && !walk->owner.quiet(walk->owner.arg, &key))
			return false;
		*sent = open_chunk(walk, walk->next++, action);
		return walk->open;
	}
	make_sure(walk);
	walk->state = walk->range.last ? WALK_END : WALK_SCAN;
	return false;
}

static bool send_end(struct catchup_walk *walk, struct catchup_action *action)
{
	if (walk->unanswered > 0)
		return false;
	/* A successor that was not sent a damaged chunk is not equal, and may have parts of it. */
	if (walk->counts.skipped > 0) {
		walk->state = WALK_OVER;
		return false;
	}
	walk->unanswered++;
	walk->state = WALK_ENDING;
	*action =
		(struct catchup_action){.kind = CATCHUP_SEND,
					.op = FRAME_CATCHUP_END,
					.key = {.pool = walk->pool, .partition = walk->partition}};
	return true;
}

static bool step(struct catchup_walk *walk, struct catchup_action *action, enum walk_state *before)
{
	bool sent;

	*before = walk->state;
	switch (walk->state) {
	case WALK_SCAN:
		return send_range(walk, action);
	case WALK_COPY:
		if (walk->open)
			return copy_chunk(walk, action);
		if (!next_chunk(walk, action, &sent))
			return false;
		return sent || copy_chunk(walk, action);
	case WALK_END:
		return send_end(walk, action);
	case WALK_COMPARE:
	case WALK_ENDING:
	case WALK_OVER:
		break;
	}
	return false;
}

void catchup_walk_next(struct catchup_walk *walk, struct catchup_action *action)
{
	enum walk_state before;
	bool was_open;

	memset(action, 0, sizeof(*action));
	action->kind = CATCHUP_NONE;
	do {
		was_open = walk->open;
		if (step(walk, action, &before))
			return;
	} while (walk->state != before || was_open != walk->open);
	if (walk->state != WALK_OVER || walk->told)
		return;
	walk->told = true;
	action->kind = walk->failure == 0 ? CATCHUP_DONE : CATCHUP_FAILED;
	action->status = walk->failure;
}

void catchup_walk_answer(struct catchup_walk *walk, uint8_t op, uint32_t status,
			 const struct buf *payload)
{
	if (walk->unanswered == 0 || walk->state == WALK_OVER)
		return;
	walk->unanswered--;
	if (status != FRAME_OK) {
		fail(walk, status);
		return;
	}
	if (op == FRAME_CATCHUP_COMPARE && walk->state == WALK_COMPARE)
		compared(walk, payload);
	else if (op == FRAME_CATCHUP_COMPARE && walk->asking && payload != NULL)
		blocks_told(walk, payload); /* that chunks are gone is answered without payload */
	else if (op == FRAME_CATCHUP_END && walk->state == WALK_ENDING)
		walk->state = WALK_OVER;
}

void catchup_walk_read(struct catchup_walk *walk, int error, struct buf *buf, uint32_t offset)
{
	if (walk->state == WALK_OVER || !walk->open) {
		buf_unref(buf);
		return;
	}
	expects(walk->reading > 0);
	walk->reading--;
	if (error != 0 && error != -EBADMSG) {
		buf_unref(buf);
		fail_errno(walk, error);
		return;
	}
	if (error != 0)
		walk->damaged = true;
	if (walk->damaged) {
		buf_unref(buf);
		drop_ready(walk);
		return;
	}
	/* The chunk was removed before it was read: its end says so (finish_chunk()). */
	if (buf->length == 0) {
		buf_unref(buf);
		return;
	}
	expects(walk->ready_count < CATCHUP_WINDOW);
	walk->ready[walk->ready_count].buf = buf;
	walk->ready[walk->ready_count++].offset = offset;
}

static int record_of(const struct catchup_walk *walk, struct catchup_key key)
{
	uint32_t low = 0, high = walk->range.count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = catchup_key_compare(walk->range.records[mid].key, key);

		if (order == 0)
			return (int)mid;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

enum catchup_place catchup_walk_place(const struct catchup_walk *walk, struct catchup_key key)
{
	int i;

	if (!walk->begun || catchup_key_compare(key, walk->range.to) > 0)
		return CATCHUP_AHEAD;
	if (catchup_key_compare(key, walk->range.from) < 0)
		return CATCHUP_BEHIND;
	if (walk->state == WALK_COMPARE)
		return CATCHUP_NOW;
	i = record_of(walk, key);
	if (i < 0)
		return CATCHUP_BEHIND; /* neither had it */
	if (bitmap_test(walk->lost, (uint32_t)i))
		return CATCHUP_AHEAD;
	if (walk->state != WALK_COPY || !bitmap_test(walk->bitmap, (uint32_t)i))
		return CATCHUP_BEHIND;
	if (walk->open && i + 1 == (int)walk->next)
		return CATCHUP_NOW;
	return i < (int)walk->next ? CATCHUP_BEHIND : CATCHUP_AHEAD;
}

bool catchup_walk_is_ending(const struct catchup_walk *walk)
{
	return walk->state == WALK_ENDING;
}

const struct chunk_key *catchup_walk_open_chunk(const struct catchup_walk *walk)
{
	return walk->open ? &walk->key : NULL;
}
