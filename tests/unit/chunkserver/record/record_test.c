/* Goal: what is written into the db is read back the same, stays small, and anything else is
 * refused without harm. Method: round trips of chosen and random values; then every byte of a value
 * changed, every length cut, and random garbage with a right seal. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "chunkserver/record/key.h"
#include "chunkserver/record/record.h"
#include "chunkserver/record/value.h"
#include "chunkserver/chunk/file.h"
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "tests/lib/random.h"

static const struct chunk_key key = {.pool = 3, .partition = 17, .file_id = 77, .index = 2};
static uint64_t seed = 20260101;

static void random_piece(struct piece *piece, unsigned density)
{
	memset(piece, 0, sizeof(*piece));
	for (uint32_t i = 0; i < PIECE_BLOCKS; i++) {
		if (random_u64(&seed) % 100 >= density)
			continue;
		bits_set(&piece->present, i);
		if (random_u64(&seed) % 2 == 0)
			bits_set(&piece->inner, i);
		piece->crcs[i] = (uint32_t)random_u64(&seed);
	}
}

static void assert_pieces_equal(const struct piece *a, const struct piece *b)
{
	assert_true(bits_equal(&a->present, &b->present));
	assert_true(bits_equal(&a->inner, &b->inner));
	for (uint32_t i = 0; i < PIECE_BLOCKS; i++)
		if (bits_test(&a->present, i))
			assert_int_equal(a->crcs[i], b->crcs[i]);
}

static void test_pieces_of_any_density_come_back(void **state)
{
	uint8_t value[PIECE_VALUE_MAX];

	for (unsigned round = 0; round < 300; round++) {
		struct piece in, out;
		size_t size;

		random_piece(&in, round % 101);
		if (!bits_any(&in.present))
			bits_set(&in.present, (uint32_t)(random_u64(&seed) % PIECE_BLOCKS));
		size = piece_encode(&key, 5, &in, value);
		assert_true(size <= sizeof(value));
		assert_int_equal(piece_decode(&key, 5, value, size, &out), 0);
		assert_pieces_equal(&in, &out);
		assert_int_equal(piece_digest(&in), piece_digest(&out));
		/* It belongs to this chunk and this place alone. */
		assert_int_equal(piece_decode(&key, 6, value, size, &out), -EBADMSG);
	}
}

static void test_a_piece_of_one_block_is_small(void **state)
{
	struct piece piece = {0};
	uint8_t value[PIECE_VALUE_MAX];

	bits_set(&piece.present, 200);
	assert_in_range(piece_encode(&key, 0, &piece, value), 1, 16);
	assert_int_equal(piece_digest(&(struct piece){0}), 0);
	assert_int_not_equal(piece_digest(&piece), 0);
}

static void test_the_digest_says_presence_and_checksums_but_not_the_place(void **state)
{
	struct piece a = {0}, b;

	bits_set(&a.present, 3);
	a.crcs[3] = 7;
	b = a;
	bits_set(&b.inner, 3);
	b.crcs[9] = 1; /* not present */
	assert_int_equal(piece_digest(&a), piece_digest(&b));
	b.crcs[3] = 8;
	assert_int_not_equal(piece_digest(&a), piece_digest(&b));
	b = a;
	bits_set(&b.present, 9);
	assert_int_not_equal(piece_digest(&a), piece_digest(&b));
}

static void random_record(struct record *record, struct piece *piece, bool small)
{
	memset(record, 0, sizeof(*record));
	memset(piece, 0, sizeof(*piece));
	record->unsure = random_u64(&seed) % 2 == 0;
	record->has_file = random_u64(&seed) % 2 == 0;
	record->epoch = random_u64(&seed) >> (random_u64(&seed) % 64);
	record->version = random_u64(&seed) >> (random_u64(&seed) % 64);
	record->inner_count = (uint32_t)(random_u64(&seed) % CHUNK_BLOCKS_MAX);
	record->length =
		(uint32_t)(random_u64(&seed) % (small ? CHUNK_INNER_MAX : CHUNK_SIZE_MAX) + 1);
	for (uint32_t i = 0; i < pieces_of(record->length); i++)
		record->digests[i] = (uint32_t)random_u64(&seed) | 1;
	if (record_is_inline(record->length)) {
		bits_set(&piece->present, blocks_of(record->length) - 1);
		piece->crcs[blocks_of(record->length) - 1] = (uint32_t)random_u64(&seed);
		record->digests[0] = piece_digest(piece);
	}
	record->history.lost = random_u64(&seed) % 4 == 0;
	record->history.count = (uint32_t)(random_u64(&seed) % (HISTORY_TURNS + 1));
	for (uint32_t i = 0; i < record->history.count; i++)
		record->history.turns[i] =
			(struct history_turn){(UINT64_MAX >> 4) * i + random_u64(&seed) % 9 + 1,
					      (UINT64_MAX >> 5) * i + random_u64(&seed) % 9};
	record->op_count = (uint32_t)(random_u64(&seed) % (OP_IDS_KEPT + 1));
	for (uint32_t i = 0; i < record->op_count; i++)
		record->ops[i] =
			(struct op_id){random_u64(&seed), random_u64(&seed), random_u64(&seed)};
}

static void test_records_come_back(void **state)
{
	uint8_t value[RECORD_VALUE_MAX];

	for (unsigned round = 0; round < 500; round++) {
		struct record in, out;
		struct piece piece, read;
		size_t size;

		random_record(&in, &piece, round % 2 == 0);
		size = record_encode(&key, &in, &piece, value);
		assert_true(size <= sizeof(value));
		memset(&out, 0, sizeof(out));
		assert_int_equal(record_decode(&key, value, size, &out, &read), 0);
		assert_memory_equal(in.digests, out.digests, sizeof(in.digests));
		assert_memory_equal(in.ops, out.ops, in.op_count * sizeof(in.ops[0]));
		assert_int_equal(in.op_count, out.op_count);
		assert_int_equal(in.epoch, out.epoch);
		assert_int_equal(in.version, out.version);
		assert_int_equal(in.length, out.length);
		assert_int_equal(in.unsure, out.unsure);
		assert_int_equal(in.has_file, out.has_file);
		assert_memory_equal(&in.history, &out.history, sizeof(in.history));
		assert_int_equal(in.inner_count, out.inner_count);
		if (record_is_inline(in.length))
			assert_pieces_equal(&piece, &read);
	}
}

static void test_the_record_of_a_small_file_is_small(void **state)
{
	struct record record = {
		.epoch = 12, .version = 1, .length = 4096, .inner_count = 1, .op_count = 1};
	struct piece piece = {0};
	uint8_t value[RECORD_VALUE_MAX];

	record.ops[0] = (struct op_id){0x123456789abcdef0, 100000, 1};
	bits_set(&piece.present, 0);
	bits_set(&piece.inner, 0);
	assert_in_range(record_encode(&key, &record, &piece, value), 1, 48);
}

static void test_a_changed_or_cut_value_is_refused(void **state)
{
	struct record record;
	struct piece piece, out_piece;
	struct bits over = {{1, 2, 3, 4}}, out;
	uint8_t value[RECORD_VALUE_MAX];
	size_t size;

	random_record(&record, &piece, true);
	size = record_encode(&key, &record, &piece, value);
	for (size_t i = 0; i < size; i++) {
		value[i] ^= 0x10;
		assert_int_equal(record_decode(&key, value, size, &record, &out_piece), -EBADMSG);
		value[i] ^= 0x10;
		assert_int_equal(record_decode(&key, value, i, &record, &out_piece), -EBADMSG);
	}
	size = value_mark_encode(&key, 1, &over, value);
	assert_int_equal(value_mark_decode(&key, 1, value, size, &out), 0);
	assert_true(bits_equal(&over, &out));
	for (size_t i = 0; i < size; i++) {
		value[i] ^= 1;
		assert_int_equal(value_mark_decode(&key, 1, value, size, &out), -EBADMSG);
		value[i] ^= 1;
	}
}

static size_t reseal(const uint8_t *name, size_t name_size, uint8_t *value, size_t size)
{
	put_le32(value + size, crc32c_extend(crc32c(name, name_size), value, size));
	return size + 4;
}

static void test_garbage_with_a_right_seal_does_no_harm(void **state)
{
	uint8_t name[KEY_BYTES_MAX], value[256];
	struct record record;
	struct piece piece;
	struct bits bits;

	for (unsigned round = 0; round < 50000; round++) {
		size_t size = 1 + random_u64(&seed) % 200, n;

		for (size_t i = 0; i < size; i++)
			value[i] = (uint8_t)(random_u64(&seed) >> 20);
		value[0] = 1;
		n = reseal(name, key_record(&key, name), value, size);
		if (record_decode(&key, value, n, &record, &piece) == 0) {
			assert_true(record.length <= CHUNK_SIZE_MAX);
			assert_true(record.op_count <= OP_IDS_KEPT);
		}
		n = reseal(name, key_piece(&key, 0, name), value, size);
		(void)piece_decode(&key, 0, value, n, &piece);
		n = reseal(name, key_mark(&key, 0, name), value, size);
		(void)value_mark_decode(&key, 0, value, n, &bits);
	}
}

static void test_inner_blocks_lose_their_trailing_zeros_and_get_them_back(void **state)
{
	uint8_t value[INNER_VALUE_MAX], block[BLOCK_SIZE], expect[BLOCK_SIZE] = {0};

	memcpy(expect, "hello", 5);
	memset(block, 0xff, sizeof(block));
	assert_int_equal(value_inner_encode(42, expect, 5, value), INNER_HEAD + 5);
	assert_int_equal(value_inner_decode(value, INNER_HEAD + 5, 42, block), 0);
	assert_memory_equal(block, expect, sizeof(block));
	assert_int_equal(value_inner_decode(value, INNER_HEAD + 5, 43, block), -EBADMSG);
	assert_int_equal(value_inner_decode(value, 3, 42, block), -EBADMSG);
	assert_int_equal(value_inner_decode(value, sizeof(value) + 1, 42, block), -EBADMSG);
	value[0] = 9;
	assert_int_equal(value_inner_decode(value, INNER_HEAD + 5, 42, block), -EBADMSG);
}

static void test_the_state_comes_back(void **state)
{
	uint8_t value[STATE_VALUE_MAX];
	char boot_id[BOOT_ID_BYTES];
	bool clean = false;
	size_t size = value_state_encode(true, "36d3a6b0-1111-2222-3333-444444444444", value);

	assert_int_equal(value_state_decode(value, size, &clean, boot_id), 0);
	assert_true(clean);
	assert_string_equal(boot_id, "36d3a6b0-1111-2222-3333-444444444444");
	value[1] ^= 1;
	assert_int_equal(value_state_decode(value, size, &clean, boot_id), -EBADMSG);
}

static void test_a_file_name_says_its_chunk(void **state)
{
	char name[3 + 2 * CHUNK_KEY_BYTES + 1];
	struct chunk_key out;

	file_name(&key, name);
	assert_true(file_name_parse(name + 3, &out));
	assert_true(chunk_key_equal(&key, &out));
	name[5] = 'g';
	assert_false(file_name_parse(name + 3, &out));
	assert_false(file_name_parse("short", &out));
	/* The directory is part of the format. */
	file_name(&(struct chunk_key){1, 2, 3, 4}, name);
	assert_string_equal(name, "40/0000000100000002000000000000000300000004");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_of_any_density_come_back),
		cmocka_unit_test(test_a_piece_of_one_block_is_small),
		cmocka_unit_test(test_the_digest_says_presence_and_checksums_but_not_the_place),
		cmocka_unit_test(test_records_come_back),
		cmocka_unit_test(test_the_record_of_a_small_file_is_small),
		cmocka_unit_test(test_a_changed_or_cut_value_is_refused),
		cmocka_unit_test(test_garbage_with_a_right_seal_does_no_harm),
		cmocka_unit_test(test_inner_blocks_lose_their_trailing_zeros_and_get_them_back),
		cmocka_unit_test(test_the_state_comes_back),
		cmocka_unit_test(test_a_file_name_says_its_chunk),
	};

	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
