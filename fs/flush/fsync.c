/* fsync.c - see fsync.h. Data and metadata are made durable at the same time; but what other mounts
 * go by is told only when all copies have answered. */
#include "fs/flush/fsync.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/os/log.h"
#include "fs/inodes/removed.h"
#include "fs/flush/tail_trim.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"

#define LOG_MODULE "sync"

/* So many truncations by others during one sync are not believed. */
#define REFUSALS_MAX 16u

struct fsync_op {
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

static void part_done(struct fsync_op *op, int error)
{
	int none = 0;

	if (error != 0)
		atomic_compare_exchange_strong(&op->error, &none, error);
	if (atomic_fetch_sub(&op->parts, 1) != 1)
		return;
	error = atomic_load(&op->error);
	op->done(op->user, error);
	inode_data_put(op->file);
	inode_put(op->fs->inodes, op->inode);
	free(op);
}

static void data_synced(void *user, int error)
{
	struct fsync_op *op = user;
	struct inode *inode = op->inode;

	pthread_mutex_lock(&inode->lock);
	if (error != 0)
		inode_writeback_failed(inode, error);
	else if (inode->write_seq == op->write_seq)
		inode->flushed = true;
	pthread_mutex_unlock(&inode->lock);
	part_done(op, error);
}

static void master_synced(struct fsync_op *op)
{
	uint64_t known = atomic_load(&op->fs->changes_flushed);

	while (known < op->changes &&
	       !atomic_compare_exchange_weak(&op->fs->changes_flushed, &known, op->changes))
		;
}

static void send_update(struct fsync_op *op);
static void send_to_master(struct fsync_op *op);

/* What the master must be told. */
static void take_update(struct fsync_op *op)
{
	op->session = atomic_load(&op->fs->session_id);
	pthread_mutex_lock(&op->inode->lock);
	inode_update_begin(op->inode, &op->update);
	if (op->datasync && !(op->update.mask & CATENA__SET_MASK__SET_GROW))
		op->update.mask = 0;
	pthread_mutex_unlock(&op->inode->lock);
}

static void settled(void *user, int error)
{
	struct fsync_op *op = user;

	if (error != 0)
		part_done(op, error);
	else
		send_update(op);
}

static void answered_again(void *user, int error)
{
	struct fsync_op *op = user;
	int none = 0;

	if (error != 0) {
		inode_tell_failed(op->inode, error);
		atomic_compare_exchange_strong(&op->error, &none, error);
	}
	send_to_master(op);
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
static void take_answer(struct fsync_op *op, int error, const Catena__Reply *reply)
{
	struct inode *inode = op->inode;
	bool as_asked;

	pthread_mutex_lock(&inode->lock);
	as_asked = inode->learned == op->learned;
	pthread_mutex_unlock(&inode->lock);
	if (reply != NULL)
		inode_apply(op->fs, inode, reply->attr, op->generation);
	if (error != 0 || !as_asked)
		return;
	pthread_mutex_lock(&inode->lock);
	inode->learned = 0;
	pthread_mutex_unlock(&inode->lock);
}

/* -ESTALE: someone removed it: what was to be synced is gone. */
static void inode_answered(struct fsync_op *op, int error, const Catena__Reply *reply)
{
	if (removed_learn(op->inode, error, reply) && is_directory(op->inode))
		error = 0; /* it has no contents any more */
	part_done(op, error == -ESTALE ? -EIO : error);
}

static void updated(void *user, int error, const Catena__Reply *reply)
{
	struct fsync_op *op = user;
	struct inode *inode = op->inode;

	if (error == 0)
		inode_change_flushed(inode);
	else
		inode_change_end(op->fs, inode, reply != NULL);
	take_answer(op, error, reply);
	if (error == -EBUSY && !op->settled) {
		op->settled = true;
		tail_trim_settle(op->fs, inode, settled, op);
		return;
	}
	if (error == -ESTALE && reply != NULL && reply->attr != NULL &&
	    ++op->refusals <= REFUSALS_MAX) {
		/* Somebody truncated the file meanwhile: what is still to be told after that, is.
		 */
		take_update(op);
		if (op->file != NULL)
			data_flush(op->file, false, answered_again, op);
		else
			send_to_master(op);
		return;
	}
	if (error == 0) {
		pthread_mutex_lock(&inode->lock);
		inode_update_done(inode, &op->update);
		pthread_mutex_unlock(&inode->lock);
		master_synced(op);
	}
	inode_answered(op, error, reply);
}

static void send_update(struct fsync_op *op)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	bool now;

	pthread_mutex_lock(&op->inode->lock);
	inode_update_fill(op->inode, &op->update, &setattr);
	now = op->inode->changing++ == 0;
	pthread_mutex_unlock(&op->inode->lock);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	request.sync = true;
	op->changes = atomic_load(&op->fs->changes);
	op->generation = meta_generation(op->fs->meta);
	/* What a session has not told is lost with it. */
	meta_call_within(op->fs->meta, op->session, now, &request, updated, op);
}

static void probed(void *user, int error, const Catena__Reply *reply)
{
	struct fsync_op *op = user;

	take_answer(op, error, reply);
	if (error == 0)
		master_synced(op);
	inode_answered(op, error, reply);
}

/* Others may have made or changed the inode, and not synced that: is it still there? */
static void send_probe(struct fsync_op *op)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	getattr.ino = op->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	request.sync = true;
	op->changes = atomic_load(&op->fs->changes);
	op->generation = meta_generation(op->fs->meta);
	meta_call(op->fs->meta, &request, probed, op);
}

static void only_synced(void *user, int error, const Catena__Reply *reply)
{
	struct fsync_op *op = user;

	if (error == 0)
		master_synced(op);
	if (error == 0 && op->learned != 0)
		send_probe(op);
	else
		part_done(op, error);
}

static void send_sync(struct fsync_op *op)
{
	Catena__SyncReq all = CATENA__SYNC_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	request.op_case = CATENA__REQUEST__OP_SYNC_ALL;
	request.sync_all = &all;
	request.sync = true;
	op->changes = atomic_load(&op->fs->changes);
	meta_call(op->fs->meta, &request, only_synced, op);
}

static void send_to_master(struct fsync_op *op)
{
	if (op->update.mask != 0)
		send_update(op);
	else if (op->learned != 0 && !op->own)
		send_probe(op);
	else
		send_sync(op);
}

static struct fsync_op *fsync_new(struct fs *fs, fsync_done_fn *done, void *user)
{
	struct fsync_op *op = calloc(1, sizeof(*op));

	if (op == NULL)
		return NULL;
	op->fs = fs;
	op->done = done;
	op->user = user;
	atomic_store(&op->parts, 1);
	return op;
}

/* The disks and the master at the same time; the chain first: its way is the longer one. */
static void begin_both(struct fsync_op *op)
{
	atomic_store(&op->parts, 3);
	if (op->file != NULL)
		data_flush(op->file, true, data_synced, op);
	else
		part_done(op, 0);
	if (op->update.mask != 0 || op->own || op->learned != 0)
		send_to_master(op);
	else
		part_done(op, 0);
	part_done(op, 0);
}

static void data_answered(void *user, int error)
{
	struct fsync_op *op = user;

	if (error != 0) {
		inode_tell_failed(op->inode, error);
		atomic_store(&op->error, error);
	}
	begin_both(op);
}

void fsync_inode(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done, void *user)
{
	struct fsync_op *op = fsync_new(fs, done, user);
	uint64_t known;
	int error = 0;
	bool data;

	if (op == NULL) {
		done(user, -ENOMEM);
		return;
	}
	op->inode = inode_ref(fs->inodes, inode);
	op->datasync = datasync;
	take_update(op);
	pthread_mutex_lock(&inode->lock);
	known = atomic_load(&fs->changes_flushed);
	op->own = inode->changing > 0 || inode->last_change > known;
	/* What was done here later would be lost with it, and that is noticed. */
	if (inode->learned > known && inode->learned > inode->last_change)
		op->learned = inode->learned;
	op->write_seq = inode->write_seq;
	data = inode->known && attr_is_regular(&inode->attr) &&
	       (!inode->flushed || (inode->data != NULL && data_dirty(inode->data)));
	pthread_mutex_unlock(&inode->lock);
	if (data)
		op->file = inode_data_get(fs, inode, &error);
	atomic_store(&op->error, error);
	/* Other mounts go by the version and the size: those must not be known before all copies
	 * have the data. (Their disks may still be writing it.) */
	if (op->file != NULL && op->update.mask != 0 && !meta_sole(fs->meta))
		data_flush(op->file, false, data_answered, op);
	else
		begin_both(op);
}

void fsync_master(struct fs *fs, fsync_done_fn *done, void *user)
{
	struct fsync_op *op = fsync_new(fs, done, user);

	if (op == NULL)
		done(user, -ENOMEM);
	else
		send_sync(op);
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
	struct data_file *file = inode_data_find(inode);

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
	inode_data_put(file);
}

void fsync_restarted(struct fs *fs, bool lost)
{
	struct restarted restarted = {.lost = lost, .synced = atomic_load(&fs->changes_flushed)};

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
