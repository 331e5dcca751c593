/* attr.c - attributes asked for. */
#include <errno.h>
#include <stddef.h>
#include "common/os/clock.h"
#include "fs/files/blocks.h"
#include "fs/ops/attr.h"
#include "fs/ops/ops.h"
#include "fs/files/privileges.h"
#include "fs/inodes/removed.h"
#include "fs/kernel/root_wait.h"
#include "common/cluster/namespace_rules.h"
#include "fs/files/attr_request.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

static void answer_got(struct task *task)
{
	blocks_answer_attr(task, task->inode, fs_current(task->fs, task->generation));
}

static void pages_dropped(struct page_drop *drop)
{
	struct task *task = (struct task *)((char *)drop - offsetof(struct task, drop));
	struct inode *inode = task->inode;

	pthread_mutex_lock(&inode->lock);
	if (!drop->stayed && inode->pages.version < task->seq)
		inode->pages.version = task->seq;
	pthread_mutex_unlock(&inode->lock);
	answer_got(task);
}

/* Somebody has the file open, its pages in the kernel may be of an earlier version than what is
 * going to be said of it, and nothing else would drop them. */
static bool pages_are_old(struct task *task)
{
	struct inode *inode = task->inode;
	bool old;

	pthread_mutex_lock(&inode->lock);
	task->seq = inode->attr.version;
	old = inode->opens.handles > 0 && attr_is_regular(&inode->attr) &&
	      atomic_load(&inode->pages.filled) && inode->pages.version < inode->attr.version;
	pthread_mutex_unlock(&inode->lock);
	return old && !fs_current(task->fs, task->generation);
}

static void got_attr(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (task->root_since_ns != 0)
		root_wait_end(task);
	if (removed_learn(task->inode, error, reply)) {
		reply_with_attr(task, task->inode, true);
		return;
	}
	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: inode_apply(task->fs, task->inode, reply->attr, task->generation);
	if (error != 0) {
		task_fail(task, error);
	} else if (pages_are_old(task)) {
		task->drop.ino = task->inode->ino;
		task->drop.requests = &task->inode->pages.requests;
		task->drop.done = pages_dropped;
		page_drops_add(task->fs->page_drops, &task->drop);
	} else {
		answer_got(task);
	}
}

void attr_answer_fetched(struct task *task)
{
	attr_request_fetch(task, got_attr);
}

static void answer_known(struct task *task)
{
	struct inode *inode = task->inode;
	struct stat st;
	bool known;

	pthread_mutex_lock(&inode->lock);
	known = inode->known;
	if (known)
		inode_stat(inode, &st);
	pthread_mutex_unlock(&inode->lock);
	if (known)
		fuse_reply_attr(task->req, &st, 0.0);
	else
		fuse_reply_err(task->req, EIO);
}

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct meta_view view = fs_view(fs);
	struct inode *inode = inode_table_get(fs->inodes, ino);
	struct task *task;
	struct stat st;
	bool exact, counted = true;

	if (inode == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	exact = inode_exact(inode, view.sole, view.generation);
	exact |= inode->removed;
	if (exact) {
		inode_stat(inode, &st);
		counted = inode->removed || !inode_blocks_unknown(inode);
	}
	pthread_mutex_unlock(&inode->lock);
	if (exact && counted) {
		fuse_reply_attr(req, &st, fs_kernel_timeout_s(fs, true));
		inode_put(fs->inodes, inode);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL) {
		inode_put(fs->inodes, inode);
		return;
	}
	task->inode = inode;
	if (exact) {
		blocks_answer_attr(task, inode, true);
		return;
	}
	if (ino == INODE_ROOT)
		root_wait_begin(task, answer_known);
	attr_request_fetch(task, got_attr);
}
