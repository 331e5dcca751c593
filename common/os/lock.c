#include "common/os/lock.h"
#ifdef CHECK_LOCKS
#include <unistd.h>

bool lock_is_held(const pthread_mutex_t *mutex)
{
	/* glibc notes the owner in every kind of mutex; no call says it. Other threads may change
	 * it meanwhile, but never to this thread's. */
	return __atomic_load_n(&mutex->__data.__owner, __ATOMIC_RELAXED) == gettid();
}
#endif
