/* fuzz.h - what the fuzz programs share: options, random numbers, mutations.
 *
 *   NAME [--runs N] [--seed S]     exit status 0: all runs held, 1: one did not, 2: usage
 *
 * A run is decided by seed and number alone. With -DCATENA_LIBFUZZER each exports
 * LLVMFuzzerTestOneInput() instead of main(). */
#ifndef CATENA_TESTS_LIB_FUZZ_H
#define CATENA_TESTS_LIB_FUZZ_H
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_options {
	uint64_t runs;
	uint64_t seed;
};

static inline bool fuzz_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static inline bool fuzz_options_get(int argc, char **argv, struct fuzz_options *options)
{
	for (int i = 1; i < argc; i += 2) {
		uint64_t *value = NULL;

		if (strcmp(argv[i], "--runs") == 0)
			value = &options->runs;
		else if (strcmp(argv[i], "--seed") == 0)
			value = &options->seed;
		if (value == NULL || i + 1 == argc || !fuzz_number(argv[i + 1], value)) {
			fprintf(stderr, "usage: %s [--runs N] [--seed S]\n", argv[0]);
			return false;
		}
	}
	return true;
}

/* The state for one run's generator; never 0. */
static inline uint64_t fuzz_state(uint64_t seed, uint64_t run)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + run;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x == 0 ? 1 : x;
}

/* xorshift64* */
static inline uint64_t fuzz_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717ull;
}

/* Says that a property does not hold; the caller goes on to return false. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,          \
				#condition);                                                       \
			return false;                                                              \
		}                                                                                  \
	} while (0)

/* A copy that ends where its memory ends, so that AddressSanitizer sees any read behind it. */
static inline uint8_t *fuzz_exact_copy(const void *data, size_t size)
{
	uint8_t *copy = malloc(size == 0 ? 1 : size);

	if (copy == NULL)
		abort();
	memcpy(copy, data, size);
	return copy;
}
#endif
