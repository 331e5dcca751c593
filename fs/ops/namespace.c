/* namespace.c - new names: files, directories, links, special files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/flush/flush.h"
#include "fs/ops/ops.h"
#include "fs/flush/opens.h"
#include "fs/lease/early_answer.h"
#include "fs/ops/open.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/handle.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

/* A task for a change of @name in @parent, which is held; NULL: answered already. */
static struct task *begin(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fuse_req_userdata(req);
	size_t size = strlen(name);
	struct task *task;

	if (size > NAME_BYTES_MAX) {
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
	inode_change_begin(task->parent);
}

/* @ino: what the name is now. */
static void change_end(struct task *task, const Catena__Reply *reply, uint64_t ino)
{
	struct dircache_change change = {
		.parent = task->parent_ino, .name = task->name, .ino = ino};

	if (reply != NULL)
		inode_apply(task->fs, task->parent, reply->parent_attr, task->generation);
	inode_change_end(task->fs, task->parent, reply != NULL);
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
	inode->changes.own = atomic_load(&fs->changes);
	inode->pages.generation = task->generation;
	inode->data.durable = true; /* nothing is written yet */
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
		task->inode = inode_apply_get(fs, reply->attr, task->generation);
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

static void answer_made(struct task *task)
{
	reply_with_entry(task, task->inode, fs_current(task->fs, task->generation));
}

static void created(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (made(task, error, reply) != NULL)
		answer_made(task);
}

/* What the master is going to make of @create in @parent, by the same rules. */
static struct attr foresee(const struct inode *parent, const Catena__CreateReq *create,
			   const struct early_number *number, int64_t time)
{
	const struct namespace_rules_request request = {.mode = create->mode,
							.uid = create->uid,
							.gid = create->gid,
							.rdev = create->rdev,
							.symlink_bytes = create->symlink.len};
	const struct namespace_rules_place place = {.parent = parent->ino,
						    .parent_mode = parent->attr.mode,
						    .parent_gid = parent->attr.gid,
						    .parent_pool = parent->attr.pool,
						    .file_id = number->file_id};
	struct namespace_rules_inode new;

	namespace_rules_new_inode(&request, &place, &new);
	return (struct attr){.ino = number->ino,
			     .mode = new.mode,
			     .nlink = new.nlink,
			     .uid = new.uid,
			     .gid = new.gid,
			     .rdev = new.rdev,
			     .pool = new.pool,
			     .size = new.size,
			     .file_id = new.file_id,
			     .parent = new.parent,
			     .atime = time,
			     .mtime = time,
			     .ctime = time,
			     .version = 1};
}

/* The new inode, in task->inode. */
static bool make_inode(struct task *task, struct early_command *command,
		       const Catena__CreateReq *create, const struct early_number *number)
{
	struct fs *fs = task->fs;
	struct attr attr;

	task->inode = inode_table_get(fs->inodes, number->ino);
	if (task->inode == NULL)
		return false;
	pthread_mutex_lock(&task->parent->lock);
	attr = foresee(task->parent, create, number, command->time);
	pthread_mutex_unlock(&task->parent->lock);
	pthread_mutex_lock(&task->inode->lock);
	inode_attr_apply(task->inode, &attr, command->view.generation);
	pthread_mutex_unlock(&task->inode->lock);
	task->generation = command->view.generation;
	remember_new(task, task->inode);
	early_answer_made(command, task->inode);
	early_answer_name(command, task->parent_ino, task->name, number->ino);
	return true;
}

/* See lease/early_answer.h. True: the inode is there, and the command is under way. */
static bool create_ahead(struct task *task, Catena__Request *request)
{
	struct fs *fs = task->fs;
	struct early_command *command = early_answer_start(fs, "create");
	struct early_number number = {0};
	uint64_t ino;

	if (command == NULL || (request->create->mode & S_IFMT) == 0 ||
	    dircache_lookup(fs->dirs, command->view.generation, task->parent_ino, task->name,
			    &ino) != DIRCACHE_ABSENT ||
	    !early_answer_change(command, EARLY_PARENT, task->parent,
				 S_ISDIR(request->create->mode) ? 1 : 0) ||
	    !early_answer_take_number(fs, &number)) {
		early_answer_cancel(command);
		return false;
	}
	if (!make_inode(task, command, request->create, &number)) {
		early_answer_number_sent(fs, &number);
		early_answer_cancel(command);
		return false;
	}
	request->create->ino = number.ino;
	task->registers = false;
	early_answer_send(command, request);
	early_answer_number_sent(fs, &number);
	return true;
}

/* @now: it is there, without waiting; @done: the master has answered. */
static void send_create(struct task *task, uint32_t mode, uint32_t rdev,
			void (*now)(struct task *task), meta_done_fn *done)
{
	Catena__CreateReq create = CATENA__CREATE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	const struct fuse_ctx *ctx = fuse_req_ctx(task->req);

	create.parent = task->parent_ino;
	create.name = fs_bytes_of(task->name, strlen(task->name));
	create.mode = mode;
	create.uid = ctx->uid;
	create.gid = ctx->gid;
	create.rdev = rdev;
	if (task->text != NULL)
		create.symlink = fs_bytes_of(task->text, strlen(task->text));
	create.exclusive = true;
	request.op_case = CATENA__REQUEST__OP_CREATE;
	request.create = &create;
	if (create_ahead(task, &request)) {
		now(task);
		return;
	}
	create.open = task->registers;
	change_begin(task);
	meta_call(task->fs->meta, &request, done, task);
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct task *task = begin(req, parent, name);

	if (task != NULL)
		send_create(task, mode, (uint32_t)rdev, answer_made, created);
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct task *task = begin(req, parent, name);

	if (task != NULL)
		send_create(task, S_IFDIR | (mode & 07777), 0, answer_made, created);
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	if (strlen(target) > SYMLINK_BYTES_MAX) {
		task_fail(task, -ENAMETOOLONG);
		return;
	}
	task->text = strdup(target);
	if (task->text == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	send_create(task, S_IFLNK | 0777, 0, answer_made, created);
}

/* ---- create and open ---- */

static void answer_create(struct task *task)
{
	struct fs *fs = task->fs;
	struct handle *handle = task->handle;
	struct fuse_entry_param entry;
	bool told = false;

	reply_fill_entry(fs, task->inode, fs_current(fs, task->generation), &entry);
	task->fi.keep_cache = 1;
	if (!fs_current(task->fs, task->generation))
		open_appends(task);
	if (task_claim(task))
		told = fuse_reply_create(task->req, &entry, &task->fi) == 0;
	if (!told) /* the kernel will not release what it does not know of */
		open_handle_close(fs, handle);
	task_end(task);
}

/* The lease went while the file was made without being counted as open. */
static void opened_late(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0) {
		pthread_mutex_lock(&task->inode->lock);
		task->inode->opens.registered++;
		pthread_mutex_unlock(&task->inode->lock);
		error = inode_apply(task->fs, task->inode, reply->attr, task->generation);
	}
	if (error == 0) {
		answer_create(task);
		return;
	}
	open_handle_close(task->fs, task->handle);
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

/* The inode is there; the master counts it as open if it was asked to. */
static void open_made(struct task *task)
{
	struct fs *fs = task->fs;

	if (open_handle(task) != 0) {
		opens_release(fs, task->inode);
		task_fail(task, -ENOMEM);
		return;
	}
	/* It counts as open now: from here on a recall finds it by itself. */
	if (task->registers || fs_current(fs, task->generation))
		answer_create(task);
	else
		open_late(task);
}

static void created_open(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct inode *inode = made(task, error, reply);

	if (inode == NULL)
		return;
	if (task->registers) {
		pthread_mutex_lock(&inode->lock);
		inode->opens.registered++;
		pthread_mutex_unlock(&inode->lock);
	}
	open_made(task);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *fi)
{
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	task->fi = *fi;
	task->reread = (fi->flags & O_EXCL) == 0;
	task->registers = !meta_sole(task->fs->meta);
	send_create(task, S_IFREG | (mode & 07777), 0, open_made, created_open);
}

/* ---- link ---- */

static void linked(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;

	if (error == 0)
		error = reply->attr == NULL
				? -EIO
				: inode_apply(fs, task->inode, reply->attr, task->generation);
	inode_change_end(fs, task->inode, reply != NULL);
	change_end(task, reply, error == 0 ? task->inode->ino : DIRCACHE_CHANGED);
	if (error != 0)
		task_fail(task, error);
	else
		reply_with_entry(task, task->inode, fs_current(fs, task->generation));
}

static void link_now(struct task *task)
{
	Catena__LinkReq link = CATENA__LINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	link.ino = task->inode->ino;
	link.parent = task->parent_ino;
	link.name = fs_bytes_of(task->name, strlen(task->name));
	request.op_case = CATENA__REQUEST__OP_LINK;
	request.link = &link;
	inode_change_begin(task->inode);
	change_begin(task);
	meta_call(task->fs->meta, &request, linked, task);
}

/* Of lost data the handles hear, and fsync. */
static void link_published(void *user, int error)
{
	link_now(user);
}

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct task *task = begin(req, parent, name);

	if (task == NULL)
		return;
	task->inode = inode_table_get(task->fs->inodes, ino);
	if (task->inode == NULL)
		task_fail(task, -ENOMEM);
	else if (flush_unpublished(task->inode))
		flush_inode(task->fs, task->inode, false, link_published, task);
	else
		link_now(task);
}

/* ---- readlink ---- */

static void got_link(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	char target[SYMLINK_BYTES_MAX + 1];

	if (error == 0 && (reply->data.len == 0 || reply->data.len > SYMLINK_BYTES_MAX ||
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

void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	Catena__ReadlinkReq readlink = CATENA__READLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = fuse_req_userdata(req);
	struct inode *inode = inode_table_get(fs->inodes, ino);
	char target[SYMLINK_BYTES_MAX + 1] = "";
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
