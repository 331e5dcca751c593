/* ioctl.h - what mount.catena asks of the process that serves a mount. */
#ifndef CATENA_FS_OPS_IOCTL_H
#define CATENA_FS_OPS_IOCTL_H
#include <sys/ioctl.h>

/* Of any inode of the mount, by root or by the user that mounted: writes everything back, to the
 * disks. Errors: those of leave_write_back(). */
#define IOCTL_WRITE_BACK _IO(0xCA, 1)
#endif
