/* leave.c - everything written comes to where it is safe, or a deadline passes. */
#define LOG_MODULE "fs"
#include "fs/lease/leave.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/flush/flush.h"
#include "fs/flush/fsync.h"
#include "fs/lease/early_answer.h"

#define LOOK_NS  (100 * NS_PER_MSEC)
#define PIECE_NS NS_PER_SEC

/* Shared by who waits and by the callbacks: those may come after the wait was given up. */
struct leave_wait {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int refs, parts, error;
};

static struct leave_wait *leave_wait_new(int parts)
{
	struct leave_wait *wait = calloc(1, sizeof(*wait));

	if (wait == NULL)
		return NULL;
	pthread_mutex_init(&wait->lock, NULL);
	pthread_cond_init(&wait->changed, NULL);
	wait->parts = parts;
	wait->refs = parts + 1;
	return wait;
}

/* With the lock held; gives it back. */
static void unref_and_unlock(struct leave_wait *wait)
{
	bool last = --wait->refs == 0;

	lock_held(&wait->lock);
	pthread_mutex_unlock(&wait->lock);
	if (!last)
		return;
	pthread_cond_destroy(&wait->changed);
	pthread_mutex_destroy(&wait->lock);
	free(wait);
}

static void part_done(void *user, int error)
{
	struct leave_wait *wait = user;

	pthread_mutex_lock(&wait->lock);
	wait->parts--;
	if (wait->error == 0)
		wait->error = error;
	pthread_cond_broadcast(&wait->changed);
	unref_and_unlock(wait);
}

/* How long is waited. */
struct patience {
	struct fs *fs;
	uint64_t deadline_ns;
	uint64_t leaving_ns; /* from then on not for what is gone, when nothing is lost by it */
};

/* Programs were told that it is done, and nobody but we have it. */
static bool anything_unsaved(struct fs *fs)
{
	return !early_answer_idle(fs) || data_any_dirty(fs->data) || flush_list_unsaved(fs);
}

static bool only_the_servers_word_is_missing(const struct patience *patience, uint64_t now_ns)
{
	return now_ns >= patience->leaving_ns && !meta_reachable(patience->fs->meta) &&
	       !anything_unsaved(patience->fs);
}

static int out_of_patience(const struct patience *patience)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (only_the_servers_word_is_missing(patience, now_ns))
		return -EHOSTDOWN;
	return now_ns >= patience->deadline_ns ? -ETIMEDOUT : 0;
}

static int await(struct leave_wait *wait, const struct patience *patience)
{
	int rc = 0;

	pthread_mutex_lock(&wait->lock);
	while (wait->parts > 0 && rc == 0) {
		if (cond_wait_until(&wait->changed, &wait->lock, clock_monotonic_ns() + LOOK_NS))
			continue;
		pthread_mutex_unlock(&wait->lock);
		rc = out_of_patience(patience);
		pthread_mutex_lock(&wait->lock);
	}
	if (wait->parts == 0)
		rc = wait->error;
	unref_and_unlock(wait);
	return rc;
}

static int flush_what_is_listed(const struct patience *patience)
{
	int error, rc;

	do {
		error = flush_everything(patience->fs, true, clock_monotonic_ns() + PIECE_NS);
		rc = error == -ETIMEDOUT ? out_of_patience(patience) : 0;
	} while (error == -ETIMEDOUT && rc == 0);
	return rc != 0 ? rc : error;
}

int leave_write_back(struct fs *fs, uint64_t timeout_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	const struct patience patience = {
		.fs = fs, .deadline_ns = now_ns + timeout_ns, .leaving_ns = now_ns + LEAVE_AWAY_NS};
	struct leave_wait *wait;
	int error, rc;

	error = flush_what_is_listed(&patience);
	if (error == -ETIMEDOUT || error == -EHOSTDOWN)
		return error;
	wait = leave_wait_new(2);
	if (wait == NULL)
		return -ENOMEM;
	data_flush_all(fs->data, true, part_done, wait);
	fsync_master(fs, part_done, wait);
	rc = await(wait, &patience);
	return error != 0 ? error : rc;
}
