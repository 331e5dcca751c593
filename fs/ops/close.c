/* close.c - close (flush and release) and fsync of open files.
 *
 * A close waits for nothing while the lease is held: no other client sees the file half written.
 * Without the lease, or when space is short, everything written goes to all copies and its size to
 * the master before close(2) returns. Both ways close(2) reports errors that the background has met
 * since, without counting them as told.
 *
 * An fsync is flush/fsync.c's; it tells each error once. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "fs/flush/flush.h"
#include "fs/ops/ops.h"
#include "fs/flush/fsync_prediction.h"
#include "fs/ops/open.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

/* ---- close ---- */

static void flushed(void *user, int error)
{
	struct task *task = user;
	int before = handle_error(task->handle, task->is_fsync);

	/* Whatever it is about, something that was written before is not in the file. */
	if (error == 0 && task->is_fsync && handle_lost(task->handle))
		error = -EIO;
	if (error == 0)
		error = before;
	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

/* While sole a close need not wait: nobody else is there to see the file half written. Unless space
 * is short: then the program must hear of it. */
void ops_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct handle *handle = ops_handle_of(fi);
	struct inode *inode = handle->inode;
	struct task *task;
	bool dirty;
	int error;

	handle_used(handle);
	pthread_mutex_lock(&inode->lock);
	dirty = (inode->local.dirty & ~(uint32_t)INODE_DIRTY_ATIME) != 0 ||
		(inode->data.file != NULL && data_dirty(inode->data.file));
	pthread_mutex_unlock(&inode->lock);
	if (!dirty || (meta_sole(fs->meta) && data_space_left(fs->data) >= FS_SPACE_CAREFUL)) {
		error = handle_error(handle, false);
		fuse_reply_err(req, error == 0 ? 0 : task_errno(error));
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->handle = handle_ref(handle);
	flush_inode(fs, inode, false, flushed, task);
}

void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct handle *handle = ops_handle_of(fi);

	fuse_reply_err(req, 0); /* nobody waits for it */
	handle_used(handle);
	open_handle_close(fs, handle);
}

/* ---- fsync ---- */

void ops_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct handle *handle = ops_handle_of(fi);
	struct task *task = task_begin(fs, req);

	handle_used(handle);
	if (task == NULL)
		return;
	task->handle = handle_ref(handle);
	task->is_fsync = true;
	fsync_prediction_fsync(fs, handle->inode, datasync != 0, flushed, task);
}
