/* fsync.c - see fsync.h. Data and metadata are made durable at the same time; but what other mounts
 * go by is told only when all copies have answered. */
#include "fs/flush/fsync.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/os/log.h"
#include "fs/inodes/removed.h"
#include "fs/flush/tail_trim.h"

#define LOG_MODULE "sync"

/* So many truncations by others during one sync are not believed. */
#define REFUSALS_MAX 16u

struct sync {
	struct fs *fs;
	struct inode *inode; /* NULL: the master only */
	struct data_file *file;
	struct inode_update update;
	uint64_t generation, write_seq, changes;
	uint64_t session; /* of the update */
	bool datasync, settled;
	bool own;          /* something that was done to the inode here is not durable there */
	uint64_t learned;  /* inode->learned when the master was asked; 0: it need not be */
	unsigned refusals; /* because others truncated the file meanwhile */
	atomic_int parts, error;
	fsync_done_fn *done;
	void *user;
};

static void part_done(struct sync *sync, int error)
{
	int none = 0;

	if (error != 0)
		atomic_compare_exchange_strong(&sync->error, &none, error);
	if (atomic_fetch_sub(&sync->parts, 1) != 1)
		return;
	error = atomic_load(&sync->error);
	sync->done(sync->user, error);
	fs_data_put(sync->file);
	inode_put(sync->fs->inodes, sync->inode);
	free(sync);
}

static void data_synced(void *user, int error)
{
	struct sync *sync = user;
	struct inode *inode = sync->inode;

	pthread_mutex_lock(&inode->lock);
	if (error != 0)
		inode_writeback_failed(inode, error);
	else if (inode->write_seq == sync->write_seq)
		inode->synced = true;
	pthread_mutex_unlock(&inode->lock);
	part_done(sync, error);
}

static void master_synced(struct sync *sync)
{
	uint64_t known = atomic_load(&sync->fs->synced);

	while (known < sync->changes &&
	       !atomic_compare_exchange_weak(&sync->fs->synced, &known, sync->changes))
		;
}

static void send_update(struct sync *sync);
static void send_to_master(struct sync *sync);

/* What the master must be told. */
static void take_update(struct sync *sync)
{
	sync->session = atomic_load(&sync->fs->session_id);
	pthread_mutex_lock(&sync->inode->lock);
	inode_update_begin(sync->inode, &sync->update);
	if (sync->datasync && !(sync->update.mask & CATENA__SET_MASK__SET_GROW))
		sync->update.mask = 0;
	pthread_mutex_unlock(&sync->inode->lock);
}

static void settled(void *user, int error)
{
	struct sync *sync = user;

	if (error != 0)
		part_done(sync, error);
	else
		send_update(sync);
}

static void answered_again(void *user, int error)
{
	struct sync *sync = user;
	int none = 0;

	if (error != 0) {
		inode_tell_failed(sync->inode, error);
		atomic_compare_exchange_strong(&sync->error, &none, error);
	}
	send_to_master(sync);
}

static bool is_directory(struct inode *inode)
{
	bool directory;

	pthread_mutex_lock(&inode->lock);
	directory = S_ISDIR(inode->attr.mode);
	pthread_mutex_unlock(&inode->lock);
	return directory;
}

/* What the master says of the inode, durable if it is no error. */
static void take_answer(struct sync *sync, int error, const Catena__Reply *reply)
{
	struct inode *inode = sync->inode;
	bool as_asked;

	pthread_mutex_lock(&inode->lock);
	as_asked = inode->learned == sync->learned;
	pthread_mutex_unlock(&inode->lock);
	if (reply != NULL)
		fs_apply(sync->fs, inode, reply->attr, sync->generation);
	if (error != 0 || !as_asked)
		return;
	pthread_mutex_lock(&inode->lock);
	inode->learned = 0;
	pthread_mutex_unlock(&inode->lock);
}

/* -ESTALE: someone removed it: what was to be synced is gone. */
static void inode_answered(struct sync *sync, int error, const Catena__Reply *reply)
{
	if (removed_learn(sync->inode, error, reply) && is_directory(sync->inode))
		error = 0; /* it has no contents any more */
	part_done(sync, error == -ESTALE ? -EIO : error);
}

static void updated(void *user, int error, const Catena__Reply *reply)
{
	struct sync *sync = user;
	struct inode *inode = sync->inode;

	if (error == 0)
		fs_change_synced(inode);
	else
		fs_change_end(sync->fs, inode, reply != NULL);
	take_answer(sync, error, reply);
	if (error == -EBUSY && !sync->settled) {
		sync->settled = true;
		tail_trim_settle(sync->fs, inode, settled, sync);
		return;
	}
	if (error == -ESTALE && reply != NULL && reply->attr != NULL &&
	    ++sync->refusals <= REFUSALS_MAX) {
		/* Somebody truncated the file meanwhile: what is still to be told after that, is.
		 */
		take_update(sync);
		if (sync->file != NULL)
			data_flush(sync->file, false, answered_again, sync);
		else
			send_to_master(sync);
		return;
	}
	if (error == 0) {
		pthread_mutex_lock(&inode->lock);
		inode_update_done(inode, &sync->update);
		pthread_mutex_unlock(&inode->lock);
		master_synced(sync);
	}
	inode_answered(sync, error, reply);
}

static void send_update(struct sync *sync)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	bool now;

	pthread_mutex_lock(&sync->inode->lock);
	inode_update_fill(sync->inode, &sync->update, &setattr);
	now = sync->inode->changing++ == 0;
	pthread_mutex_unlock(&sync->inode->lock);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	request.sync = true;
	sync->changes = atomic_load(&sync->fs->changes);
	sync->generation = meta_generation(sync->fs->meta);
	/* What a session has not told is lost with it. */
	meta_call_within(sync->fs->meta, sync->session, now, &request, updated, sync);
}

static void probed(void *user, int error, const Catena__Reply *reply)
{
	struct sync *sync = user;

	take_answer(sync, error, reply);
	if (error == 0)
		master_synced(sync);
	inode_answered(sync, error, reply);
}

/* Others may have made or changed the inode, and not synced that: is it still there? */
static void send_probe(struct sync *sync)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	getattr.ino = sync->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	request.sync = true;
	sync->changes = atomic_load(&sync->fs->changes);
	sync->generation = meta_generation(sync->fs->meta);
	meta_call(sync->fs->meta, &request, probed, sync);
}

static void only_synced(void *user, int error, const Catena__Reply *reply)
{
	struct sync *sync = user;

	if (error == 0)
		master_synced(sync);
	if (error == 0 && sync->learned != 0)
		send_probe(sync);
	else
		part_done(sync, error);
}

static void send_sync(struct sync *sync)
{
	Catena__SyncReq all = CATENA__SYNC_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	request.op_case = CATENA__REQUEST__OP_SYNC_ALL;
	request.sync_all = &all;
	request.sync = true;
	sync->changes = atomic_load(&sync->fs->changes);
	meta_call(sync->fs->meta, &request, only_synced, sync);
}

static void send_to_master(struct sync *sync)
{
	if (sync->update.mask != 0)
		send_update(sync);
	else if (sync->learned != 0 && !sync->own)
		send_probe(sync);
	else
		send_sync(sync);
}

static struct sync *sync_new(struct fs *fs, fsync_done_fn *done, void *user)
{
	struct sync *sync = calloc(1, sizeof(*sync));

	if (sync == NULL)
		return NULL;
	sync->fs = fs;
	sync->done = done;
	sync->user = user;
	atomic_store(&sync->parts, 1);
	return sync;
}

/* The disks and the master at the same time; the chain first: its way is the longer one. */
static void begin_both(struct sync *sync)
{
	atomic_store(&sync->parts, 3);
	if (sync->file != NULL)
		data_flush(sync->file, true, data_synced, sync);
	else
		part_done(sync, 0);
	if (sync->update.mask != 0 || sync->own || sync->learned != 0)
		send_to_master(sync);
	else
		part_done(sync, 0);
	part_done(sync, 0);
}

static void data_answered(void *user, int error)
{
	struct sync *sync = user;

	if (error != 0) {
		inode_tell_failed(sync->inode, error);
		atomic_store(&sync->error, error);
	}
	begin_both(sync);
}

void fsync_inode(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done, void *user)
{
	struct sync *sync = sync_new(fs, done, user);
	uint64_t known;
	int error = 0;
	bool data;

	if (sync == NULL) {
		done(user, -ENOMEM);
		return;
	}
	sync->inode = inode_ref(fs->inodes, inode);
	sync->datasync = datasync;
	take_update(sync);
	pthread_mutex_lock(&inode->lock);
	known = atomic_load(&fs->synced);
	sync->own = inode->changing > 0 || inode->last_change > known;
	/* What was done here later would be lost with it, and that is noticed. */
	if (inode->learned > known && inode->learned > inode->last_change)
		sync->learned = inode->learned;
	sync->write_seq = inode->write_seq;
	data = inode->known && attr_is_regular(&inode->attr) &&
	       (!inode->synced || (inode->data != NULL && data_dirty(inode->data)));
	pthread_mutex_unlock(&inode->lock);
	if (data)
		sync->file = fs_data(fs, inode, &error);
	atomic_store(&sync->error, error);
	/* Other mounts go by the version and the size: those must not be known before all copies
	 * have the data. (Their disks may still be writing it.) */
	if (sync->file != NULL && sync->update.mask != 0 && !meta_sole(fs->meta))
		data_flush(sync->file, false, data_answered, sync);
	else
		begin_both(sync);
}

void fsync_master(struct fs *fs, fsync_done_fn *done, void *user)
{
	struct sync *sync = sync_new(fs, done, user);

	if (sync == NULL)
		done(user, -ENOMEM);
	else
		send_sync(sync);
}

/* ---- what the master has lost ---- */

static bool any(const struct inode *inode)
{
	return true;
}

struct restarted {
	bool lost;
	uint64_t synced;
	unsigned count;
};

/* A removal may be undone, and what was given a version may become another with the same. */
static void look_again(void *user, struct inode *inode)
{
	struct restarted *restarted = user;
	struct data_file *file = fs_data_if_open(inode);

	pthread_mutex_lock(&inode->lock);
	if (restarted->lost && inode->last_change > restarted->synced) {
		inode_writeback_failed(inode, -EIO);
		restarted->count++;
	}
	/* Even if a sync of others is answered now: see fsync_inode(). */
	if (inode->learned > restarted->synced)
		inode->learned = UINT64_MAX;
	inode->removed = false;
	inode->page_generation = inode->page_version = 0;
	pthread_mutex_unlock(&inode->lock);
	if (file != NULL)
		data_invalidate(file);
	fs_data_put(file);
}

void fsync_restarted(struct fs *fs, bool lost)
{
	struct restarted restarted = {.lost = lost, .synced = atomic_load(&fs->synced)};

	/* Not doing it would let fsync confirm what is lost. */
	while (inode_table_each(fs->inodes, any, look_again, &restarted) != 0) {
		log_error("out of memory: what the master has lost cannot be told yet");
		usleep(100000);
	}
	if (lost)
		log_error("the master has lost changes that were not synced: fsync will say so "
			  "inodes=%u",
			  restarted.count);
}
