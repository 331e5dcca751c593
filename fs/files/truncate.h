/* truncate.h - a new size for a file.
 *
 * Thread: any; @done too. Locks: none held by the caller. */
#ifndef CATENA_FS_FILES_TRUNCATE_H
#define CATENA_FS_FILES_TRUNCATE_H
#include "fs/kernel/task.h"

/* Truncates task->inode to task->size, and sets what else task->set says. @done comes when the
 * bytes behind the new end are gone and what the master said is applied. Enters and leaves the
 * inode's gate. Errors: -errno; the size may be set all the same. */
void truncate_begin(struct task *task, void (*done)(struct task *task, int error));
#endif
