/* cond.h - waits for a condition variable that end at a time of clock_monotonic_ns().
 *
 * The variable is an ordinary one: pthread_cond_init() without attributes. */
#ifndef CATENA_COMMON_OS_COND_H
#define CATENA_COMMON_OS_COND_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Waits for a signal, like pthread_cond_wait(). False: the clock has reached @deadline_ns first;
 * UINT64_MAX: it never does. Locks: @lock, which is free during the wait. */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns);
#endif
