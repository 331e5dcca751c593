/* Goal: integers have the same bytes on every machine, and a reader never leaves its input. Method:
 * fixed bytes; every get at every length of input, on memory that ends where the input does (so
 * that AddressSanitizer sees a read behind it). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "common/base/bytes.h"

static void test_integers_have_fixed_bytes(void **state)
{
	uint8_t b[8];

	put_le16(b, 0x0201);
	assert_memory_equal(b, "\x01\x02", 2);
	assert_int_equal(get_le16(b), 0x0201);
	put_le32(b, 0x04030201);
	assert_memory_equal(b, "\x01\x02\x03\x04", 4);
	assert_int_equal(get_le32(b), 0x04030201);
	assert_int_equal(get_be32(b), 0x01020304);
	put_le64(b, 0x0807060504030201ull);
	assert_memory_equal(b, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	assert_int_equal(get_le64(b), 0x0807060504030201ull);
	assert_int_equal(get_be64(b), 0x0102030405060708ull);
	put_be32(b, 0x01020304);
	assert_memory_equal(b, "\x01\x02\x03\x04", 4);
	put_be64(b, 0x0102030405060708ull);
	assert_memory_equal(b, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
}

static void test_unaligned_addresses_are_fine(void **state)
{
	uint8_t b[16] = {0};

	for (size_t at = 0; at < 8; at++) {
		put_le64(b + at, 0x1122334455667788ull);
		assert_int_equal(get_le64(b + at), 0x1122334455667788ull);
		put_be64(b + at, 0x1122334455667788ull);
		assert_int_equal(get_be64(b + at), 0x1122334455667788ull);
	}
}

static void test_a_reader_takes_what_is_there_in_order(void **state)
{
	static const uint8_t in[] = {7, 1, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 'x', 'y'};
	struct reader r = reader_on(in, sizeof(in));
	const uint8_t *rest;

	assert_int_equal(reader_u8(&r), 7);
	assert_int_equal(reader_le16(&r), 0x0201);
	assert_int_equal(reader_le32(&r), 0x04030201);
	assert_int_equal(reader_le64(&r), 0x0807060504030201ull);
	assert_false(reader_done(&r));
	rest = reader_bytes(&r, 2);
	assert_memory_equal(rest, "xy", 2);
	assert_true(reader_done(&r));
	assert_true(reader_ok(&r));
}

static void get_some(struct reader *r, int what)
{
	switch (what) {
	case 0:
		reader_u8(r);
		break;
	case 1:
		reader_le16(r);
		break;
	case 2:
		reader_le32(r);
		break;
	case 3:
		reader_le64(r);
		break;
	default:
		reader_bytes(r, 11);
		break;
	}
}

static void test_a_reader_never_leaves_its_input_and_stays_failed(void **state)
{
	static const size_t sizes[] = {1, 2, 4, 8, 11};

	for (int what = 0; what < 5; what++) {
		for (size_t size = 0; size <= 12; size++) {
			uint8_t *in = calloc(size == 0 ? 1 : size, 1);
			struct reader r = reader_on(in, size);

			assert_non_null(in);
			get_some(&r, what);
			assert_int_equal(reader_ok(&r), size >= sizes[what]);
			assert_int_equal(reader_done(&r), size == sizes[what]);
			if (!reader_ok(&r)) {
				/* What would fit now must fail as well. */
				assert_null(reader_bytes(&r, 0));
				assert_int_equal(reader_u8(&r), 0);
				assert_false(reader_ok(&r));
			}
			free(in);
		}
	}
}

static void test_huge_sizes_do_not_wrap(void **state)
{
	uint8_t in[4] = {0};
	struct reader r = reader_on(in, sizeof(in));

	assert_null(reader_bytes(&r, SIZE_MAX));
	assert_false(reader_ok(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers_have_fixed_bytes),
		cmocka_unit_test(test_unaligned_addresses_are_fine),
		cmocka_unit_test(test_a_reader_takes_what_is_there_in_order),
		cmocka_unit_test(test_a_reader_never_leaves_its_input_and_stays_failed),
		cmocka_unit_test(test_huge_sizes_do_not_wrap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
