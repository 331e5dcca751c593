/* lease_return.c - see lease_return.h. */
#define LOG_MODULE "lease"
#include "fs/lease/lease_return.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/flush/flush.h"
#include "fs/inodes/inode_data.h"
#include "fs/flush/opens.h"
#include "fs/lease/early_answer.h"
#include "fs/kernel/fuse_api.h"

#define FLUSH_PIECE_NS (2 * NS_PER_SEC)
#define SLEPT_NS       (50 * NS_PER_MSEC)

struct stale {
	struct stale *next;
	uint64_t ino, offset;
	void (*done)(void *user); /* NULL: nothing waits for it */
	void *user;
};

struct lease_return {
	struct fs *fs;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started, stopping;
	bool wanted, give_back, session_lost;
	/* How much boot time was ahead of the monotonic clock when caches were dropped last. */
	int64_t slept_ns;
	uint64_t since_ns; /* the last time something was wanted */
	struct stale *stale;
};

int lease_return_create(struct fs *fs, struct lease_return **out)
{
	struct lease_return *lease_return = calloc(1, sizeof(*lease_return));

	if (lease_return == NULL)
		return -ENOMEM;
	lease_return->fs = fs;
	lease_return->slept_ns = (int64_t)(clock_boottime_ns() - clock_monotonic_ns());
	pthread_mutex_init(&lease_return->lock, NULL);
	pthread_cond_init(&lease_return->changed, NULL);
	*out = lease_return;
	return 0;
}

void lease_return_begin(struct lease_return *lease_return, bool give_back)
{
	pthread_mutex_lock(&lease_return->lock);
	lease_return->wanted = true;
	lease_return->give_back |= give_back;
	lease_return->since_ns = clock_monotonic_ns();
	pthread_cond_signal(&lease_return->changed);
	pthread_mutex_unlock(&lease_return->lock);
}

void lease_return_session_lost(struct lease_return *lease_return)
{
	pthread_mutex_lock(&lease_return->lock);
	lease_return->session_lost = true;
	pthread_mutex_unlock(&lease_return->lock);
	lease_return_begin(lease_return, false);
}

void lease_return_drop_pages(struct lease_return *lease_return, uint64_t ino, uint64_t offset,
			     void (*done)(void *user), void *user)
{
	struct stale *stale = malloc(sizeof(*stale));

	if (stale == NULL) {
		if (done != NULL)
			done(user);
		return;
	}
	*stale = (struct stale){.ino = ino, .offset = offset, .done = done, .user = user};
	pthread_mutex_lock(&lease_return->lock);
	stale->next = lease_return->stale;
	lease_return->stale = stale;
	pthread_cond_signal(&lease_return->changed);
	pthread_mutex_unlock(&lease_return->lock);
}

/* ---- opens ---- */

static bool open_and_unregistered(const struct inode *inode)
{
	return inode->opens.handles > 0 && inode->opens.registered == 0;
}

static void register_one(void *user, struct inode *inode)
{
	opens_register(user, inode);
}

static bool was_registered(const struct inode *inode)
{
	return inode->opens.registered > 0;
}

static void forget_registration(void *user, struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->opens.registered = 0;
	pthread_mutex_unlock(&inode->lock);
}

void lease_return_register_opens(struct fs *fs)
{
	if (inode_table_each(fs->inodes, was_registered, forget_registration, fs) != 0 ||
	    inode_table_each(fs->inodes, open_and_unregistered, register_one, fs) != 0)
		log_error("out of memory: open files are unknown to the master");
}

static bool open_and_registered(const struct inode *inode)
{
	return inode->opens.handles > 0 && inode->opens.registered > 0;
}

void lease_return_register_again(struct fs *fs)
{
	if (inode_table_each(fs->inodes, open_and_registered, register_one, fs) != 0)
		log_error("out of memory: open files may be unknown to the master");
}

/* ---- pages ---- */

static bool is_open(const struct inode *inode)
{
	return inode->opens.handles > 0;
}

static void set_dropping(struct inode *inode, bool dropping)
{
	pthread_mutex_lock(&inode->lock);
	inode->loss.dropping = dropping;
	pthread_mutex_unlock(&inode->lock);
}

static void drop_pages(void *user, struct inode *inode)
{
	struct fs *fs = user;
	struct data_file *file = inode_data_find(inode);

	if (file != NULL)
		data_invalidate(file);
	inode_data_put(file);
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

static void drop_stale(struct lease_return *lease_return, struct stale *stale, bool notify)
{
	struct stale *next;

	for (; stale != NULL; stale = next) {
		next = stale->next;
		if (notify && lease_return->fs->session != NULL)
			fuse_lowlevel_notify_inval_inode(lease_return->fs->session, stale->ino,
							 (off_t)stale->offset, 0);
		if (stale->done != NULL)
			stale->done(stale->user);
		free(stale);
	}
}

/* ---- the thread ---- */

static bool stopping(struct lease_return *lease_return)
{
	bool yes;

	pthread_mutex_lock(&lease_return->lock);
	yes = lease_return->stopping;
	pthread_mutex_unlock(&lease_return->lock);
	return yes;
}

static void for_each(struct lease_return *lease_return, bool (*wanted)(const struct inode *inode),
		     void (*each)(void *user, struct inode *inode))
{
	while (inode_table_each(lease_return->fs->inodes, wanted, each, lease_return->fs) != 0 &&
	       !stopping(lease_return))
		nanosleep(&(struct timespec){.tv_nsec = 100 * NS_PER_MSEC}, NULL);
}

/* The kernel lets names and attributes go by itself when the lease ends, but its time stands still
 * while the machine sleeps. */
static bool has_slept(struct lease_return *lease_return)
{
	int64_t slept_ns = (int64_t)(clock_boottime_ns() - clock_monotonic_ns());
	bool yes = slept_ns > lease_return->slept_ns + (int64_t)SLEPT_NS;

	lease_return->slept_ns = slept_ns;
	return yes;
}

/* Drops what the kernel keeps; waits for the kernel only. */
static void drop_caches(struct lease_return *lease_return, bool session_lost)
{
	if (has_slept(lease_return))
		for_each(lease_return, any, drop_attributes);
	for_each(lease_return, is_open, session_lost ? drop_lost_pages : drop_pages);
}

static void write_back(struct lease_return *lease_return)
{
	struct fs *fs = lease_return->fs;
	int rc;

	/* Early answers are kept first, and appends whose place was found while no other mount
	 * could append. */
	while (!early_answer_idle(fs) || atomic_load(&fs->appends_alone) > 0) {
		if (stopping(lease_return))
			return;
		nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MSEC}, NULL);
	}
	for_each(lease_return, open_and_unregistered, register_one);
	do
		rc = flush_everything(fs, false, clock_monotonic_ns() + FLUSH_PIECE_NS);
	while ((rc == -ETIMEDOUT || rc == -ENOMEM) && !stopping(lease_return));
	if (rc != 0)
		log_warn("writing back for the recall failed error=\"%s\"", strerror(-rc));
}

/* Waits until the kernel has forgotten what it was allowed to keep. Locks: the lease return's, free
 * meanwhile. */
static void wait_for_kernel(struct lease_return *lease_return)
{
	uint64_t end_ns = lease_return->since_ns +
			  (META_KERNEL_TIMEOUT_MS + LEASE_RETURN_MARGIN_MS) * NS_PER_MSEC;

	lock_held(&lease_return->lock);
	while (!lease_return->stopping && clock_monotonic_ns() < end_ns)
		cond_wait_until(&lease_return->changed, &lease_return->lock, end_ns);
}

static void recall(struct lease_return *lease_return)
{
	bool give_back = lease_return->give_back, session_lost = lease_return->session_lost;

	lease_return->wanted = lease_return->give_back = lease_return->session_lost = false;
	pthread_mutex_unlock(&lease_return->lock);
	drop_caches(lease_return, session_lost);
	for_each(lease_return, open_and_unregistered, register_one);
	if (give_back)
		write_back(lease_return);
	pthread_mutex_lock(&lease_return->lock);
	if (!give_back)
		return;
	wait_for_kernel(lease_return);
	pthread_mutex_unlock(&lease_return->lock);
	meta_lease_return(lease_return->fs->meta);
	log_info("the lease is given back");
	pthread_mutex_lock(&lease_return->lock);
}

static void *run(void *user)
{
	struct lease_return *lease_return = user;

	pthread_mutex_lock(&lease_return->lock);
	while (!lease_return->stopping) {
		struct stale *stale = lease_return->stale;

		lease_return->stale = NULL;
		if (stale != NULL) {
			pthread_mutex_unlock(&lease_return->lock);
			drop_stale(lease_return, stale, true);
			pthread_mutex_lock(&lease_return->lock);
		} else if (lease_return->wanted) {
			recall(lease_return);
		} else {
			pthread_cond_wait(&lease_return->changed, &lease_return->lock);
		}
	}
	pthread_mutex_unlock(&lease_return->lock);
	return NULL;
}

int lease_return_start(struct lease_return *lease_return)
{
	int rc = -pthread_create(&lease_return->thread, NULL, run, lease_return);

	lease_return->started = rc == 0;
	return rc;
}

void lease_return_stop(struct lease_return *lease_return)
{
	pthread_mutex_lock(&lease_return->lock);
	lease_return->stopping = true;
	pthread_cond_broadcast(&lease_return->changed);
	pthread_mutex_unlock(&lease_return->lock);
	if (lease_return->started)
		pthread_join(lease_return->thread, NULL);
	lease_return->started = false;
}

void lease_return_destroy(struct lease_return *lease_return)
{
	if (lease_return == NULL)
		return;
	lease_return_stop(lease_return);
	drop_stale(lease_return, lease_return->stale, false);
	pthread_cond_destroy(&lease_return->changed);
	pthread_mutex_destroy(&lease_return->lock);
	free(lease_return);
}
