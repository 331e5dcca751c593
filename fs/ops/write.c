/* write.c - writes of open files.
 *
 * A write goes like this:
 * 1. ops_write() refuses a handle that has lost something with a session, takes a task, and keeps
 *    the kernel's buffer or copies the bytes (payload_of()).
 * 2. setuid and setgid bits go first when the kernel says so (files/privileges.h).
 * 3. An append whose place only the master knows goes another way: append_write().
 * 4. write_look() waits for a truncation of the inode that is under way, and has the rest of an
 *    earlier truncation removed if the write would extend the file over it.
 * 5. write_go() gives the bytes to the data layer. written() comes when they are accepted: in
 *    memory as a rule, by all copies for O_DIRECT.
 * 6. written_count() lets the inode's size and times know; flush_list tells the master later.
 * 7. The program has its answer. O_SYNC and O_DSYNC flush first; a program that flushes each of its
 *    writes has the next flush begun for it (flush/fsync_prediction.h).
 *
 * A failure:
 * - The session ended meanwhile: written_count() finds another session, and the program gets EIO.
 * - What was accepted cannot be written later: the inode keeps the error for its handles, and fsync
 *   or close tells it (handle_error()).
 * - The program is interrupted: it gets EINTR, and the write ends by itself.
 * - A direct write's old pages come back by a read: they are dropped before the answer. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include "common/os/clock.h"
#include "fs/files/append.h"
#include "fs/kernel/fuse_loop.h"
#include "fs/ops/ops.h"
#include "fs/files/privileges.h"
#include "fs/flush/fsync.h"
#include "fs/flush/fsync_prediction.h"
#include "fs/flush/tail_trim.h"
#include "fs/kernel/request_privileges.h"
#include "fs/files/written.h"
#include "fs/inodes/inode_data.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/task.h"

static void answer_write(void *user, int error);

static void pages_dropped(struct page_drop *drop)
{
	struct task *task = (struct task *)((char *)drop - offsetof(struct task, drop));

	task->direct = false;
	answer_write(task, 0);
}

/* The kernel drops the pages under a direct write before it comes here, but not those that a read
 * has brought back since (behind an asynchronous write it never looks again). */
static void drop_old_pages(struct task *task)
{
	task->drop.ino = task->inode->ino;
	task->drop.from = task->offset;
	task->drop.length = task->length;
	task->drop.done = pages_dropped;
	page_drops_add(task->fs->page_drops, &task->drop);
}

static void answer_write(void *user, int error)
{
	struct task *task = user;

	if (error == 0 && task->direct && atomic_load(&task->inode->pages.filled)) {
		drop_old_pages(task);
		return;
	}
	if (task_claim(task)) {
		if (error != 0)
			fuse_reply_err(task->req, task_errno(error));
		else
			fuse_reply_write(task->req, task->length);
	}
	task_end(task);
}

/* What the program is going to ask for next begins first: that takes longer than all that the
 * program does until then, and woken it would take the CPU from this thread. */
static void answer_habitual(struct task *task)
{
	fsync_prediction_wrote(task->fs, task->inode, task->length);
	answer_write(task, 0);
}

/* What it has written may have been found lost by another fsync. */
static void write_flushed(void *user, int error)
{
	struct task *task = user;
	int before = handle_error(task->handle, true);

	answer_write(task, error != 0 ? error : before);
}

static void answer_written(struct task *task)
{
	if (task->flags & O_DSYNC) /* O_SYNC has this bit too */
		fsync_inode(task->fs, task->inode, (task->flags & O_SYNC) != O_SYNC, write_flushed,
			    task);
	else
		answer_habitual(task);
}

static void written(void *user, int error)
{
	struct task *task = user;

	if (error == 0)
		error = written_count(task);
	if (error != 0)
		answer_write(task, error);
	else
		answer_written(task);
}

static void write_go(struct task *task)
{
	struct buf *payload = task->payload;
	struct data_file *file;
	int error;

	file = inode_data_get(task->fs, task->inode, &error);
	if (file == NULL) {
		task_fail(task, error);
		return;
	}
	task->payload = NULL;
	data_write_within(file, task->session, task->offset, payload, (task->flags & O_DIRECT) != 0,
			  written, task);
	inode_data_put(file);
}

/* ---- what must come before a write ---- */

static void write_look(struct task *task);

static void trim_settled(void *user, int error)
{
	struct task *task = user;

	if (error != 0)
		task_fail(task, error);
	else
		write_look(task);
}

static void write_passed(struct inode_gate_entry *entry)
{
	write_look((struct task *)((char *)entry - offsetof(struct task, gate)));
}

static void write_look(struct task *task)
{
	struct inode *inode = task->inode;
	bool busy, in_the_way;

	pthread_mutex_lock(&inode->lock);
	busy = inode->gate.busy;
	in_the_way = tail_trim_in_the_way(inode, task->offset + task->length);
	pthread_mutex_unlock(&inode->lock);
	if (busy && !inode_gate_pass(inode, &task->gate, write_passed))
		return;
	if (in_the_way && !busy)
		tail_trim_settle(task->fs, inode, trim_settled, task);
	else if (busy)
		write_look(task);
	else
		write_go(task);
}

/* It is at its place, and the inode knows. */
static void appended(struct task *task, int error)
{
	if (error != 0)
		answer_write(task, error);
	else
		answer_written(task);
}

/* While this mount is alone the kernel's offset is the end, unless the kernel may not know it. */
static bool is_at_end(struct task *task)
{
	struct inode *inode = task->inode;
	struct meta_view view;
	bool known;

	atomic_fetch_add(&task->fs->appends_alone, 1);
	task->alone = true;
	view = fs_view(task->fs);
	if (!view.sole)
		append_is_shared(task);
	pthread_mutex_lock(&inode->lock);
	known = inode_exact(inode, view.sole, view.generation) && !inode->size_from_elsewhere;
	pthread_mutex_unlock(&inode->lock);
	return task->alone && known;
}

static void write_begin(struct task *task, int error)
{
	if (error != 0)
		task_fail(task, error);
	else if ((task->flags & O_APPEND) && !is_at_end(task))
		append_write(task, appended);
	else
		write_look(task);
}

/* Something of the file was lost with a session since the handle was opened. Pages that the kernel
 * writes because they are dropped for that reason go the same way: nobody knows when they were
 * changed. */
static bool is_lost(struct fs *fs, struct handle *handle, bool page)
{
	struct inode *inode = handle->inode;
	bool lost;

	pthread_mutex_lock(&inode->lock);
	page = page && inode->loss.dropping;
	if (page)
		inode_lose(inode, atomic_load(&fs->session_id));
	lost = page || handle->losses != inode->loss.count;
	pthread_mutex_unlock(&inode->lock);
	return lost;
}

/* Small writes are copied; larger ones keep the buffer that the kernel's request came in. */
static struct buf *payload_of(struct fs *fs, const char *data, size_t size, uint64_t offset)
{
	struct buf *payload = fuse_loop_steal(data_pool(fs->data), data, size);

	if (payload != NULL)
		return payload;
	payload = buf_get(data_pool(fs->data), (uint32_t)size);
	if (payload == NULL)
		return NULL;
	payload->start = (uint32_t)(offset % BLOCK_SIZE);
	payload->length = (uint32_t)size;
	memcpy(buf_payload(payload), data, size);
	return payload;
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
	       struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct handle *handle = ops_handle_of(fi);
	struct task *task;

	if (offset < 0 || (uint64_t)offset > FS_FILE_BYTES_MAX ||
	    size > FS_FILE_BYTES_MAX - (uint64_t)offset || size > FRAME_PAYLOAD_MAX) {
		fuse_reply_err(req, EFBIG);
		return;
	}
	if (size == 0) {
		fuse_reply_write(req, 0);
		return;
	}
	handle_used(handle);
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	if (is_lost(fs, handle, fi->writepage)) {
		task_fail(task, -EIO);
		return;
	}
	task->inode = inode_ref(fs->inodes, handle->inode);
	task->handle = handle_ref(handle);
	task->offset = (uint64_t)offset;
	task->length = size;
	/* A page of a shared mapping is written where it is, whatever handle it comes by. */
	task->flags = fi->writepage ? 0 : (uint32_t)fi->flags;
	task_of_pages(task, fi);
	task->payload = payload_of(fs, data, size, task->offset);
	if (task->payload == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	if (request_privileges_drop() && privileges_are_set(task->inode))
		privileges_clear(task, write_begin);
	else
		write_begin(task, 0);
}
