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

static void early_done(void *user, int error)
{
	struct fsync_prediction *early = user;
	struct inode *inode = early->inode;
	fsync_done_fn *done;

	pthread_mutex_lock(&inode->lock);
	inode->early = NULL;
	done = early->done;
	if (error == 0) {
		inode->early_seq = early->write_seq;
		inode->early_change = early->change;
	} else {
		inode->sync_streak = 0;
		/* No fsync waits for this one: the next tells its error. */
		if (done == NULL)
			inode_writeback_failed(inode, error);
	}
	pthread_mutex_unlock(&inode->lock);
	if (done != NULL)
		done(early->user, error);
	inode_put(early->fs->inodes, inode);
	free(early);
}

void fsync_prediction_wrote(struct fs *fs, struct inode *inode, size_t length)
{
	struct fsync_prediction *early = NULL;

	pthread_mutex_lock(&inode->lock);
	if (inode->local.write_seq != inode->fsync_seq + 1 || length > FSYNC_PREDICTION_BYTES)
		inode->sync_streak = 0;
	/* With other mounts the size may not be what is known here. */
	if (inode->sync_streak >= FSYNC_PREDICTION_STREAK && inode->early == NULL &&
	    inode->commands.under_way == 0 && meta_sole(fs->meta))
		early = malloc(sizeof(*early));
	if (early != NULL) {
		*early = (struct fsync_prediction){.fs = fs,
						   .inode = inode_ref(fs->inodes, inode),
						   .write_seq = inode->local.write_seq,
						   .change = inode->changes.own};
		inode->early = early;
	}
	pthread_mutex_unlock(&inode->lock);
	if (early != NULL)
		fsync_inode(fs, inode, false, early_done, early);
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
	bool waits = false, was_done = false;

	pthread_mutex_lock(&inode->lock);
	if (inode->local.write_seq == inode->fsync_seq + 1)
		inode->sync_streak++;
	else if (inode->local.write_seq != inode->fsync_seq)
		inode->sync_streak = 0;
	inode->fsync_seq = inode->local.write_seq;
	if (inode->early != NULL) {
		waits = inode->early->done == NULL &&
			covers(inode, inode->early->write_seq, inode->early->change);
		if (waits) {
			inode->early->done = done;
			inode->early->user = user;
		}
	} else {
		was_done = inode->early_seq != 0 && inode->commands.under_way == 0 &&
			   covers(inode, inode->early_seq, inode->early_change);
	}
	pthread_mutex_unlock(&inode->lock);
	if (was_done)
		done(user, 0);
	else if (!waits)
		fsync_inode(fs, inode, datasync, done, user);
}
