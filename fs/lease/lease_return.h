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
#define RECALL_MARGIN_MS 200

struct recaller;

int recaller_create(struct fs *fs, struct recaller **out);
int recaller_start(struct recaller *recaller);
void recaller_stop(struct recaller *recaller);
void recaller_destroy(struct recaller *recaller);

/* The lease is recalled (@give_back), or was lost. Any thread; returns at once. */
void recall_begin(struct recaller *recaller, bool give_back);
/* The session is over: pages that the kernel writes while it drops them are lost. Any thread. */
void recall_session_lost(struct recaller *recaller);
/* A new session: what programs have open is told to the master again. In the session's callback. */
void recall_reopen(struct fs *fs);
/* The master may have forgotten that it was told: once more. A close takes back all that it counts.
 */
void recall_register_again(struct fs *fs);
/* The kernel is to write back what programs have stored in mapped pages of the inode from @offset
 * on, and to drop these pages. @done is called then, on the recaller's thread (in the call when
 * memory is short, without the pages): it must not block. Any thread. */
void recall_pages(struct recaller *recaller, uint64_t ino, uint64_t offset,
		  void (*done)(void *user), void *user);
#endif
