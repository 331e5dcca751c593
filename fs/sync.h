/* sync.h - fsync: when it is done, the file's data is on the disks of all copies, and what the
 * master has of it is in its synced log. */
#ifndef CATENA_FS_SYNC_H
#define CATENA_FS_SYNC_H
#include "fs/fs.h"

typedef void sync_done_fn(void *user, int error);
/* @datasync: times alone need not be durable. @done on any thread. */
void sync_inode(struct fs *fs, struct inode *inode, bool datasync, sync_done_fn *done, void *user);
/* Of everything that the master has answered until now, if it is not durable yet. */
void sync_master(struct fs *fs, sync_done_fn *done, void *user);
/* The master has lost commands that it had answered and not synced: the next fsync of each inode
 * that was changed and not synced since says -EIO. Locks: none. */
void sync_forgotten(struct fs *fs);
#endif
