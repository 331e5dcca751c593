/* written.c - see written.h. */
#include "fs/files/written.h"
#include <errno.h>
#include "common/os/clock.h"
#include "fs/flush/flush.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

int written_count(struct task *task)
{
	struct fs *fs = task->fs;
	struct inode *inode = task->inode;
	bool add = false;
	int error = 0;

	pthread_mutex_lock(&inode->lock);
	/* What ended meanwhile looks at the inode after it has set the session: either it finds
	 * this write there, or this finds another session here. */
	if (task->session != atomic_load(&fs->session_id) ||
	    task->handle->losses != inode->loss.count) {
		error = -EIO;
	} else {
		inode_wrote(inode, task->offset, task->offset + task->length, clock_realtime_ns(),
			    meta_sole(fs->meta));
		add = flush_mark_written(inode);
	}
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(fs, inode);
	return error;
}
