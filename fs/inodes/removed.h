/* removed.h - inodes that are removed while the kernel still uses them.
 *
 * The master counts opens, but not who stands in a directory or has a descriptor made with O_PATH.
 * When it answers ESTALE for an inode, nothing of that can change for anybody else: what is known
 * here lives on (inode->removed), without names. Its attributes are answered and set here; it can
 * not be opened, since its data is gone.
 *
 * A name may be replaced between the kernel's look-up and the open (chmod, readlink, ...) that it
 * was for. The kernel gets ESTALE then and begins again, but once only, which is not enough where a
 * name is replaced all the time. So each ESTALE begins a short time in which every look-up counts
 * what it finds as open for a while: then the second attempt succeeds.
 *
 * Threading: any thread; no lock is held by the caller unless it says so. */
#ifndef CATENA_FS_INODES_REMOVED_H
#define CATENA_FS_INODES_REMOVED_H
#include <stdbool.h>
#include "fs/inodes/fs.h"

/* Learns from the answer to a request for the inode. True: the master has it no more, and what is
 * known of it lives on here. */
bool removed_learn(struct inode *inode, int error, const Catena__Reply *reply);

/* Notes that a request of the kernel is answered with ESTALE. */
void removed_missed(struct fs *fs);
/* True: look-ups are to hold what they find. */
bool removed_holding(struct fs *fs);
#endif
