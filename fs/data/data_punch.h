/* data_punch.h - the part of punches in a file's work.
 *
 * Thread: any. */
#ifndef CATENA_FS_DATA_DATA_PUNCH_H
#define CATENA_FS_DATA_DATA_PUNCH_H
#include "fs/data/data_internal.h"

/* Gives every punch under way @error, unless it has one. Locks: the file's. */
void data_punch_lose(struct data_file *file, int error);
/* Adds to @work which chunks are to be punched now, and which punches are over. Locks: the
 * file's. */
void data_punch_gather(struct data_file *file, struct data_work *work);
/* Sends the ones and tells the others. Locks: none. */
void data_punch_run(struct data *data, struct data_work *work);
#endif
