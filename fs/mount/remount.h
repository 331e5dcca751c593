/* remount.h - mount.catena -o remount: what mount(8) asks to be changed of a mount that is there.
 *
 * The kernel changes its own flags (ro, nosuid, ...). mount(8) gives all that the mount is to have,
 * and what it is to have no more ("exec" after "noexec") it leaves out: so they are replaced, as
 * those of a local filesystem are. All else is of the process that serves the mount and cannot be
 * changed without mounting again, so it is passed over: mount(8) repeats here whatever it finds in
 * fstab(5). "ro" comes back when everything that was written is on the disks
 * of all copies, as it does on a local filesystem.
 *
 * The serving process finds out by itself that it is read-only (mountpoint_read_only()). */
#ifndef CATENA_FS_MOUNT_REMOUNT_H
#define CATENA_FS_MOUNT_REMOUNT_H
#include <stddef.h>
#include "fs/mount/options.h"

/* 0, or -errno with a line in @error. When not everything could be written the mount stays as it
 * was, or, if that is found out after the change, read-only. */
int remount(const struct mount_options *options, char *error, size_t error_size);
/* The mount(2) flags (MS_*) of @list, options with commas. */
unsigned long remount_flags(const char *list);
#endif
