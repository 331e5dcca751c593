/* witness.h - proof of up to where a target's disk was flushed, and the damage that it shows. */
#ifndef CATENA_CHUNKSERVER_DISK_WITNESS_H
#define CATENA_CHUNKSERVER_DISK_WITNESS_H
#include <stdbool.h>
#include <stddef.h>
#include "chunkserver/disk/disk.h"
#include "common/kv/kv.h"

/* Reads the witness before the target is used, and sets disk->damaged when kv lacks what it proves.
 * Errors: -errno when the file cannot be read or made. */
int witness_open(struct disk *disk);
/* Puts the next mark into @batch, which is to be written and flushed before witness_note(). */
void witness_put(struct disk *disk, struct kv_batch *batch);
/* Writes the last mark put into kv, which is flushed, to the file, with the life. Errors: -errno;
 * the file is then behind, which is always right. */
int witness_note(struct disk *disk);
/* True: kv has all that the file says. False also when that cannot be told. */
bool witness_is_whole(struct disk *disk);
int witness_start(struct disk *disk);
void witness_stop(struct disk *disk);
/* Looks once: puts a mark into kv if something was flushed since the last one; notes a mark that is
 * flushed. Thread: any. */
void witness_tick(struct disk *disk);
/* Something flushed was missing at an opening, and the master does not know yet. Thread: any. */
bool witness_is_damaged(const struct disk *disk);
/* The master knows: durable when it returns 0. Thread: any; may take as long as a flush. */
int witness_damage_settled(struct disk *disk);
#endif
