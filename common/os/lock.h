/* lock.h - checks that the calling thread has a lock, in functions that need it.
 *
 * Builds with CHECK_LOCKS check it: DEVELOPER=1 and SANITIZE. Other builds do nothing. */
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
