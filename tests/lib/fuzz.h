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

bool fuzz_options_get(int argc, char **argv, struct fuzz_options *options);

/* The state for one run's generator; never 0. */
uint64_t fuzz_state(uint64_t seed, uint64_t run);

/* xorshift64* */
uint64_t fuzz_random(uint64_t *state);

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
uint8_t *fuzz_exact_copy(const void *data, size_t size);
#endif
