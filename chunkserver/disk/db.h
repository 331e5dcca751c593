/* db.h - the db of a target: opening it, and writing to it. */
#ifndef CATENA_CHUNKSERVER_DISK_DB_H
#define CATENA_CHUNKSERVER_DISK_DB_H
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/disk/disk.h"
#include "chunkserver/record/key.h"
#include "common/kv/kv.h"

extern const struct kv_family db_families[FAMILY_COUNT];

/* Errors: -EUCLEAN: it is damaged; -errno. @error gets a text. */
int db_open(struct disk *disk, char *error, size_t error_size);
/* Writes the batch, unflushed; *seq (may be NULL) is its number. Errors: -errno, and the target may
 * be down. Thread: any. */
int db_write(struct disk *disk, const struct kv_batch *batch, uint64_t *seq);
#endif
