/* xattr.c - extended attributes.
 *
 * The kernel asks for security.capability at nearly every write, so the names that an inode has are
 * remembered (mostly none); values are not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include "fs/ops/ops.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/task.h"

enum { OP_GET = 1, OP_SET = 2, OP_LIST = 3, OP_REMOVE = 4 }; /* XattrReq.op */

/* There are no ACLs here: the kernel and programs then go by the mode. */
static bool name_supported(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strncmp(name, "security.", 9) == 0;
}

/* 0, or what is wrong with the name, as other filesystems say it. */
static int check_name(const char *name)
{
	if (!name_supported(name))
		return EOPNOTSUPP;
	return strchr(name, '.')[1] == '\0' ? EINVAL : 0;
}

static bool has_name(const char *names, size_t size, const char *name)
{
	size_t length = strlen(name) + 1;

	for (size_t at = 0; at < size; at += strlen(names + at) + 1) {
		if (length <= size - at && memcmp(names + at, name, length) == 0)
			return true;
	}
	return false;
}

static struct task *begin(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fuse_req_userdata(req);
	struct task *task;

	if (name != NULL && strlen(name) > XATTR_NAME_BYTES_MAX) {
		fuse_reply_err(req, ERANGE);
		return NULL;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return NULL;
	if (name != NULL)
		memcpy(task->name, name, strlen(name) + 1);
	task->length = size;
	task->set.uid = fuse_req_ctx(req)->uid;
	task->inode = inode_table_get(fs->inodes, ino);
	if (task->inode == NULL) {
		task_fail(task, -ENOMEM);
		return NULL;
	}
	return task;
}

static void send_xattr(struct task *task, uint32_t op, const char *value, size_t size, int flags,
		       meta_done_fn *done)
{
	Catena__XattrReq xattr = CATENA__XATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	xattr.ino = task->inode->ino;
	xattr.name = fs_bytes_of(task->name, strlen(task->name));
	xattr.value = fs_bytes_of(value, size);
	xattr.op = op;
	xattr.flags = (uint32_t)flags;
	request.op_case = CATENA__REQUEST__OP_XATTR;
	request.xattr = &xattr;
	meta_call(task->fs->meta, &request, done, task);
}

/* A value or a list, as much as was asked for; 0: how much there is. */
static void reply_bytes(struct task *task, const void *data, size_t size)
{
	if (task_claim(task)) {
		if (task->length == 0)
			fuse_reply_xattr(task->req, size);
		else if (size > task->length)
			fuse_reply_err(task->req, ERANGE);
		else
			fuse_reply_buf(task->req, data, size);
	}
	task_end(task);
}

/* A removed directory that somebody is still in: the master knows nothing of it. */
static bool in_removed_directory(struct task *task)
{
	struct inode *inode = task->inode;
	bool yes;

	pthread_mutex_lock(&inode->lock);
	yes = inode->removed && S_ISDIR(inode->attr.mode);
	pthread_mutex_unlock(&inode->lock);
	return yes;
}

/* ---- the list of names ---- */

/* Those of trusted.* are only there for root. *size becomes what is left. */
static void hide_trusted(uint32_t uid, char *names, size_t *size)
{
	size_t used = 0;

	if (uid == 0)
		return;
	for (size_t at = 0, next; at < *size; at = next) {
		next = at + strlen(names + at) + 1;
		if (strncmp(names + at, "trusted.", 8) == 0)
			continue;
		memmove(names + used, names + at, next - at);
		used += next - at;
	}
	*size = used;
}

static void reply_list(struct task *task, const void *names, size_t size)
{
	char *copy = malloc(size + 1);

	if (copy == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	if (size > 0)
		memcpy(copy, names, size);
	hide_trusted(task->set.uid, copy, &size);
	reply_bytes(task, copy, size);
	free(copy);
}

static int check_list(const ProtobufCBinaryData *names)
{
	return names->len == 0 || names->data[names->len - 1] == '\0' ? 0 : -EIO;
}

static void remember(struct task *task, const ProtobufCBinaryData *names)
{
	struct inode *inode = task->inode;

	pthread_mutex_lock(&inode->lock);
	if (inode->xattrs.seq == task->seq)
		inode_set_xattrs(inode, names->data, names->len, task->generation);
	pthread_mutex_unlock(&inode->lock);
}

/* A copy of the names, if they are exact; *found says so. *names may be NULL: none. */
static int known_names(struct inode *inode, struct meta_view view, bool *found, char **names,
		       size_t *size)
{
	int rc = 0;

	*names = NULL;
	*size = 0;
	pthread_mutex_lock(&inode->lock);
	*found = view.sole && inode->xattrs.generation == view.generation;
	if (*found && inode->xattrs.size > 0) {
		*names = malloc(inode->xattrs.size);
		if (*names != NULL)
			memcpy(*names, inode->xattrs.names, *size = inode->xattrs.size);
		else
			rc = -ENOMEM;
	}
	pthread_mutex_unlock(&inode->lock);
	return rc;
}

static void listed(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0)
		error = check_list(&reply->data);
	if (error != 0) {
		task_fail(task, error);
		return;
	}
	remember(task, &reply->data);
	reply_list(task, reply->data.data, reply->data.len);
}

static void send_list(struct task *task, struct meta_view view, meta_done_fn *done)
{
	task->generation = view.generation;
	pthread_mutex_lock(&task->inode->lock);
	task->seq = task->inode->xattrs.seq;
	pthread_mutex_unlock(&task->inode->lock);
	send_xattr(task, OP_LIST, NULL, 0, 0, done);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct task *task = begin(req, ino, NULL, size);
	struct meta_view view;
	char *names;
	bool found;
	int rc;

	if (task == NULL)
		return;
	view = fs_view(task->fs);
	rc = known_names(task->inode, view, &found, &names, &size);
	if (rc != 0)
		task_fail(task, rc);
	else if (found)
		reply_list(task, names, size);
	else if (in_removed_directory(task))
		reply_list(task, NULL, 0);
	else
		send_list(task, view, listed);
	free(names);
}

/* ---- get ---- */

static void got_value(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error != 0)
		task_fail(task, error);
	else
		reply_bytes(task, reply->data.data, reply->data.len);
}

static void listed_for_get(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0)
		error = check_list(&reply->data);
	if (error != 0) {
		task_fail(task, error);
		return;
	}
	remember(task, &reply->data);
	if (has_name((const char *)reply->data.data, reply->data.len, task->name))
		send_xattr(task, OP_GET, NULL, 0, 0, got_value);
	else
		task_fail(task, -ENODATA);
}

/* True: the answer is that there is no such xattr, and no task was needed to find that out. */
static bool known_absent(struct fs *fs, fuse_ino_t ino, const char *name)
{
	struct meta_view view = fs_view(fs);
	struct inode *inode;
	bool absent = false;

	if (!view.sole)
		return false;
	inode = inode_table_find(fs->inodes, ino);
	if (inode == NULL)
		return false;
	pthread_mutex_lock(&inode->lock);
	absent = inode->xattrs.generation == view.generation &&
		 !has_name(inode->xattrs.names, inode->xattrs.size, name);
	pthread_mutex_unlock(&inode->lock);
	inode_put(fs->inodes, inode);
	return absent;
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct fs *fs = fuse_req_userdata(req);
	int error = check_name(name);
	struct task *task;
	struct meta_view view;
	bool known;

	if (error != 0) {
		fuse_reply_err(req, error);
		return;
	}
	if (known_absent(fs, ino, name)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	task = begin(req, ino, name, size);
	if (task == NULL)
		return;
	view = fs_view(fs);
	pthread_mutex_lock(&task->inode->lock);
	known = task->inode->xattrs.generation == view.generation;
	pthread_mutex_unlock(&task->inode->lock);
	if (in_removed_directory(task))
		task_fail(task, -ENODATA);
	else if (view.sole && !known)
		send_list(task, view, listed_for_get);
	else
		send_xattr(task, OP_GET, NULL, 0, 0, got_value);
}

/* ---- set and remove ---- */

static void changing(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->xattrs.seq++;
	inode->xattrs.generation = 0;
	pthread_mutex_unlock(&inode->lock);
}

static void changed(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	changing(task->inode);
	inode_change_end(task->fs, task->inode, reply != NULL);
	if (reply != NULL && inode_apply(task->fs, task->inode, reply->attr, task->generation) != 0)
		error = -EIO;
	task_fail(task, error);
}

static void change(fuse_req_t req, fuse_ino_t ino, const char *name, uint32_t op, const char *value,
		   size_t size, int flags)
{
	int error = check_name(name);
	struct task *task;

	if (error != 0) {
		fuse_reply_err(req, error);
		return;
	}
	task = begin(req, ino, name, 0);
	if (task == NULL)
		return;
	if (in_removed_directory(task)) {
		task_fail(task, op == OP_SET ? -ENOENT : -ENODATA);
		return;
	}
	task->generation = meta_generation(task->fs->meta);
	changing(task->inode);
	inode_change_begin(task->inode);
	send_xattr(task, op, value, size, flags, changed);
}

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		  int flags)
{
	change(req, ino, name, OP_SET, value, size, flags);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	change(req, ino, name, OP_REMOVE, NULL, 0, 0);
}
