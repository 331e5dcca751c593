/* Goal: a chunk's place never changes, whatever is done to the code, and keys sort as their
 * partitions do. Method: pinned vectors, of which those of file 0 are the published output of
 * splitmix64 for seed 0; random keys compared in memory and as bytes; a chi-square test of spread.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "common/cluster/chunk.h"
#include "tests/lib/random.h"

static uint64_t seed = 20260102;

static void test_placement_is_pinned_for_ever(void **state)
{
	/* hash: the 64 bits whose remainders the partitions are. DO NOT CHANGE: clusters have data
	 * where these say. */
	static const struct {
		uint64_t file_id;
		uint32_t index;
		uint64_t hash;
	} vectors[] = {
		{0, 0, 0xe220a8397b1dcdafull},
		{0, 1, 0x6e789e6aa1b965f4ull},
		{0, 2, 0x06c45d188009454full},
		{1, 0, 0xbfef8030ddc2d772ull},
		{1, 1, 0x5f552ce482f2aa47ull},
		{2, 0, 0x41142829ae9e115eull},
		{42, 7, 0x272404a0a3926552ull},
		{1ull << 32, 0, 0xce30761cd7373f6dull},
		{0x0123456789abcdefull, 1000, 0x0c3c3793fad64de2ull},
		{UINT64_MAX, UINT32_MAX, 0xfdf4501818120832ull},
	};
	static const uint32_t counts[] = {1, 2, 3, 256, 1000, 65536, 0x80000000u, UINT32_MAX};

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		for (size_t j = 0; j < sizeof(counts) / sizeof(counts[0]); j++)
			assert_int_equal(
				chunk_partition(vectors[i].file_id, vectors[i].index, counts[j]),
				vectors[i].hash % counts[j]);
	}
	assert_int_equal(chunk_partition(1, 0, 256), 114);
	assert_int_equal(chunk_partition(1, 1, 256), 71);
	assert_int_equal(chunk_partition(42, 7, 1000), 986);
}

static void test_the_key_of_a_chunk_has_its_partition(void **state)
{
	struct chunk_key key = chunk_key_of(9, 256, 1, 1);

	assert_int_equal(key.pool, 9);
	assert_int_equal(key.partition, 71);
	assert_int_equal(key.file_id, 1);
	assert_int_equal(key.index, 1);
}

static void test_the_bytes_of_a_key_are_pinned(void **state)
{
	static const struct chunk_key key = {
		.pool = 0x01020304,
		.partition = 0x05060708,
		.file_id = 0x090a0b0c0d0e0f10ull,
		.index = 0x11121314,
	};
	uint8_t bytes[CHUNK_KEY_BYTES];

	chunk_key_encode(&key, bytes);
	for (uint8_t i = 0; i < CHUNK_KEY_BYTES; i++)
		assert_int_equal(bytes[i], i + 1);
}

static struct chunk_key random_key(void)
{
	/* Few values, so that equal fields are common and every field decides some comparison. */
	static const uint32_t words[] = {0, 1, 255, 256, 0x7fffffff, 0x80000000u, UINT32_MAX};

	return (struct chunk_key){
		.pool = words[random_u64(&seed) % 3],
		.partition = words[random_u64(&seed) % 7],
		.file_id =
			(uint64_t)words[random_u64(&seed) % 7] << 32 | words[random_u64(&seed) % 7],
		.index = words[random_u64(&seed) % 7],
	};
}

static int sign(int x)
{
	return x < 0 ? -1 : x > 0;
}

static void test_keys_sort_as_their_bytes_do(void **state)
{
	for (int run = 0; run < 20000; run++) {
		struct chunk_key a = random_key(), b = random_key(), back;
		uint8_t a_bytes[CHUNK_KEY_BYTES], b_bytes[CHUNK_KEY_BYTES];
		int order;

		chunk_key_encode(&a, a_bytes);
		chunk_key_encode(&b, b_bytes);
		order = sign(memcmp(a_bytes, b_bytes, CHUNK_KEY_BYTES));
		assert_int_equal(chunk_key_compare(&a, &b), order);
		assert_int_equal(chunk_key_equal(&a, &b), order == 0);
		chunk_key_decode(a_bytes, &back);
		assert_true(chunk_key_equal(&a, &back));
		if (order == 0)
			assert_true(chunk_key_hash(&a) == chunk_key_hash(&b));
	}
}

/* Chi-square with 255 degrees of freedom: 99.99 % of fair draws are below 351. */
static double spread_of(uint32_t files, uint32_t chunks_per_file)
{
	const double expected = (double)files * chunks_per_file / 256;
	uint32_t counts[256] = {0};
	double sum = 0;

	for (uint32_t f = 0; f < files; f++) {
		for (uint32_t i = 0; i < chunks_per_file; i++)
			counts[chunk_partition(1000 + f, i, 256)]++;
	}
	for (int p = 0; p < 256; p++)
		sum += ((double)counts[p] - expected) * ((double)counts[p] - expected) / expected;
	return sum;
}

static void test_neighbouring_files_and_chunks_spread_evenly(void **state)
{
	assert_true(spread_of(100000, 1) < 351); /* many small files */
	assert_true(spread_of(1, 100000) < 351); /* one large */
	assert_true(spread_of(1000, 100) < 351);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_placement_is_pinned_for_ever),
		cmocka_unit_test(test_the_key_of_a_chunk_has_its_partition),
		cmocka_unit_test(test_the_bytes_of_a_key_are_pinned),
		cmocka_unit_test(test_keys_sort_as_their_bytes_do),
		cmocka_unit_test(test_neighbouring_files_and_chunks_spread_evenly),
	};

	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
