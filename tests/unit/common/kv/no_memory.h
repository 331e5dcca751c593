/* no_memory.h - makes malloc() or realloc() fail once in the programs that the Makefile links with
 * both wrapped. */
#ifndef CATENA_TESTS_UNIT_COMMON_KV_NO_MEMORY_H
#define CATENA_TESTS_UNIT_COMMON_KV_NO_MEMORY_H
#include <stdbool.h>
#include <stddef.h>

/* Makes the nth coming call fail; 0: none any more. */
void no_memory_at(long nth);
/* Has the call failed that was to? */
bool no_memory_met(void);

void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);
#endif
