/* opens.c - see opens.h. */
#define LOG_MODULE "fs"
#include "fs/flush/opens.h"
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"
#include "fs/flush/flush.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"

static struct log_rate noise;

static void send_close(struct fs *fs, uint64_t ino, uint32_t count)
{
	Catena__CloseReq close = CATENA__CLOSE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	close.ino = ino;
	close.count = count;
	request.op_case = CATENA__REQUEST__OP_CLOSE;
	request.close = &close;
	meta_call_later(fs->meta, &request, NULL, NULL);
}

struct registering {
	struct fs *fs;
	struct inode *inode;
};

static void registered(void *user, int error, const Catena__Reply *reply)
{
	struct registering *r = user;

	if (error == 0) {
		pthread_mutex_lock(&r->inode->lock);
		r->inode->opens.registered++;
		pthread_mutex_unlock(&r->inode->lock);
	} else if (reply != NULL && log_rate_ok(&noise, 2)) {
		log_warn("an open file is unknown to the master ino=%llu error=\"%s\"",
			 (unsigned long long)r->inode->ino, strerror(-error));
	}
	opens_release(r->fs, r->inode); /* it may have been closed meanwhile */
	inode_put(r->fs->inodes, r->inode);
	free(r);
}

void opens_register(struct fs *fs, struct inode *inode)
{
	Catena__OpenReq open = CATENA__OPEN_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct registering *r = malloc(sizeof(*r));

	open.ino = inode->ino;
	request.op_case = CATENA__REQUEST__OP_OPEN;
	request.open = &open;
	if (r == NULL) {
		log_error("out of memory: an open file is not registered");
		return;
	}
	*r = (struct registering){.fs = fs, .inode = inode_ref(fs->inodes, inode)};
	meta_call_later(fs->meta, &request, registered, r);
}

/* ---- orphans ---- */

struct orphan {
	struct fs *fs;
	struct inode *inode;
	struct data_file *file;
	uint32_t registered;
};

/* Nothing is under way any more that could make a chunk: now it may go. */
static void orphan_quiet(void *user, int error)
{
	struct orphan *orphan = user;
	Catena__CloseReq close = CATENA__CLOSE_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	if (orphan->registered > 0) {
		/* How far its chunks go, then that it is closed. */
		flush_attrs_now(orphan->fs, orphan->inode);
		pthread_mutex_lock(&orphan->inode->lock);
		orphan->inode->local.dirty = 0;
		pthread_mutex_unlock(&orphan->inode->lock);
		close.ino = orphan->inode->ino;
		close.count = orphan->registered;
		request.op_case = CATENA__REQUEST__OP_CLOSE;
		request.close = &close;
		meta_call_later(orphan->fs->meta, &request, NULL, NULL);
	}
	inode_data_put(orphan->file);
	inode_put(orphan->fs->inodes, orphan->inode);
	free(orphan);
}

static void flush_orphan(struct fs *fs, struct inode *inode)
{
	struct orphan *orphan = malloc(sizeof(*orphan));

	if (orphan == NULL) {
		log_error("out of memory: an unlinked file stays until the mount ends");
		return;
	}
	*orphan = (struct orphan){.fs = fs, .inode = inode_ref(fs->inodes, inode)};
	pthread_mutex_lock(&inode->lock);
	orphan->registered = inode->opens.registered;
	inode->opens.registered = 0;
	orphan->file = inode->data.file;
	inode->data.file = NULL;
	inode->data.durable = true;
	pthread_mutex_unlock(&inode->lock);
	if (orphan->file == NULL) {
		orphan_quiet(orphan, 0);
		return;
	}
	data_file_discard(orphan->file);
	data_flush(orphan->file, false, orphan_quiet, orphan);
}

/* ---- no handle is left ---- */

void opens_release(struct fs *fs, struct inode *inode)
{
	struct data_file *file = NULL;
	uint32_t count = 0;
	bool orphan = false;

	pthread_mutex_lock(&inode->lock);
	if (inode->opens.handles == 0 && inode->commands.under_way == 0) {
		orphan = inode->known && inode->attr.nlink == 0 &&
			 (inode->data.file != NULL || inode->opens.registered > 0);
		inode->removed |= orphan;
		if (!orphan && inode->data.file != NULL && !inode->background.listed &&
		    inode->local.dirty == 0 && !data_dirty(inode->data.file)) {
			file = inode->data.file;
			inode->data.file = NULL;
		}
		if (!orphan) {
			count = inode->opens.registered;
			inode->opens.registered = 0;
		}
	}
	pthread_mutex_unlock(&inode->lock);
	inode_data_put(file);
	if (count > 0)
		send_close(fs, inode->ino, count);
	if (orphan)
		flush_orphan(fs, inode);
}

/* ---- a name is gone ---- */

/* The last name is gone. What the master does not count as open for us is gone with it. */
static void note_removed(struct inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	if (inode->attr.nlink == 0 && inode->opens.registered == 0)
		inode->removed = true;
	pthread_mutex_unlock(&inode->lock);
}

/* Written, closed and gone before it came to the disks. */
static void forget_closed(struct fs *fs, struct inode *victim)
{
	uint64_t file_id = 0;
	uint32_t pool;

	pthread_mutex_lock(&victim->lock);
	if (victim->data.file == NULL && victim->opens.handles == 0 && !victim->data.durable)
		file_id = victim->attr.file_id;
	pool = victim->attr.pool;
	victim->data.durable = true;
	pthread_mutex_unlock(&victim->lock);
	if (file_id != 0)
		inode_data_discard(fs, pool, file_id);
}

void opens_name_gone(struct fs *fs, struct inode *victim, bool last)
{
	mode_t mode;

	note_removed(victim);
	if (!last)
		return;
	pthread_mutex_lock(&victim->lock);
	mode = victim->attr.mode;
	pthread_mutex_unlock(&victim->lock);
	if (S_ISDIR(mode))
		dircache_drop(fs->dirs, victim->ino);
	if (S_ISREG(mode))
		forget_closed(fs, victim);
}

void opens_name_lost(struct fs *fs, struct inode *victim, const Catena__Attr *message,
		     uint64_t generation)
{
	if (message == NULL)
		return;
	if (victim == NULL || victim->ino != message->ino) {
		/* Not the one that was expected: nothing of it is in use while sole. */
		struct inode *other = inode_apply_get(fs, message, generation);

		if (other != NULL)
			note_removed(other);
		if (other != NULL && message->nlink == 0 && S_ISREG(message->mode))
			forget_closed(fs, other);
		if (other != NULL)
			opens_release(fs, other);
		inode_put(fs->inodes, other);
		return;
	}
	inode_apply(fs, victim, message, generation);
	opens_name_gone(fs, victim, message->nlink == 0);
}
