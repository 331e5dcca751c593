/* flush_list.c - which inodes have something to write back or to flush, and when it is due. */
#define LOG_MODULE "flush"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/flush/housekeeper.h"
#include "fs/flush/opens.h"

static struct log_rate noise;

struct flush_list {
	pthread_mutex_t lock;
	pthread_cond_t ended; /* a flush of the background or of flush_everything() */
	struct inode *first;  /* each with a reference */
	uint32_t count;
	/* In the background. Those that take long do not count: they wait for a chain that does not
	 * answer, and others need not. */
	uint32_t under_way;
	struct background *oldest; /* those that count */
};

int flush_list_create(struct flush_list **out)
{
	struct flush_list *list = calloc(1, sizeof(*list));

	if (list == NULL)
		return -ENOMEM;
	pthread_mutex_init(&list->lock, NULL);
	pthread_cond_init(&list->ended, NULL);
	*out = list;
	return 0;
}

void flush_list_destroy(struct flush_list *list)
{
	if (list == NULL)
		return;
	pthread_cond_destroy(&list->ended);
	pthread_mutex_destroy(&list->lock);
	free(list);
}

uint32_t flush_list_count(struct flush_list *list)
{
	uint32_t count;

	pthread_mutex_lock(&list->lock);
	count = list->count;
	pthread_mutex_unlock(&list->lock);
	return count;
}

/* ---- the list ---- */

bool flush_mark(struct inode *inode)
{
	bool add = !inode->background.listed;

	lock_held(&inode->lock);
	if (add)
		inode->background.age_from_ns = clock_monotonic_ns();
	inode->background.listed = true;
	return add;
}

bool flush_mark_written(struct inode *inode)
{
	inode->data.durable = false;
	return flush_mark(inode);
}

void flush_list_add(struct fs *fs, struct inode *inode)
{
	struct flush_list *list = fs->flush_list;
	bool wake;

	inode_ref(fs->inodes, inode);
	pthread_mutex_lock(&list->lock);
	DL_APPEND2(list->first, inode, background.prev, background.next);
	wake = list->count++ == 0;
	pthread_mutex_unlock(&list->lock);
	if (wake)
		housekeeper_wake(fs->housekeeper);
}

/* Takes the inode off the list. Its reference is the caller's then. Locks: the inode's, so that
 * flush_mark() cannot have it added once more before it is off. */
static void take_off(struct flush_list *list, struct inode *inode)
{
	lock_held(&inode->lock);
	inode->background.listed = false;
	pthread_mutex_lock(&list->lock);
	expects(list->count > 0);
	DL_DELETE2(list->first, inode, background.prev, background.next);
	list->count--;
	pthread_mutex_unlock(&list->lock);
}

/* References to all that are listed, oldest first. NULL: out of memory. */
static struct inode **list_all(struct fs *fs, uint32_t *count)
{
	struct flush_list *list = fs->flush_list;
	struct inode **inodes;
	uint32_t n = 0;

	pthread_mutex_lock(&list->lock);
	inodes = malloc((list->count + 1) * sizeof(*inodes));
	for (struct inode *inode = list->first; inodes != NULL && inode != NULL;
	     inode = inode->background.next)
		inodes[n++] = inode_ref(fs->inodes, inode);
	pthread_mutex_unlock(&list->lock);
	*count = n;
	return inodes;
}

/* ---- in the background ---- */

enum due { DUE_NOTHING, DUE_LATER, DUE_NOW };

/* With the inode's lock held. */
static enum due what_is_due(const struct inode *inode, uint64_t now_ns)
{
	lock_held(&inode->lock);
	if (inode->background.flushing || inode->commands.setattrs > 0 || inode->gate.busy)
		return DUE_LATER;
	if (inode->local.dirty == 0 && (inode->data.file == NULL || !data_dirty(inode->data.file)))
		return DUE_NOTHING;
	if (inode->opens.handles == 0)
		return DUE_NOW;
	/* It may have been listed since this round began. */
	return now_ns >= inode->background.age_from_ns + FLUSH_AGE_NS ? DUE_NOW : DUE_LATER;
}

struct background {
	struct fs *fs;
	struct inode *inode;
	uint64_t begun_ns;
	bool counts;
	struct background *prev, *next;
};

/* With the list's lock held. */
static void count_begin(struct flush_list *list, struct background *b)
{
	lock_held(&list->lock);
	b->counts = true;
	DL_APPEND(list->oldest, b);
	list->under_way++;
}

static void count_end(struct flush_list *list, struct background *b)
{
	lock_held(&list->lock);
	if (!b->counts)
		return;
	DL_DELETE(list->oldest, b);
	b->counts = false;
	list->under_way--;
}

static void background_done(void *user, int error)
{
	struct background *b = user;
	struct flush_list *list = b->fs->flush_list;

	if (error != 0 && log_rate_ok(&noise, 2))
		log_warn("writing back failed ino=%llu error=\"%s\"",
			 (unsigned long long)b->inode->ino, strerror(-error));
	pthread_mutex_lock(&b->inode->lock);
	b->inode->background.flushing = false;
	if (error != 0)
		b->inode->background.age_from_ns = clock_monotonic_ns(); /* not again at once */
	pthread_mutex_unlock(&b->inode->lock);
	pthread_mutex_lock(&list->lock);
	count_end(list, b);
	pthread_cond_broadcast(&list->ended);
	pthread_mutex_unlock(&list->lock);
	inode_put(b->fs->inodes, b->inode);
	free(b);
}

static bool may_start(struct flush_list *list, struct background *b)
{
	bool yes;

	pthread_mutex_lock(&list->lock);
	while (list->oldest != NULL && b->begun_ns > list->oldest->begun_ns + FLUSH_SLOW_NS)
		count_end(list, list->oldest);
	yes = list->under_way < FLUSH_AT_ONCE;
	if (yes)
		count_begin(list, b);
	pthread_mutex_unlock(&list->lock);
	return yes;
}

static void start_background(struct fs *fs, struct inode *inode)
{
	struct background *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return;
	b->fs = fs;
	b->begun_ns = clock_monotonic_ns();
	if (!may_start(fs->flush_list, b)) {
		free(b);
		return;
	}
	b->inode = inode_ref(fs->inodes, inode);
	pthread_mutex_lock(&inode->lock);
	inode->background.flushing = true;
	pthread_mutex_unlock(&inode->lock);
	flush_inode(fs, inode, false, background_done, b);
}

bool flush_list_tick(struct fs *fs, uint64_t now_ns)
{
	uint32_t count;
	struct inode **inodes = list_all(fs, &count);

	for (uint32_t i = 0; inodes != NULL && i < count; i++) {
		struct inode *inode = inodes[i];
		enum due due;

		pthread_mutex_lock(&inode->lock);
		due = what_is_due(inode, now_ns);
		if (due == DUE_NOTHING)
			take_off(fs->flush_list, inode);
		pthread_mutex_unlock(&inode->lock);
		if (due == DUE_NOTHING) {
			opens_release(fs, inode);
			inode_put(fs->inodes, inode); /* the list's reference */
		} else if (due == DUE_NOW) {
			start_background(fs, inode);
		}
		inode_put(fs->inodes, inode);
	}
	free(inodes);
	return count > 0;
}

/* ---- everything ---- */

bool flush_unsaved(const struct inode *inode)
{
	lock_held(&inode->lock);
	return (inode->local.dirty & ~(uint32_t)INODE_DIRTY_ATIME) != 0 ||
	       (inode->data.file != NULL && data_dirty(inode->data.file));
}

bool flush_list_unsaved(struct fs *fs)
{
	uint32_t count;
	struct inode **inodes = list_all(fs, &count);
	bool any = inodes == NULL;

	for (uint32_t i = 0; inodes != NULL && i < count; i++) {
		pthread_mutex_lock(&inodes[i]->lock);
		any = any || flush_unsaved(inodes[i]);
		pthread_mutex_unlock(&inodes[i]->lock);
		inode_put(fs->inodes, inodes[i]);
	}
	free(inodes);
	return any;
}

/* Waits for an end of some flush, at most a little while. */
static void await_some(struct flush_list *list, uint64_t deadline_ns)
{
	uint64_t until_ns = clock_monotonic_ns() + 20 * NS_PER_MSEC;

	if (until_ns > deadline_ns)
		until_ns = deadline_ns;
	pthread_mutex_lock(&list->lock);
	cond_wait_until(&list->ended, &list->lock, until_ns);
	pthread_mutex_unlock(&list->lock);
}

struct everything {
	struct fs *fs;
	_Atomic uint32_t under_way;
	atomic_int error;
	atomic_int
		refs; /* of the waiter, and of each flush: it may outlive a waiter that gives up */
};

static void everything_unref(struct everything *all)
{
	if (atomic_fetch_sub(&all->refs, 1) == 1)
		free(all);
}

static void everything_one(void *user, int error)
{
	struct everything *all = user;
	int none = 0;

	if (error != 0)
		atomic_compare_exchange_strong(&all->error, &none, error);
	atomic_fetch_sub(&all->under_way, 1);
	pthread_mutex_lock(&all->fs->flush_list->lock);
	pthread_cond_broadcast(&all->fs->flush_list->ended);
	pthread_mutex_unlock(&all->fs->flush_list->lock);
	everything_unref(all);
}

/* An inode whose times a program is setting right now is left for a moment: ours would undo them.
 */
static bool startable(struct inode *inode)
{
	bool yes;

	pthread_mutex_lock(&inode->lock);
	yes = inode->commands.setattrs == 0 && !inode->gate.busy;
	pthread_mutex_unlock(&inode->lock);
	return yes;
}

int flush_everything(struct fs *fs, bool durable, uint64_t deadline_ns)
{
	struct everything *all = calloc(1, sizeof(*all));
	uint32_t count = 0, next = 0;
	struct inode **inodes = list_all(fs, &count);
	int rc = 0;

	if (all == NULL || inodes == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	all->fs = fs;
	atomic_store(&all->refs, 1);
	while (next < count || atomic_load(&all->under_way) > 0) {
		if (clock_monotonic_ns() >= deadline_ns) {
			rc = -ETIMEDOUT;
			break;
		}
		if (next < count && atomic_load(&all->under_way) < FLUSH_AT_ONCE &&
		    startable(inodes[next])) {
			atomic_fetch_add(&all->under_way, 1);
			atomic_fetch_add(&all->refs, 1);
			flush_inode(fs, inodes[next++], durable, everything_one, all);
			continue;
		}
		await_some(fs->flush_list, deadline_ns);
	}
	if (rc == 0)
		rc = atomic_load(&all->error);
out:
	for (uint32_t i = 0; inodes != NULL && i < count; i++)
		inode_put(fs->inodes, inodes[i]);
	free(inodes);
	if (all != NULL)
		everything_unref(all);
	return rc;
}
