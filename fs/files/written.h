/* written.h - a write that the data layer has accepted comes to count.
 *
 * Thread: any. Locks: none held by the caller. */
#ifndef CATENA_FS_FILES_WRITTEN_H
#define CATENA_FS_FILES_WRITTEN_H
#include "fs/kernel/task.h"

/* The inode's size and times know of the task's write; they are told to the master by and by.
 * Errors: -EIO when the task's session has ended meanwhile, or its handle has lost something. */
int written_count(struct task *task);
#endif
