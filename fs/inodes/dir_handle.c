/* dir_handle.c - see dir_handle.h. */
#include "fs/inodes/dir_handle.h"
#include <stdlib.h>
#include "common/base/expects.h"

void dir_handle_unref(struct fs *fs, struct dir_handle *dir)
{
	unsigned refs;

	if (dir == NULL)
		return;
	refs = atomic_fetch_sub(&dir->refs, 1);
	expects(refs > 0);
	if (refs != 1)
		return;
	inode_put(fs->inodes, dir->inode);
	pthread_mutex_destroy(&dir->lock);
	free(dir->entries);
	free(dir->names);
	free(dir);
}
