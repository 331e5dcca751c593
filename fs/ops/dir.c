/* dir.c - directories read.
 *
 * Offsets: 1 stands behind ".", 2 behind ".."; all others are the master's cookies, which stay
 * what they are while entries come and go, so that a program may remove what it lists. A handle
 * keeps the last batch of entries that came. Directories read whole under the lease become complete
 * in the cache of names. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "fs/flush/flush.h"
#include "fs/inodes/dir_prefetch.h"
#include "fs/ops/ops.h"
#include "fs/flush/fsync.h"
#include "fs/inodes/dir_handle.h"
#include "fs/inodes/inode_apply.h"
#include "fs/kernel/reply.h"
#include "fs/kernel/task.h"

#define OFFSET_DOT    1
#define OFFSET_DOTDOT 2
/* So large is what the kernel asks for at most. */
#define REPLY_MAX (1u << 20)

static struct dir_handle *dir_of(const struct fuse_file_info *fi)
{
	return (struct dir_handle *)(uintptr_t)fi->fh;
}

void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct dir_handle *dir = calloc(1, sizeof(*dir));

	if (dir == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	atomic_init(&dir->refs, 1);
	pthread_mutex_init(&dir->lock, NULL);
	dir->inode = inode_table_get(fs->inodes, ino);
	if (dir->inode == NULL) {
		dir_handle_unref(fs, dir);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&dir->inode->lock);
	dir->errors_seen = inode_errors_seen(dir->inode);
	pthread_mutex_unlock(&dir->inode->lock);
	dir->noatime = (fi->flags & O_NOATIME) != 0;
	fi->fh = (uint64_t)(uintptr_t)dir;
	if (fuse_reply_open(req, fi) != 0)
		dir_handle_unref(fs, dir);
}

void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);

	fuse_reply_err(req, 0);
	dir_handle_unref(fs, dir_of(fi));
}

/* ---- a batch comes ---- */

/* What is learned of names and inodes goes into the caches. */
static void learn(struct task *task, struct dir_handle *dir)
{
	struct fs *fs = task->fs;

	if (dir->token == 0 || dir->token_generation != task->generation ||
	    dir->listed_to != dir->from) {
		dir->token = 0;
		return;
	}
	for (uint32_t i = 0; i < dir->count; i++) {
		if (dircache_add(fs->dirs, task->generation, dir->token, dir->inode->ino,
				 dir->names + dir->entries[i].name, dir->entries[i].ino))
			continue;
		dir->token = 0;
		return;
	}
	if (dir->count > 0)
		dir->listed_to = dir->entries[dir->count - 1].cookie;
	if (dir->eof)
		dircache_complete(fs->dirs, task->generation, dir->token, dir->inode->ino);
}

static int take_batch(struct task *task, struct dir_handle *dir, const Catena__Reply *reply)
{
	struct dir_entry *entries;
	size_t name_bytes, used = 0;
	char *names;
	int rc = dir_prefetch_check(reply, task->offset, &name_bytes);

	if (rc != 0)
		return rc;
	entries = malloc((reply->n_entries + 1) * sizeof(*entries));
	names = malloc(name_bytes + 1);
	if (entries == NULL || names == NULL) {
		free(entries);
		free(names);
		return -ENOMEM;
	}
	for (size_t i = 0; i < reply->n_entries; i++) {
		const Catena__DirEntry *entry = reply->entries[i];
		struct inode *inode = NULL;

		if (entry->attr != NULL && entry->attr->ino == entry->ino)
			inode = inode_apply_get(task->fs, entry->attr, task->generation);
		entries[i] = (struct dir_entry){.ino = entry->ino,
						.cookie = entry->cookie,
						.type = entry->type,
						.name = (uint32_t)used,
						.plus = inode != NULL};
		inode_put(task->fs->inodes, inode);
		memcpy(names + used, entry->name.data, entry->name.len);
		used += entry->name.len;
		names[used++] = '\0';
	}
	free(dir->entries);
	free(dir->names);
	dir->entries = entries;
	dir->names = names;
	dir->count = (uint32_t)reply->n_entries;
	dir->from = task->offset;
	dir->generation = task->generation;
	dir->eof = reply->eof;
	dir->filled = true;
	learn(task, dir);
	return 0;
}

/* ---- a reply is filled ---- */

struct filling {
	struct task *task;
	char *buffer;
	size_t size, used;
	bool plus;
};

/* False: it is full. */
static bool put(struct filling *f, const char *name, const struct fuse_entry_param *entry,
		off_t next)
{
	size_t left = f->size - f->used, need;

	if (f->plus)
		need = fuse_add_direntry_plus(f->task->req, f->buffer + f->used, left, name, entry,
					      next);
	else
		need = fuse_add_direntry(f->task->req, f->buffer + f->used, left, name,
					 &entry->attr, next);
	if (need > left)
		return false;
	f->used += need;
	return true;
}

static bool put_dots(struct filling *f, struct dir_handle *dir, uint64_t *offset)
{
	struct fuse_entry_param entry;
	uint64_t parent;

	memset(&entry, 0, sizeof(entry));
	entry.attr.st_mode = S_IFDIR;
	pthread_mutex_lock(&dir->inode->lock);
	parent = dir->inode->known ? dir->inode->attr.parent : 0;
	pthread_mutex_unlock(&dir->inode->lock);
	if (parent == 0)
		parent = dir->inode->ino;
	if (*offset == 0) {
		entry.attr.st_ino = dir->inode->ino;
		if (!put(f, ".", &entry, OFFSET_DOT))
			return false;
		*offset = OFFSET_DOT;
	}
	if (*offset == OFFSET_DOT) {
		entry.attr.st_ino = parent;
		if (!put(f, "..", &entry, OFFSET_DOTDOT))
			return false;
		*offset = OFFSET_DOTDOT;
	}
	return true;
}

/* The kernel is given attributes only when it may keep them; else it would ask again at once. */
static bool put_entry(struct filling *f, struct dir_handle *dir, const struct dir_entry *e,
		      bool current)
{
	struct fuse_entry_param entry;
	struct inode *inode = NULL;
	bool exact = false;

	if (f->plus && e->plus && current)
		inode = inode_table_find(f->task->fs->inodes, e->ino);
	if (inode != NULL) {
		pthread_mutex_lock(&inode->lock);
		exact = inode_exact(inode, true, dir->generation);
		pthread_mutex_unlock(&inode->lock);
	}
	if (exact) {
		reply_fill_entry(f->task->fs, inode, true, &entry);
	} else {
		memset(&entry, 0, sizeof(entry));
		entry.attr.st_ino = e->ino;
		entry.attr.st_mode = (e->type & 15) << 12;
	}
	inode_put(f->task->fs->inodes, inode);
	return put(f, dir->names + e->name, &entry, (off_t)e->cookie);
}

/* Where the batch goes on behind @offset; false: it does not say. */
static bool position(const struct dir_handle *dir, uint64_t offset, uint32_t *index)
{
	uint64_t cookie = offset <= OFFSET_DOTDOT ? 0 : offset;
	uint32_t low = 0, high = dir->count;

	if (!dir->filled)
		return false;
	if (cookie == dir->from) {
		*index = 0;
		return true;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (dir->entries[middle].cookie <= cookie)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || (low == dir->count && dir->entries[low - 1].cookie != cookie))
		return false;
	*index = low;
	return true;
}

/* With the handle's lock held. True: more entries must come before anything can be answered. */
static bool fill(struct filling *f, struct dir_handle *dir, uint64_t offset)
{
	bool current;
	uint32_t i;

	if (!position(dir, offset, &i))
		return true;
	if (offset < OFFSET_DOTDOT && !put_dots(f, dir, &offset))
		return false;
	current = fs_current(f->task->fs, dir->generation);
	for (; i < dir->count; i++) {
		if (!put_entry(f, dir, &dir->entries[i], current))
			return false;
	}
	return f->used == 0 && !dir->eof;
}

/* ---- the handler ---- */

static void list(struct task *task);

static void got_batch(void *user, int error, const Catena__Reply *reply)
{
	struct task *task = user;
	struct dir_handle *dir = task->dir;

	if (error == -ESTALE || error == -ENOENT) {
		/* Removed while it was open: it has no entries any more. */
		if (task_claim(task))
			fuse_reply_buf(task->req, NULL, 0);
		task_end(task);
		return;
	}
	if (error == 0) {
		pthread_mutex_lock(&dir->lock);
		error = take_batch(task, dir, reply);
		pthread_mutex_unlock(&dir->lock);
	}
	if (error != 0)
		task_fail(task, error);
	else
		list(task);
}

/* Entries behind task->length, the offset asked for, or behind the batch that there is. */
static void fetch(struct task *task)
{
	Catena__ReaddirReq readdir = CATENA__READDIR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct dir_handle *dir = task->dir;
	struct fs *fs = task->fs;
	struct meta_view view = fs_view(fs);
	uint64_t cookie = task->length <= OFFSET_DOTDOT ? 0 : task->length;

	task->generation = view.generation;
	task->offset = cookie;
	pthread_mutex_lock(&dir->lock);
	if (cookie == 0) {
		dir->token = 0;
		dir->listed_to = 0;
		if (view.sole)
			dir->token =
				dircache_read_begin(fs->dirs, view.generation, dir->inode->ino);
		dir->token_generation = view.generation;
	}
	pthread_mutex_unlock(&dir->lock);
	readdir.ino = dir->inode->ino;
	readdir.cookie = cookie;
	readdir.limit = DIR_PREFETCH_BATCH;
	readdir.plus = task->flags != 0 && view.sole;
	request.op_case = CATENA__REQUEST__OP_READDIR;
	request.readdir = &readdir;
	meta_call(fs->meta, &request, got_batch, task);
}

static void list(struct task *task)
{
	struct dir_handle *dir = task->dir;
	struct filling f = {.task = task, .size = task->size, .plus = task->flags != 0};
	bool more;

	f.buffer = malloc(f.size);
	if (f.buffer == NULL) {
		task_fail(task, -ENOMEM);
		return;
	}
	pthread_mutex_lock(&dir->lock);
	more = fill(&f, dir, task->length);
	pthread_mutex_unlock(&dir->lock);
	if (more) {
		fetch(task);
	} else {
		if (task_claim(task))
			fuse_reply_buf(task->req, f.buffer, f.used);
		task_end(task);
	}
	free(f.buffer);
}

static void note_access(struct fs *fs, struct inode *inode)
{
	bool add = false;

	pthread_mutex_lock(&inode->lock);
	if (inode_was_read(inode, fs->atime, clock_realtime_ns()))
		add = flush_mark(inode);
	pthread_mutex_unlock(&inode->lock);
	if (add)
		flush_list_add(fs, inode);
}

static void read_directory(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *fi,
			   bool plus)
{
	struct fs *fs = fuse_req_userdata(req);
	struct dir_handle *dir = dir_of(fi);
	struct task *task = task_begin(fs, req);

	if (task == NULL)
		return;
	atomic_fetch_add(&dir->refs, 1);
	task->dir = dir;
	task->size = size < REPLY_MAX ? size : REPLY_MAX;
	task->length = (uint64_t)offset;
	task->flags = plus;
	if (offset == 0) {
		/* From the start: what there is now, not what there was. */
		pthread_mutex_lock(&dir->lock);
		dir->filled = false;
		pthread_mutex_unlock(&dir->lock);
		if (fs->atime_directories && !dir->noatime && !atomic_load(&fs->read_only))
			note_access(fs, dir->inode);
	}
	list(task);
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		 struct fuse_file_info *fi)
{
	read_directory(req, size, offset, fi, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	read_directory(req, size, offset, fi, true);
}

/* ---- fsync ---- */

static void directory_flushed(void *user, int error)
{
	struct task *task = user;
	struct inode *inode = task->dir->inode;
	int before;

	/* Changes that were answered before the master did them, and then could not be done. */
	pthread_mutex_lock(&inode->lock);
	before = inode_take_error(inode, &task->dir->errors_seen);
	pthread_mutex_unlock(&inode->lock);
	if (error == 0)
		error = before;

	if (task_claim(task))
		fuse_reply_err(task->req, error == 0 ? 0 : task_errno(error));
	task_end(task);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	struct dir_handle *dir = dir_of(fi);
	struct task *task = task_begin(fs, req);

	if (task == NULL)
		return;
	atomic_fetch_add(&dir->refs, 1);
	task->dir = dir;
	fsync_inode(fs, dir->inode, datasync != 0, directory_flushed, task);
}
