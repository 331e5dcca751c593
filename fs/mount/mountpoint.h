/* mountpoint.h - the directory that a filesystem is mounted on: looks at it, and unmounts it.
 *
 * A mounted filesystem may not answer. So what is mounted is read from the kernel's list of mounts;
 * only mountpoint_check() looks at the directory itself, and gives the path @resolved.
 *
 * Thread: any. Locks: none. */
#ifndef CATENA_FS_MOUNT_MOUNTPOINT_H
#define CATENA_FS_MOUNT_MOUNTPOINT_H
#include <stdbool.h>
#include <stddef.h>

/* Checks that @path is a directory that can be mounted on, and gives its absolute path
 * (malloc()ed). Errors: negative errno, and one line in @error that says what to do. */
int mountpoint_check(const char *path, char **resolved, char *error, size_t error_size);
/* Says whether a filesystem of Catena's is mounted there. */
bool mountpoint_is_mounted(const char *resolved);
/* Says whether it is, and read-only as a whole. */
bool mountpoint_read_only(const char *resolved);
/* Sets how much the kernel reads ahead there, in KiB. A failure is ignored. */
void mountpoint_set_read_ahead(const char *resolved, unsigned kib);

enum unmounted {
	UNMOUNTED,
	UNMOUNTED_BUSY, /* its name is gone; files that are open there go on working */
	UNMOUNTED_NOT,
};
/* Unmounts the filesystem; while files are open there, it takes only its name away. */
enum unmounted mountpoint_unmount(const char *resolved);
#endif
