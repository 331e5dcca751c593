/* Goal: checksums are standard CRC32C whatever ISA-L's conventions are, and the block checksums of
 * a range depend on its place in the chunk alone. Method: published vectors (RFC 3720 B.4 and the
 * check value), a bit-by-bit twin on random sizes and alignments, and single damaged bytes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/block.h"
#include "common/base/crc32c.h"
#include "tests/lib/random.h"

static uint64_t seed = 20260101;

static uint32_t below(uint32_t limit)
{
	return (uint32_t)random_below(&seed, limit);
}

static uint32_t slow_crc32c(const uint8_t *data, size_t size)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < size; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void test_published_vectors_come_out(void **state)
{
	static const uint8_t read_pdu[48] = {
		0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
		0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
		0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0,
	};
	uint8_t bytes[32];

	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c("", 0), 0);
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(bytes, 32), 0x8a9136aau);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(bytes, 32), 0x62a8ab43u);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	assert_int_equal(crc32c(bytes, 32), 0x46dd794eu);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(bytes, 32), 0x113fdb5cu);
	assert_int_equal(crc32c(read_pdu, sizeof(read_pdu)), 0xd9963a56u);
}

static void test_any_size_and_alignment_agrees_with_the_bitwise_twin(void **state)
{
	static uint8_t data[3 * BLOCK_SIZE];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)below(256);
	for (int run = 0; run < 300; run++) {
		size_t start = below(64), size = below(2 * BLOCK_SIZE);
		size_t cut = size == 0 ? 0 : below((uint32_t)size + 1);
		uint32_t expected = slow_crc32c(data + start, size);

		assert_int_equal(crc32c(data + start, size), expected);
		assert_int_equal(
			crc32c_extend(crc32c(data + start, cut), data + start + cut, size - cut),
			expected);
	}
}

static void test_the_checksum_of_zeros_is_that(void **state)
{
	static const uint8_t zeros[BLOCK_SIZE];

	assert_int_equal(block_checksum_zero, slow_crc32c(zeros, sizeof(zeros)));
	assert_int_equal(block_checksum_zero, crc32c(zeros, sizeof(zeros)));
}

static void test_block_count_counts_blocks_touched(void **state)
{
	assert_int_equal(block_count(0, 0), 0);
	assert_int_equal(block_count(4095, 0), 0);
	assert_int_equal(block_count(0, 1), 1);
	assert_int_equal(block_count(0, 4096), 1);
	assert_int_equal(block_count(0, 4097), 2);
	assert_int_equal(block_count(4095, 1), 1);
	assert_int_equal(block_count(4095, 2), 2);
	assert_int_equal(block_count(1, 1u << 20), 257);
	assert_int_equal(block_count(0, 1u << 20), 256);
	assert_int_equal(block_count(UINT64_MAX - 4095, 4096), 1);
	assert_int_equal(block_count(0, UINT32_MAX), 1u << 20);
}

static void test_checksums_cover_the_parts_of_blocks_that_the_range_has(void **state)
{
	static uint8_t chunk[6 * BLOCK_SIZE];
	uint32_t crcs[8];

	for (size_t i = 0; i < sizeof(chunk); i++)
		chunk[i] = (uint8_t)below(256);
	for (int run = 0; run < 300; run++) {
		uint32_t offset = below(sizeof(chunk)), at = offset, n = 0;
		uint32_t length = below((uint32_t)sizeof(chunk) - offset + 1);
		uint32_t end = offset + length;

		memset(crcs, 0xa5, sizeof(crcs));
		block_checksums(chunk + offset, offset, length, crcs);
		while (at < end) {
			uint32_t next = (at / BLOCK_SIZE + 1) * BLOCK_SIZE;

			if (next > end)
				next = end;
			assert_int_equal(crcs[n++], slow_crc32c(chunk + at, next - at));
			at = next;
		}
		assert_int_equal(n, block_count(offset, length));
		assert_int_equal(crcs[n], 0xa5a5a5a5u); /* nothing written behind the last */
		assert_int_equal(block_checksums_verify(chunk + offset, offset, length, crcs), -1);
	}
}

static void test_verify_names_the_first_block_that_differs(void **state)
{
	static uint8_t data[4 * BLOCK_SIZE];
	const uint32_t offset = 100, length = 3 * BLOCK_SIZE;
	uint32_t crcs[8];

	block_checksums(data, offset, length, crcs);
	for (uint32_t at = 0; at < length; at += 97) {
		data[at] ^= 0x10;
		assert_int_equal(block_checksums_verify(data, offset, length, crcs),
				 (offset + at) / BLOCK_SIZE);
		data[at] ^= 0x10;
	}
	data[length] ^= 1; /* behind the range */
	assert_int_equal(block_checksums_verify(data, offset, length, crcs), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published_vectors_come_out),
		cmocka_unit_test(test_any_size_and_alignment_agrees_with_the_bitwise_twin),
		cmocka_unit_test(test_the_checksum_of_zeros_is_that),
		cmocka_unit_test(test_block_count_counts_blocks_touched),
		cmocka_unit_test(test_checksums_cover_the_parts_of_blocks_that_the_range_has),
		cmocka_unit_test(test_verify_names_the_first_block_that_differs),
	};

	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
