/* data_list.h - the deadlines of data_list(). */
#ifndef CATENA_FS_DATA_DATA_LIST_H
#define CATENA_FS_DATA_DATA_LIST_H
#include "fs/data/data.h"

/* Ends the asking of listings whose patience is over at @now. Locks: none. */
void data_lists_tick(struct data *data, uint64_t now);
#endif
