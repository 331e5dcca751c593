/* opens.h - handles that the master counts, and the end of inodes that have no handle or no name.
 *
 * An inode lives in the master while some session has it open. The sole client tells no open: no
 * other client can unlink. The master is told of an open ("registered") before an unlink of ours
 * that hits an inode in use here, and for all open inodes before the lease is given back.
 *
 * Locks: none held by the caller. */
#ifndef CATENA_FS_FLUSH_OPENS_H
#define CATENA_FS_FLUSH_OPENS_H
#include "fs/inodes/fs.h"

/* The master counts one open more. Does not wait; later commands come after it. */
void opens_register(struct fs *fs, struct inode *inode);
/* Releases the data file and the registered opens once no handle is left. What was written of an
 * inode without names is dropped, and the master told to forget it. */
void opens_release(struct fs *fs, struct inode *inode);
/* Does what follows when a command has taken a name of @victim; @last: it has no other. */
void opens_name_gone(struct fs *fs, struct inode *victim, bool last);
/* Applies what the master says of @victim (NULL: unexpected) after a command took a name of it. */
void opens_name_lost(struct fs *fs, struct inode *victim, const Catena__Attr *message,
		     uint64_t generation);
#endif
