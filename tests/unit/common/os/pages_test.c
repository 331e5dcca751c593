/* pages_test - buffers side by side in regions.
 *
 * Goal: no two buffers overlap, whatever comes and goes; places are used again, the lowest first;
 * what is put back is given back, and so is a region that is empty. Method: seeded gets and puts of
 * the sizes that occur, each buffer filled with its own pattern (regions only where malloc() is not
 * asked, so not under AddressSanitizer). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "common/os/pages.h"
#include "tests/lib/random.h"

#define MIB (1u << 20)
#if defined(__SANITIZE_ADDRESS__)
#define REGIONS false
#else
#define REGIONS true
#endif

struct piece {
	uint8_t *memory;
	size_t size;
	uint8_t pattern;
};

static bool intact(const struct piece *piece)
{
	for (size_t i = 0; i < piece->size; i += 512)
		if (piece->memory[i] != piece->pattern)
			return false;
	return piece->memory[piece->size - 1] == piece->pattern;
}

static void test_buffers_never_overlap(void **state)
{
	static const size_t sizes[] = {4096,   20480,  69632,   135168,
				       266240, 528384, 1052672, 1056768};
	static struct piece pieces[150];
	uint64_t seed = 7;
	(void)state;

	for (int step = 0; step < 6000; step++) {
		struct piece *piece = &pieces[random_below(&seed, 150)];

		if (piece->memory != NULL) {
			assert_true(intact(piece));
			pages_put(piece->memory, piece->size);
			piece->memory = NULL;
			continue;
		}
		piece->size = sizes[random_below(&seed, 8)];
		piece->memory = pages_get(piece->size);
		piece->pattern = (uint8_t)step;
		assert_non_null(piece->memory);
		assert_int_equal((uintptr_t)piece->memory % 4096, 0);
		memset(piece->memory, piece->pattern, piece->size);
	}
	for (int i = 0; i < 150; i++) {
		assert_true(pieces[i].memory == NULL || intact(&pieces[i]));
		pages_put(pieces[i].memory, pieces[i].size);
	}
	pages_put(NULL, 1);
	assert_int_equal(pages_mapped(), 0);
}

static void test_the_lowest_place_is_used_and_empty_regions_go(void **state)
{
	const size_t size = MIB + 4096;
	void *memory[40];
	(void)state;

	if (!REGIONS)
		skip();
	for (int i = 0; i < 40; i++)
		memory[i] = pages_get(size);
	assert_int_equal(pages_mapped(), 64 * MIB);
	/* 31 in one region, side by side. */
	assert_ptr_equal((uint8_t *)memory[0] + size, memory[1]);
	assert_int_equal((uintptr_t)memory[0] % (2 * MIB), 0);
	memset(memory[7], 1, size);
	pages_put(memory[7], size);
	pages_put(memory[20], size);
	memory[7] = pages_get(size);
	assert_ptr_equal((uint8_t *)memory[6] + size, memory[7]);
	/* Given back: what was there is not. */
	assert_int_equal(*(uint8_t *)memory[7], 0);
	/* Two smaller ones fit where one was. */
	memory[20] = pages_get(size / 2);
	assert_ptr_equal((uint8_t *)memory[19] + size, memory[20]);
	pages_put(memory[20], size / 2);
	for (int i = 31; i < 40; i++)
		pages_put(memory[i], size);
	assert_int_equal(pages_mapped(), 32 * MIB);
	for (int i = 0; i < 31; i++)
		pages_put(i == 20 ? NULL : memory[i], size);
	assert_int_equal(pages_mapped(), 0);
}

static void test_what_is_too_large_for_a_region_is_got_all_the_same(void **state)
{
	uint8_t *memory = pages_get(40 * MIB);
	(void)state;

	assert_non_null(memory);
	memory[40 * MIB - 1] = 1;
	pages_put(memory, 40 * MIB);
	assert_int_equal(pages_mapped(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffers_never_overlap),
		cmocka_unit_test(test_the_lowest_place_is_used_and_empty_regions_go),
		cmocka_unit_test(test_what_is_too_large_for_a_region_is_got_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
