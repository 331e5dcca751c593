/* lease_return.h - a thread that gives the lease back, and does what may neither happen in a
 * handler nor on the RPC thread.
 *
 * The story of a return:
 *
 * 1. The master recalls the lease. From this moment on no reply allows the kernel to keep anything.
 * 2. Pages that the kernel keeps of open files are dropped, before anything waits for the master.
 *    Dirty ones of shared mappings come to us as writes first.
 * 3. The master is told of the files that are open.
 * 4. Commands answered early are waited for, and everything is written back.
 * 5. Names and attributes that the kernel keeps run out by themselves. So the lease is given back
 *    no earlier than META_KERNEL_TIMEOUT_MS after the last reply that allowed it to keep any.
 *
 * A lease that was lost by time goes through 2 and 3 only.
 *
 * Failures. The mount ends meanwhile: every wait looks at that. Writing back fails: the log and
 * each file's handles hear of it, and the lease is given back all the same. Memory is short: the
 * step is tried again. The session is over: what the kernel writes while it drops pages is lost
 * (loss.h).
 *
 * Thread: dropping pages can wait for requests that we serve, so only this thread does it. The
 * functions may be called by any. Locks: none held by the caller. */
#ifndef CATENA_FS_LEASE_LEASE_RETURN_H
#define CATENA_FS_LEASE_LEASE_RETURN_H
#include <stdbool.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

/* A handler that looked at the lease just before its recall may reply this much later. */
#define LEASE_RETURN_MARGIN_MS 200

struct lease_return;

int lease_return_create(struct fs *fs, struct lease_return **out);
int lease_return_start(struct lease_return *lease_return);
void lease_return_stop(struct lease_return *lease_return);
void lease_return_destroy(struct lease_return *lease_return);

/* Begins to give back a lease that is recalled (@give_back), or to clear up after one that was
 * lost. Returns at once. */
void lease_return_begin(struct lease_return *lease_return, bool give_back);
/* Does the same after the end of a session: pages that the kernel writes meanwhile are lost. */
void lease_return_session_lost(struct lease_return *lease_return);
/* Tells a new session's master what programs have open. Thread: the session's callback. */
void lease_return_register_opens(struct fs *fs);
/* Tells it once more, because the master may have forgotten. A close takes back all that it
 * counts. */
void lease_return_register_again(struct fs *fs);
/* Makes the kernel write back what programs have stored in mapped pages of the inode from @offset
 * on, and drop these pages. Then calls @done, which must not block, on the thread of the lease
 * return; when memory is short, in this call and without the pages. */
void lease_return_drop_pages(struct lease_return *lease_return, uint64_t ino, uint64_t offset,
			     void (*done)(void *user), void *user);
#endif
