/* remove.c - names that go: unlink, rmdir, rename.
 *
 * What is removed may be in use here without the master knowing (see fs.h): then it is told first,
 * on the same stream, so that the inode lives on until we close it. */
#include <errno.h>
#include <string.h>
#include "fs/flush/flush.h"
#include "fs/ops/ops.h"
#include "fs/flush/opens.h"
#include "fs/lease/early_answer.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/task.h"

/* ---- the victim ---- */

/* With its size told too: the master removes chunks up to what it knows. */
static void protect(struct fs *fs, struct inode *victim)
{
	bool in_use, tell;

	pthread_mutex_lock(&victim->lock);
	in_use = victim->known && !S_ISDIR(victim->attr.mode) && victim->opens.registered == 0 &&
		 victim->attr.nlink <= 1 &&
		 (victim->opens.handles > 0 || victim->local.dirty != 0 ||
		  victim->data.file != NULL);
	tell = (victim->local.dirty & INODE_DIRTY_SIZE) != 0;
	pthread_mutex_unlock(&victim->lock);
	if (in_use)
		opens_register(fs, victim);
	if (tell)
		flush_attrs_now(fs, victim);
}

static void victim_begin(struct task *task)
{
	if (task->victim == NULL)
		return;
	inode_change_begin(task->victim);
	protect(task->fs, task->victim);
}

static void victim_end(struct task *task, const Catena__Reply *reply)
{
	if (reply != NULL)
		opens_name_lost(task->fs, task->victim, reply->attr, task->generation);
	if (task->victim == NULL)
		return;
	inode_change_end(task->fs, task->victim, reply != NULL);
	opens_release(task->fs, task->victim);
}

/* Finds out what @name of @parent is: task->victim (NULL: nothing, or it does not matter), then
 * @next. Only the sole client need know, and it mostly does. */
static void found_victim(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;

	if (error == 0)
		task->victim = inode_apply_get(task->fs, reply->attr, task->generation);
	else if (error != -ENOENT) {
		task_fail(task, error);
		return;
	}
	task->go(task);
}

static void find_victim(struct task *task, uint64_t parent, const char *name,
			void (*next)(struct task *task))
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = task->fs;
	struct meta_view view = fs_view(fs);
	uint64_t ino;

	switch (dircache_lookup(fs->dirs, view.generation, parent, name, &ino)) {
	case DIRCACHE_FOUND:
		task->victim = inode_table_find(fs->inodes, ino);
		next(task); /* one that is not in the table is not in use */
		return;
	case DIRCACHE_ABSENT:
		next(task);
		return;
	default:
		break;
	}
	if (!view.sole) {
		next(task);
		return;
	}
	task->go = next;
	task->generation = view.generation;
	lookup.parent = parent;
	lookup.name = fs_bytes_of(name, strlen(name));
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	meta_call(fs->meta, &request, found_victim, task);
}

/* ---- before the master has answered (lease/early_answer.h) ---- */

/* It is known for sure that @name is @ino (0: nothing). */
static bool is_surely(const struct early_command *command, uint64_t parent, const char *name,
		      uint64_t ino)
{
	uint64_t known = 0;
	enum dircache_answer answer =
		dircache_lookup(command->fs->dirs, command->view.generation, parent, name, &known);

	return answer != DIRCACHE_UNKNOWN && known == ino;
}

/* One whose size is news is told first, which only the master's answer ends. NULL: there is none. */
static bool has_news(struct inode *victim)
{
	bool news;

	if (victim == NULL)
		return false;
	pthread_mutex_lock(&victim->lock);
	news = (victim->local.dirty & INODE_DIRTY_SIZE) != 0;
	pthread_mutex_unlock(&victim->lock);
	return news;
}

/* The victim loses this name. */
static bool victim_early(struct early_command *command, struct inode *victim)
{
	bool in_use, news;

	if (!early_answer_change(command, EARLY_VICTIM, victim, -1))
		return false;
	pthread_mutex_lock(&victim->lock);
	news = (victim->local.dirty & INODE_DIRTY_SIZE) != 0;
	in_use = !news && victim->opens.registered == 0 && victim->attr.nlink == 0 &&
		 (victim->opens.handles > 0 || victim->local.dirty != 0 ||
		  victim->data.file != NULL);
	pthread_mutex_unlock(&victim->lock);
	if (in_use)
		opens_register(command->fs, victim);
	return !news;
}

static bool unlink_ahead(struct task *task, Catena__Request *request)
{
	struct early_command *command = task->victim == NULL || has_news(task->victim)
						? NULL
						: early_answer_start(task->fs, "unlink");

	if (command == NULL ||
	    !is_surely(command, task->parent_ino, task->name, task->victim->ino) ||
	    !early_answer_change(command, EARLY_PARENT, task->parent, 0) ||
	    !victim_early(command, task->victim)) {
		early_answer_cancel(command);
		return false;
	}
	early_answer_name(command, task->parent_ino, task->name, DIRCACHE_GONE);
	early_answer_send(command, request);
	task_fail(task, 0);
	return true;
}

static struct inode *inode_of_name(struct task *task, const struct early_command *command)
{
	uint64_t ino;

	if (dircache_lookup(task->fs->dirs, command->view.generation, task->parent_ino, task->name,
			    &ino) != DIRCACHE_FOUND)
		return NULL;
	return inode_table_find(task->fs->inodes, ino);
}

/* With NOREPLACE (which mv asks for first) only where there is nothing: it must be so surely. */
static bool rename_ahead(struct task *task, Catena__Request *request)
{
	struct fs *fs = task->fs;
	bool plain = !has_news(task->victim) &&
		     (task->flags == 0 || (task->flags == RENAME_FLAG_NOREPLACE && !task->victim));
	struct early_command *command = plain ? early_answer_start(fs, "rename") : NULL;
	struct inode *moved = command == NULL ? NULL : inode_of_name(task, command);
	uint64_t victim = task->victim == NULL ? 0 : task->victim->ino;
	bool sure;

	sure = moved != NULL && moved != task->victim &&
	       is_surely(command, task->new_parent_ino, task->new_name, victim) &&
	       early_answer_change(command, EARLY_PARENT, task->parent, 0) &&
	       (task->new_parent == task->parent ||
		early_answer_change(command, EARLY_NEW_PARENT, task->new_parent, 0)) &&
	       early_answer_change(command, EARLY_MOVED, moved, 0) &&
	       (task->victim == NULL || victim_early(command, task->victim)) &&
	       (!flush_unpublished(moved) || flush_before_names(fs, moved));
	if (!sure) {
		early_answer_cancel(command);
		inode_put(fs->inodes, moved);
		return false;
	}
	early_answer_name(command, task->parent_ino, task->name, DIRCACHE_GONE);
	early_answer_name(command, task->new_parent_ino, task->new_name, moved->ino);
	early_answer_send(command, request);
	inode_put(fs->inodes, moved);
	task_fail(task, 0);
	return true;
}

/* ---- unlink and rmdir ---- */

static void unlinked(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;
	struct dircache_change change = {.parent = task->parent_ino, .name = task->name};

	victim_end(task, reply);
	if (reply != NULL)
		inode_apply(fs, task->parent, reply->parent_attr, task->generation);
	inode_change_end(fs, task->parent, reply != NULL);
	/* Refused: everything is as it was. */
	if (error == 0)
		change.ino = DIRCACHE_GONE;
	else if (error == -ENOTEMPTY && task->victim != NULL)
		change.ino = task->victim->ino;
	else
		change.ino = DIRCACHE_CHANGED;
	dircache_change_end(fs->dirs, task->generation, &change, 1);
	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

static void send_unlink(struct task *task)
{
	Catena__UnlinkReq unlink = CATENA__UNLINK_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct dircache_change change = {.parent = task->parent_ino, .name = task->name};

	unlink.parent = task->parent_ino;
	unlink.name = fs_bytes_of(task->name, strlen(task->name));
	unlink.directory = task->flags != 0;
	request.op_case = CATENA__REQUEST__OP_UNLINK;
	request.unlink = &unlink;
	if (!unlink.directory && unlink_ahead(task, &request))
		return;
	victim_begin(task);
	task->generation = meta_generation(task->fs->meta);
	dircache_change_begin(task->fs->dirs, task->generation, &change, 1);
	inode_change_begin(task->parent);
	meta_call(task->fs->meta, &request, unlinked, task);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool directory)
{
	struct fs *fs = fuse_req_userdata(req);
	size_t size = strlen(name);
	struct task *task;

	if (size > NAME_BYTES_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->parent_ino = parent;
	task->flags = directory;
	memcpy(task->name, name, size + 1);
	task->parent = inode_table_get(fs->inodes, parent);
	if (task->parent == NULL)
		task_fail(task, -ENOMEM);
	else
		find_victim(task, parent, task->name, send_unlink);
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

/* ---- rename ---- */

static void rename_changes(const struct task *task, struct dircache_change changes[2])
{
	changes[0] = (struct dircache_change){
		.parent = task->parent_ino, .name = task->name, .ino = DIRCACHE_CHANGED};
	changes[1] = (struct dircache_change){
		.parent = task->new_parent_ino, .name = task->new_name, .ino = DIRCACHE_CHANGED};
}

static void rename_applied(struct task *task, const Catena__Reply *reply)
{
	struct fs *fs = task->fs;

	inode_apply(fs, task->parent, reply->parent_attr, task->generation);
	inode_apply(fs, task->new_parent,
		    reply->new_parent_attr != NULL     ? reply->new_parent_attr
		    : task->new_parent == task->parent ? reply->parent_attr
						       : NULL,
		    task->generation);
	task->inode = inode_apply_get(fs, reply->moved, task->generation);
	if (task->inode != NULL) {
		inode_change_begin(task->inode);
		inode_change_end(fs, task->inode, true);
	}
}

static void renamed(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct fs *fs = task->fs;
	struct dircache_change changes[2];
	bool exchange = (task->flags & RENAME_FLAG_EXCHANGE) != 0;

	victim_end(task, reply);
	rename_changes(task, changes);
	if (error == 0) {
		rename_applied(task, reply);
		if (task->inode != NULL)
			changes[1].ino = task->inode->ino;
		if (!exchange)
			changes[0].ino = DIRCACHE_GONE;
		else if (reply->attr != NULL)
			changes[0].ino = reply->attr->ino;
		/* Two names of one file: both stay. */
		if (!exchange && task->inode != NULL && task->victim == task->inode)
			changes[0].ino = task->inode->ino;
	}
	inode_change_end(fs, task->parent, reply != NULL);
	inode_change_end(fs, task->new_parent, reply != NULL);
	dircache_change_end(fs->dirs, task->generation, changes, 2);
	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

static void fill_rename(struct task *task, Catena__RenameReq *rename, Catena__Request *request)
{
	rename->parent = task->parent_ino;
	rename->name = fs_bytes_of(task->name, strlen(task->name));
	rename->new_parent = task->new_parent_ino;
	rename->new_name = fs_bytes_of(task->new_name, strlen(task->new_name));
	rename->flags = task->flags;
	request->op_case = CATENA__REQUEST__OP_RENAME;
	request->rename = rename;
}

static void rename_now(struct task *task)
{
	Catena__RenameReq rename = CATENA__RENAME_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct dircache_change changes[2];

	fill_rename(task, &rename, &request);
	victim_begin(task);
	rename_changes(task, changes);
	task->generation = meta_generation(task->fs->meta);
	dircache_change_begin(task->fs->dirs, task->generation, changes, 2);
	inode_change_begin(task->parent);
	inode_change_begin(task->new_parent);
	meta_call(task->fs->meta, &request, renamed, task);
}

/* ---- data before the names that publish it, when the program waits for the master ---- */

static void publish(struct task *task);

/* Of lost data the handles hear, and fsync. */
static void was_written(void *user, int error)
{
	struct task *task = user;

	if (task->seq == 1 && (task->flags & RENAME_FLAG_EXCHANGE))
		publish(task);
	else
		rename_now(task);
}

static void write_first(struct task *task, uint64_t ino)
{
	struct inode *inode = inode_table_find(task->fs->inodes, ino);

	if (inode != NULL && flush_unpublished(inode))
		flush_inode(task->fs, inode, false, was_written, task);
	else
		was_written(task, 0);
	inode_put(task->fs->inodes, inode);
}

static void found_moved(void *user, int error, const Catena__Reply *reply)
{
	write_first(user, error == 0 && reply->attr != NULL ? reply->attr->ino : 0);
}

/* Of the inode that gets another name; task->seq counts: an exchange has two. Which it is must be
 * asked where names are not known, if there is anything that was written. */
static void publish(struct task *task)
{
	Catena__LookupReq lookup = CATENA__LOOKUP_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct fs *fs = task->fs;
	bool first = task->seq++ == 0;
	const char *name = first ? task->name : task->new_name;
	uint64_t parent = first ? task->parent_ino : task->new_parent_ino, ino = 0;
	struct meta_view view = fs_view(fs);
	enum dircache_answer known = DIRCACHE_UNKNOWN;

	if (view.sole)
		known = dircache_lookup(fs->dirs, view.generation, parent, name, &ino);
	if (known != DIRCACHE_UNKNOWN || flush_list_count(fs->flush_list) == 0) {
		write_first(task, known == DIRCACHE_FOUND ? ino : 0);
		return;
	}
	lookup.parent = parent;
	lookup.name = fs_bytes_of(name, strlen(name));
	request.op_case = CATENA__REQUEST__OP_LOOKUP;
	request.lookup = &lookup;
	meta_call(fs->meta, &request, found_moved, task);
}

static void send_rename(struct task *task)
{
	Catena__RenameReq rename = CATENA__RENAME_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	fill_rename(task, &rename, &request);
	if (rename_ahead(task, &request))
		return;
	task->seq = 0;
	publish(task);
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		const char *new_name, unsigned int flags)
{
	struct fs *fs = fuse_req_userdata(req);
	size_t size = strlen(name), new_size = strlen(new_name);
	struct task *task;

	if (size > NAME_BYTES_MAX || new_size > NAME_BYTES_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	task = task_begin(fs, req);
	if (task == NULL)
		return;
	task->parent_ino = parent;
	task->new_parent_ino = new_parent;
	task->flags = flags;
	memcpy(task->name, name, size + 1);
	memcpy(task->new_name, new_name, new_size + 1);
	task->parent = inode_table_get(fs->inodes, parent);
	task->new_parent = inode_table_get(fs->inodes, new_parent);
	if (task->parent == NULL || task->new_parent == NULL)
		task_fail(task, -ENOMEM);
	else if (flags & RENAME_FLAG_EXCHANGE)
		send_rename(task);
	else
		find_victim(task, new_parent, task->new_name, send_rename);
}
