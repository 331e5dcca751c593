/* loss.h - what becomes of the mount when its session is over.
 *
 * The master ends a session only to let somebody else have what it could use. From then on nothing
 * of it may happen any more: not the data that was accepted and not sent, not the sizes that were
 * not told, not the commands that were answered early. All that becomes an error, which each handle
 * that is open hears once, at fsync or close, and the next that is opened when none was; and the
 * log has the paths. Handles of files that lost something write no more until they are closed:
 * their programs go by what is not there. The rest goes on in the next session.
 *
 * In two steps, because what is in flight ends by itself in between: first no inode has anything to
 * tell any more, then the data ends. Whoever began to write before the first step finds another
 * session in fs->session_id when it has written. */
#ifndef CATENA_FS_LEASE_LOSS_H
#define CATENA_FS_LEASE_LOSS_H
#include "fs/inodes/fs.h"

/* Another session takes the place of the one that is over. In the session's callback. */
void loss_of_session(struct fs *fs, uint64_t session_id);
/* data_options.lost: the copies of a file have lost, with their power, what they had answered and
 * not synced. The log has its path. Any thread. */
void loss_of_answered(void *fs, uint64_t ino, uint64_t file_id, uint64_t bytes);
/* data_options.failed: who syncs the file next hears of it. */
void loss_in_background(void *fs, uint64_t ino, int error);
#endif
