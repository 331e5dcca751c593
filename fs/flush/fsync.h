/* fsync.h - fsync: when it is done, the file's data is on the disks of all copies, and what the
 * master has of it is in its synced log. */
#ifndef CATENA_FS_FLUSH_FSYNC_H
#define CATENA_FS_FLUSH_FSYNC_H
#include "fs/inodes/fs.h"

typedef void fsync_done_fn(void *user, int error);
/* @datasync: times alone need not be durable. @done on any thread. */
void fsync_inode(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done,
		 void *user);
/* Of everything that the master has answered until now, if it is not durable yet. */
void fsync_master(struct fs *fs, fsync_done_fn *done, void *user);
/* The master has begun anew, and what it had answered and not synced may be lost: whatever this and
 * other mounts had done to an inode is looked at again. @lost: so are commands of this mount, and
 * the next fsync by each handle of an inode that they had changed says -EIO. Locks: none. */
void fsync_restarted(struct fs *fs, bool lost);
#endif
