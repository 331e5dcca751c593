/* lookup.c - from names to inodes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fs/inodes/dir_prefetch.h"
#include "fs/ops/ops.h"
#include "fs/inodes/removed.h"
#include "fs/flush/opens.h"
#include "fs/ops/lookup_hold.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

/* Of attempts to hold what a name is that is replaced all the time. */
#define HOLD_ATTEMPTS 50

/* Kept by the kernel as "does not exist", when it may. */
static void reply_absent(struct fs *fs, fuse_req_t req, bool cacheable)
{
	struct fuse_entry_param entry;

	if (!cacheable) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	memset(&entry, 0, sizeof(entry));
	entry.entry_timeout = fs_kernel_timeout_s(fs, true);
	fuse_reply_entry(req, &entry);
}

static void send_lookup(struct task *task);

/* ---- what is found is held (removed.h) ---- */

static void answer_found(struct task *task)
{
	reply_with_entry(task, task->inode, false);
}

static void held(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct inode *inode = task->inode;

	if (error == 0) {
		pthread_mutex_lock(&inode->lock);
		inode->opens.registered++;
		pthread_mutex_unlock(&inode->lock);
		inode_apply(task->fs, inode, reply->attr, task->generation);
		opens_release(task->fs, inode); /* the hold may have ended meanwhile */
	} else if (error == -ESTALE && ++task->length < HOLD_ATTEMPTS) {
		/* Replaced since: again. The hold of this one ends by itself. */
		inode_put(task->fs->inodes, inode);
		task->inode = NULL;
		send_lookup(task);
		return;
	}
	/* Without the hold it may still go well. */
	answer_found(task);
}

/* What was found now is held if it is still there then. While sole, that is known here. */
static void hold_found(struct task *task)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct inode *inode = task->inode;
	struct fs *fs = task->fs;
	bool there;

	if (!lookup_hold(fs, inode)) {
		answer_found(task);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	there = fs_current(fs, task->generation) && inode_up_to_date(inode) &&
		inode->attr.nlink > 0;
	pthread_mutex_unlock(&inode->lock);
	if (there) {
		answer_found(task);
		return;
	}
	open.ino = inode->ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	meta_call(fs->meta, &request, held, task);
}

static bool names_itself(const struct task *task)
{
	return strcmp(task->name, ".") == 0;
}

/* A handle of a file that nobody has open here any more; others may, but it has no name. */
static bool is_over(struct inode *inode)
{
	bool over;

	pthread_mutex_lock(&inode->lock);
	over = inode->attr.nlink == 0 && inode->opens.handles == 0;
	pthread_mutex_unlock(&inode->lock);
	return over;
}

static void looked_up(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;
	bool cacheable = false;
	uint64_t ino = 0;

	if (error != 0 && error != -ENOENT) {
		task_fail(task, error);
		return;
	}
	if (error == 0) {
		task->inode = inode_apply_get(fs, reply->attr, task->generation);
		if (task->inode == NULL) {
			task_fail(task, -EIO);
			return;
		}
		ino = task->inode->ino;
		if (names_itself(task) && is_over(task->inode)) {
			task_fail(task, -ESTALE);
			return;
		}
		if (removed_holding(fs)) {
			hold_found(task);
			return;
		}
	}
	if (task->token != 0)
		cacheable = dircache_add(fs->dirs, task->generation, task->token, task->parent_ino,
					 task->name, ino);
	cacheable = cacheable && fs_current(fs, task->generation);
	if (error == 0) {
		reply_with_entry(task, task->inode, cacheable);
		return;
	}
	if (task_claim(task))
		reply_absent(fs, task->req, cacheable);
	task_end(task);
}

/* True: answered from what is known. */
static bool known(struct fs *fs, fuse_req_t req, uint64_t generation, uint64_t parent,
		  const char *name)
{
	struct fuse_entry_param entry;
	struct inode *inode;
	uint64_t ino;
	bool exact, hold;

	switch (dircache_lookup(fs->dirs, generation, parent, name, &ino)) {
	case DIRCACHE_ABSENT:
		reply_absent(fs, req, true);
		return true;
	case DIRCACHE_FOUND:
		break;
	default:
		return false;
	}
	inode = inode_table_find(fs->inodes, ino);
	if (inode == NULL)
		return false;
	hold = removed_holding(fs) && lookup_hold(fs, inode);
	pthread_mutex_lock(&inode->lock);
	exact = inode_exact(inode, true, generation) &&
		(!hold || (inode_up_to_date(inode) && inode->attr.nlink > 0));
	pthread_mutex_unlock(&inode->lock);
	if (exact) {
		reply_fill_entry(fs, inode, true, &entry);
		fuse_reply_entry(req, &entry);
	}
	inode_put(fs->inodes, inode);
	return exact;
}

/* NFS servers, and whoever opens a file handle, ask for "." and "..". */
static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void send_lookup(struct task *task)
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = task->fs;
	struct meta_view view = fs_view(fs);

	task->generation = view.generation;
	task->token = 0;
	if (view.sole && !is_dots(task->name))
		task->token = dircache_read_begin(fs->dirs, view.generation, task->parent_ino);
	lookup.parent = task->parent_ino;
	lookup.name = fs_bytes_of(task->name, strlen(task->name));
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	meta_call(fs->meta, &request, looked_up, task);
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	struct meta_view view = fs_view(fs);
	size_t size = strlen(name);
	bool dots = is_dots(name);
	struct task *task;

	if (size > NAME_BYTES_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	if (view.sole && !dots && known(fs, req, view.generation, parent, name))
		return;
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->parent_ino = parent;
	memcpy(task->name, name, size + 1);
	send_lookup(task);
	if (view.sole && !dots)
		dir_prefetch_missed(fs, view.generation, parent);
}

/* Inodes are only cached here, so it does not matter whether the kernel still knows them. */
void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}
