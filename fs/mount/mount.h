/* mount.h - a mount's life in a process: made, served, taken down with everything written. */
#ifndef CATENA_FS_MOUNT_MOUNT_H
#define CATENA_FS_MOUNT_MOUNT_H
#include <stddef.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "fs/mount/options.h"

#define MOUNT_PATIENCE_NS (10 * NS_PER_SEC) /* for the master, when mounting */

struct mount;

/* Connects, mounts at @mountpoint (resolved), and serves it. After the last fork. On failure -errno
 * and a line in @error. */
int mount_begin(const struct mount_options *options, const char *mountpoint, struct mount **out,
		char *error, size_t error_size);
/* Readable when the mount has been taken away by somebody (umount). */
int mount_ended_fd(const struct mount *mount);
/* Mounts have changed, and perhaps this one: whether it is read-only now. */
void mount_look_again(struct mount *mount);
/* Unmounts if that is still to be done, writes everything back, and frees. 0, or -errno: not all
 * could be written (it is logged). Does not come back to what was waiting for dead machines: the
 * caller should exit without any cleaning up. */
int mount_end(struct mount *mount);
#endif
