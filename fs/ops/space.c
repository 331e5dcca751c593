/* space.c - holes and space: fallocate, lseek, statfs. */
#include <errno.h>
#include <linux/falloc.h>
#include <stddef.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/os/clock.h"
#include "fs/flush/flush.h"
#include "fs/ops/ops.h"
#include "fs/files/privileges.h"
#include "fs/lease/lease_return.h"
#include "fs/flush/tail_trim.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/request_privileges.h"
#include "fs/inodes/inode_data.h"
#include "fs/kernel/task.h"

#define STATFS_BLOCK 4096u

/* ---- fallocate ---- */

static void fallocate_end(struct task *task, int error)
{
	inode_gate_leave(task->inode);
	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

/* The file ends at least where the range does; what comes between is a hole. */
static void extend(struct task *task)
{
	struct inode *inode = task->inode;
	uint64_t end = task->offset + task->length;
	bool add = false;

	pthread_mutex_lock(&inode->lock);
	if (!(task->flags & FALLOC_FL_KEEP_SIZE) && end > inode_size(inode)) {
		inode_wrote(inode, end, end, clock_realtime_ns(), true);
		add = flush_mark(inode);
	}
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(task->fs, inode);
	fallocate_end(task, 0);
}

static void punched(void *user, int error)
{
	struct task *task = user;
	struct inode *inode = task->inode;
	bool add;

	if (error != 0) {
		fallocate_end(task, error);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	inode_touched(inode, clock_realtime_ns());
	inode_made_hole(inode);
	add = flush_mark_written(inode);
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(task->fs, inode);
	extend(task);
}

/* Nothing is behind the end of the file that could be punched. */
static void punch(struct task *task)
{
	struct inode *inode = task->inode;
	uint64_t end = task->offset + task->length, size;
	struct data_file *file;
	int error;

	pthread_mutex_lock(&inode->lock);
	size = inode_size(inode);
	pthread_mutex_unlock(&inode->lock);
	if (end > size)
		end = size;
	if (task->offset >= end) {
		extend(task);
		return;
	}
	file = inode_data_get(task->fs, inode, &error);
	if (file == NULL) {
		fallocate_end(task, error);
		return;
	}
	data_punch_within(file, task->session, task->offset, end, punched, task);
	inode_data_put(file);
}

static void fallocate_begin(struct task *task);

static void settled(void *user, int error)
{
	struct task *task = user;

	if (error != 0)
		task_fail(task, error);
	else
		fallocate_begin(task);
}

static void entered(struct task *task)
{
	struct inode *inode = task->inode;
	bool in_the_way;

	pthread_mutex_lock(&inode->lock);
	in_the_way = !(task->flags & FALLOC_FL_KEEP_SIZE) &&
		     tail_trim_in_the_way(inode, task->offset + task->length);
	pthread_mutex_unlock(&inode->lock);
	if (in_the_way) {
		inode_gate_leave(inode);
		tail_trim_settle(task->fs, inode, settled, task);
	} else if (task->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		punch(task);
	} else {
		extend(task);
	}
}

static void entered_later(struct inode_gate_entry *entry)
{
	entered((struct task *)((char *)entry - offsetof(struct task, gate)));
}

static void fallocate_begin(struct task *task)
{
	if (inode_gate_enter(task->inode, &task->gate, entered_later))
		entered(task);
}

static void allowed(struct task *task, int error)
{
	if (error != 0)
		task_fail(task, error);
	else
		fallocate_begin(task);
}

/* Space is not reserved: each chunk is placed when it is written. But what cannot fit is refused.
 */
static int fallocate_check(struct fs *fs, int mode, off_t offset, off_t length)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	bool punches = (mode & FALLOC_FL_PUNCH_HOLE) != 0;

	if ((mode & ~known) != 0 || (punches && !(mode & FALLOC_FL_KEEP_SIZE)) ||
	    (punches && (mode & FALLOC_FL_ZERO_RANGE)))
		return EOPNOTSUPP;
	if (offset < 0 || length <= 0)
		return EINVAL;
	if ((uint64_t)offset > FS_FILE_BYTES_MAX ||
	    (uint64_t)length > FS_FILE_BYTES_MAX - (uint64_t)offset)
		return punches ? 0 : EFBIG;
	if (mode == 0 && (uint64_t)length > data_space_left(fs->data))
		return ENOSPC;
	return 0;
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
		   struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	int error = fallocate_check(fs, mode, offset, length);
	struct task *task;

	if (error != 0) {
		fuse_reply_err(req, error);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->inode = inode_ref(fs->inodes, ops_handle_of(fi)->inode);
	task->offset = (uint64_t)offset;
	task->length = (uint64_t)length;
	task->flags = (uint32_t)mode;
	if (request_privileges_drop() && privileges_are_set(task->inode))
		privileges_clear(task, allowed);
	else
		allowed(task, 0);
}

/* ---- lseek ---- */

static void sought(void *user, int error, uint64_t result)
{
	struct task *task = user;

	if (error == 0 && task->flags == SEEK_DATA && result >= task->size)
		error = -ENXIO; /* only holes from there on */
	if (task_claim(task)) {
		if (error != 0)
			fuse_reply_err(task->req, task_errno(error));
		else
			fuse_reply_lseek(task->req, (off_t)result);
	}
	task_end(task);
}

static void seek(void *user)
{
	struct task *task = user;
	struct data_file *file;
	int error;

	file = inode_data_get(task->fs, task->inode, &error);
	if (file == NULL) {
		task_fail(task, error);
		return;
	}
	data_seek(file, task->offset, task->size, task->flags == SEEK_HOLE, sought, task);
	inode_data_put(file);
}

void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct inode *inode = ops_handle_of(fi)->inode;
	struct task *task;
	uint64_t size;
	bool mapped;

	pthread_mutex_lock(&inode->lock);
	size = inode_size(inode);
	mapped = inode->opens.mapping > 0;
	pthread_mutex_unlock(&inode->lock);
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->inode = inode_ref(fs->inodes, inode);
	task->offset = (uint64_t)offset;
	task->size = size;
	task->flags = (uint32_t)whence;
	/* What was written to a mapped page is data, also before the kernel writes it back. */
	if (mapped)
		lease_return_drop_pages(fs->lease_return, ino, task->offset, seek, task);
	else
		seek(task);
}

/* ---- statfs ---- */

static void got_statfs(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct statvfs st;

	root_wait_end(task);
	if (error == 0 && reply->statfs == NULL)
		error = -EIO;
	if (error != 0) {
		task_fail(task, error);
		return;
	}
	memset(&st, 0, sizeof(st));
	st.f_bsize = st.f_frsize = STATFS_BLOCK;
	st.f_blocks = reply->statfs->total_bytes / STATFS_BLOCK;
	st.f_bfree = st.f_bavail = reply->statfs->free_bytes / STATFS_BLOCK;
	/* Inodes are only limited by the master's disk. */
	st.f_ffree = st.f_favail = UINT32_MAX;
	st.f_files = reply->statfs->inodes + st.f_ffree;
	st.f_namemax = NAME_BYTES_MAX;
	root_wait_set_space(task->fs, &st);
	if (task_claim(task))
		fuse_reply_statfs(task->req, &st);
	task_end(task);
}

static void answer_known_space(struct task *task)
{
	fuse_reply_statfs(task->req, root_wait_space(task->fs));
}

void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	Catena__StatfsReq statfs = CATENA__STATFS_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = fuse_req_userdata(req);
	struct task *task = task_begin(fs, req);

	if (task == NULL)
		return;
	request.op_case = CATENA__REQUEST__OP_STATFS;
	request.statfs = &statfs;
	root_wait_begin(task, answer_known_space);
	meta_call(fs->meta, &request, got_statfs, task);
}
