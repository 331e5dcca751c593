/* ops_namespace.c - new names: files, directories, links, special files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/ops.h"

/* A task for a change of @name in @parent, which is held; NULL: answered already. */
static struct task *begin(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	size_t size = strlen(name);
	struct task *task;

	if (size > FS_NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return NULL;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return NULL;
	task->parent_ino = parent;
	memcpy(task->name, name, size + 1);
	task->parent = inode_table_get(fs->inodes, parent);
	if (task->parent == NULL) {
		task_fail(task, -ENOMEM);
		return NULL;
	}
	return task;
}

static void change_begin(struct task *task)
{
	struct dircache_change change = {.parent = task->parent_ino, .name = task->name};

	task->generation = meta_generation(task->fs->meta);
	dircache_change_begin(task->fs->dirs, task->generation, &change, 1);
	fs_change_begin(task->parent);
}

/* @ino: what the name is now. */
static void change_end(struct task *task, const Catena__Reply *reply, uint64_t ino)
{
	struct dircache_change change = {
		.parent = task->parent_ino, .name = task->name, .ino = ino};

	if (reply != NULL)
		fs_apply(task->fs, task->parent, reply->parent_attr, task->generation);
	fs_change_end(task->fs, task->parent, reply != NULL);
	dircache_change_end(task->fs->dirs, task->generation, &change, 1);
}

/* ---- create, in all its forms ---- */

/* A new inode has no xattrs, a new directory no entries. */
static void remember_new(struct task *task, struct inode *inode)
{
	struct fs *fs = task->fs;

	pthread_mutex_lock(&inode->lock);
	inode_set_xattrs(inode, NULL, 0, task->generation);
	if (task->text != NULL)
		inode_set_symlink(inode, task->text, strlen(task->text));
	inode->last_change = atomic_load(&fs->changes);
	inode->page_generation = task->generation;
	inode->synced = true; /* nothing is written yet */
	pthread_mutex_unlock(&inode->lock);
	if (S_ISDIR(inode->attr.mode))
		dircache_new(fs->dirs, task->generation, inode->ino);
}

/* What create and its like have in common when the answer is there: the inode, or NULL and ended.
 */
static struct inode *made(struct task *task, int error, const Catena__Reply *reply)
{
	struct fs *fs = task->fs;

	if (error == 0) {
		task->inode = fs_inode_of(fs, reply->attr, task->generation);
		if (task->inode == NULL)
			error = -EIO;
	}
	change_end(task, reply, error == 0 ? task->inode->ino : DIRCACHE_CHANGED);
	if (error != 0) {
		/* Somebody else made it since the kernel looked: let it look again. */
		if (error == -EEXIST && task->reread)
			error = -ESTALE;
		task_fail(task, error);
		return NULL;
	}
	remember_new(task, task->inode);
	return task->inode;
}

static void created(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct inode *inode = made(task, error, reply);

	if (inode != NULL)
		answer_entry(task, inode, fs_current(task->fs, task->generation));
}

static void send_create(struct task *task, uint32_t mode, uint32_t rdev, meta_done_fn *done)
{
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	const struct fuse_ctx *ctx = fuse_req_ctx(task->req);

	create.parent = task->parent_ino;
	create.name = bytes_of(task->name, strlen(task->name));
	create.mode = mode;
	create.uid = ctx->uid;
	create.gid = ctx->gid;
	create.rdev = rdev;
	if (task->text != NULL)
		create.symlink = bytes_of(task->text, strlen(task->text));
	create.open = task->registers;
	create.exclusive = true;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	change_begin(task);
	meta_call(task->fs->meta, &request, done, task);
}

void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct task *task = begin(req, parent, name);

	if (task != NULL)
		send_create(task, mode, (uint32_t)rdev, created);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct task *task = begin(req, parent, name);

	if (task != NULL)
		send_create(task, S_IFDIR | (mode & 07777), 0, created);
}

void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	if (strlen(target) > FS_SYMLINK_MAX) {
		task_fail(task, -ENAMETOOLONG);
		return;
	}
	task->text = strdup(target);
	if (task->text == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	send_create(task, S_IFLNK | 0777, 0, created);
}

/* ---- create and open ---- */

static void answer_create(struct task *task)
{
	struct fs *fs = task->fs;
	struct handle *handle = task->handle;
	struct fuse_entry_param entry;
	bool told = false;

	entry_of(task->inode, fs_current(fs, task->generation), &entry);
	task->fi.keep_cache = 1;
	if (task_claim(task))
		told = fuse_reply_create(task->req, &entry, &task->fi) == 0;
	if (!told) /* the kernel will not release what it does not know of */
		handle_close(fs, handle);
	task_end(task);
}

/* The lease went while the file was made without being counted as open. */
static void opened_late(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0) {
		pthread_mutex_lock(&task->inode->lock);
		task->inode->registered++;
		pthread_mutex_unlock(&task->inode->lock);
		error = fs_apply(task->fs, task->inode, reply->attr, task->generation);
	}
	if (error == 0) {
		answer_create(task);
		return;
	}
	handle_close(task->fs, task->handle);
	task_fail(task, error);
}

static void open_late(struct task *task)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	open.ino = task->inode->ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	meta_call(task->fs->meta, &request, opened_late, task);
}

static void created_open(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;
	struct inode *inode = made(task, error, reply);

	if (inode == NULL)
		return;
	if (task->registers) {
		pthread_mutex_lock(&inode->lock);
		inode->registered++;
		pthread_mutex_unlock(&inode->lock);
	}
	if (handle_open(task) != 0) {
		fs_unused(fs, inode);
		task_fail(task, -ENOMEM);
		return;
	}
	/* It counts as open now: from here on a recall finds it by itself. */
	if (task->registers || fs_current(fs, task->generation))
		answer_create(task);
	else
		open_late(task);
}

void fs_create_file(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		    struct fuse_file_info *fi)
{
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	task->fi = *fi;
	task->reread = (fi->flags & O_EXCL) == 0;
	task->registers = !meta_sole(task->fs->meta);
	send_create(task, S_IFREG | (mode & 07777), 0, created_open);
}

/* ---- link ---- */

static void linked(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;

	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: fs_apply(fs, task->inode, reply->attr, task->generation);
	fs_change_end(fs, task->inode, reply != NULL);
	change_end(task, reply, error == 0 ? task->inode->ino : DIRCACHE_CHANGED);
	if (error != 0)
		task_fail(task, error);
	else
		answer_entry(task, task->inode, fs_current(fs, task->generation));
}

void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	Catena__LinkReq link = CATENA__LINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	task->inode = inode_table_get(task->fs->inodes, ino);
	if (task->inode == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	link.ino = ino;
	link.parent = parent;
	link.name = bytes_of(task->name, strlen(task->name));
	request.op_case = CATENA__REQUEST__OP_LINK;
	request.link = &link;
	fs_change_begin(task->inode);
	change_begin(task);
	meta_call(task->fs->meta, &request, linked, task);
}

/* ---- readlink ---- */

static void got_link(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	char target[FS_SYMLINK_MAX + 1];

	if (error == 0 && (reply->data.len == 0 || reply->data.len > FS_SYMLINK_MAX ||
			   memchr(reply->data.data, '\0', reply->data.len) != NULL))
		error = -EIO;
	if (error != 0) {
		task_fail(task, error);
		return;
	}
	memcpy(target, reply->data.data, reply->data.len);
	target[reply->data.len] = '\0';
	pthread_mutex_lock(&task->inode->lock);
	inode_set_symlink(task->inode, target, reply->data.len);
	pthread_mutex_unlock(&task->inode->lock);
	if (task_claim(task))
		fuse_reply_readlink(task->req, target);
	task_end(task);
}

void fs_readlink(fuse_req_t req, fuse_ino_t ino)
{
	Catena__ReadlinkReq readlink = CATENA__READLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = fuse_req_userdata(req);
	struct inode *inode = inode_table_get(fs->inodes, ino);
	char target[FS_SYMLINK_MAX + 1] = "";
	struct task *task;

	if (inode == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&inode->lock);
	if (inode->symlink != NULL)
		memcpy(target, inode->symlink, strlen(inode->symlink) + 1);
	pthread_mutex_unlock(&inode->lock);
	if (target[0] != '\0') {
		fuse_reply_readlink(req, target);
		inode_put(fs->inodes, inode);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL) {
		inode_put(fs->inodes, inode);
		return;
	}
	task->inode = inode;
	readlink.ino = ino;
	request.op_case = CATENA__REQUEST__OP_READLINK;
	request.readlink = &readlink;
	meta_call(fs->meta, &request, got_link, task);
}
