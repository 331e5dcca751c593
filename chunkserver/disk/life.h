/* life.h - the lives of a target: one with each opening, and how the last one ended. */
#ifndef CATENA_CHUNKSERVER_DISK_LIFE_H
#define CATENA_CHUNKSERVER_DISK_LIFE_H
#include <stdbool.h>
#include <stddef.h>
#include "chunkserver/disk/disk.h"

/* Reads how the last life ended: disk->was_clean and disk->same_boot. */
int life_state_read(struct disk *disk);
/* Writes the state, the life and the next mark of the witness, durably. */
int life_state_write(struct disk *disk, bool clean);
/* Begins another life than all before. Errors: -EUCLEAN: the last one cannot be read, and must not
 * be guessed. */
int life_begin(struct disk *disk, char *error, size_t error_size);
#endif
