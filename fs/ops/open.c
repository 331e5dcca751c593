/* open.c - files opened, and their handles closed.
 *
 * An open goes like this:
 * 1. open_go() makes a handle, which is counted in inode->opens before the lease is looked at: a
 *    recall after that finds the handle and registers it.
 * 2. With the lease and exact attributes the open is answered here. The kernel keeps its pages if
 *    they are of this generation of the lease.
 * 3. Without the lease the master is asked and counts the open ("registered"). The kernel keeps its
 *    pages if the inode has the version that they are of.
 * 4. Pages that are not kept are dropped by the answer. They count as dropped when the handle is
 *    used for the first time (handle_used()): until then the kernel may not have heard it.
 *
 * A close goes like this: the kernel sends a flush for each close(2) and one release at the last
 * (close.c). open_handle_close() takes the handle from inode->opens. opens_release() lets the data
 * file and the registered opens go when it was the last one.
 *
 * A failure: the handle is closed again, and the program gets the error. An inode that was replaced
 * since the kernel looked gives ESTALE, and the kernel looks once more (inodes/removed.h). When the
 * kernel does not take the answer, its handle is closed here. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "common/base/expects.h"
#include "fs/ops/open.h"
#include "fs/ops/ops.h"
#include "fs/files/attr_request.h"
#include "fs/inodes/removed.h"
#include "fs/flush/opens.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

/* ---- handles ---- */

int open_handle(struct task *task)
{
	struct inode *inode = task->inode;
	struct handle *handle = calloc(1, sizeof(*handle));

	if (handle == NULL)
		return -ENOMEM;
	atomic_init(&handle->refs, 2); /* the kernel's, and the task's */
	handle->inode = inode_ref(task->fs->inodes, inode);
	handle->flags = (uint32_t)task->fi.flags;
	pthread_mutex_lock(&inode->lock);
	inode->opens.handles++;
	if ((handle->flags & O_ACCMODE) == O_RDWR)
		inode->opens.mapping++;
	handle->errors_seen = inode_errors_seen(inode);
	handle->losses = inode->loss.count;
	pthread_mutex_unlock(&inode->lock);
	task->handle = handle;
	task->fi.fh = (uint64_t)(uintptr_t)handle;
	return 0;
}

void open_handle_close(struct fs *fs, struct handle *handle)
{
	struct inode *inode = handle->inode;
	bool last;

	pthread_mutex_lock(&inode->lock);
	expects(inode->opens.handles > 0 && inode->opens.mapping <= inode->opens.handles);
	last = --inode->opens.handles == 0;
	if ((handle->flags & O_ACCMODE) == O_RDWR)
		inode->opens.mapping--;
	pthread_mutex_unlock(&inode->lock);
	if (last)
		opens_release(fs, inode);
	handle_unref(fs, handle);
}

/* ---- open ---- */

static void answer_open(struct task *task)
{
	bool told = false;

	/* Nothing is done at the close of a file that was only read. */
	if ((task->fi.flags & O_ACCMODE) == O_RDONLY)
		task->fi.noflush = 1;
	if (task_claim(task))
		told = fuse_reply_open(task->req, &task->fi) == 0;
	if (!told)
		open_handle_close(task->fs, task->handle);
	task_end(task);
}

/* What the kernel and we have read of the file before may be old. Another open must not take this
 * one's word for it before the kernel has heard it. */
static void drop_pages(struct task *task, uint64_t generation, uint64_t version)
{
	struct handle *handle = task->handle;
	struct data_file *file = inode_data_find(task->inode);

	handle->page_generation = generation;
	handle->page_version = version;
	atomic_store(&handle->drops_pages, true);
	if (file != NULL)
		data_invalidate(file);
	inode_data_put(file);
}

/* While sole, pages stay what they are. */
static void open_sole(struct task *task, uint64_t generation)
{
	struct inode *inode = task->inode;

	pthread_mutex_lock(&inode->lock);
	task->fi.keep_cache = inode->pages.generation == generation;
	pthread_mutex_unlock(&inode->lock);
	if (!task->fi.keep_cache)
		drop_pages(task, generation, 0);
	answer_open(task);
}

void open_appends(struct task *task)
{
	const int flags = task->fi.flags;

	if ((flags & O_APPEND) && (flags & O_ACCMODE) == O_WRONLY)
		task->fi.direct_io = 1;
}

/* Otherwise, if the inode has not been changed at all since the last open that looked. */
static void open_shared(struct task *task)
{
	struct inode *inode = task->inode;
	uint64_t version;

	pthread_mutex_lock(&inode->lock);
	version = inode->attr.version;
	task->fi.keep_cache = inode->pages.version == version;
	inode->pages.generation = 0;
	pthread_mutex_unlock(&inode->lock);
	if (!task->fi.keep_cache)
		drop_pages(task, 0, version);
	open_appends(task);
	answer_open(task);
}

/* Its data is gone, or about to go. */
static bool is_removed(struct inode *inode)
{
	bool removed;

	pthread_mutex_lock(&inode->lock);
	removed = inode->removed;
	pthread_mutex_unlock(&inode->lock);
	return removed;
}

static void opened(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;

	if (error == 0 && task->registers) {
		pthread_mutex_lock(&task->inode->lock);
		task->inode->opens.registered++;
		pthread_mutex_unlock(&task->inode->lock);
	}
	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: inode_apply(fs, task->inode, reply->attr, task->generation);
	removed_learn(task->inode, error, reply);
	if (error == 0 && is_removed(task->inode))
		error = -ESTALE;
	if (error != 0) {
		open_handle_close(fs, task->handle);
		task_fail(task, error);
	} else if (!task->registers && fs_current(fs, task->generation)) {
		open_sole(task, task->generation);
	} else {
		open_shared(task);
	}
}

static void send_open(struct task *task)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	open.ino = task->inode->ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	task->registers = true;
	task->generation = meta_generation(task->fs->meta);
	meta_call(task->fs->meta, &request, opened, task);
}

/* The handle counts before the lease is looked at: a recall after that finds it and registers it,
 * one before it shows here. */
static void open_go(struct task *task)
{
	struct fs *fs = task->fs;
	struct inode *inode = task->inode;
	struct meta_view view;
	bool exact, registered, removed;

	if (open_handle(task) != 0) {
		task_fail(task, -ENOMEM);
		return;
	}
	view = fs_view(fs);
	pthread_mutex_lock(&inode->lock);
	removed = inode->removed;
	registered = inode->opens.registered > 0;
	/* One that loses its last name right now, unregistered, dies of it: the master, which
	 * executes in order, says so. */
	exact = inode_exact(inode, view.sole, view.generation) && inode_up_to_date(inode) &&
		(inode->attr.nlink > 0 || registered);
	pthread_mutex_unlock(&inode->lock);
	if (removed) {
		open_handle_close(fs, task->handle);
		task_fail(task, -ESTALE);
	} else if (exact) {
		open_sole(task, view.generation);
	} else if (view.sole || registered) {
		attr_request_fetch(task, opened);
	} else {
		send_open(task);
	}
}

/* O_TRUNC does not come here: the kernel sets the size when the file is open (see init() in ops.c). */
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct task *task = task_begin(fs, req);

	if (task == NULL)
		return;
	task->inode = inode_table_get(fs->inodes, ino);
	if (task->inode == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	task->fi = *fi;
	open_go(task);
}
