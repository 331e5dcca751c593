/* append.h - writes with O_APPEND: where they go.
 *
 * Alone, the kernel knows where a file ends, and its lock keeps the next append away until this one
 * is answered: then its offset counts. (So it does for RWF_NOAPPEND, which nothing tells from an
 * append; where the end is ours to find, that is taken for one.) When the size has once come from
 * elsewhere while the file was in use, the kernel's may be old, and the end is what we know.
 *
 * With other mounts there are rights to append: one mount at a time may write behind a file's end.
 * An append takes the right, and with it the size; writes; and when all copies have the bytes tells
 * the new size and gives the right back, in one request, before write() returns. It passes the
 * inode's gate, so of one mount there is one at a time, and no truncation beside it.
 *
 * Who has the right keeps it until it says so or its session is over, so it is given back on every
 * way out; a request whose end is not known counts as granted. All of it is bound to the session in
 * which the program asked: none arrives after the right has gone to others. */
#ifndef CATENA_FS_FILES_APPEND_H
#define CATENA_FS_FILES_APPEND_H
#include "fs/inodes/fs.h"
#include "fs/kernel/task.h"

/* Writes task->payload behind the end of task->inode; task->offset says then where that was. What
 * was done for it counts as any write (inode_wrote()), or is told to the master already. */
void append_write(struct task *task, void (*done)(struct task *task, int error));

/* The task counted among fs->appends_alone, but the lease is not held: it does not any more. */
void append_is_shared(struct task *task);

/* Waits for the right to append to @inode, as long as it takes, but not longer than @task has no
 * answer (-EINTR). With 0 the inode's attributes are the newest, and append_right_return() must
 * follow. @done may be called at once, or on the RPC or the housekeeper's thread. */
void append_right_take(struct task *task, void (*done)(struct task *task, int error));
void append_right_return(struct task *task);
#endif
