/* removed.c - see removed.h. */
#include "fs/inodes/removed.h"
#include <errno.h>
#include <stdlib.h>
#include "common/cluster/namespace_rules.h"
#include "common/os/clock.h"
#include "fs/flush/housekeeper.h"

#define HOLDING_NS (100 * NS_PER_MSEC)
#define HELD_NS    (300 * NS_PER_MSEC)
#define HELD_MAX   4096u

bool removed_learn(struct inode *inode, int error, const Catena__Reply *reply)
{
	bool lives;

	/* With attributes it is another refusal: of an inode that is there. */
	if (error != -ESTALE || reply == NULL || reply->attr != NULL)
		return false;
	pthread_mutex_lock(&inode->lock);
	lives = inode->known;
	if (lives) {
		inode->removed = true;
		inode->attr.nlink = 0;
	}
	pthread_mutex_unlock(&inode->lock);
	return lives;
}

void removed_set(struct task *task)
{
	struct inode *inode = task->inode;
	struct attr *attr = &inode->attr;
	uint32_t mask = task->set.mask;

	pthread_mutex_lock(&inode->lock);
	if (mask & CATENA__SET_MASK__SET_KILL_PRIV)
		attr->mode = namespace_rules_unprivileged(attr->mode);
	if (mask & CATENA__SET_MASK__SET_MODE)
		attr->mode = (attr->mode & S_IFMT) | (task->set.mode & 07777);
	if (mask & CATENA__SET_MASK__SET_UID)
		attr->uid = task->set.uid;
	if (mask & CATENA__SET_MASK__SET_GID)
		attr->gid = task->set.gid;
	if (mask & CATENA__SET_MASK__SET_ATIME)
		attr->atime = task->set.atime;
	if (mask & CATENA__SET_MASK__SET_MTIME)
		attr->mtime = task->set.mtime;
	attr->ctime = clock_realtime_ns();
	/* Of reads and writes before; there is nobody to tell them to. */
	inode->dirty = 0;
	pthread_mutex_unlock(&inode->lock);
}

/* ---- names that are replaced while they are used ---- */

void removed_missed(struct fs *fs)
{
	atomic_store(&fs->holding_until_ns, clock_monotonic_ns() + HOLDING_NS);
}

bool removed_holding(struct fs *fs)
{
	uint64_t until = atomic_load_explicit(&fs->holding_until_ns, memory_order_relaxed);

	return until != 0 && clock_monotonic_ns() < until;
}

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
	last = --inode->opens == 0;
	pthread_mutex_unlock(&inode->lock);
	if (last)
		fs_unused(fs, inode);
	inode_put(fs->inodes, inode);
	free(held);
	atomic_fetch_sub(&fs->held, 1);
}

/* For long enough. */
static bool is_held(struct inode *inode)
{
	bool held;

	pthread_mutex_lock(&inode->lock);
	held = inode->held_until_ns > clock_monotonic_ns() + HELD_NS / 2;
	pthread_mutex_unlock(&inode->lock);
	return held;
}

bool removed_hold(struct fs *fs, struct inode *inode)
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
	inode->opens++;
	inode->held_until_ns = clock_monotonic_ns() + HELD_NS;
	pthread_mutex_unlock(&inode->lock);
	housekeeper_later(fs->housekeeper, &held->later, HELD_NS, let_go);
	return true;
}
