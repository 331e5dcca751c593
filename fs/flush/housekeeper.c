/* housekeeper.c - see housekeeper.h. */
#include "fs/flush/housekeeper.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/lock.h"

#define IDLE_NS (60 * NS_PER_SEC)

struct housekeeper {
	housekeeper_tick_fn *tick;
	void *user;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started, stopping, woken;
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
	pthread_cond_init(&housekeeper->changed, NULL);
	*out = housekeeper;
	return 0;
}

/* Takes out one thing that is due at @now_ns, or returns NULL. *next_ns is lowered to when the first
 * of the others is due. Locks: the housekeeper's. */
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

static void *run(void *user)
{
	struct housekeeper *housekeeper = user;
	bool more;

	pthread_mutex_lock(&housekeeper->lock);
	while (!housekeeper->stopping) {
		uint64_t now_ns = clock_monotonic_ns(), next_ns = now_ns + IDLE_NS;

		housekeeper->woken = false;
		pthread_mutex_unlock(&housekeeper->lock);
		more = housekeeper->tick(housekeeper->user, now_ns);
		pthread_mutex_lock(&housekeeper->lock);
		do_later(housekeeper, now_ns, &next_ns);
		if (more && next_ns > now_ns + HOUSEKEEPER_TICK_NS)
			next_ns = now_ns + HOUSEKEEPER_TICK_NS;
		if (!housekeeper->stopping && !housekeeper->woken)
			cond_wait_until(&housekeeper->changed, &housekeeper->lock, next_ns);
	}
	pthread_mutex_unlock(&housekeeper->lock);
	return NULL;
}

int housekeeper_start(struct housekeeper *housekeeper)
{
	int rc = -pthread_create(&housekeeper->thread, NULL, run, housekeeper);

	housekeeper->started = rc == 0;
	return rc;
}

void housekeeper_stop(struct housekeeper *housekeeper)
{
	uint64_t next_ns = UINT64_MAX;

	pthread_mutex_lock(&housekeeper->lock);
	housekeeper->stopping = true;
	pthread_cond_broadcast(&housekeeper->changed);
	pthread_mutex_unlock(&housekeeper->lock);
	if (housekeeper->started)
		pthread_join(housekeeper->thread, NULL);
	housekeeper->started = false;
	pthread_mutex_lock(&housekeeper->lock);
	do_later(housekeeper, UINT64_MAX, &next_ns);
	pthread_mutex_unlock(&housekeeper->lock);
}

void housekeeper_destroy(struct housekeeper *housekeeper)
{
	if (housekeeper == NULL)
		return;
	housekeeper_stop(housekeeper);
	pthread_cond_destroy(&housekeeper->changed);
	pthread_mutex_destroy(&housekeeper->lock);
	free(housekeeper);
}

void housekeeper_wake(struct housekeeper *housekeeper)
{
	pthread_mutex_lock(&housekeeper->lock);
	housekeeper->woken = true;
	pthread_cond_signal(&housekeeper->changed);
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
		housekeeper->woken = true;
		pthread_cond_signal(&housekeeper->changed);
		pthread_mutex_unlock(&housekeeper->lock);
		return;
	}
	pthread_mutex_unlock(&housekeeper->lock);
	go(later);
}
