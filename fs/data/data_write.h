/* data_write.h - writes that wait for memory, and the list of files to be written back.
 *
 * Thread: any. Locks: none held by the caller, unless a function says otherwise. */
#ifndef CATENA_FS_DATA_DATA_WRITE_H
#define CATENA_FS_DATA_DATA_WRITE_H
#include "fs/data/data.h"

/* Accepts the writes of the queue that there is memory for now. */
void data_writes_admit(struct data *data);
/* Puts the file into the list of dirty files, unless it is there. Locks: the file's. */
void data_dirty_join(struct data_file *file);
/* Writes back the files that are due at @now. */
void data_dirty_tick(struct data *data, uint64_t now);
#endif
