/* handle.h - an open file.
 *
 * The kernel has a reference until release, and so has every task that uses the handle: an
 * interrupted program may close while the rest of its request is still under way.
 *
 * Locks: takes the inode's. Thread: any. */
#ifndef CATENA_FS_INODES_HANDLE_H
#define CATENA_FS_INODES_HANDLE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

struct handle {
	atomic_uint refs;
	struct inode *inode;  /* a reference */
	uint32_t flags;       /* of open(2) */
	uint32_t errors_seen; /* of inode->errors.count */
	uint32_t
		losses; /* inode->loss.count when it was opened: if that is more, it writes no more */
	bool atime_done;
	/* Its open makes the kernel drop the pages that it has of the file. That has been done when
	 * the handle is used for the first time; from then on the pages are of these. */
	atomic_bool drops_pages;
	uint64_t page_generation, page_version; /* one of them is 0 */
};

struct handle *handle_ref(struct handle *handle);
void handle_unref(struct fs *fs, struct handle *handle); /* NULL is allowed */
/* The kernel has used the handle: whatever its open made the kernel do is done. */
void handle_used(struct handle *handle);
/* Something that was not sent was lost with a session since the handle was opened: until it is
 * closed nothing more is written by it. */
bool handle_lost(struct handle *handle);
/* What went wrong in the background since a flush by this handle told it last (-errno). @flushes:
 * the caller is an fsync, which tells each error once. A close only looks: programs do not read its
 * result, and a child's end closes a handle of its parent. */
int handle_error(struct handle *handle, bool flushes);
#endif
