/* Goal: the 88 bytes of HELLO are those of the document, and a stranger's bytes are refused.
 * Method: fixed bytes, every size, every single changed byte of the padding. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/net/hello.h"

static const struct hello sample = {
	.protocol = HELLO_PROTOCOL,
	.worker = 0x07060504,
	.id = 0x0f0e0d0c0b0a0908ull,
	.cluster = "2f1c9a60-demo",
	.instance = 0x5756555453525150ull,
};

static void test_the_bytes_are_pinned(void **state)
{
	uint8_t bytes[HELLO_BYTES], expected[HELLO_BYTES] = {2, 0, 0, 0};

	for (uint8_t i = 4; i < 16; i++)
		expected[i] = i;
	memcpy(expected + 16, "2f1c9a60-demo", 13);
	for (uint8_t i = 80; i < 88; i++)
		expected[i] = i;
	memset(bytes, 0xff, sizeof(bytes));
	hello_encode(&sample, bytes);
	assert_memory_equal(bytes, expected, sizeof(bytes));
}

static void test_it_comes_back_equal(void **state)
{
	uint8_t bytes[HELLO_BYTES];
	struct hello back;

	hello_encode(&sample, bytes);
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.protocol, sample.protocol);
	assert_int_equal(back.worker, sample.worker);
	assert_int_equal(back.id, sample.id);
	assert_string_equal(back.cluster, sample.cluster);
	assert_int_equal(back.instance, sample.instance);
}

static void test_the_longest_cluster_name_fits_and_a_longer_is_cut(void **state)
{
	struct hello hello = sample, back;
	uint8_t bytes[HELLO_BYTES];

	memset(hello.cluster, 'c', sizeof(hello.cluster)); /* no NUL */
	hello_encode(&hello, bytes);
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(strlen(back.cluster), 63);
}

static void test_other_sizes_are_refused(void **state)
{
	uint8_t bytes[2 * HELLO_BYTES] = {0};
	struct hello back;

	hello_encode(&sample, bytes);
	for (size_t size = 0; size <= sizeof(bytes); size++)
		assert_int_equal(hello_decode(bytes, size, &back),
				 size == HELLO_BYTES ? 0 : -EINVAL);
}

static void test_another_protocol_is_said_to_be_that(void **state)
{
	uint8_t bytes[HELLO_BYTES];
	struct hello back;

	hello_encode(&sample, bytes);
	bytes[0] = HELLO_PROTOCOL + 1;
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EPROTONOSUPPORT);
	bytes[0] = 0;
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EPROTONOSUPPORT);
}

static void test_cluster_names_must_be_printable_and_padded_with_nuls(void **state)
{
	static const uint8_t bad[] = {1, '\n', ' ', 0x7f, 0x80, 0xff};
	uint8_t bytes[HELLO_BYTES];
	struct hello back = {.id = 99};

	hello_encode(&sample, bytes);
	for (size_t i = 0; i < sizeof(bad); i++) {
		bytes[16] = bad[i];
		assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EINVAL);
	}
	hello_encode(&sample, bytes);
	for (size_t at = 16 + 14; at < 80; at++) {
		bytes[at] = 'x'; /* behind the end of the name */
		assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EINVAL);
		bytes[at] = 0;
	}
	memset(bytes + 16, 'c', 64); /* no end */
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EINVAL);
	assert_int_equal(back.id, 99); /* untouched */
}

static void test_who_is_of_no_instance_is_refused(void **state)
{
	uint8_t bytes[HELLO_BYTES];
	struct hello hello = sample, back = {.id = 99};

	hello.instance = 0;
	hello_encode(&hello, bytes);
	assert_int_equal(hello_decode(bytes, sizeof(bytes), &back), -EINVAL);
	assert_int_equal(back.id, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_bytes_are_pinned),
		cmocka_unit_test(test_it_comes_back_equal),
		cmocka_unit_test(test_the_longest_cluster_name_fits_and_a_longer_is_cut),
		cmocka_unit_test(test_other_sizes_are_refused),
		cmocka_unit_test(test_another_protocol_is_said_to_be_that),
		cmocka_unit_test(test_who_is_of_no_instance_is_refused),
		cmocka_unit_test(test_cluster_names_must_be_printable_and_padded_with_nuls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
