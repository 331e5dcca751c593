/* read.c - reads of open files.
 *
 * A read goes like this:
 * 1. The kernel asks for what is in none of its pages, or for a direct read. ops_read() takes a
 *    task and counts a request of pages among inode->pages.requests until the task ends.
 * 2. The first read by a handle notes the time of access; flush_list tells the master later.
 * 3. read_go() cuts the read off at the file's size and asks the data layer, which answers from
 *    what is dirty here, from its read-ahead or from a copy (data/data_read.c).
 * 4. was_read() gives the bytes to the kernel as vectors, without copying them together.
 *
 * Without the lease the file may have grown: a read that goes beyond the size that is known asks
 * the master for the attributes first. When the lease is another than at the last read, what was
 * read ahead is forgotten.
 *
 * A failure: the data layer tries other copies for as long as a hard mount waits. What it gives up
 * with is the program's error. A program that is interrupted gets EINTR (kernel/task.h); the read
 * ends by itself, and what it brought is kept. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include "common/os/clock.h"
#include "fs/files/append.h"
#include "fs/flush/flush.h"
#include "fs/ops/ops.h"
#include "fs/files/privileges.h"
#include "fs/files/attr_request.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

static void was_read(void *user, int error, const struct iovec *iov, int count)
{
	struct task *task = user;

	if (task_claim(task)) {
		if (error != 0)
			fuse_reply_err(task->req, task_errno(error));
		else
			fuse_reply_iov(task->req, iov, count);
	}
	task_end(task);
}

/* The time of access is told to the master by and by. Once for each handle is enough. */
static void note_access(struct fs *fs, struct handle *handle)
{
	struct inode *inode = handle->inode;
	bool add = false;

	handle->atime_done = fs->atime != ATIME_STRICT;
	pthread_mutex_lock(&inode->lock);
	if (inode_was_read(inode, fs->atime, clock_realtime_ns()))
		add = flush_mark(inode);
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(fs, inode);
}

static void read_go(struct task *task)
{
	struct fs *fs = task->fs;
	struct inode *inode = task->handle->inode;
	struct data_file *file;
	struct meta_view view = fs_view(fs);
	uint64_t size, length = task->length;
	int error;
	bool old;

	pthread_mutex_lock(&inode->lock);
	size = inode_size(inode);
	old = inode_fetched(inode, view.sole ? view.generation : 0);
	pthread_mutex_unlock(&inode->lock);
	if (task->offset >= size) {
		was_read(task, 0, NULL, 0);
		return;
	}
	if (length > size - task->offset)
		length = size - task->offset;
	file = inode_data_get(fs, inode, &error);
	if (file == NULL) {
		task_fail(task, error);
		return;
	}
	if (old)
		data_invalidate(file);
	data_read(file, task->offset, (uint32_t)length, size, was_read, task);
	inode_data_put(file);
}

static void read_sized(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0)
		error = inode_apply(task->fs, task->inode, reply->attr, task->generation);
	if (error != 0)
		task_fail(task, error);
	else
		read_go(task);
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct handle *handle = ops_handle_of(fi);
	struct inode *inode = handle->inode;
	struct task *task = task_begin(fs, req);
	bool beyond;

	handle_used(handle);
	if (task == NULL)
		return;
	task->handle = handle_ref(handle);
	task->offset = (uint64_t)offset;
	task->length = size;
	task_of_pages(task, fi);
	if (task->paged)
		atomic_store(&inode->pages.filled, true);
	if (!handle->atime_done && fs->atime != ATIME_NEVER && !(fi->flags & O_NOATIME) &&
	    !atomic_load_explicit(&fs->read_only, memory_order_relaxed))
		note_access(fs, handle);
	if (!meta_sole(fs->meta)) {
		/* The file may have grown since we were told of its size. */
		pthread_mutex_lock(&inode->lock);
		beyond = task->offset + size > inode_size(inode);
		pthread_mutex_unlock(&inode->lock);
		if (beyond) {
			task->inode = inode_ref(fs->inodes, inode);
			attr_request_fetch(task, read_sized);
			return;
		}
	}
	read_go(task);
}
