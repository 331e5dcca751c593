/* handle.c - see handle.h. */
#include "fs/inodes/handle.h"
#include <stdlib.h>
#include "common/base/expects.h"

struct handle *handle_ref(struct handle *handle)
{
	atomic_fetch_add(&handle->refs, 1);
	return handle;
}

void handle_unref(struct fs *fs, struct handle *handle)
{
	unsigned refs;

	if (handle == NULL)
		return;
	refs = atomic_fetch_sub(&handle->refs, 1);
	expects(refs > 0);
	if (refs != 1)
		return;
	inode_put(fs->inodes, handle->inode);
	free(handle);
}

int handle_error(struct handle *handle, bool flushes)
{
	struct inode *inode = handle->inode;
	int error;

	pthread_mutex_lock(&inode->lock);
	error = flushes ? inode_take_error(inode, &handle->errors_seen)
			: inode_error(inode, handle->errors_seen);
	pthread_mutex_unlock(&inode->lock);
	return error;
}

bool handle_lost(struct handle *handle)
{
	struct inode *inode = handle->inode;
	bool lost;

	pthread_mutex_lock(&inode->lock);
	lost = handle->losses != inode->loss.count;
	pthread_mutex_unlock(&inode->lock);
	return lost;
}

void handle_used(struct handle *handle)
{
	struct inode *inode = handle->inode;

	if (!atomic_load_explicit(&handle->drops_pages, memory_order_relaxed) ||
	    !atomic_exchange(&handle->drops_pages, false))
		return;
	pthread_mutex_lock(&inode->lock);
	if (handle->page_generation > inode->pages.generation)
		inode->pages.generation = handle->page_generation;
	if (handle->page_version > inode->pages.version)
		inode->pages.version = handle->page_version;
	pthread_mutex_unlock(&inode->lock);
}
