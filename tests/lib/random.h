/* random.h - random numbers for tests, decided by a seed: any number will do, 0 too (SplitMix64).
 */
#ifndef CATENA_TESTS_LIB_RANDOM_H
#define CATENA_TESTS_LIB_RANDOM_H
#include <stdint.h>

uint64_t random_u64(uint64_t *state);

/* 0 to @limit - 1. */
uint64_t random_below(uint64_t *state, uint64_t limit);
#endif
