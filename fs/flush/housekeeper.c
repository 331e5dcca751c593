/* housekeeper.c - see housekeeper.h. */
#include "fs/flush/housekeeper.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/periodic_thread.h"

#define IDLE_NS (60 * NS_PER_SEC)

struct housekeeper {
	housekeeper_tick_fn *tick;
	void *user;
	pthread_mutex_t lock;
	struct periodic_thread *thread; /* NULL: not started, or stopped */
	bool stopping;
	struct housekeeper_later *later; /* in no order: there are few */
};

int housekeeper_create(housekeeper_tick_fn *tick, void *user, struct housekeeper **out)
{
	struct housekeeper *housekeeper = calloc(1, sizeof(*housekeeper));

	if (housekeeper == NULL)
		return -ENOMEM;
	housekeeper->tick = tick;
	housekeeper->user = user;
	pthread_mutex_init(&housekeeper->lock, NULL);
	*out = housekeeper;
	return 0;
}

/* Takes out one thing that is due at @now_ns, or returns NULL. *next_ns is lowered to when the
 * first of the others is due. Locks: the housekeeper's. */
static struct housekeeper_later *take_due(struct housekeeper *housekeeper, uint64_t now_ns,
					  uint64_t *next_ns)
{
	struct housekeeper_later **link = &housekeeper->later, *later;

	lock_held(&housekeeper->lock);
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

/* Does everything that is due. Locks: the housekeeper's, which is free while things are done. */
static void do_later(struct housekeeper *housekeeper, uint64_t now_ns, uint64_t *next_ns)
{
	struct housekeeper_later *later;

	while ((later = take_due(housekeeper, now_ns, next_ns)) != NULL) {
		pthread_mutex_unlock(&housekeeper->lock);
		later->go(later);
		pthread_mutex_lock(&housekeeper->lock);
	}
}

static uint64_t housekeeper_round(void *user)
{
	struct housekeeper *housekeeper = user;
	uint64_t now_ns = clock_monotonic_ns(), next_ns = now_ns + IDLE_NS;
	bool more = housekeeper->tick(housekeeper->user, now_ns);

	pthread_mutex_lock(&housekeeper->lock);
	do_later(housekeeper, now_ns, &next_ns);
	pthread_mutex_unlock(&housekeeper->lock);
	if (more && next_ns > now_ns + HOUSEKEEPER_TICK_NS)
		next_ns = now_ns + HOUSEKEEPER_TICK_NS;
	return next_ns;
}

int housekeeper_start(struct housekeeper *housekeeper)
{
	int rc;

	/* With the lock: a wake meanwhile waits, and is not lost. */
	pthread_mutex_lock(&housekeeper->lock);
	rc = periodic_thread_start(housekeeper_round, housekeeper, 0, &housekeeper->thread);
	pthread_mutex_unlock(&housekeeper->lock);
	return rc;
}

void housekeeper_stop(struct housekeeper *housekeeper)
{
	uint64_t next_ns = UINT64_MAX;
	struct periodic_thread *thread;

	pthread_mutex_lock(&housekeeper->lock);
	housekeeper->stopping = true;
	thread = housekeeper->thread;
	housekeeper->thread = NULL;
	pthread_mutex_unlock(&housekeeper->lock);
	periodic_thread_stop(thread);
	pthread_mutex_lock(&housekeeper->lock);
	do_later(housekeeper, UINT64_MAX, &next_ns);
	pthread_mutex_unlock(&housekeeper->lock);
}

void housekeeper_destroy(struct housekeeper *housekeeper)
{
	if (housekeeper == NULL)
		return;
	housekeeper_stop(housekeeper);
	pthread_mutex_destroy(&housekeeper->lock);
	free(housekeeper);
}

/* Locks: the housekeeper's is held. */
static void wake(struct housekeeper *housekeeper)
{
	lock_held(&housekeeper->lock);
	if (housekeeper->thread != NULL)
		periodic_thread_kick(housekeeper->thread);
}

void housekeeper_wake(struct housekeeper *housekeeper)
{
	pthread_mutex_lock(&housekeeper->lock);
	wake(housekeeper);
	pthread_mutex_unlock(&housekeeper->lock);
}

void housekeeper_later(struct housekeeper *housekeeper, struct housekeeper_later *later,
		       uint64_t delay_ns, void (*go)(struct housekeeper_later *later))
{
	expects(go != NULL);
	later->go = go;
	later->due_ns = clock_monotonic_ns() + delay_ns;
	pthread_mutex_lock(&housekeeper->lock);
	if (!housekeeper->stopping) {
		later->next = housekeeper->later;
		housekeeper->later = later;
		wake(housekeeper);
		pthread_mutex_unlock(&housekeeper->lock);
		return;
	}
	pthread_mutex_unlock(&housekeeper->lock);
	go(later);
}
