/* fsync.c - see fsync.h. The story of an fsync:
 *
 * 1. fsync_prediction_fsync() looks whether the work was begun with the last write. If it covers
 *    what is asked for, this fsync waits for it or is answered at once. Else fsync_inode() begins.
 * 2. What the master must be told (size, times) is taken from the inode, and whether anything that
 *    was done to it is not durable on the master.
 * 3. Both halves go out at the same time, first the longer one. To the chains: data_flush(), which
 *    sends everything dirty, and a FLUSH for chunks whose answered version is not on all disks. To
 *    the master: SETATTR durable; or FLUSH_ALL alone; or GETATTR durable, when other mounts may
 *    have changed the inode; or nothing.
 * 4. When both have answered, so does the fsync.
 *
 * With other mounts step 3 has an order. They go by version and size, so all copies have the data
 * before the master is told of it.
 *
 * Failures. A chain's error is kept in the inode, and each open handle hears it once. The copies
 * may have lost their power with what they had answered: the chain says LOST, and data_flush() ends
 * with -EIO. A trim of another session is in the way (-EBUSY): it is settled, and the master is
 * told again. Another mount truncated the file meanwhile (-ESTALE with attributes): what is left to
 * tell is taken again, at most REFUSALS_MAX times. The inode is gone (-ESTALE alone): -EIO, for a
 * directory success. The master's process is another: fsync_restarted() looks at every inode
 * again. */
#include "fs/flush/fsync.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/os/log.h"
#include "fs/inodes/removed.h"
#include "fs/flush/tail_trim.h"
#include "fs/inodes/inode_apply.h"
#include "fs/inodes/inode_data.h"

#define LOG_MODULE "fsync"

/* More truncations by other mounts during one fsync than this are taken for a fault of the
 * master. */
#define REFUSALS_MAX 16u

struct fsync_op {
	struct fs *fs;
	struct inode *inode; /* NULL: the master only */
	struct data_file *file;
	struct inode_update update;
	uint64_t generation, write_seq, changes;
	uint64_t session;  /* that the update belongs to */
	bool datasync;     /* times alone need not be durable */
	bool settled;      /* the trim in the way was settled once */
	bool own;          /* something that was done to the inode here is not durable there */
	uint64_t others;   /* inode->changes.others when the master was asked; 0: it need not be */
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

static void data_durable(void *user, int error)
{
	struct fsync_op *op = user;
	struct inode *inode = op->inode;

	pthread_mutex_lock(&inode->lock);
	if (error != 0)
		inode_writeback_failed(inode, error);
	else if (inode->local.write_seq == op->write_seq)
		inode->data.durable = true;
	pthread_mutex_unlock(&inode->lock);
	part_done(op, error);
}

static void send_update(struct fsync_op *op);
static void send_to_master(struct fsync_op *op);

/* Takes from the inode what the master must be told. */
static void take_update(struct fsync_op *op)
{
	op->session = atomic_load(&op->fs->session_id);
	pthread_mutex_lock(&op->inode->lock);
	inode_update_begin(op->inode, &op->update);
	if (op->datasync && !(op->update.mask & CATENA__SET_MASK__SET_GROW))
		op->update.mask = 0;
	if (!op->datasync)
		inode_flush_begun(op->inode);
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

/* Applies what the master says of the inode; without an error that is durable. */
static void take_answer(struct fsync_op *op, int error, const Catena__Reply *reply)
{
	struct inode *inode = op->inode;
	bool as_asked;

	pthread_mutex_lock(&inode->lock);
	as_asked = inode->changes.others == op->others;
	pthread_mutex_unlock(&inode->lock);
	if (reply != NULL)
		inode_apply(op->fs, inode, reply->attr, op->generation);
	if (error != 0 || !as_asked)
		return;
	pthread_mutex_lock(&inode->lock);
	inode->changes.others = 0;
	pthread_mutex_unlock(&inode->lock);
}

/* Ends the master's half. -ESTALE: the inode was removed, and what was to be durable with it. */
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
		inode_change_flushed(op->fs, inode, op->changes);
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
	now = op->inode->commands.under_way++ == 0;
	pthread_mutex_unlock(&op->inode->lock);
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	request.durable = true;
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
		inode_changes_flushed(op->fs, op->changes);
	inode_answered(op, error, reply);
}

/* Asks for the inode, durable. Another mount may have made or changed it, and not flushed that. */
static void send_probe(struct fsync_op *op)
{
	Catena__GetattrReq getattr = CATENA__GETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	getattr.ino = op->inode->ino;
	request.op_case = CATENA__REQUEST__OP_GETATTR;
	request.getattr = &getattr;
	request.durable = true;
	op->changes = atomic_load(&op->fs->changes);
	op->generation = meta_generation(op->fs->meta);
	meta_call(op->fs->meta, &request, probed, op);
}

static void all_durable(void *user, int error, const Catena__Reply *reply)
{
	struct fsync_op *op = user;

	if (error == 0)
		inode_changes_flushed(op->fs, op->changes);
	if (error == 0 && op->others != 0)
		send_probe(op);
	else
		part_done(op, error);
}

static void send_flush(struct fsync_op *op)
{
	Catena__FlushReq all = CATENA__FLUSH_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	request.op_case = CATENA__REQUEST__OP_FLUSH_ALL;
	request.flush_all = &all;
	request.durable = true;
	op->changes = atomic_load(&op->fs->changes);
	meta_call(op->fs->meta, &request, all_durable, op);
}

static void send_to_master(struct fsync_op *op)
{
	if (op->update.mask != 0)
		send_update(op);
	else if (op->others != 0 && !op->own)
		send_probe(op);
	else
		send_flush(op);
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

/* Sends both halves, the chains' first: its way is the longer one. */
static void begin_both(struct fsync_op *op)
{
	atomic_store(&op->parts, 3);
	if (op->file != NULL)
		data_flush(op->file, true, data_durable, op);
	else
		part_done(op, 0);
	if (op->update.mask != 0 || op->own || op->others != 0)
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
	op->own = inode->commands.under_way > 0 || inode->changes.own > known;
	/* What was done here later would be lost with it, and that is noticed. */
	if (inode->changes.others > known && inode->changes.others > inode->changes.own)
		op->others = inode->changes.others;
	op->write_seq = inode->local.write_seq;
	data = inode->known && attr_is_regular(&inode->attr) &&
	       (!inode->data.durable || (inode->data.file != NULL && data_dirty(inode->data.file)));
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
		send_flush(op);
}

/* ---- what the master has lost ---- */

static bool any(const struct inode *inode)
{
	return true;
}

struct restarted {
	bool lost;
	uint64_t flushed;
	unsigned count;
};

/* Distrusts what is known of one inode: its removal may be undone, and its version may come to mean
 * another state. */
static void look_again(void *user, struct inode *inode)
{
	struct restarted *restarted = user;
	struct data_file *file = inode_data_find(inode);

	pthread_mutex_lock(&inode->lock);
	if (restarted->lost && inode->changes.own > restarted->flushed) {
		inode_writeback_failed(inode, -EIO);
		restarted->count++;
	}
	/* Also when an fsync that is under way is answered now: see fsync_inode(). */
	if (inode->changes.others > restarted->flushed)
		inode->changes.others = UINT64_MAX;
	inode->removed = false;
	inode->pages.generation = inode->pages.version = 0;
	pthread_mutex_unlock(&inode->lock);
	if (file != NULL)
		data_invalidate(file);
	inode_data_put(file);
}

void fsync_restarted(struct fs *fs, bool lost)
{
	struct restarted restarted = {.lost = lost, .flushed = atomic_load(&fs->changes_flushed)};

	/* Not doing it would let fsync confirm what is lost. */
	while (inode_table_each(fs->inodes, any, look_again, &restarted) != 0) {
		log_error("out of memory: what the master has lost cannot be told yet");
		usleep(100000);
	}
	if (lost)
		log_error("the master has lost changes that were not flushed: fsync will say so "
			  "inodes=%u",
			  restarted.count);
}
