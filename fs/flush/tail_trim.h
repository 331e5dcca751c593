/* tail_trim.h - finishes truncations: removes the bytes behind a file's new end from its chunks,
 * before a longer file could show them again. The flow is in docs/architecture.md, "Truncation".
 *
 * Thread: any; @done on any. Locks: none, unless a function says otherwise. */
#ifndef CATENA_FS_FLUSH_TAIL_TRIM_H
#define CATENA_FS_FLUSH_TAIL_TRIM_H
#include <stdbool.h>
#include "fs/inodes/fs.h"

typedef void tail_trim_done_fn(void *user, int error);

/* Punches what the pending trim of our own session says, and everything from the new end up to
 * @local_end. The caller has entered the inode's gate. @done is called when the bytes are gone from
 * all copies; with @until_durable, from their disks. The master is told when the disks are done.
 * The truncation is durable there: else its power would bring the old size back, without the bytes.
 * Until then the trim stays pending, and no client extends the file. */
void tail_trim_punch(struct fs *fs, struct inode *inode, uint64_t local_end, bool until_durable,
		     tail_trim_done_fn *done, void *user);

/* Finishes whatever trim is pending: ours, or one of a session that is gone. A live session's is
 * waited for. Enters the inode's gate itself. */
void tail_trim_settle(struct fs *fs, struct inode *inode, tail_trim_done_fn *done, void *user);
/* Says whether tail_trim_settle() must come before a write up to @end. Locks: the inode's. */
bool tail_trim_in_the_way(const struct inode *inode, uint64_t end);
#endif
