/* health.h - may a target be used? Down after a failed write, until it has come back; poisoned
 * after a failed flush, until it is opened anew. Thread: any. */
#ifndef CATENA_CHUNKSERVER_DISK_HEALTH_H
#define CATENA_CHUNKSERVER_DISK_HEALTH_H
#include <stdint.h>
#include "chunkserver/disk/disk.h"

/* Returns -errno when nothing may be done now, or 0. */
int health_check(const struct disk *disk);
/* Takes the target down; the first reason counts and is logged. */
void health_set_down(struct disk *disk, int error, const char *what);
/* Ends all use of the target until it is opened anew: a flush failed. */
void health_poison(struct disk *disk, const char *what, int error);
/* A write to the disk failed with @error: takes the target down if that is what it means. Returns
 * what to tell the caller. */
int health_write_failed(struct disk *disk, int error, const char *what);
#endif
