/* inode_data.h - the data file of an inode: opened at its first use, kept while it is open or
 * dirty.
 *
 * Locks: takes the inode's. */
#ifndef CATENA_FS_INODES_INODE_DATA_H
#define CATENA_FS_INODES_INODE_DATA_H
#include <stdint.h>
#include "fs/inodes/fs.h"

/* The inode's data file, opened when it is not yet. The reference is the caller's. NULL with
 * *error (-errno). */
struct data_file *inode_data_get(struct fs *fs, struct inode *inode, int *error);
/* The inode's data file if it is open; NULL: it is not. The reference is the caller's. */
struct data_file *inode_data_find(struct inode *inode);
/* The bytes of a closed file are gone for good: they need not come to any disk. */
void inode_data_discard(struct fs *fs, uint32_t pool, uint64_t file_id);
#endif
