/* reply.h - answers to the kernel that several operations give.
 *
 * Locks: takes the inode's. Thread: any. */
#ifndef CATENA_FS_KERNEL_REPLY_H
#define CATENA_FS_KERNEL_REPLY_H
#include <stdbool.h>
#include "fs/inodes/fs.h"
#include "fs/kernel/fuse_api.h"
#include "fs/kernel/task.h"

/* Claims, answers and ends the task. @cacheable: the kernel may keep the answer while the lease
 * lasts. */
void reply_with_entry(struct task *task, struct inode *inode, bool cacheable);
void reply_with_attr(struct task *task, struct inode *inode, bool cacheable);
/* Fills *entry for a reply of the caller's. */
void reply_fill_entry(struct fs *fs, struct inode *inode, bool cacheable,
		      struct fuse_entry_param *entry);
#endif
