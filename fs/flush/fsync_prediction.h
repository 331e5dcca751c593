/* fsync_prediction.h - begins the fsync of programs that flush each of their writes, before they ask:
 * logs, databases, mail.
 *
 * After a few fsyncs that each had exactly one small write before them, the file's next write is
 * taken to be followed by one, too. Its work begins when the write is done, before the write is
 * answered. The fsync then waits for it, or finds it done. A program that breaks its habit costs
 * one needless fsync.
 *
 * What was begun covers the file as it was at one write, by number, and the inode as of its last
 * change. An fsync that is asked for more does everything itself.
 *
 * Thread: any. Locks: none. */
#ifndef CATENA_FS_FLUSH_FSYNC_PREDICTION_H
#define CATENA_FS_FLUSH_FSYNC_PREDICTION_H
#include <stdbool.h>
#include <stddef.h>
#include "fs/flush/fsync.h"

#define FSYNC_PREDICTION_STREAK 3u
#define FSYNC_PREDICTION_BYTES  (64u << 10)

/* A write of @length bytes is done, and not answered yet. */
void fsync_prediction_wrote(struct fs *fs, struct inode *inode, size_t length);
/* Does what fsync_inode() does, or waits for what was begun, or finds it done. */
void fsync_prediction_fsync(struct fs *fs, struct inode *inode, bool datasync, fsync_done_fn *done,
			    void *user);
#endif
