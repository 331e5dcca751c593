/* format_test - the bytes of a kept log, and what is read of them.
 *
 * Goal: what is written is read as it was; a segment that was cut off anywhere is read up to there; a
 * byte that is not as it was is never taken for something else, and is damage unless it is of the
 * end; what a later version writes stops the reader; the format does not change by accident.
 * Method: a segment put together by hand, cut at each length and with each byte changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "master/kept/segment.h"
#include "tests/lib/kept_gen.h"

static struct kept_gen gen;

/* Where each record ends. */
static size_t ends[4];

/* Entries 8 and 9 with their results. */
static void make_segment(void)
{
	kept_gen_head(&gen, 7);
	kept_gen_entry(&gen, 8, "eight", 5);
	ends[0] = gen.size;
	kept_gen_result(&gen, 8);
	ends[1] = gen.size;
	kept_gen_entry(&gen, 9, "nine", 4);
	ends[2] = gen.size;
	kept_gen_result(&gen, 9);
	ends[3] = gen.size;
}

static int parse(size_t size, struct kept_segment *out, size_t *at)
{
	uint8_t *copy = malloc(size + 1);

	assert_non_null(copy);
	memcpy(copy, gen.bytes, size);
	return kept_segment_parse(copy, size, out, at);
}

static int parse_all(struct kept_segment *out)
{
	size_t at;

	return parse(gen.size, out, &at);
}

static void assert_item(const struct kept_item *item, uint64_t index, const char *entry, bool ended)
{
	struct log_trace trace = kept_gen_trace(index);

	assert_int_equal(item->index, index);
	assert_int_equal(item->entry_size, strlen(entry));
	assert_memory_equal(item->entry, entry, item->entry_size);
	assert_int_equal(item->ended, ended);
	if (ended)
		assert_memory_equal(&item->trace, &trace, sizeof(trace));
}

static void test_what_is_written_is_read(void **state)
{
	struct kept_segment segment;
	uint8_t hash[LOG_HASH_BYTES], expected[LOG_HASH_BYTES];

	make_segment();
	assert_int_equal(parse_all(&segment), 0);
	assert_int_equal(segment.head.instance, 11);
	assert_int_equal(segment.head.life, 12);
	assert_int_equal(segment.head.chance, 13);
	assert_int_equal(segment.head.index, 7);
	assert_int_equal(segment.head.time, -14);
	assert_true(segment.head.begins);
	assert_string_equal(segment.head.cluster, "cluster");
	assert_int_equal(segment.head.level, 16);
	assert_int_equal(segment.count, 2);
	assert_item(&segment.items[0], 8, "eight", true);
	assert_item(&segment.items[1], 9, "nine", true);
	assert_int_equal(segment.size, gen.size);
	assert_int_equal(segment.torn, 0);
	assert_int_equal(kept_segment_last(&segment, hash), 9);
	memset(expected, 9, sizeof(expected));
	assert_memory_equal(hash, expected, sizeof(hash));
	kept_segment_free(&segment);
}

static void test_a_segment_that_was_cut_off_is_read_up_to_there(void **state)
{
	for (size_t size = 0; size <= ends[3]; size++) {
		struct kept_segment segment;
		size_t at, whole = size < KEPT_HEAD_BYTES ? 0 : KEPT_HEAD_BYTES;
		unsigned records = 0;

		make_segment();
		for (; records < 4 && ends[records] <= size; records++)
			whole = ends[records];
		assert_int_equal(parse(size, &segment, &at), 0);
		assert_int_equal(segment.size, whole);
		assert_int_equal(segment.torn, size - whole);
		assert_int_equal(segment.count, (records + 1) / 2);
		if (records % 2 == 1)
			assert_false(segment.items[segment.count - 1].ended);
		kept_segment_free(&segment);
	}
}

static void test_a_tail_of_zeros_was_cut_off_too(void **state)
{
	struct kept_segment segment;

	for (size_t from = ends[2]; from < ends[3]; from++) {
		make_segment();
		memset(gen.bytes + from, 0, ends[3] - from);
		gen.size = ends[3] + 100;
		memset(gen.bytes + ends[3], 0, 100);
		assert_int_equal(parse_all(&segment), 0);
		assert_int_equal(segment.size, ends[2]);
		kept_segment_free(&segment);
	}
}

static void test_a_changed_byte_is_damage_or_of_the_end(void **state)
{
	make_segment();
	for (size_t i = 0; i < ends[3]; i++) {
		struct kept_segment segment;
		size_t at;
		int rc;

		make_segment();
		gen.bytes[i] ^= 0x10;
		rc = parse(gen.size, &segment, &at);
		if (i >= ends[2]) { /* nothing is behind it: it may have been cut off */
			assert_int_equal(rc, 0);
			assert_int_equal(segment.size, ends[2]);
			assert_false(segment.items[1].ended);
		} else if (i >= 16 && i < 20) {
			assert_int_equal(rc, -EPROTONOSUPPORT); /* the format */
		} else {
			assert_int_equal(rc, -EBADMSG);
			assert_in_range(at, 0, i);
		}
		kept_segment_free(&segment);
	}
}

static void test_what_was_undone_does_not_count(void **state)
{
	struct kept_segment segment;

	make_segment();
	kept_gen_undone(&gen, 8);
	kept_gen_entry(&gen, 9, "other", 5);
	kept_gen_result(&gen, 9);
	kept_gen_entry(&gen, 10, "fatal", 5);
	kept_gen_undone(&gen, 8);
	kept_gen_entry(&gen, 9, "last", 4);
	assert_int_equal(parse_all(&segment), 0);
	assert_int_equal(segment.count, 2);
	assert_item(&segment.items[0], 8, "eight", true);
	assert_item(&segment.items[1], 9, "last", false);
	assert_int_equal(segment.undone, 3);
	/* Only what ended with an entry that has no result is an attempt. */
	assert_int_equal(segment.attempt_count, 2);
	assert_item(&segment.attempts[0], 9, "other", true);
	assert_item(&segment.attempts[1], 10, "fatal", false);
	kept_segment_free(&segment);
}

static void expect_damage(void)
{
	struct kept_segment segment;

	assert_int_equal(parse_all(&segment), -EBADMSG);
	kept_segment_free(&segment);
}

static void test_records_that_do_not_fit_are_damage(void **state)
{
	make_segment();
	kept_gen_entry(&gen, 11, "gap", 3);
	expect_damage();
	make_segment();
	kept_gen_entry(&gen, 9, "twice", 5);
	expect_damage();
	make_segment();
	kept_gen_result(&gen, 9);
	expect_damage();
	make_segment();
	kept_gen_result(&gen, 10);
	expect_damage();
	make_segment();
	kept_gen_undone(&gen, 6);
	expect_damage();
	make_segment();
	kept_gen_undone(&gen, 10);
	expect_damage();
	make_segment();
	kept_gen_entry(&gen, 10, "ten", 3);
	kept_gen_entry(&gen, 11, "without the result of ten", 25);
	expect_damage();
}

static void test_what_a_later_version_writes_stops_the_reader(void **state)
{
	struct kept_segment segment;
	size_t at = ends[3];

	make_segment();
	kept_gen_undone(&gen, 9);
	gen.bytes[at + 8] = 4;
	put_le32(gen.bytes + at + 4,
		 crc32c_extend(crc32c(gen.bytes + at, 4), gen.bytes + at + 8, 9));
	assert_int_equal(parse_all(&segment), -EPROTONOSUPPORT);
	kept_segment_free(&segment);
}

/* The numbers are in docs/kept-log.md. */
static void test_the_format_is_the_documented_one(void **state)
{
	make_segment();
	kept_gen_undone(&gen, 8);
	assert_memory_equal(gen.bytes, "CATENA-KEPT-LOG\n\2\0\0\0\244\0\0\0", 24);
	assert_int_equal(get_le32(gen.bytes + 24), crc32c(gen.bytes + 28, 164));
	assert_int_equal(get_le64(gen.bytes + 28 + 24), 7);
	assert_int_equal(get_le32(gen.bytes + 165), 16);
	assert_memory_equal(gen.bytes + 192, "\16\0\0\0", 4);
	assert_memory_equal(gen.bytes + 200, "\1\10\0\0\0\0\0\0\0eight", 14);
	assert_memory_equal(gen.bytes + ends[0], "\65\0\0\0", 4);
	assert_memory_equal(gen.bytes + ends[0] + 8,
			    "\2\10\0\0\0\0\0\0\0\370\377\377\377\11\0\0\0\12\0\0\0\10\10\10", 24);
	assert_int_equal(ends[1] - ends[0], 8 + 53);
	assert_memory_equal(gen.bytes + ends[3], "\11\0\0\0", 4);
	assert_memory_equal(gen.bytes + ends[3] + 8, "\3\10\0\0\0\0\0\0\0", 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_a_segment_that_was_cut_off_is_read_up_to_there),
		cmocka_unit_test(test_a_tail_of_zeros_was_cut_off_too),
		cmocka_unit_test(test_a_changed_byte_is_damage_or_of_the_end),
		cmocka_unit_test(test_what_was_undone_does_not_count),
		cmocka_unit_test(test_records_that_do_not_fit_are_damage),
		cmocka_unit_test(test_what_a_later_version_writes_stops_the_reader),
		cmocka_unit_test(test_the_format_is_the_documented_one),
	};

	make_segment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
