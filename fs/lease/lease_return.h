/* lease_return.h - giving the lease back, and what else must not happen in a handler or on the RPC
 * thread.
 *
 * When the lease is recalled, or was lost: pages that the kernel keeps of open files are dropped
 * before anything waits for the master (dirty ones of shared mappings come to us as writes first),
 * opens are told to the master; for a recall, what was answered early is waited for and everything
 * written back. Names and attributes that the kernel keeps run out by themselves, so the lease is
 * given back no earlier than META_KERNEL_TIMEOUT_MS after the last reply that allowed to keep any.
 *
 * Dropping pages can wait for requests that we serve: only this thread does it. */
#ifndef CATENA_FS_LEASE_LEASE_RETURN_H
#define CATENA_FS_LEASE_LEASE_RETURN_H
#include <stdbool.h>
#include <stdint.h>
#include "fs/inodes/fs.h"

/* A handler that looked at the lease just before may reply this much later. */
#define LEASE_RETURN_MARGIN_MS 200

struct lease_return;

int lease_return_create(struct fs *fs, struct lease_return **out);
int lease_return_start(struct lease_return *lease_return);
void lease_return_stop(struct lease_return *lease_return);
void lease_return_destroy(struct lease_return *lease_return);

/* The lease is recalled (@give_back), or was lost. Any thread; returns at once. */
void lease_return_begin(struct lease_return *lease_return, bool give_back);
/* The session is over: pages that the kernel writes while it drops them are lost. Any thread. */
void lease_return_session_lost(struct lease_return *lease_return);
/* A new session: what programs have open is told to the master again. In the session's callback. */
void lease_return_register_opens(struct fs *fs);
/* The master may have forgotten that it was told: once more. A close takes back all that it counts.
 */
void lease_return_register_again(struct fs *fs);
/* The kernel is to write back what programs have stored in mapped pages of the inode from @offset
 * on, and to drop these pages. @done is called then, on the thread of the lease return (in the call when
 * memory is short, without the pages): it must not block. Any thread. */
void lease_return_drop_pages(struct lease_return *lease_return, uint64_t ino, uint64_t offset,
			     void (*done)(void *user), void *user);
#endif
