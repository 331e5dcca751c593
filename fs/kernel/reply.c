/* reply.c - see reply.h. */
#include "fs/kernel/reply.h"
#include <string.h>

void reply_fill_entry(struct fs *fs, struct inode *inode, bool cacheable,
		      struct fuse_entry_param *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->ino = inode->ino;
	/* The kernel knows the root as 0, before it asks. */
	entry->generation = inode->ino == INODE_ROOT ? 0 : fs->handle_generation;
	entry->attr_timeout = entry->entry_timeout = fs_kernel_timeout_s(fs, cacheable);
	pthread_mutex_lock(&inode->lock);
	inode_stat(inode, &entry->attr);
	if (inode_blocks_unknown(inode))
		entry->attr_timeout = 0; /* the kernel asks when a program does */
	pthread_mutex_unlock(&inode->lock);
}

void reply_with_entry(struct task *task, struct inode *inode, bool cacheable)
{
	struct fuse_entry_param entry;

	reply_fill_entry(task->fs, inode, cacheable, &entry);
	if (task_claim(task))
		fuse_reply_entry(task->req, &entry);
	task_end(task);
}

void reply_with_attr(struct task *task, struct inode *inode, bool cacheable)
{
	struct stat st;

	pthread_mutex_lock(&inode->lock);
	inode_stat(inode, &st);
	if (inode_blocks_unknown(inode))
		cacheable = false;
	pthread_mutex_unlock(&inode->lock);
	if (task_claim(task))
		fuse_reply_attr(task->req, &st, fs_kernel_timeout_s(task->fs, cacheable));
	task_end(task);
}
