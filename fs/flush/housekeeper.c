/* housekeeper.c - see housekeeper.h. */
#include "fs/flush/housekeeper.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "fs/flush/flush.h"
#include "fs/inodes/fs.h"

#define IDLE_NS (60 * NS_PER_SEC)

struct keeper {
	struct fs *fs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started, stopping, woken;
	struct keeper_later *later; /* in no order: there are few */
};

int keeper_create(struct fs *fs, struct keeper **out)
{
	struct keeper *keeper = calloc(1, sizeof(*keeper));
	pthread_condattr_t attr;

	if (keeper == NULL)
		return -ENOMEM;
	keeper->fs = fs;
	pthread_mutex_init(&keeper->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&keeper->changed, &attr);
	pthread_condattr_destroy(&attr);
	*out = keeper;
	return 0;
}

/* One of those that are due, taken out; *next_ns: when the first of the others is. */
static struct keeper_later *take_due(struct keeper *keeper, uint64_t now_ns, uint64_t *next_ns)
{
	struct keeper_later **link = &keeper->later, *later;

	for (; (later = *link) != NULL; link = &later->next) {
		if (later->due_ns <= now_ns) {
			*link = later->next;
			return later;
		}
		if (later->due_ns < *next_ns)
			*next_ns = later->due_ns;
	}
	return NULL;
}

/* With the lock held, which is free while things are done. */
static void do_later(struct keeper *keeper, uint64_t now_ns, uint64_t *next_ns)
{
	struct keeper_later *later;

	while ((later = take_due(keeper, now_ns, next_ns)) != NULL) {
		pthread_mutex_unlock(&keeper->lock);
		later->go(later);
		pthread_mutex_lock(&keeper->lock);
	}
}

static void *run(void *user)
{
	struct keeper *keeper = user;
	bool more;

	pthread_mutex_lock(&keeper->lock);
	while (!keeper->stopping) {
		uint64_t now_ns = clock_monotonic_ns(), next_ns = now_ns + IDLE_NS;
		struct timespec at;

		keeper->woken = false;
		pthread_mutex_unlock(&keeper->lock);
		more = flusher_tick(keeper->fs, now_ns);
		more |= task_tick(keeper->fs->tasks, now_ns);
		more |= root_wait_tick(keeper->fs, now_ns);
		pthread_mutex_lock(&keeper->lock);
		do_later(keeper, now_ns, &next_ns);
		if (more && next_ns > now_ns + FLUSH_TICK_NS)
			next_ns = now_ns + FLUSH_TICK_NS;
		at = (struct timespec){.tv_sec = (time_t)(next_ns / NS_PER_SEC),
				       .tv_nsec = (long)(next_ns % NS_PER_SEC)};
		if (!keeper->stopping && !keeper->woken)
			pthread_cond_timedwait(&keeper->changed, &keeper->lock, &at);
	}
	pthread_mutex_unlock(&keeper->lock);
	return NULL;
}

int keeper_start(struct keeper *keeper)
{
	int rc = -pthread_create(&keeper->thread, NULL, run, keeper);

	keeper->started = rc == 0;
	return rc;
}

void keeper_stop(struct keeper *keeper)
{
	uint64_t next_ns = UINT64_MAX;

	pthread_mutex_lock(&keeper->lock);
	keeper->stopping = true;
	pthread_cond_broadcast(&keeper->changed);
	pthread_mutex_unlock(&keeper->lock);
	if (keeper->started)
		pthread_join(keeper->thread, NULL);
	keeper->started = false;
	pthread_mutex_lock(&keeper->lock);
	do_later(keeper, UINT64_MAX, &next_ns);
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_destroy(struct keeper *keeper)
{
	if (keeper == NULL)
		return;
	keeper_stop(keeper);
	pthread_cond_destroy(&keeper->changed);
	pthread_mutex_destroy(&keeper->lock);
	free(keeper);
}

void keeper_wake(struct keeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->woken = true;
	pthread_cond_signal(&keeper->changed);
	pthread_mutex_unlock(&keeper->lock);
}

void keeper_later(struct keeper *keeper, struct keeper_later *later, uint64_t delay_ns,
		  void (*go)(struct keeper_later *later))
{
	later->go = go;
	later->due_ns = clock_monotonic_ns() + delay_ns;
	pthread_mutex_lock(&keeper->lock);
	if (!keeper->stopping) {
		later->next = keeper->later;
		keeper->later = later;
		keeper->woken = true;
		pthread_cond_signal(&keeper->changed);
		pthread_mutex_unlock(&keeper->lock);
		return;
	}
	pthread_mutex_unlock(&keeper->lock);
	go(later);
}
