/* lock.h - whether this thread has a lock, checked where a function needs one to be held.
 *
 * Builds of developers and of tests check it (CHECK_LOCKS); in others nothing is done. */
#ifndef CATENA_COMMON_OS_LOCK_H
#define CATENA_COMMON_OS_LOCK_H
#include <pthread.h>
#include <stdbool.h>
#ifdef CHECK_LOCKS
#include "common/base/expects.h"
#endif

#ifdef CHECK_LOCKS
/* True when the calling thread has locked @mutex, which is of the default kind. */
bool lock_is_held(const pthread_mutex_t *mutex);
#define lock_held(mutex) expects(lock_is_held(mutex))
#else
#define lock_held(mutex) ((void)(mutex))
#endif
#endif
