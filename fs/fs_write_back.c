/* fs_write_back.c - everything written comes to where it is safe, or a deadline passes. */
#define LOG_MODULE "fs"
#include <errno.h>
#include <stdlib.h>
#include "common/clock.h"
#include "common/log.h"
#include "fs/flush.h"
#include "fs/fs.h"
#include "fs/sync.h"

/* Shared by who waits and by the callbacks: those may come after the wait was given up. */
struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int refs, parts, error;
};

static struct waiter *waiter_new(int parts)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	pthread_condattr_t attr;

	if (waiter == NULL)
		return NULL;
	pthread_mutex_init(&waiter->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&waiter->changed, &attr);
	pthread_condattr_destroy(&attr);
	waiter->parts = parts;
	waiter->refs = parts + 1;
	return waiter;
}

/* With the lock held; gives it back. */
static void unref_and_unlock(struct waiter *waiter)
{
	bool last = --waiter->refs == 0;

	pthread_mutex_unlock(&waiter->lock);
	if (!last)
		return;
	pthread_cond_destroy(&waiter->changed);
	pthread_mutex_destroy(&waiter->lock);
	free(waiter);
}

static void part_done(void *user, int error)
{
	struct waiter *waiter = user;

	pthread_mutex_lock(&waiter->lock);
	waiter->parts--;
	if (waiter->error == 0)
		waiter->error = error;
	pthread_cond_broadcast(&waiter->changed);
	unref_and_unlock(waiter);
}

static int wait_until(struct waiter *waiter, uint64_t deadline_ns)
{
	struct timespec at = {.tv_sec = (time_t)(deadline_ns / NS_PER_SEC),
			      .tv_nsec = (long)(deadline_ns % NS_PER_SEC)};
	int rc;

	pthread_mutex_lock(&waiter->lock);
	while (waiter->parts > 0 &&
	       pthread_cond_timedwait(&waiter->changed, &waiter->lock, &at) != ETIMEDOUT)
		;
	rc = waiter->parts > 0 ? -ETIMEDOUT : waiter->error;
	unref_and_unlock(waiter);
	return rc;
}

int fs_write_back(struct fs *fs, uint64_t timeout_ns)
{
	uint64_t deadline_ns = clock_monotonic_ns() + timeout_ns;
	struct waiter *waiter;
	int error, rc;

	error = flush_everything(fs, true, deadline_ns);
	if (error == -ETIMEDOUT)
		return error;
	waiter = waiter_new(2);
	if (waiter == NULL)
		return -ENOMEM;
	data_flush_all(fs->data, true, part_done, waiter);
	sync_master(fs, part_done, waiter);
	rc = wait_until(waiter, deadline_ns);
	return error != 0 ? error : rc;
}
