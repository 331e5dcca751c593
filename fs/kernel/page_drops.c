/* page_drops.c - see page_drops.h. */
#define LOG_MODULE "fs"
#include "fs/kernel/page_drops.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/inodes/fs.h"
#include "fs/kernel/fuse_api.h"

#define THREADS         4u
#define REQUESTS_END_NS NS_PER_SEC
#define LOOK_NS         NS_PER_MSEC

struct page_drops {
	struct fs *fs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t threads[THREADS];
	unsigned started;
	bool stopping;
	struct page_drop *first, **end;
};

int page_drops_create(struct fs *fs, struct page_drops **out)
{
	struct page_drops *drops = calloc(1, sizeof(*drops));

	if (drops == NULL)
		return -ENOMEM;
	drops->fs = fs;
	drops->end = &drops->first;
	pthread_mutex_init(&drops->lock, NULL);
	pthread_cond_init(&drops->changed, NULL);
	*out = drops;
	return 0;
}

/* False: they go on and on. */
static bool requests_end(const struct page_drop *drop)
{
	uint64_t end_ns = clock_monotonic_ns() + REQUESTS_END_NS;

	while (drop->requests != NULL && atomic_load(drop->requests) > 0) {
		if (clock_monotonic_ns() >= end_ns)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return true;
}

static void do_drop(struct page_drops *drops, struct page_drop *drop)
{
	drop->stayed = !requests_end(drop);
	if (!drop->stayed && drops->fs->session != NULL)
		fuse_lowlevel_notify_inval_inode(drops->fs->session, drop->ino, (off_t)drop->from,
						 (off_t)drop->length);
	drop->done(drop);
}

/* Takes the first drop out of the queue; NULL: there is none. Locks: drops->lock, unless no thread is
 * left. */
static struct page_drop *take(struct page_drops *drops)
{
	struct page_drop *drop = drops->first;

	if (drop != NULL) {
		drops->first = drop->next;
		if (drops->first == NULL)
			drops->end = &drops->first;
	}
	return drop;
}

static void *run(void *user)
{
	struct page_drops *drops = user;

	pthread_mutex_lock(&drops->lock);
	while (!drops->stopping) {
		struct page_drop *drop = take(drops);

		if (drop == NULL) {
			pthread_cond_wait(&drops->changed, &drops->lock);
			continue;
		}
		pthread_mutex_unlock(&drops->lock);
		do_drop(drops, drop);
		pthread_mutex_lock(&drops->lock);
	}
	pthread_mutex_unlock(&drops->lock);
	return NULL;
}

int page_drops_start(struct page_drops *drops)
{
	while (drops->started < THREADS) {
		int rc = -pthread_create(&drops->threads[drops->started], NULL, run, drops);

		if (rc != 0)
			return drops->started > 0 ? 0 : rc; /* fewer are enough */
		drops->started++;
	}
	return 0;
}

void page_drops_stop(struct page_drops *drops)
{
	struct page_drop *drop;

	pthread_mutex_lock(&drops->lock);
	drops->stopping = true;
	pthread_cond_broadcast(&drops->changed);
	pthread_mutex_unlock(&drops->lock);
	while (drops->started > 0)
		pthread_join(drops->threads[--drops->started], NULL);
	while ((drop = take(drops)) != NULL)
		drop->done(drop);
}

void page_drops_destroy(struct page_drops *drops)
{
	if (drops == NULL)
		return;
	page_drops_stop(drops);
	pthread_cond_destroy(&drops->changed);
	pthread_mutex_destroy(&drops->lock);
	free(drops);
}

void page_drops_add(struct page_drops *drops, struct page_drop *drop)
{
	bool queued = false;

	drop->next = NULL;
	pthread_mutex_lock(&drops->lock);
	if (drops->started > 0 && !drops->stopping) {
		*drops->end = drop;
		drops->end = &drop->next;
		pthread_cond_signal(&drops->changed);
		queued = true;
	}
	pthread_mutex_unlock(&drops->lock);
	if (!queued)
		drop->done(drop);
}

static void free_drop(struct page_drop *drop)
{
	free(drop);
}

void page_drops_ino(struct page_drops *drops, uint64_t ino, uint64_t from)
{
	struct page_drop *drop = calloc(1, sizeof(*drop));

	if (drop == NULL) {
		log_error("out of memory: pages of the kernel stay that are not the file's");
		return;
	}
	drop->ino = ino;
	drop->from = from;
	drop->done = free_drop;
	page_drops_add(drops, drop);
}
