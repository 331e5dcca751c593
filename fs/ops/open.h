/* open.h - handles of files begin and end. */
#ifndef CATENA_FS_OPS_OPEN_H
#define CATENA_FS_OPS_OPEN_H
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

/* Makes a handle of task->inode that counts as open, in task->handle and task->fi. Errors:
 * -ENOMEM. */
int open_handle(struct task *task);
/* Makes appends by task->fi bypass the kernel's pages. While others append too, the kernel does not
 * know where an append goes. A handle that can read is left as it is: it can be mapped, which needs
 * pages. */
void open_appends(struct task *task);
/* Ends the handle: the kernel has let go of it, or never knew it. */
void open_handle_close(struct fs *fs, struct handle *handle);
#endif
