/* Goal: sequential readers, several at once and a little out of order, find nearly everything
 * fetched before they ask; random readers cause nothing; nothing is fetched twice, misaligned or
 * behind the end.
 * Method: a reader's accesses are run through readahead_access() and a map of the blocks fetched is
 * kept. Seeded; run with a number to repeat one seed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/block.h"
#include "fs/writeback/readahead.h"
#include "tests/lib/random.h"

#define MIB         (1u << 20)
#define FILE_BYTES  (256u * MIB)
#define FILE_BLOCKS (FILE_BYTES / BLOCK_SIZE)

static uint64_t only_seed;
static uint64_t rng_state;

static uint64_t rng(void)
{
	return random_u64(&rng_state);
}

struct world {
	struct readahead ra;
	uint8_t fetched[FILE_BLOCKS]; /* how often */
	uint64_t end, window, allowed;
	uint64_t bytes_asked, bytes_found, bytes_fetched;
};

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->end = FILE_BYTES;
	w->window = 8 * MIB;
	w->allowed = UINT64_MAX;
	return w;
}

static void access_at(struct world *w, uint64_t offset, uint32_t length)
{
	struct readahead_range ranges[READAHEAD_RANGES_MAX];
	unsigned count;
	uint64_t bytes = 0;

	for (uint64_t at = offset; at < offset + length; at += BLOCK_SIZE) {
		w->bytes_asked += BLOCK_SIZE;
		if (w->fetched[at / BLOCK_SIZE] > 0)
			w->bytes_found += BLOCK_SIZE;
	}
	count = readahead_access(&w->ra, offset, length, w->end, w->window, w->allowed, ranges);
	assert_true(count <= READAHEAD_RANGES_MAX);
	for (unsigned i = 0; i < count; i++) {
		uint64_t from = ranges[i].from, to = ranges[i].to;

		assert_true(from < to && from % BLOCK_SIZE == 0 && to % BLOCK_SIZE == 0);
		assert_true(from / READAHEAD_PIECE == (to - 1) / READAHEAD_PIECE);
		assert_true(from < w->end);
		bytes += to - from;
		for (uint64_t at = from; at < to; at += BLOCK_SIZE)
			w->fetched[at / BLOCK_SIZE]++;
	}
	assert_true(bytes <= w->allowed);
	w->bytes_fetched += bytes;
}

static bool anything_twice(const struct world *w)
{
	for (size_t i = 0; i < FILE_BLOCKS; i++)
		if (w->fetched[i] > 1)
			return true;
	return false;
}

static void test_a_sequential_reader_finds_nearly_everything(void **state)
{
	static const uint32_t lengths[] = {4096, 65536, 131072, MIB};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct world *w = world_new();

		w->end = 64 * MIB + 1000;
		for (uint64_t at = 0; at < 64 * MIB; at += lengths[i])
			access_at(w, at, lengths[i]);
		assert_true(w->bytes_asked - w->bytes_found <= 2 * lengths[i]);
		assert_true(w->fetched[64 * MIB / BLOCK_SIZE] == 1);
		assert_true(w->fetched[64 * MIB / BLOCK_SIZE + 1] == 0);
		assert_false(anything_twice(w));
		free(w);
	}
}

static void test_the_window_grows_with_what_was_read(void **state)
{
	struct world *w = world_new();

	(void)state;
	access_at(w, 0, 131072);
	assert_int_equal(w->bytes_fetched, 0);
	access_at(w, 131072, 131072);
	assert_in_range(w->bytes_fetched, 1, 512 << 10);
	for (uint64_t at = 262144; at < 64 * MIB; at += 131072) {
		access_at(w, at, 131072);
		assert_true(w->bytes_fetched <= at + 131072 + w->window);
	}
	assert_true(w->bytes_fetched >= 64 * MIB + w->window - 3 * MIB);
	free(w);
}

static void test_four_readers_at_once_are_four_streams(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint64_t at = 0; at < 32 * MIB; at += 131072)
		for (uint64_t reader = 0; reader < 4; reader++)
			access_at(w, reader * 64 * MIB + at, 131072);
	assert_true(w->bytes_found * 100 >= w->bytes_asked * 98);
	assert_false(anything_twice(w));
	free(w);
}

static void test_a_little_disorder_does_not_end_a_stream(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct world *w = world_new();
		uint64_t pending[4];

		rng_state = only_seed != 0 ? only_seed : seed;
		for (uint64_t at = 0; at < 128 * MIB; at += 4 * 131072) {
			for (unsigned i = 0; i < 4; i++)
				pending[i] = at + i * 131072;
			for (unsigned i = 3; i > 0; i--) {
				unsigned other = (unsigned)(rng() % (i + 1));
				uint64_t swap = pending[i];

				pending[i] = pending[other];
				pending[other] = swap;
			}
			for (unsigned i = 0; i < 4; i++)
				access_at(w, pending[i], 131072);
		}
		if (w->bytes_found * 100 < w->bytes_asked * 95 || anything_twice(w))
			fail_msg("seed %llu: found %llu of %llu", (unsigned long long)seed,
				 (unsigned long long)w->bytes_found,
				 (unsigned long long)w->bytes_asked);
		assert_false(anything_twice(w));
		free(w);
	}
}

static void test_random_readers_cause_nothing(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct world *w = world_new();

		rng_state = only_seed != 0 ? only_seed : seed;
		for (int i = 0; i < 20000; i++)
			access_at(w, rng() % (FILE_BLOCKS - 16) * BLOCK_SIZE, 4096);
		/* By chance a block may follow one of the last few. */
		assert_true(w->bytes_fetched <= w->bytes_asked / 100);
		free(w);
	}
}

static void test_nothing_is_fetched_without_memory(void **state)
{
	struct world *w = world_new();

	(void)state;
	w->allowed = 0;
	for (uint64_t at = 0; at < 8 * MIB; at += 131072)
		access_at(w, at, 131072);
	assert_int_equal(w->bytes_fetched, 0);
	/* And goes on where the reader is when there is some again. */
	w->allowed = 2 * MIB;
	access_at(w, 8 * MIB, 131072);
	assert_in_range(w->bytes_fetched, MIB, 2 * MIB);
	assert_int_equal(w->fetched[(8 * MIB + 131072) / BLOCK_SIZE], 1);
	free(w);
}

static void test_what_was_thrown_away_is_fetched_again(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint64_t at = 0; at < 4 * MIB; at += 131072)
		access_at(w, at, 131072);
	memset(w->fetched, 0, sizeof(w->fetched));
	readahead_forget(&w->ra);
	access_at(w, 4 * MIB, 131072);
	assert_int_equal(w->fetched[(4 * MIB + 131072) / BLOCK_SIZE], 1);
	free(w);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_sequential_reader_finds_nearly_everything),
		cmocka_unit_test(test_the_window_grows_with_what_was_read),
		cmocka_unit_test(test_four_readers_at_once_are_four_streams),
		cmocka_unit_test(test_a_little_disorder_does_not_end_a_stream),
		cmocka_unit_test(test_random_readers_cause_nothing),
		cmocka_unit_test(test_nothing_is_fetched_without_memory),
		cmocka_unit_test(test_what_was_thrown_away_is_fetched_again),
	};

	if (argc > 1)
		only_seed = strtoull(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
