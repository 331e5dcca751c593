/* loss.h - what is lost when the mount's session is over, or when copies lose what they had
 * answered.
 *
 * The master ends a session only to give another client what it could use. From then on nothing of
 * the session may happen any more: no data that was accepted and not sent, no size that was not
 * told, no command that was answered early. All that becomes an error. Each open handle hears it
 * once, at fsync or close; without an open handle, the next one does. The log has the paths.
 * Handles of files that lost something write no more until they are closed, because their programs
 * count on what is not there. Everything else goes on in the next session.
 *
 * It happens in two steps, because what is in flight ends by itself between them. First no inode
 * has anything to tell any more; then the data ends. A write that began before the first step finds
 * another session in fs->session_id when it is done.
 *
 * Locks: none held by the caller. */
#ifndef CATENA_FS_LEASE_LOSS_H
#define CATENA_FS_LEASE_LOSS_H
#include "fs/inodes/fs.h"

/* Ends everything of the session before @session_id. Thread: the session's callback. */
void loss_of_session(struct fs *fs, uint64_t session_id);
/* Logs the path of a file whose copies have lost, with their power, what they had answered and not
 * flushed. It is data_options.lost. Thread: any. */
void loss_of_answered(void *fs, uint64_t ino, uint64_t file_id, uint64_t bytes);
/* Keeps an error for the file's next fsync. It is data_options.failed. Thread: any. */
void loss_in_background(void *fs, uint64_t ino, int error);
#endif
