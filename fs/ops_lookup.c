/* ops_lookup.c - from names to inodes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "fs/listing.h"
#include "fs/ops.h"

/* Kept by the kernel as "does not exist", when it may. */
static void reply_absent(struct fs *fs, fuse_req_t req, bool cacheable)
{
	struct fuse_entry_param entry;

	if (!cacheable) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	memset(&entry, 0, sizeof(entry));
	entry.entry_timeout = fs_timeout(fs, true);
	fuse_reply_entry(req, &entry);
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
		task->inode = fs_inode_of(fs, reply->attr, task->generation);
		if (task->inode == NULL) {
			task_fail(task, -EIO);
			return;
		}
		ino = task->inode->ino;
	}
	if (task->token != 0)
		cacheable = dircache_add(fs->dirs, task->generation, task->token, task->parent_ino,
					 task->name, ino);
	cacheable = cacheable && fs_current(fs, task->generation);
	if (error == 0) {
		answer_entry(task, task->inode, cacheable);
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
	bool exact;

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
	pthread_mutex_lock(&inode->lock);
	exact = inode_exact(inode, true, generation);
	pthread_mutex_unlock(&inode->lock);
	if (exact) {
		entry_of(fs, inode, true, &entry);
		fuse_reply_entry(req, &entry);
	}
	inode_put(fs->inodes, inode);
	return exact;
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = fuse_req_userdata(req);
	struct view view = fs_view(fs);
	size_t size = strlen(name);
	bool dots =
		strcmp(name, ".") == 0 || strcmp(name, "..") == 0; /* NFS export asks for these */
	struct task *task;

	if (size > FS_NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	if (view.sole && !dots && known(fs, req, view.generation, parent, name))
		return;
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->parent_ino = parent;
	task->generation = view.generation;
	if (view.sole && !dots)
		task->token = dircache_read_begin(fs->dirs, view.generation, parent);
	memcpy(task->name, name, size + 1);
	lookup.parent = parent;
	lookup.name = bytes_of(name, size);
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	meta_call(fs->meta, &request, looked_up, task);
	if (view.sole && !dots)
		listing_missed(fs, view.generation, parent);
}

/* Inodes are only cached here, so it does not matter whether the kernel still knows them. */
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	fuse_reply_none(req);
}

void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}
