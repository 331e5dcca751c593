/* inode_apply.h - answers of the master change what is known of inodes.
 *
 * An answer may be older than what is known, or tell of what others have done. Then the file may be
 * another, shorter, or have pages and read-ahead that are not its own any more.
 *
 * Thread: the RPC thread applies; changes begin in handlers. Locks: none held by the caller. */
#ifndef CATENA_FS_INODES_INODE_APPLY_H
#define CATENA_FS_INODES_INODE_APPLY_H
#include <stdbool.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

/* Applies what the master said to the inode of that number. The result is a new reference; NULL:
 * no memory, or the message is senseless (NULL too). */
struct inode *inode_apply_get(struct fs *fs, const Catena__Attr *message, uint64_t generation);
/* Applies what the master said to @inode. A @message of NULL says nothing. Errors: -EIO when it is
 * senseless or of another inode. */
int inode_apply(struct fs *fs, struct inode *inode, const Catena__Attr *message,
		uint64_t generation);
/* A command about the inode is sent. */
void inode_change_begin(struct inode *inode);
/* The command has been answered. Without an answer the inode is not exact any more. */
void inode_change_end(struct fs *fs, struct inode *inode, bool answered);
/* The command was durable when it was answered, and so is all that had been answered when it was
 * sent: @changes is fs->changes of then. */
void inode_change_flushed(struct fs *fs, struct inode *inode, uint64_t changes);
/* All that was answered up to @changes, a number of fs->changes, is durable. */
void inode_changes_flushed(struct fs *fs, uint64_t changes);
#endif
