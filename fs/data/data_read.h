/* data_read.h - reads that wait for memory, or for what is being fetched.
 *
 * Thread: any. Locks: none. */
#ifndef CATENA_FS_DATA_DATA_READ_H
#define CATENA_FS_DATA_DATA_READ_H
#include "fs/data/data_fetch.h"

/* Starts the reads of the queue that there is memory for now. */
void data_reads_admit(struct data *data);
/* Tells the reads of @parts, linked by next, that their fetch is done. */
void data_read_parts_done(struct data *data, struct file_fetch_part *parts);
#endif
