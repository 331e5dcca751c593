/* mountpoint.h - the directory that is mounted on, before, while and after it is. */
#ifndef CATENA_FS_MOUNT_MOUNTPOINT_H
#define CATENA_FS_MOUNT_MOUNTPOINT_H
#include <stdbool.h>
#include <stddef.h>

/* *resolved (malloc()ed) is the absolute path of a directory that can be mounted on. -errno; @error
 * has a line that says what to do. */
int mountpoint_check(const char *path, char **resolved, char *error, size_t error_size);
/* Does something of type fuse.catena stand there? Asks the kernel's list, not the filesystem. */
bool mountpoint_is_mounted(const char *resolved);
/* The filesystem mounted there is Catena's, and read-only as a whole. */
bool mountpoint_read_only(const char *resolved);
/* Lets the kernel read ahead so much, as far as it lets us. */
void mountpoint_set_read_ahead(const char *resolved, unsigned kib);

enum unmounted { UNMOUNTED, UNMOUNTED_BUSY, UNMOUNTED_NOT };
/* Takes it away: when files are open there, then from the names (BUSY: they go on working). */
enum unmounted mountpoint_unmount(const char *resolved);
#endif
