/* lease_return.c - see lease_return.h. */
#define LOG_MODULE "recall"
#include "fs/lease/lease_return.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"

#define FLUSH_PIECE_NS (2 * NS_PER_SEC)
#define SLEPT_NS       (50 * NS_PER_MSEC)

struct stale {
	struct stale *next;
	uint64_t ino, offset;
	void (*done)(void *user); /* NULL: nobody waits */
	void *user;
};

struct recaller {
	struct fs *fs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started, stopping;
	bool wanted, give_back, session_lost;
	int64_t slept_ns;  /* by boot time and not by the monotonic clock, when caches were dropped
			      last */
	uint64_t since_ns; /* the last time something was wanted */
	struct stale *stale;
};

int recaller_create(struct fs *fs, struct recaller **out)
{
	struct recaller *recaller = calloc(1, sizeof(*recaller));
	pthread_condattr_t attr;

	if (recaller == NULL)
		return -ENOMEM;
	recaller->fs = fs;
	recaller->slept_ns = (int64_t)(clock_boottime_ns() - clock_monotonic_ns());
	pthread_mutex_init(&recaller->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&recaller->changed, &attr);
	pthread_condattr_destroy(&attr);
	*out = recaller;
	return 0;
}

void recall_begin(struct recaller *recaller, bool give_back)
{
	pthread_mutex_lock(&recaller->lock);
	recaller->wanted = true;
	recaller->give_back |= give_back;
	recaller->since_ns = clock_monotonic_ns();
	pthread_cond_signal(&recaller->changed);
	pthread_mutex_unlock(&recaller->lock);
}

void recall_session_lost(struct recaller *recaller)
{
	pthread_mutex_lock(&recaller->lock);
	recaller->session_lost = true;
	pthread_mutex_unlock(&recaller->lock);
	recall_begin(recaller, false);
}

void recall_pages(struct recaller *recaller, uint64_t ino, uint64_t offset,
		  void (*done)(void *user), void *user)
{
	struct stale *stale = malloc(sizeof(*stale));

	if (stale == NULL) {
		if (done != NULL)
			done(user);
		return;
	}
	*stale = (struct stale){.ino = ino, .offset = offset, .done = done, .user = user};
	pthread_mutex_lock(&recaller->lock);
	stale->next = recaller->stale;
	recaller->stale = stale;
	pthread_cond_signal(&recaller->changed);
	pthread_mutex_unlock(&recaller->lock);
}

/* ---- opens ---- */

static bool open_and_unregistered(const struct inode *inode)
{
	return inode->opens > 0 && inode->registered == 0;
}

static void register_one(void *user, struct inode *inode)
{
	fs_register(user, inode);
}

static bool was_registered(const struct inode *inode)
{
	return inode->registered > 0;
}

static void forget_registration(void *user, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->registered = 0;
	pthread_mutex_unlock(&inode->lock);
}

void recall_reopen(struct fs *fs)
{
	if (inode_table_each(fs->inodes, was_registered, forget_registration, fs) != 0 ||
	    inode_table_each(fs->inodes, open_and_unregistered, register_one, fs) != 0)
		log_error("out of memory: open files are unknown to the master");
}

static bool open_and_registered(const struct inode *inode)
{
	return inode->opens > 0 && inode->registered > 0;
}

void recall_register_again(struct fs *fs)
{
	if (inode_table_each(fs->inodes, open_and_registered, register_one, fs) != 0)
		log_error("out of memory: open files may be unknown to the master");
}

/* ---- pages ---- */

static bool is_open(const struct inode *inode)
{
	return inode->opens > 0;
}

static void set_dropping(struct inode *inode, bool dropping)
{
	pthread_mutex_lock(&inode->lock);
	inode->dropping = dropping;
	pthread_mutex_unlock(&inode->lock);
}

static void drop_pages(void *user, struct inode *inode)
{
	struct fs *fs = user;
	struct data_file *file = fs_data_if_open(inode);

	if (file != NULL)
		data_invalidate(file);
	fs_data_put(file);
	if (fs->session != NULL)
		fuse_lowlevel_notify_inval_inode(fs->session, inode->ino, 0, 0);
}

/* Dirty pages that come in meanwhile are of the session that is over. */
static void drop_lost_pages(void *user, struct inode *inode)
{
	set_dropping(inode, true);
	drop_pages(user, inode);
	set_dropping(inode, false);
}

static bool any(const struct inode *inode)
{
	return true;
}

/* Never waits. */
static void drop_attributes(void *user, struct inode *inode)
{
	struct fs *fs = user;

	if (fs->session != NULL)
		fuse_lowlevel_notify_inval_inode(fs->session, inode->ino, -1, 0);
}

static void drop_stale(struct recaller *recaller, struct stale *stale, bool notify)
{
	struct stale *next;

	for (; stale != NULL; stale = next) {
		next = stale->next;
		if (notify && recaller->fs->session != NULL)
			fuse_lowlevel_notify_inval_inode(recaller->fs->session, stale->ino,
							 (off_t)stale->offset, 0);
		if (stale->done != NULL)
			stale->done(stale->user);
		free(stale);
	}
}

/* ---- the thread ---- */

static bool stopping(struct recaller *recaller)
{
	bool yes;

	pthread_mutex_lock(&recaller->lock);
	yes = recaller->stopping;
	pthread_mutex_unlock(&recaller->lock);
	return yes;
}

static void for_each(struct recaller *recaller, bool (*wanted)(const struct inode *inode),
		     void (*each)(void *user, struct inode *inode))
{
	while (inode_table_each(recaller->fs->inodes, wanted, each, recaller->fs) != 0 &&
	       !stopping(recaller))
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

/* The kernel lets names and attributes go by itself when the lease ends, but its time stands still
 * while the machine sleeps. */
static bool has_slept(struct recaller *recaller)
{
	int64_t slept_ns = (int64_t)(clock_boottime_ns() - clock_monotonic_ns());
	bool yes = slept_ns > recaller->slept_ns + (int64_t)SLEPT_NS;

	recaller->slept_ns = slept_ns;
	return yes;
}

/* Waits for nobody but the kernel. */
static void drop_caches(struct recaller *recaller, bool session_lost)
{
	if (has_slept(recaller))
		for_each(recaller, any, drop_attributes);
	for_each(recaller, is_open, session_lost ? drop_lost_pages : drop_pages);
}

static void write_back(struct recaller *recaller)
{
	struct fs *fs = recaller->fs;
	int rc;

	/* What was answered before its time is done first, and appends whose place was found while
	 * nobody else could append. */
	while (!ahead_idle(fs) || atomic_load(&fs->appends_alone) > 0) {
		if (stopping(recaller))
			return;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	for_each(recaller, open_and_unregistered, register_one);
	do
		rc = flush_everything(fs, false, clock_monotonic_ns() + FLUSH_PIECE_NS);
	while ((rc == -ETIMEDOUT || rc == -ENOMEM) && !stopping(recaller));
	if (rc != 0)
		log_warn("writing back for the recall failed error=\"%s\"", strerror(-rc));
}

/* With the lock held. Until the kernel has forgotten what it was allowed to keep. */
static void wait_for_kernel(struct recaller *recaller)
{
	uint64_t end_ns =
		recaller->since_ns + (META_KERNEL_TIMEOUT_MS + RECALL_MARGIN_MS) * NS_PER_MSEC;
	struct timespec at = {.tv_sec = (time_t)(end_ns / NS_PER_SEC),
			      .tv_nsec = (long)(end_ns % NS_PER_SEC)};

	while (!recaller->stopping && clock_monotonic_ns() < end_ns)
		pthread_cond_timedwait(&recaller->changed, &recaller->lock, &at);
}

static void recall(struct recaller *recaller)
{
	bool give_back = recaller->give_back, session_lost = recaller->session_lost;

	recaller->wanted = recaller->give_back = recaller->session_lost = false;
	pthread_mutex_unlock(&recaller->lock);
	drop_caches(recaller, session_lost);
	for_each(recaller, open_and_unregistered, register_one);
	if (give_back)
		write_back(recaller);
	pthread_mutex_lock(&recaller->lock);
	if (!give_back)
		return;
	wait_for_kernel(recaller);
	pthread_mutex_unlock(&recaller->lock);
	meta_lease_return(recaller->fs->meta);
	log_info("the lease is given back");
	pthread_mutex_lock(&recaller->lock);
}

static void *run(void *user)
{
	struct recaller *recaller = user;

	pthread_mutex_lock(&recaller->lock);
	while (!recaller->stopping) {
		struct stale *stale = recaller->stale;

		recaller->stale = NULL;
		if (stale != NULL) {
			pthread_mutex_unlock(&recaller->lock);
			drop_stale(recaller, stale, true);
			pthread_mutex_lock(&recaller->lock);
		} else if (recaller->wanted) {
			recall(recaller);
		} else {
			pthread_cond_wait(&recaller->changed, &recaller->lock);
		}
	}
	pthread_mutex_unlock(&recaller->lock);
	return NULL;
}

int recaller_start(struct recaller *recaller)
{
	int rc = -pthread_create(&recaller->thread, NULL, run, recaller);

	recaller->started = rc == 0;
	return rc;
}

void recaller_stop(struct recaller *recaller)
{
	pthread_mutex_lock(&recaller->lock);
	recaller->stopping = true;
	pthread_cond_broadcast(&recaller->changed);
	pthread_mutex_unlock(&recaller->lock);
	if (recaller->started)
		pthread_join(recaller->thread, NULL);
	recaller->started = false;
}

void recaller_destroy(struct recaller *recaller)
{
	if (recaller == NULL)
		return;
	recaller_stop(recaller);
	drop_stale(recaller, recaller->stale, false);
	pthread_cond_destroy(&recaller->changed);
	pthread_mutex_destroy(&recaller->lock);
	free(recaller);
}
