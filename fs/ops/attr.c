/* attr.c - attributes: asked for and set. */
#include <errno.h>
#include <stddef.h>
#include "common/os/clock.h"
#include "fs/ops/blocks.h"
#include "fs/ops/ops.h"
#include "fs/ops/privileges.h"
#include "fs/inodes/removed.h"
#include "fs/lease/early_answer.h"
#include "fs/kernel/root_wait.h"
#include "fs/kernel/request_privileges.h"
#include "common/cluster/namespace_rules.h"

void attr_fetch(struct task *task, meta_done_fn *done)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	bool now;

	getattr.ino = task->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	pthread_mutex_lock(&task->inode->lock);
	now = task->inode->changing == 0;
	pthread_mutex_unlock(&task->inode->lock);
	task->generation = meta_generation(task->fs->meta);
	if (now)
		meta_call_now(task->fs->meta, &request, done, task);
	else
		meta_call(task->fs->meta, &request, done, task);
}

static void answer_got(struct task *task)
{
	blocks_answer_attr(task, task->inode, fs_current(task->fs, task->generation));
}

static void pages_dropped(struct page_drop *drop)
{
	struct task *task = (struct task *)((char *)drop - offsetof(struct task, drop));
	struct inode *inode = task->inode;

	pthread_mutex_lock(&inode->lock);
	if (!drop->stayed && inode->page_version < task->seq)
		inode->page_version = task->seq;
	pthread_mutex_unlock(&inode->lock);
	answer_got(task);
}

/* Somebody has the file open, its pages in the kernel may be of an earlier version than what is
 * going to be said of it, and nothing else would drop them. */
static bool pages_are_old(struct task *task)
{
	struct inode *inode = task->inode;
	bool old;

	pthread_mutex_lock(&inode->lock);
	task->seq = inode->attr.version;
	old = inode->opens > 0 && attr_is_regular(&inode->attr) &&
	      atomic_load(&inode->pages_read) && inode->page_version < inode->attr.version;
	pthread_mutex_unlock(&inode->lock);
	return old && !fs_current(task->fs, task->generation);
}

static void got_attr(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (task->root_since_ns != 0)
		root_wait_end(task);
	if (removed_learn(task->inode, error, reply)) {
		answer_attr(task, task->inode, true);
		return;
	}
	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: fs_apply(task->fs, task->inode, reply->attr, task->generation);
	if (error != 0) {
		task_fail(task, error);
	} else if (pages_are_old(task)) {
		task->drop.ino = task->inode->ino;
		task->drop.requests = &task->inode->page_requests;
		task->drop.done = pages_dropped;
		page_drops_add(task->fs->page_drops, &task->drop);
	} else {
		answer_got(task);
	}
}

static void answer_known(struct task *task)
{
	struct inode *inode = task->inode;
	struct stat st;
	bool known;

	pthread_mutex_lock(&inode->lock);
	known = inode->known;
	if (known)
		inode_stat(inode, &st);
	pthread_mutex_unlock(&inode->lock);
	if (known)
		fuse_reply_attr(task->req, &st, 0.0);
	else
		fuse_reply_err(task->req, EIO);
}

void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct meta_view view = fs_view(fs);
	struct inode *inode = inode_table_get(fs->inodes, ino);
	struct task *task;
	struct stat st;
	bool exact, counted = true;

	if (inode == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	exact = inode_exact(inode, view.sole, view.generation);
	exact |= inode->removed;
	if (exact) {
		inode_stat(inode, &st);
		counted = inode->removed || !inode_blocks_unknown(inode);
	}
	pthread_mutex_unlock(&inode->lock);
	if (exact && counted) {
		fuse_reply_attr(req, &st, fs_timeout(fs, true));
		inode_put(fs->inodes, inode);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL) {
		inode_put(fs->inodes, inode);
		return;
	}
	task->inode = inode;
	if (exact) {
		blocks_answer_attr(task, inode, true);
		return;
	}
	if (ino == INODE_ROOT)
		root_wait_begin(task, answer_known);
	attr_fetch(task, got_attr);
}

/* ---- setting ---- */

static void fill_request(const struct task *task, Catena__SetattrReq *setattr,
			 Catena__Request *request)
{
	setattr->ino = task->inode->ino;
	setattr->mask = task->set.mask;
	setattr->mode = task->set.mode;
	setattr->uid = task->set.uid;
	setattr->gid = task->set.gid;
	setattr->atime = task->set.atime;
	setattr->mtime = task->set.mtime;
	setattr->size = task->size;
	request->op_case = CATENA__REQUEST__OP_SETATTR;
	request->setattr = setattr;
}

void setattr_send(struct task *task, meta_done_fn *done)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct inode *inode = task->inode;
	bool now;

	fill_request(task, &setattr, &request);
	pthread_mutex_lock(&inode->lock);
	now = inode->changing++ == 0;
	inode->setattrs++;
	task->seq = inode->write_seq;
	pthread_mutex_unlock(&inode->lock);
	task->generation = meta_generation(task->fs->meta);
	if (now)
		meta_call_now(task->fs->meta, &request, done, task);
	else
		meta_call(task->fs->meta, &request, done, task);
}

int setattr_end(struct task *task, int error, const Catena__Reply *reply)
{
	struct inode *inode = task->inode;

	fs_change_end(task->fs, inode, reply != NULL);
	pthread_mutex_lock(&inode->lock);
	inode->setattrs--;
	if (error == 0) {
		/* Times of our own writes and reads, made before, are overruled. */
		if ((task->set.mask & CATENA__SET_MASK__SET_MTIME) && inode->write_seq == task->seq)
			inode_mtime_set(inode, !meta_sole(task->fs->meta));
		if (task->set.mask & CATENA__SET_MASK__SET_ATIME)
			inode->dirty &= ~(uint32_t)INODE_DIRTY_ATIME;
	}
	pthread_mutex_unlock(&inode->lock);
	if (error == 0 && reply->attr == NULL)
		error = -EIO;
	if (reply != NULL && fs_apply(task->fs, inode, reply->attr, task->generation) != 0)
		error = -EIO;
	return error;
}

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
	fill_request(task, &setattr, &request);
	early_answer_send(command, &request);
	answer_attr(task, task->inode, fs_current(task->fs, task->generation));
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
	inode->dirty = 0;
	pthread_mutex_unlock(&inode->lock);
}

static void was_set(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	error = setattr_end(task, error, reply);
	if (removed_learn(task->inode, error, reply)) {
		set_removed(task);
		error = 0;
	}
	if (error != 0)
		task_fail(task, error);
	else
		answer_attr(task, task->inode, fs_current(task->fs, task->generation));
}

static void was_truncated(struct task *task, int error)
{
	if (error != 0)
		task_fail(task, error);
	else
		answer_attr(task, task->inode, fs_current(task->fs, task->generation));
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

void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
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
	if (task->set.mask & CATENA__SET_MASK__SET_SIZE)
		truncate_begin(task, was_truncated);
	else if (task->set.mask == 0)
		attr_fetch(task, got_attr);
	else if (!set_ahead(task))
		setattr_send(task, was_set);
}
