/* privileges.h - a file that is written to or given away loses its setuid and setgid bits.
 *
 * The kernel leaves the bits to us (FUSE_HANDLE_KILLPRIV_V2, linux/fuse.h): with a request it says
 * whether its sender may keep them, and the master clears them (SET_KILL_PRIV), before the write is
 * done. In return the kernel keeps in mind that a file has no capabilities, until it is told new
 * attributes; else it would ask for them before each write. Those it removes itself, as it did. */
#ifndef CATENA_FS_FILES_PRIVILEGES_H
#define CATENA_FS_FILES_PRIVILEGES_H
#include <stdbool.h>
#include <stddef.h>
#include "fs/inodes/fs.h"
#include "fs/kernel/task.h"

/* True: the file has such bits, as far as is known here. */
bool privileges_are_set(struct inode *inode);
/* Has the bits of task->inode cleared. @done comes with 0 or -errno; what the kernel knows of the
 * attributes is void then. */
void privileges_clear(struct task *task, void (*done)(struct task *task, int error));
#endif
