/* privileges.c - see privileges.h. */
#include "fs/files/privileges.h"
#include <linux/fuse.h>
#include "fs/files/attr_request.h"
#include "fs/kernel/task.h"

bool privileges_are_set(struct inode *inode)
{
	const uint32_t set_group = S_ISGID | S_IXGRP;
	bool lost;

	pthread_mutex_lock(&inode->lock);
	lost = !inode->known ||
	       (attr_is_regular(&inode->attr) &&
		((inode->attr.mode & S_ISUID) || (inode->attr.mode & set_group) == set_group));
	pthread_mutex_unlock(&inode->lock);
	return lost;
}

/* Of attributes only, so it waits for no page and may be said from any thread. */
static void tell_kernel(struct fs *fs, struct inode *inode)
{
	if (fs->session != NULL)
		fuse_lowlevel_notify_inval_inode(fs->session, inode->ino, -1, 0);
}

static void cleared(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	error = attr_request_set_end(task, error, reply);
	if (error == 0)
		tell_kernel(task->fs, task->inode);
	task->cleared(task, error);
}

void privileges_clear(struct task *task, void (*done)(struct task *task, int error))
{
	task->cleared = done;
	task->set.mask = CATENA__SET_MASK__SET_KILL_PRIV;
	attr_request_set(task, cleared);
}
