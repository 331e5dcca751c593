/* fuse_api.h - libfuse's low-level API at the version that this code is written for. */
#ifndef CATENA_FS_KERNEL_FUSE_API_H
#define CATENA_FS_KERNEL_FUSE_API_H
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#endif
