/* fsync_prediction.h - programs that sync each of their writes: logs, databases, mail.
 *
 * After a few fsyncs that each had exactly one small write before them, the next write of that file
 * is taken to be followed by an fsync too, and what that will do begins when the write is done,
 * before it is answered. The fsync then waits for it, or finds it done. A program that breaks its
 * habit costs one sync that nobody asked for.
 *
 * What a sync begun in advance covers is the file as it was at one write, by its number, and the
 * inode as of its last change: an fsync that is asked for more than that does it all by itself. */
#ifndef CATENA_FS_FLUSH_FSYNC_PREDICTION_H
#define CATENA_FS_FLUSH_FSYNC_PREDICTION_H
#include <stdbool.h>
#include <stddef.h>
#include "fs/flush/fsync.h"

#define FSYNC_PREDICTION_STREAK 3u
#define FSYNC_PREDICTION_BYTES  (64u << 10)

/* A write of @length is done. No lock held. */
void fsync_prediction_wrote(struct fs *fs, struct inode *inode, size_t length);
/* fsync(): like fsync_inode(). */
void fsync_prediction_fsync(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done,
			    void *user);
#endif
