/* open.h - handles of files begin and end. */
#ifndef CATENA_FS_OPS_OPEN_H
#define CATENA_FS_OPS_OPEN_H
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

/* A handle of task->inode that counts as open, in task->handle and task->fi. -ENOMEM. */
int open_handle(struct task *task);
/* While others append too, the kernel does not know where an append goes, and must not put it into
 * pages. (What can be read can be mapped as well, and needs them.) */
void open_appends(struct task *task);
/* The kernel has let go of it, or never knew it. */
void open_handle_close(struct fs *fs, struct handle *handle);
#endif
