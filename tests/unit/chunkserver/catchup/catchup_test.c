/* Goal: a walk makes the successor equal to its predecessor, whatever both have; and no bytes from
 * a peer do harm. Method: payload codecs on vectors, truncations and random damage; comparisons
 * case by case; whole walks between two modelled stores with random contents, answered in random
 * order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include "common/base/bitmap.h"
#include "common/base/bytes.h"
#include "tests/lib/random.h"
#include "tests/lib/chain_store.h"

#define POOL 1u
#define PART 7u

static uint64_t random_state;

static uint64_t chance(uint64_t below)
{
	return random_below(&random_state, below);
}

static struct chunk_key key_of(uint64_t file_id, uint32_t index)
{
	return (struct chunk_key){
		.pool = POOL, .partition = PART, .file_id = file_id, .index = index};
}

static int real_digest(void *ctx, const struct chunk_key *key, uint32_t *digest)
{
	return model_get_digest(ctx, key, digest);
}

static const struct catchup_store ops = {.info = model_info,
					 .digest = real_digest,
					 .presence = model_presence,
					 .checksums = model_checksums,
					 .scan = model_scan,
					 .complete = model_complete,
					 .buffer = model_buffer};

/* ---- codecs ---- */

static struct catchup_compare sample_compare(void)
{
	return (struct catchup_compare){
		.first = true,
		.from = {0, 0},
		.to = {9, 4},
		.count = 2,
		.records = {{.key = {3, 1},
			     .epoch = 5,
			     .version = 7,
			     .base = 6,
			     .length = 4096,
			     .digest = 0xabcd,
			     .history = 0x1234},
			    {.key = {9, 4},
			     .epoch = 5,
			     .version = 2,
			     .base = 2,
			     .length = 1,
			     .digest = 1}},
	};
}

static void test_a_comparison_has_the_documented_bytes(void **state)
{
	struct catchup_compare compare = sample_compare();
	uint8_t bytes[CATCHUP_COMPARE_MAX];

	(void)state;
	assert_int_equal(catchup_compare_encode(&compare, bytes), 32 + 2 * 48);
	assert_int_equal(bytes[0], 1);
	assert_int_equal(bytes[1], 1);
	assert_int_equal(get_le16(bytes + 2), 2);
	assert_int_equal(get_le32(bytes + 20), 4);
	assert_int_equal(get_le64(bytes + 24), 9);
	assert_int_equal(get_le64(bytes + 32), 3);
	assert_int_equal(get_le32(bytes + 40), 1);
	assert_int_equal(get_le32(bytes + 44), 4096);
	assert_int_equal(get_le64(bytes + 48), 5);
	assert_int_equal(get_le64(bytes + 56), 7);
	assert_int_equal(get_le64(bytes + 64), 6);
	assert_int_equal(get_le32(bytes + 72), 0xabcd);
	assert_int_equal(get_le32(bytes + 76), 0x1234);
}

static void test_a_comparison_comes_back_as_it_was(void **state)
{
	struct catchup_compare compare = sample_compare(), back;
	uint8_t bytes[CATCHUP_COMPARE_MAX];
	size_t size = catchup_compare_encode(&compare, bytes);

	(void)state;
	assert_int_equal(catchup_compare_kind(bytes, size), CATCHUP_KIND_RANGE);
	assert_int_equal(catchup_compare_decode(bytes, size, &back), 0);
	assert_true(back.first && !back.last && back.count == 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct catchup_record *a = &compare.records[i], *b = &back.records[i];

		assert_int_equal(catchup_key_compare(a->key, b->key), 0);
		assert_true(a->epoch == b->epoch && a->version == b->version && a->base == b->base);
		assert_true(a->length == b->length && a->digest == b->digest);
		assert_int_equal(a->history, b->history);
	}
	assert_int_equal(catchup_key_compare(back.to, compare.to), 0);
}

static void test_a_comparison_of_any_other_length_is_refused(void **state)
{
	struct catchup_compare compare = sample_compare(), back;
	uint8_t bytes[CATCHUP_COMPARE_MAX + 1] = {0};
	size_t size = catchup_compare_encode(&compare, bytes);

	(void)state;
	for (size_t i = 0; i < size; i++)
		assert_int_equal(catchup_compare_decode(bytes, i, &back), -EBADMSG);
	assert_int_equal(catchup_compare_decode(bytes, size + 1, &back), -EBADMSG);
}

static int decode_changed(const struct catchup_compare *compare)
{
	static struct catchup_compare back;
	uint8_t bytes[CATCHUP_COMPARE_MAX];

	return catchup_compare_decode(bytes, catchup_compare_encode(compare, bytes), &back);
}

static void test_a_comparison_that_no_peer_may_send_is_refused(void **state)
{
	struct catchup_compare c = sample_compare();
	uint8_t bytes[CATCHUP_COMPARE_MAX];
	size_t size;

	(void)state;
	c.records[1].key = c.records[0].key; /* not ascending */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.records[1].key.index++; /* outside of the range */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.from = (struct catchup_key){10, 0}; /* ends before it begins */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.from = (struct catchup_key){1, 0}; /* first, and not from the start */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.last = true; /* and not to the end */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.records[0].base = 8; /* above the version */
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	c.records[0].length = CHUNK_SIZE_MAX + 1;
	assert_int_equal(decode_changed(&c), -EBADMSG);
	c = sample_compare();
	size = catchup_compare_encode(&c, bytes);
	bytes[1] |= 4; /* unknown flag */
	assert_int_equal(catchup_compare_decode(bytes, size, &c), -EBADMSG);
	bytes[1] = 1;
	put_le16(bytes + 2, CATCHUP_RECORDS_MAX + 1);
	assert_int_equal(catchup_compare_decode(bytes, size, &c), -EBADMSG);
}

static void test_removals_and_records_come_back_as_they_were(void **state)
{
	static struct catchup_key gone[CATCHUP_GONE_MAX];
	struct catchup_key keys[2] = {{1, 2}, {UINT64_MAX, UINT32_MAX}};
	struct chunk_info info = {.epoch = 3, .version = 9, .length = 77, .op_count = 2}, back;
	uint8_t bytes[CATCHUP_GONE_ALL_MAX];
	size_t size = catchup_gone_encode(keys, 2, bytes);

	(void)state;
	assert_int_equal(catchup_compare_kind(bytes, size), CATCHUP_KIND_GONE);
	assert_int_equal(catchup_gone_decode(bytes, size, gone), 2);
	assert_int_equal(gone[1].index, UINT32_MAX);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(catchup_gone_decode(bytes, i, gone), -EBADMSG);
	info.ops[1] = (struct op_id){4, 5, 9};
	size = catchup_commit_encode(&info, bytes);
	assert_int_equal(catchup_commit_decode(bytes, size, &back), 0);
	assert_true(back.exists && back.version == 9 && back.length == 77);
	assert_int_equal(back.ops[1].op_id, 5);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(catchup_commit_decode(bytes, i, &back), -EBADMSG);
	put_le32(bytes + 20, OP_IDS_KEPT + 1);
	assert_int_equal(catchup_commit_decode(bytes, size, &back), -EBADMSG);
}

static void test_random_bytes_do_no_harm(void **state)
{
	static struct catchup_key gone[CATCHUP_GONE_MAX];
	static struct catchup_compare compare;
	uint8_t bytes[600];
	struct chunk_info info;

	(void)state;
	random_state = 4711;
	for (unsigned round = 0; round < 20000; round++) {
		size_t size = chance(sizeof(bytes));

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)(chance(3) == 0 ? chance(256) : chance(4));
		if (catchup_compare_decode(bytes, size, &compare) == 0)
			assert_true(compare.count <= CATCHUP_RECORDS_MAX);
		if (catchup_gone_decode(bytes, size, gone) > 0)
			assert_true(size >= 20);
		if (catchup_commit_decode(bytes, size, &info) == 0)
			assert_true(info.op_count <= OP_IDS_KEPT);
		(void)catchup_compare_kind(bytes, size);
	}
}

/* ---- comparing ---- */

static struct model_chunk *put_chunk(struct model_store *store, struct chunk_key key,
				     uint64_t epoch, uint64_t version, uint64_t first_block)
{
	struct model_chunk *chunk = model_chunk(store, &key);

	chunk->exists = true;
	chunk->epoch = epoch;
	chunk->version = version;
	chunk->blocks[0] = first_block;
	model_changed(store, chunk);
	return chunk;
}

static struct catchup_record record_of(const struct model_chunk *chunk)
{
	return (struct catchup_record){.key = {chunk->key.file_id, chunk->key.index},
				       .epoch = chunk->epoch,
				       .version = chunk->version,
				       .base = chunk->version,
				       .length = model_length(chunk),
				       .digest = model_digest(chunk),
				       .history = chunk_history_digest(&chunk->history)};
}

static bool suspects_all(void *arg, const struct chunk_key *key)
{
	(void)arg;
	(void)key;
	return true;
}

static bool differs(struct model_store *own, const struct catchup_record *record, uint64_t epoch)
{
	static struct catchup_compare compare;
	uint8_t bitmap[CATCHUP_BITMAP_MAX];

	compare.count = 1;
	compare.records[0] = *record;
	assert_int_equal(
		catchup_differs(&ops, own, POOL, PART, &compare, epoch, NULL, NULL, bitmap), 0);
	return (bitmap[0] & 1) != 0;
}

static void test_equal_chunks_do_not_differ_and_others_do(void **state)
{
	struct model_store *own = calloc(1, sizeof(*own));
	struct model_chunk *chunk = put_chunk(own, key_of(1, 0), 3, 8, 55);
	struct catchup_record record = record_of(chunk);

	(void)state;
	assert_false(differs(own, &record, 3));
	record.digest++;
	assert_true(differs(own, &record, 3));
	record = record_of(chunk);
	record.version = record.base = 9;
	assert_true(differs(own, &record, 3));
	record.version = record.base = 7;
	assert_true(differs(own, &record, 3));
	record = record_of(chunk);
	record.key.file_id = 2; /* not here */
	assert_true(differs(own, &record, 3));
	model_free(own);
	free(own);
}

static void test_what_is_pending_at_the_predecessor_need_not_be_copied(void **state)
{
	struct model_store *own = calloc(1, sizeof(*own));
	struct model_chunk *chunk = put_chunk(own, key_of(1, 0), 3, 8, 55);
	struct catchup_record record = record_of(chunk);

	(void)state;
	record.version = 10;
	record.digest = 1;
	record.base = 8;
	assert_false(differs(own, &record, 3)); /* 9 and 10 come again */
	assert_true(differs(own, &record, 4));  /* but are ours the same up to 8? */
	record.base = 9;
	assert_true(differs(own, &record, 3)); /* 9 does not */
	record.base = 8;
	chunk->unsure = true;
	assert_true(differs(own, &record, 3));
	record.key.file_id = 2; /* not here, all of it pending */
	record.base = 0;
	assert_false(differs(own, &record, 3));
	model_free(own);
	free(own);
}

static void test_an_equal_chunk_becomes_sure_and_one_of_another_epoch_is_copied(void **state)
{
	struct model_store *own = calloc(1, sizeof(*own));
	struct model_chunk *chunk = put_chunk(own, key_of(1, 0), 3, 8, 55);
	struct catchup_record record = record_of(chunk);

	(void)state;
	chunk->unsure = true;
	assert_false(differs(own, &record, 4));
	assert_false(chunk->unsure);
	/* Its version may be another update, with the same blocks and another id. */
	record.epoch = 4;
	assert_true(differs(own, &record, 4));
	assert_int_equal(chunk->epoch, 3);
	model_free(own);
	free(own);
}

/* The bytes are equal, but what was lost on the way to them is not known here. */
static void test_a_chunk_of_another_history_differs(void **state)
{
	struct model_store *own = calloc(1, sizeof(*own));
	struct model_chunk *chunk = put_chunk(own, key_of(1, 0), 3, 8, 55);
	struct catchup_record record = record_of(chunk);
	struct chunk_history lost = {.lost = true};

	(void)state;
	record.history = chunk_history_digest(&lost);
	assert_true(differs(own, &record, 3));
	chunk->history = lost;
	assert_false(differs(own, &record, 3));
	record.history = 0;
	assert_true(differs(own, &record, 3));
	model_free(own);
	free(own);
}

static void test_suspects_are_copied_and_what_the_predecessor_cannot_read_is_not(void **state)
{
	static struct catchup_compare compare = {.count = 1};
	struct model_store *own = calloc(1, sizeof(*own));
	uint8_t bitmap[CATCHUP_BITMAP_MAX];

	(void)state;
	compare.records[0] = record_of(put_chunk(own, key_of(1, 0), 3, 8, 55));
	assert_int_equal(
		catchup_differs(&ops, own, POOL, PART, &compare, 3, suspects_all, NULL, bitmap), 0);
	assert_int_equal(bitmap[0], 1);
	compare.records[0].epoch = CATCHUP_EPOCH_DAMAGED;
	compare.records[0].version = compare.records[0].base = 0;
	assert_int_equal(
		catchup_differs(&ops, own, POOL, PART, &compare, 3, suspects_all, NULL, bitmap), 0);
	assert_int_equal(bitmap[0], 0);
	model_free(own);
	free(own);
}

static void test_chunks_that_only_the_successor_has_are_found_inside_the_range_alone(void **state)
{
	static struct catchup_compare compare = {.from = {2, 5}, .to = {6, 0}, .count = 1};
	struct model_store *own = calloc(1, sizeof(*own));
	const struct chunk_key keys[] = {key_of(1, 9), key_of(2, 4), key_of(2, 5), key_of(3, 0),
					 key_of(4, 0), key_of(6, 0), key_of(6, 1), key_of(7, 0)};
	struct catchup_cursor cursor = {0};
	struct chunk_key out[2];
	unsigned found = 0, rounds = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		put_chunk(own, keys[i], 1, 1, 1);
	compare.records[0].key = (struct catchup_key){3, 0};
	while (!cursor.done && rounds++ < 20) {
		int n = catchup_extra(&ops, own, POOL, PART, &compare, UINT64_MAX, &cursor, out, 2);

		assert_true(n >= 0);
		for (int i = 0; i < n; i++) {
			bool inside = chunk_key_equal(&out[i], &keys[2]) ||
				      chunk_key_equal(&out[i], &keys[4]) ||
				      chunk_key_equal(&out[i], &keys[5]);

			assert_true(inside);
			found++;
		}
	}
	assert_int_equal(found, 3);
	assert_true(cursor.done);
	model_free(own);
	free(own);
}

/* ---- whole walks ---- */

struct frame {
	struct catchup_action action;
	bool answered;
};

struct pair {
	struct model_store from, to;
	struct catchup_walk *walk;
	struct chunk_key damaged; /* cannot be read at the predecessor */
	bool has_damaged;
	unsigned reading;
	struct catchup_action reads[CATCHUP_WINDOW];
	unsigned sent;
	struct catchup_action frames[CATCHUP_WINDOW + 1];
	unsigned most_unanswered;
};

static uint64_t no_pending(void *arg, const struct chunk_key *key, uint64_t version)
{
	(void)arg;
	(void)key;
	return version;
}

static const struct catchup_owner owner = {.base = no_pending};

static struct pair *pair_new(void)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	return pair;
}

static void pair_free(struct pair *pair)
{
	for (unsigned i = 0; i < pair->sent; i++)
		buf_unref(pair->frames[i].payload);
	catchup_walk_free(pair->walk);
	model_free(&pair->from);
	model_free(&pair->to);
	free(pair);
}

static void fill(struct model_store *store, unsigned chunks, uint64_t salt)
{
	for (unsigned i = 0; i < chunks; i++) {
		struct model_chunk *chunk = put_chunk(
			store, key_of(chance(100), (uint32_t)chance(3)), 1, 1 + chance(4), 0);

		for (unsigned b = 0; b < MODEL_BLOCKS; b++)
			chunk->blocks[b] = chance(2) == 0 ? 0 : salt + chance(3);
		chunk->history.lost = chance(4) == 0;
		chunk->history.count = (uint32_t)chance(HISTORY_TURNS + 1);
		for (uint32_t t = 0; t < chunk->history.count; t++)
			chunk->history.turns[t] = (struct history_turn){t + 1 + salt % 7, t};
		chunk->op_count = 1;
		chunk->ops[0] = (struct op_id){salt, chance(100), chunk->version};
	}
}

/* Takes what the walk wants to do now. */
static enum catchup_action_kind walk_pump(struct pair *pair)
{
	for (;;) {
		struct catchup_action action;

		catchup_walk_next(pair->walk, &action);
		if (action.kind == CATCHUP_SEND) {
			assert_true(pair->sent < CATCHUP_WINDOW + 1);
			pair->frames[pair->sent++] = action;
		} else if (action.kind == CATCHUP_READ) {
			assert_true(pair->reading < CATCHUP_WINDOW);
			assert_true(action.range <= FRAME_PAYLOAD_MAX);
			pair->reads[pair->reading++] = action;
		} else if (action.kind == CATCHUP_DAMAGED) {
			assert_true(chunk_key_equal(&action.key, &pair->damaged));
		} else {
			if (pair->sent > pair->most_unanswered)
				pair->most_unanswered = pair->sent;
			return action.kind;
		}
	}
}

static struct buf *compare_at(struct pair *pair, const struct catchup_action *frame)
{
	static struct catchup_compare compare;
	static struct catchup_blocks blocks;
	static struct catchup_key gone[CATCHUP_GONE_MAX];
	struct catchup_cursor cursor = {0};
	struct chunk_key extra[4];
	struct buf *bitmap;
	int n;

	n = catchup_gone_decode(buf_payload(frame->payload), frame->payload->length, gone);
	for (int i = 0; i < n; i++) {
		struct chunk_key key = key_of(gone[i].file_id, gone[i].index);

		model_remove(&pair->to, &key);
	}
	if (n > 0)
		return NULL;
	if (catchup_blocks_decode(buf_payload(frame->payload), frame->payload->length, &blocks) ==
	    0) {
		struct chunk_key key = key_of(blocks.key.file_id, blocks.key.index);

		bitmap = model_buffer(NULL, BITMAP_BYTES(blocks.count));
		assert_int_equal(
			catchup_blocks_differ(&ops, &pair->to, &key, &blocks, false, bitmap->data),
			0);
		bitmap->start = 0;
		bitmap->length = BITMAP_BYTES(blocks.count);
		return bitmap;
	}
	assert_int_equal(catchup_compare_decode(buf_payload(frame->payload), frame->payload->length,
						&compare),
			 0);
	bitmap = compare.count == 0 ? NULL : model_buffer(NULL, CATCHUP_BITMAP_MAX);
	if (bitmap != NULL) {
		assert_int_equal(catchup_differs(&ops, &pair->to, POOL, PART, &compare, 1, NULL,
						 NULL, bitmap->data),
				 0);
		bitmap->length = BITMAP_BYTES(compare.count);
	}
	while (!cursor.done) {
		n = catchup_extra(&ops, &pair->to, POOL, PART, &compare, UINT64_MAX, &cursor, extra,
				  4);
		for (int i = 0; i < n; i++)
			model_remove(&pair->to, &extra[i]);
	}
	return bitmap;
}

static void apply(struct pair *pair, const struct catchup_action *frame)
{
	struct buf *answer = NULL;
	struct chunk_info info;

	if (frame->op == FRAME_CATCHUP_COMPARE) {
		answer = compare_at(pair, frame);
	} else if (frame->op == FRAME_CATCHUP_DATA) {
		struct chain_work request = {
			.op = FRAME_CATCHUP_DATA,
			.key = frame->key,
			.offset = frame->offset,
			.length = frame->payload != NULL ? frame->payload->length : frame->range,
			.payload = frame->payload};

		assert_true(request.length > 0); /* or it is refused */
		assert_int_equal(model_commit(&pair->to, &request), 0);
	} else if (frame->op == FRAME_CATCHUP_COMMIT) {
		assert_int_equal(catchup_commit_decode(buf_payload(frame->payload),
						       frame->payload->length, &info),
				 0);
		model_complete(&pair->to, &frame->key, &info);
	}
	catchup_walk_answer(pair->walk, frame->op, FRAME_OK, answer);
	buf_unref(answer);
}

static void finish_read(struct pair *pair, unsigned which)
{
	struct catchup_action read = pair->reads[which];
	const struct model_chunk *chunk = model_chunk(&pair->from, &read.key);
	struct buf *nothing = model_buffer(NULL, 1);

	nothing->length = 0;
	pair->reads[which] = pair->reads[--pair->reading];
	if (pair->has_damaged && chunk_key_equal(&pair->damaged, &read.key))
		catchup_walk_read(pair->walk, -EBADMSG, NULL, read.offset);
	else if (!chunk->exists) /* removed meanwhile: as a store reads it */
		catchup_walk_read(pair->walk, 0, buf_ref(nothing), read.offset);
	else
		catchup_walk_read(pair->walk, 0,
				  model_payload(chunk->blocks + read.offset / BLOCK_SIZE,
						read.range / BLOCK_SIZE),
				  read.offset);
	buf_unref(nothing);
}

/* Frames are applied in order; reads end in any. Returns how the walk ended. */
static enum catchup_action_kind walk_run(struct pair *pair)
{
	pair->walk = catchup_walk_new(&ops, &pair->from, POOL, PART, &owner);
	assert_non_null(pair->walk);
	for (;;) {
		enum catchup_action_kind kind = walk_pump(pair);

		if (kind != CATCHUP_NONE)
			return kind;
		assert_true(pair->reading + pair->sent > 0); /* or it would wait for ever */
		if (pair->reading > 0 && (pair->sent == 0 || chance(2) == 0)) {
			finish_read(pair, (unsigned)chance(pair->reading));
		} else {
			struct catchup_action frame = pair->frames[0];

			memmove(pair->frames, pair->frames + 1, --pair->sent * sizeof(frame));
			apply(pair, &frame);
			buf_unref(frame.payload);
		}
	}
}

static void assert_equal_copies(struct pair *pair)
{
	for (unsigned i = 0; i < pair->from.count; i++) {
		const struct model_chunk *a = pair->from.chunks[i];
		const struct model_chunk *b = model_chunk(&pair->to, &a->key);

		assert_int_equal(a->exists, b->exists);
		assert_int_equal(a->version, b->version);
		assert_memory_equal(a->blocks, b->blocks, sizeof(a->blocks));
		assert_int_equal(chunk_history_digest(&a->history),
				 chunk_history_digest(&b->history));
	}
	for (unsigned i = 0; i < pair->to.count; i++)
		if (pair->to.chunks[i]->exists)
			assert_true(model_chunk(&pair->from, &pair->to.chunks[i]->key)->exists);
}

static void test_random_stores_become_equal(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct pair *pair = pair_new();

		random_state = seed;
		fill(&pair->from, (unsigned)chance(seed % 10 == 0 ? 600 : 40), 100);
		if (chance(3) == 0) /* alike from the start, but for a little */
			for (unsigned i = 0; i < pair->from.count; i++)
				model_copy(model_chunk(&pair->to, &pair->from.keys[i]),
					   pair->from.chunks[i]);
		fill(&pair->to, (unsigned)chance(seed % 10 == 1 ? 600 : 40),
		     chance(2) == 0 ? 100 : 200);
		if (walk_run(pair) != CATCHUP_DONE)
			fail_msg("seed %llu", (unsigned long long)seed);
		assert_equal_copies(pair);
		assert_true(pair->most_unanswered <= CATCHUP_WINDOW);
		pair_free(pair);
	}
}

static void test_an_empty_partition_takes_two_frames(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	random_state = 1;
	pair->walk = catchup_walk_new(&ops, &pair->from, POOL, PART, &owner);
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	assert_int_equal(pair->sent, 1);
	assert_int_equal(pair->frames[0].op, FRAME_CATCHUP_COMPARE);
	apply(pair, &pair->frames[0]);
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	assert_int_equal(pair->sent, 2);
	assert_int_equal(pair->frames[1].op, FRAME_CATCHUP_END);
	catchup_walk_answer(pair->walk, FRAME_CATCHUP_END, FRAME_OK, NULL);
	assert_int_equal(walk_pump(pair), CATCHUP_DONE);
	pair_free(pair);
}

static void test_a_refusal_ends_the_walk_with_its_status(void **state)
{
	struct pair *pair = pair_new();
	struct catchup_action action;

	(void)state;
	pair->walk = catchup_walk_new(&ops, &pair->from, POOL, PART, &owner);
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	catchup_walk_answer(pair->walk, FRAME_CATCHUP_COMPARE, FRAME_STATUS_EPOCH, NULL);
	catchup_walk_next(pair->walk, &action);
	assert_int_equal(action.kind, CATCHUP_FAILED);
	assert_int_equal(action.status, FRAME_STATUS_EPOCH);
	catchup_walk_next(pair->walk, &action);
	assert_int_equal(action.kind, CATCHUP_NONE);
	pair_free(pair);
}

static void test_an_answer_of_a_wrong_size_ends_the_walk(void **state)
{
	struct pair *pair = pair_new();
	struct buf *buf = model_buffer(NULL, 2);

	(void)state;
	put_chunk(&pair->from, key_of(1, 0), 1, 1, 5);
	pair->walk = catchup_walk_new(&ops, &pair->from, POOL, PART, &owner);
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	catchup_walk_answer(pair->walk, FRAME_CATCHUP_COMPARE, FRAME_OK, buf);
	assert_int_equal(walk_pump(pair), CATCHUP_FAILED);
	buf_unref(buf);
	pair_free(pair);
}

static void test_a_damaged_chunk_is_left_alone_and_the_others_are_copied(void **state)
{
	struct pair *pair = pair_new();

	(void)state;
	random_state = 3;
	put_chunk(&pair->from, key_of(1, 0), 1, 1, 5);
	put_chunk(&pair->from, key_of(2, 0), 1, 1, 6);
	put_chunk(&pair->from, key_of(3, 0), 1, 1, 7);
	pair->damaged = key_of(2, 0);
	pair->has_damaged = true;
	assert_int_equal(walk_run(pair), CATCHUP_DONE);
	assert_int_equal(catchup_walk_counts(pair->walk).skipped, 1);
	assert_int_equal(catchup_walk_counts(pair->walk).copied, 2);
	assert_int_equal(model_chunk(&pair->to, &(struct chunk_key){POOL, PART, 3, 0})->blocks[0],
			 7);
	assert_int_equal(model_chunk(&pair->to, &(struct chunk_key){POOL, PART, 2, 0})->version, 0);
	pair_free(pair);
}

static void remove_during_copy(bool before_the_read)
{
	struct pair *pair = pair_new();
	struct chunk_key key = key_of(1, 0);

	put_chunk(&pair->from, key, 1, 1, 5);
	pair->walk = catchup_walk_new(&ops, &pair->from, POOL, PART, &owner);
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	apply(pair, &pair->frames[0]);
	buf_unref(pair->frames[0].payload);
	pair->sent = 0;
	assert_int_equal(walk_pump(pair), CATCHUP_NONE);
	assert_int_equal(pair->reading, 1);
	if (before_the_read)
		model_remove(&pair->from, &key);
	finish_read(pair, 0);
	model_remove(&pair->from, &key);
	for (enum catchup_action_kind kind = walk_pump(pair); kind == CATCHUP_NONE;
	     kind = walk_pump(pair)) {
		struct catchup_action frame = pair->frames[0];

		assert_true(pair->sent > 0);
		memmove(pair->frames, pair->frames + 1, --pair->sent * sizeof(frame));
		apply(pair, &frame);
		buf_unref(frame.payload);
	}
	assert_false(model_chunk(&pair->to, &key)->exists);
	pair_free(pair);
}

static void test_a_chunk_removed_during_its_copy_is_removed_there_too(void **state)
{
	(void)state;
	remove_during_copy(false);
	remove_during_copy(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_comparison_has_the_documented_bytes),
		cmocka_unit_test(test_a_comparison_comes_back_as_it_was),
		cmocka_unit_test(test_a_comparison_of_any_other_length_is_refused),
		cmocka_unit_test(test_a_comparison_that_no_peer_may_send_is_refused),
		cmocka_unit_test(test_removals_and_records_come_back_as_they_were),
		cmocka_unit_test(test_random_bytes_do_no_harm),
		cmocka_unit_test(test_equal_chunks_do_not_differ_and_others_do),
		cmocka_unit_test(test_what_is_pending_at_the_predecessor_need_not_be_copied),
		cmocka_unit_test(
			test_an_equal_chunk_becomes_sure_and_one_of_another_epoch_is_copied),
		cmocka_unit_test(test_a_chunk_of_another_history_differs),
		cmocka_unit_test(
			test_suspects_are_copied_and_what_the_predecessor_cannot_read_is_not),
		cmocka_unit_test(
			test_chunks_that_only_the_successor_has_are_found_inside_the_range_alone),
		cmocka_unit_test(test_random_stores_become_equal),
		cmocka_unit_test(test_an_empty_partition_takes_two_frames),
		cmocka_unit_test(test_a_refusal_ends_the_walk_with_its_status),
		cmocka_unit_test(test_an_answer_of_a_wrong_size_ends_the_walk),
		cmocka_unit_test(test_a_damaged_chunk_is_left_alone_and_the_others_are_copied),
		cmocka_unit_test(test_a_chunk_removed_during_its_copy_is_removed_there_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
