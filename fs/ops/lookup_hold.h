/* lookup_hold.h - what a look-up finds counts as open for a while (inodes/removed.h says when).
 *
 * Thread: any. Locks: none held by the caller. */
#ifndef CATENA_FS_OPS_LOOKUP_HOLD_H
#define CATENA_FS_OPS_LOOKUP_HOLD_H
#include <stdbool.h>
#include "fs/inodes/fs.h"

/* Counts the inode as open for 300 ms. False: too many are held, or no memory. */
bool lookup_hold(struct fs *fs, struct inode *inode);
#endif
