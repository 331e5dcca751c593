/* setattr.c - attributes set.
 *
 * A setattr goes one of four ways:
 * - A size is a truncation (files/truncate.c), with what else is set beside it.
 * - Times alone (tar, rsync, cp -p) are answered before the master has, while the lease is held
 *   (lease/early_answer.h).
 * - Nothing at all asks for the attributes.
 * - All else is sent, and answered when the master's answer is applied.
 *
 * Times of writes and reads that were done before are overruled by those that a program sets; while
 * it does, nothing in the background tells the master times of ours (inode->commands.setattrs).
 *
 * A failure is the program's error, and nothing is changed. An inode that the master has no more,
 * but the kernel still uses, is changed here alone (inodes/removed.h). */
#include <errno.h>
#include <stddef.h>
#include "common/os/clock.h"
#include "fs/ops/ops.h"
#include "fs/files/privileges.h"
#include "fs/inodes/removed.h"
#include "fs/lease/early_answer.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/request_privileges.h"
#include "common/cluster/namespace_rules.h"
#include "fs/files/attr_request.h"
#include "fs/files/truncate.h"
#include "fs/ops/attr.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

/* Times only (early_answer.h): what tar, rsync and cp -p set of each file. True: answered. */
static bool set_ahead(struct task *task)
{
	const uint32_t times = CATENA__SET_MASK__SET_ATIME | CATENA__SET_MASK__SET_MTIME;
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct early_command *command;

	if (task->set.mask & ~times)
		return false;
	command = early_answer_start(task->fs, "setattr");
	if (command == NULL || !early_answer_set_times(command, task->inode, task->set.mask,
						       task->set.atime, task->set.mtime)) {
		early_answer_cancel(command);
		return false;
	}
	task->generation = command->view.generation;
	attr_request_fill(task, &setattr, &request);
	early_answer_send(command, &request);
	reply_with_attr(task, task->inode, fs_current(task->fs, task->generation));
	return true;
}

/* ---- of an inode that the master has no more ---- */

static void set_removed(struct task *task)
{
	struct inode *inode = task->inode;
	struct attr *attr = &inode->attr;
	uint32_t mask = task->set.mask;

	pthread_mutex_lock(&inode->lock);
	if (mask & CATENA__SET_MASK__SET_KILL_PRIV)
		attr->mode = namespace_rules_unprivileged(attr->mode);
	if (mask & CATENA__SET_MASK__SET_MODE)
		attr->mode = (attr->mode & S_IFMT) | (task->set.mode & 07777);
	if (mask & CATENA__SET_MASK__SET_UID)
		attr->uid = task->set.uid;
	if (mask & CATENA__SET_MASK__SET_GID)
		attr->gid = task->set.gid;
	if (mask & CATENA__SET_MASK__SET_ATIME)
		attr->atime = task->set.atime;
	if (mask & CATENA__SET_MASK__SET_MTIME)
		attr->mtime = task->set.mtime;
	attr->ctime = clock_realtime_ns();
	/* Of reads and writes before; there is nobody to tell them to. */
	inode->local.dirty = 0;
	pthread_mutex_unlock(&inode->lock);
}

static void was_set(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	error = attr_request_set_end(task, error, reply);
	if (removed_learn(task->inode, error, reply)) {
		set_removed(task);
		error = 0;
	}
	if (error != 0)
		task_fail(task, error);
	else
		reply_with_attr(task, task->inode, fs_current(task->fs, task->generation));
}

/* A file that is cut to nothing gets another file id. A delegated one stays the same when the command
 * has to be repeated, so nobody waits until it is durable. */
static void take_file_id(struct task *task)
{
	struct early_number number;

	if (task->size != 0 || !meta_sole(task->fs->meta) ||
	    !early_answer_take_number(task->fs, &number))
		return;
	task->new_file_id = number.file_id;
	task->file_id_range = number.range;
}

static void give_file_id_back(struct task *task)
{
	const struct early_number number = {.file_id = task->new_file_id,
					    .range = task->file_id_range};

	if (task->new_file_id != 0)
		early_answer_number_sent(task->fs, &number);
}

static void was_truncated(struct task *task, int error)
{
	give_file_id_back(task);
	if (error != 0)
		task_fail(task, error);
	else
		reply_with_attr(task, task->inode, fs_current(task->fs, task->generation));
}

/* Times are kept in nanoseconds, so those before 1677 and after 2262 become the first and the last
 * second that there is, as other filesystems do it. */
static int64_t ns_of(const struct timespec *t)
{
	const int64_t last = INT64_MAX / (int64_t)NS_PER_SEC;

	if (t->tv_sec >= last)
		return last * (int64_t)NS_PER_SEC;
	if (t->tv_sec <= -last)
		return -last * (int64_t)NS_PER_SEC;
	return (int64_t)t->tv_sec * (int64_t)NS_PER_SEC + t->tv_nsec;
}

static void fill_set(struct task *task, const struct stat *st, int to_set)
{
	int64_t now = clock_realtime_ns();
	uint32_t mask = 0;

	if (to_set & FUSE_SET_ATTR_MODE)
		mask |= CATENA__SET_MASK__SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		mask |= CATENA__SET_MASK__SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		mask |= CATENA__SET_MASK__SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		mask |= CATENA__SET_MASK__SET_SIZE;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		mask |= CATENA__SET_MASK__SET_ATIME;
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		mask |= CATENA__SET_MASK__SET_MTIME;
	if (mask != 0 && request_privileges_drop())
		mask |= CATENA__SET_MASK__SET_KILL_PRIV;
	task->set.mask = mask;
	task->set.mode = st->st_mode & 07777;
	task->set.uid = st->st_uid;
	task->set.gid = st->st_gid;
	task->set.atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now : ns_of(&st->st_atim);
	task->set.mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now : ns_of(&st->st_mtim);
	task->size = (uint64_t)st->st_size;
}

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		 struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct task *task;

	if ((to_set & FUSE_SET_ATTR_SIZE) && (uint64_t)st->st_size > FS_FILE_BYTES_MAX) {
		fuse_reply_err(req, EFBIG);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->inode = inode_table_get(fs->inodes, ino);
	if (task->inode == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	fill_set(task, st, to_set);
	if (task->set.mask & CATENA__SET_MASK__SET_SIZE) {
		take_file_id(task);
		truncate_begin(task, was_truncated);
	} else if (task->set.mask == 0) {
		attr_answer_fetched(task);
	} else if (!set_ahead(task)) {
		attr_request_set(task, was_set);
	}
}
