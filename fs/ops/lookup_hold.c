/* lookup_hold.c - see lookup_hold.h. */
#include "fs/ops/lookup_hold.h"
#include <stdlib.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "fs/flush/housekeeper.h"
#include "fs/flush/opens.h"
#include "fs/kernel/task.h"

#define HELD_NS  (300 * NS_PER_MSEC)
#define HELD_MAX 4096u

struct held {
	struct housekeeper_later later;
	struct fs *fs;
	struct inode *inode;
};

static void let_go(struct housekeeper_later *later)
{
	struct held *held = (struct held *)later; /* its first member */
	struct fs *fs = held->fs;
	struct inode *inode = held->inode;
	bool last;

	pthread_mutex_lock(&inode->lock);
	expects(inode->opens.handles > 0);
	last = --inode->opens.handles == 0;
	pthread_mutex_unlock(&inode->lock);
	if (last)
		opens_release(fs, inode);
	inode_put(fs->inodes, inode);
	free(held);
	atomic_fetch_sub(&fs->held, 1);
}

/* For long enough. */
static bool is_held(struct inode *inode)
{
	bool held;

	pthread_mutex_lock(&inode->lock);
	held = inode->opens.held_until_ns > clock_monotonic_ns() + HELD_NS / 2;
	pthread_mutex_unlock(&inode->lock);
	return held;
}

bool lookup_hold(struct fs *fs, struct inode *inode)
{
	struct held *held = NULL;

	if (is_held(inode))
		return true;
	if (atomic_fetch_add(&fs->held, 1) < HELD_MAX)
		held = malloc(sizeof(*held));
	if (held == NULL) {
		atomic_fetch_sub(&fs->held, 1);
		return false;
	}
	*held = (struct held){.fs = fs, .inode = inode_ref(fs->inodes, inode)};
	pthread_mutex_lock(&inode->lock);
	inode->opens.handles++;
	inode->opens.held_until_ns = clock_monotonic_ns() + HELD_NS;
	pthread_mutex_unlock(&inode->lock);
	housekeeper_later(fs->housekeeper, &held->later, HELD_NS, let_go);
	return true;
}
