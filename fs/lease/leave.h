/* leave.h - everything that was written is safe, before the mount ends or becomes read-only.
 *
 * Thread: waits, so never a handler's or the RPC thread. Locks: none held by the caller. */
#ifndef CATENA_FS_LEASE_LEAVE_H
#define CATENA_FS_LEASE_LEAVE_H
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/inodes/fs.h"

#define LEAVE_TIMEOUT_NS (30 * NS_PER_SEC)
/* A master that is away for so long is not waited for when nothing but its word is missing. */
#define LEAVE_AWAY_NS (2 * NS_PER_SEC)

/* Waits until all copies, their disks and the master have everything written so far. Errors: the
 * first error; -ETIMEDOUT when @timeout_ns has passed; -EHOSTDOWN when only the master's word is
 * missing that it is on the disks, and the master is away: nothing is lost with this mount then. */
int leave_write_back(struct fs *fs, uint64_t timeout_ns);
#endif
