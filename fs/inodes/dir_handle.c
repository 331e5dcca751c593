/* dir_handle.c - see dir_handle.h. */
#include "fs/inodes/dir_handle.h"
#include <stdlib.h>

void dir_handle_unref(struct fs *fs, struct dir_handle *dir)
{
	if (dir == NULL || atomic_fetch_sub(&dir->refs, 1) != 1)
		return;
	inode_put(fs->inodes, dir->inode);
	pthread_mutex_destroy(&dir->lock);
	free(dir->entries);
	free(dir->names);
	free(dir);
}
