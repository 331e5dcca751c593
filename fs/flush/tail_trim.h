/* tail_trim.h - finishing truncations: the bytes behind a file's new end are removed from its
 * chunks before they could be seen again. docs/names.md, "Truncation". */
#ifndef CATENA_FS_FLUSH_TAIL_TRIM_H
#define CATENA_FS_FLUSH_TAIL_TRIM_H
#include <stdbool.h>
#include "fs/inodes/fs.h"

typedef void tail_trim_done_fn(void *user, int error);

/* The inode's gate is entered by the caller. Punches what the pending trim of our own session says,
 * and all up to @local_end. @done when the bytes are gone from all copies, with @until_durable from
 * their disks. The master is told when they are gone from the disks; until then the trim stays
 * pending, and nobody extends the file. */
void tail_trim_punch(struct fs *fs, struct inode *inode, uint64_t local_end, bool until_durable,
		     tail_trim_done_fn *done, void *user);

/* Whatever trim is pending is finished: ours, or one of a session that is gone; with another live
 * session's it waits until that is through. Enters the gate itself. */
void tail_trim_settle(struct fs *fs, struct inode *inode, tail_trim_done_fn *done, void *user);
/* Must tail_trim_settle() come before writing up to @end? With the inode's lock held. */
bool tail_trim_in_the_way(const struct inode *inode, uint64_t end);
#endif
