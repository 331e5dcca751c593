/* fsync.h - makes a file durable: its data on the disks of all copies, and what the master knows of
 * it in the master's flushed log.
 *
 * Thread: any; @done on any. Locks: none. */
#ifndef CATENA_FS_FLUSH_FSYNC_H
#define CATENA_FS_FLUSH_FSYNC_H
#include "fs/inodes/fs.h"

typedef void fsync_done_fn(void *user, int error);
/* Makes the inode durable, with @datasync only what a reader of its data needs: times alone are
 * left out. */
void fsync_inode(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done,
		 void *user);
/* Makes everything durable that the master has answered until now. */
void fsync_master(struct fs *fs, fsync_done_fn *done, void *user);
/* The master's process is another one, and may have lost what the one before had answered and not
 * flushed. Whatever this and other mounts had done to an inode is looked at again. @lost: commands
 * of this mount are lost, too; then the next fsync by each handle of an inode that they changed
 * says -EIO. */
void fsync_restarted(struct fs *fs, bool lost);
#endif
