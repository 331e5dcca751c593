#include "common/os/cond.h"
#include <errno.h>
#include <time.h>
#include "common/base/duration.h"
#include "common/base/expects.h"
#include "common/os/lock.h"

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t deadline_ns)
{
	const struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
					  .tv_nsec = (long)(deadline_ns % NS_PER_SEC)};
	int rc;

	lock_held(lock);
	rc = pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &deadline);
	expects(rc == 0 || rc == ETIMEDOUT);
	return rc == 0;
}
