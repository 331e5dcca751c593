/* fsync_prediction.c - see fsync_prediction.h. */
#include "fs/flush/fsync_prediction.h"
#include <stdlib.h>
#include "common/os/lock.h"
#include "fs/inodes/fs.h"

/* An fsync that was begun before it was asked for. It has a reference to the inode, whose lock
 * guards it. */
struct fsync_prediction {
	struct fs *fs;
	struct inode *inode;
	uint64_t write_seq, change;
	fsync_done_fn *done; /* the fsync that waits for it, or NULL */
	void *user;
};

static void predicted_done(void *user, int error)
{
	struct fsync_prediction *prediction = user;
	struct inode *inode = prediction->inode;
	struct inode_fsyncs *fsyncs = &inode->fsyncs;
	fsync_done_fn *done;

	pthread_mutex_lock(&inode->lock);
	fsyncs->predicted = NULL;
	done = prediction->done;
	if (error == 0) {
		fsyncs->durable_write_seq = prediction->write_seq;
		fsyncs->durable_change = prediction->change;
	} else {
		fsyncs->streak = 0;
		/* No fsync waits for this one: the next tells its error. */
		if (done == NULL)
			inode_writeback_failed(inode, error);
	}
	pthread_mutex_unlock(&inode->lock);
	if (done != NULL)
		done(prediction->user, error);
	inode_put(prediction->fs->inodes, inode);
	free(prediction);
}

void fsync_prediction_wrote(struct fs *fs, struct inode *inode, size_t length)
{
	struct inode_fsyncs *fsyncs = &inode->fsyncs;
	struct fsync_prediction *prediction = NULL;

	pthread_mutex_lock(&inode->lock);
	if (inode->local.write_seq != fsyncs->write_seq + 1 || length > FSYNC_PREDICTION_BYTES)
		fsyncs->streak = 0;
	/* With other mounts the size may not be what is known here. */
	if (fsyncs->streak >= FSYNC_PREDICTION_STREAK && fsyncs->predicted == NULL &&
	    inode->commands.under_way == 0 && meta_sole(fs->meta))
		prediction = malloc(sizeof(*prediction));
	if (prediction != NULL) {
		*prediction = (struct fsync_prediction){.fs = fs,
							.inode = inode_ref(fs->inodes, inode),
							.write_seq = inode->local.write_seq,
							.change = inode->changes.own};
		fsyncs->predicted = prediction;
	}
	pthread_mutex_unlock(&inode->lock);
	if (prediction != NULL)
		fsync_inode(fs, inode, false, predicted_done, prediction);
}

/* Says whether the fsync begun at @write_seq and @change does all that one asked for now must do,
 * and nothing less. Locks: the inode's. */
static bool covers(const struct inode *inode, uint64_t write_seq, uint64_t change)
{
	lock_held(&inode->lock);
	return inode->local.write_seq == write_seq && inode->changes.own == change &&
	       inode->commands.setattrs == 0 && inode->commands.answered_early == 0;
}

void fsync_prediction_fsync(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done,
			    void *user)
{
	struct inode_fsyncs *fsyncs = &inode->fsyncs;
	bool waits = false, was_done = false;

	pthread_mutex_lock(&inode->lock);
	if (inode->local.write_seq == fsyncs->write_seq + 1)
		fsyncs->streak++;
	else if (inode->local.write_seq != fsyncs->write_seq)
		fsyncs->streak = 0;
	fsyncs->write_seq = inode->local.write_seq;
	if (fsyncs->predicted != NULL) {
		waits = fsyncs->predicted->done == NULL &&
			covers(inode, fsyncs->predicted->write_seq, fsyncs->predicted->change);
		if (waits) {
			fsyncs->predicted->done = done;
			fsyncs->predicted->user = user;
		}
	} else {
		was_done = fsyncs->durable_write_seq != 0 && inode->commands.under_way == 0 &&
			   covers(inode, fsyncs->durable_write_seq, fsyncs->durable_change);
	}
	pthread_mutex_unlock(&inode->lock);
	if (was_done)
		done(user, 0);
	else if (!waits)
		fsync_inode(fs, inode, datasync, done, user);
}
