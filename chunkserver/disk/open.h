/* open.h - opening a target's disk, its coming back, and closing it. */
#ifndef CATENA_CHUNKSERVER_DISK_OPEN_H
#define CATENA_CHUNKSERVER_DISK_OPEN_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "common/kv/kv.h"

/* Opens the directory and the db and begins a new life. @cluster NULL: any. @kv (NULL: the one of
 * the directory) is borrowed: tests have power cuts on the memory twin. The next step is to recover
 * the chunks, then disk_start(). On failure nothing is to be freed. Errors: -ENOENT: not a target;
 * -EXDEV: of another cluster; -EBUSY: in use; -EUCLEAN. */
int disk_open(struct disk *disk, const char *path, const char *cluster, struct kv *kv, char *error,
	      size_t error_size);
/* Starts the threads. */
int disk_start(struct disk *disk);
/* Frees a disk that was opened, and leaves it as a crash would. */
void disk_abandon(struct disk *disk);
/* Flushes, notes that the target was closed, and frees. */
void disk_close(struct disk *disk);
/* Tries to come back after -EIO or -ENOSPC. */
int disk_recover(struct disk *disk);
/* A target of no cluster belongs to @instance from now on; see store_adopt(). */
int disk_adopt(struct disk *disk, uint64_t instance);
#endif
