/* flush.c - one inode's way to the chunkservers and the master. The list is in flush_list.c.
 *
 * The story of a flush in the background: the housekeeper's tick finds an inode of the list that is
 * due (flush_list.c). begin() takes what the master must be told, and sends the data. When all
 * copies have it, data_flushed() tells the master size and times (send_update()), and updated()
 * takes its answer. The next tick finds nothing left to tell, and takes the inode off the list.
 *
 * Before a name (flush_before_names()) the order is kept by meta_hold(): commands that follow wait
 * in the session, while the program goes on. The update goes out in front of them.
 *
 * Failures. The data is lost: its program hears of it, and the size is told all the same, with a
 * hole there. A trim of a dead session is in the way (-EBUSY): it is settled, and the update sent
 * again. The file was truncated meanwhile (-ESTALE with attributes): what is left to tell is taken
 * again. The inode is gone (-ESTALE alone): an error only if data of ours went with it. The session
 * is over: the update is not sent in the next one, and loss.h says what is lost. */
#define LOG_MODULE "flush"
#include "fs/flush/flush.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/log.h"
#include "fs/flush/tail_trim.h"
#include "fs/inodes/inode_apply.h"

static struct log_rate noise;

/* More truncations by other mounts during one flush than this are taken for a fault of the
 * master. */
#define REFUSALS_MAX 16u

struct inode_flush {
	struct fs *fs;
	struct inode *inode;
	struct data_file *file;
	struct inode_update update;
	uint64_t generation, write_seq, changes;
	uint64_t session; /* that the update belongs to */
	bool durable, settled;
	struct meta_hold *hold; /* until the data is there */
	bool held;              /* what it tells goes in front of what is held */
	bool foreseen;          /* the version that it makes is in the inode already */
	bool once;              /* what is in the way need not be settled: it only was to be told */
	unsigned refusals;      /* because others truncated the file meanwhile */
	int error;
	flush_done_fn *done;
	void *user;
};

static void send_update(struct inode_flush *flush);

static void finish(struct inode_flush *flush)
{
	if (flush->done != NULL)
		flush->done(flush->user, flush->error);
	inode_data_put(flush->file);
	inode_put(flush->fs->inodes, flush->inode);
	free(flush);
}

static void fail(struct inode_flush *flush, int error)
{
	if (flush->error == 0)
		flush->error = error;
}

static void trim_settled(void *user, int error)
{
	struct inode_flush *flush = user;

	if (error != 0) {
		fail(flush, error);
		finish(flush);
		return;
	}
	send_update(flush);
}

static void begin(struct inode_flush *flush);

/* The master did not take the size, because the file was truncated meanwhile, perhaps by a program
 * here. Tells what is still to be told after that. */
static void update_refused(struct inode_flush *flush, const Catena__Reply *reply)
{
	int error = inode_apply(flush->fs, flush->inode, reply->attr, flush->generation);

	if (error == 0 && !flush->once && ++flush->refusals <= REFUSALS_MAX) {
		begin(flush);
		return;
	}
	if (!flush->once)
		fail(flush, error != 0 ? error : -EIO);
	finish(flush);
}

/* The file is gone. Returns -EIO if a size of ours is lost with it: times of a removed file are no
 * loss. */
static int update_stale(struct inode_flush *flush)
{
	struct inode *inode = flush->inode;
	bool ours;

	pthread_mutex_lock(&inode->lock);
	ours = inode->local.truncate_seq == flush->update.truncate_seq && inode->attr.nlink > 0 &&
	       (flush->update.mask & CATENA__SET_MASK__SET_GROW);
	inode->local.dirty = 0;
	inode_distrust(inode);
	pthread_mutex_unlock(&inode->lock);
	return ours ? -EIO : 0;
}

/* Distrusts the inode if its version was counted up for this update: the master gives another. */
static void not_as_foreseen(struct inode_flush *flush)
{
	if (!flush->foreseen)
		return;
	flush->foreseen = false;
	pthread_mutex_lock(&flush->inode->lock);
	inode_distrust(flush->inode);
	pthread_mutex_unlock(&flush->inode->lock);
}

static void updated(void *user, int error, const Catena__Reply *reply)
{
	struct inode_flush *flush = user;
	struct inode *inode = flush->inode;

	if (error == 0 && flush->durable)
		inode_change_flushed(flush->fs, inode, flush->changes);
	else
		inode_change_end(flush->fs, inode, reply != NULL);
	if (error != 0)
		not_as_foreseen(flush);
	flush->foreseen = false;
	if (error == -EBUSY && !flush->settled && !flush->once) {
		/* A dead session's trim is in the way of our new size. */
		flush->settled = true;
		inode_apply(flush->fs, inode, reply->attr, flush->generation);
		tail_trim_settle(flush->fs, inode, trim_settled, flush);
		return;
	}
	if (error == 0) {
		error = inode_apply(flush->fs, inode, reply->attr, flush->generation);
		pthread_mutex_lock(&inode->lock);
		inode_update_done(inode, &flush->update);
		pthread_mutex_unlock(&inode->lock);
	} else if (error == -ESTALE && reply != NULL && reply->attr != NULL) {
		update_refused(flush, reply);
		return;
	} else if (error == -ESTALE && reply != NULL) {
		error = update_stale(flush);
	} else if (log_rate_ok(&noise, 2)) {
		log_warn("the master did not take size and times ino=%llu error=\"%s\"",
			 (unsigned long long)inode->ino, strerror(-error));
	}
	fail(flush, error);
	finish(flush);
}

static void send_update(struct inode_flush *flush)
{
	Catena__SetattrReq setattr = CATENA__SETATTR_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;
	struct inode *inode = flush->inode;
	bool now = flush->held;

	pthread_mutex_lock(&inode->lock);
	inode_update_check(inode, &flush->update);
	inode_update_fill(inode, &flush->update, &setattr);
	now |= inode->commands.under_way == 0;
	if (flush->update.mask != 0)
		inode->commands.under_way++;
	pthread_mutex_unlock(&inode->lock);
	flush->held = false;
	if (!inode_update_changes_version(&flush->update))
		not_as_foreseen(flush);
	if (flush->update.mask == 0) {
		finish(flush);
		return;
	}
	request.op_case = CATENA__REQUEST__OP_SETATTR;
	request.setattr = &setattr;
	request.durable = flush->durable;
	flush->changes = atomic_load(&flush->fs->changes);
	flush->generation = meta_generation(flush->fs->meta);
	/* What a session has not told is lost with it. */
	meta_call_within(flush->fs->meta, flush->session, now, &request, updated, flush);
}

/* Tells the master, now that the data is there or will not come. */
static void tell(struct inode_flush *flush)
{
	struct meta_hold *hold = flush->hold;

	flush->hold = NULL;
	if (hold != NULL)
		meta_hold_release(flush->fs->meta, hold); /* comes to send_update() */
	else
		send_update(flush);
}

static void held_until_now(void *user)
{
	send_update(user);
}

static void data_flushed(void *user, int error)
{
	struct inode_flush *flush = user;
	struct inode *inode = flush->inode;

	pthread_mutex_lock(&inode->lock);
	if (error != 0)
		inode_writeback_failed(inode, error);
	else if (flush->durable && inode->local.write_seq == flush->write_seq)
		inode->data.durable = true;
	pthread_mutex_unlock(&inode->lock);
	/* The program hears of lost data; the size goes on all the same, with a hole there. */
	fail(flush, error);
	tell(flush);
}

static void begin(struct inode_flush *flush)
{
	struct inode *inode = flush->inode;

	flush->session = atomic_load(&flush->fs->session_id);
	pthread_mutex_lock(&inode->lock);
	inode_update_begin(inode, &flush->update);
	flush->write_seq = inode->local.write_seq;
	inode_flush_begun(inode);
	/* Commands that are held behind this foresee versions after its own. */
	flush->foreseen = flush->held && inode_update_changes_version(&flush->update);
	if (flush->foreseen)
		inode->attr.version++;
	if (inode->data.file != NULL && flush->file == NULL)
		flush->file = data_file_ref(inode->data.file);
	pthread_mutex_unlock(&inode->lock);
	if (flush->file != NULL)
		data_flush(flush->file, flush->durable, data_flushed, flush);
	else
		tell(flush);
}

bool flush_before_names(struct fs *fs, struct inode *inode)
{
	struct inode_flush *flush = calloc(1, sizeof(*flush));

	if (flush == NULL)
		return false;
	flush->hold = meta_hold(fs->meta, held_until_now, flush);
	if (flush->hold == NULL) {
		free(flush);
		return false;
	}
	flush->fs = fs;
	flush->inode = inode_ref(fs->inodes, inode);
	flush->held = true;
	begin(flush);
	return true;
}

bool flush_unpublished(struct inode *inode)
{
	bool yes;

	pthread_mutex_lock(&inode->lock);
	yes = inode->known && attr_is_regular(&inode->attr) &&
	      ((inode->local.dirty & INODE_DIRTY_SIZE) ||
	       (inode->data.file != NULL && data_dirty(inode->data.file)));
	pthread_mutex_unlock(&inode->lock);
	return yes;
}

void flush_inode(struct fs *fs, struct inode *inode, bool durable, flush_done_fn *done, void *user)
{
	struct inode_flush *flush = calloc(1, sizeof(*flush));

	if (flush == NULL) {
		done(user, -ENOMEM);
		return;
	}
	flush->fs = fs;
	flush->inode = inode_ref(fs->inodes, inode);
	flush->durable = durable;
	flush->done = done;
	flush->user = user;
	begin(flush);
}

void flush_attrs_now(struct fs *fs, struct inode *inode)
{
	struct inode_flush *flush = calloc(1, sizeof(*flush));

	if (flush == NULL)
		return;
	flush->fs = fs;
	flush->inode = inode_ref(fs->inodes, inode);
	flush->once = true;
	flush->session = atomic_load(&flush->fs->session_id);
	pthread_mutex_lock(&inode->lock);
	inode_update_begin(inode, &flush->update);
	/* The data may not be there yet: for others a version is still needed when it is. */
	if (!meta_sole(fs->meta))
		flush->update.write_seq = 0;
	pthread_mutex_unlock(&inode->lock);
	send_update(flush);
}
