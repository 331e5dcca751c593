/* writeback_range.h - holes that are under way. */
#ifndef CATENA_FS_WRITEBACK_WRITEBACK_RANGE_H
#define CATENA_FS_WRITEBACK_WRITEBACK_RANGE_H
#include "fs/writeback/writeback_internal.h"

/* Says whether a hole that began before @before (NULL: any) overlaps [from, to). */
bool writeback_hole_overlaps(const struct writeback *wb, uint64_t from, uint64_t to,
			     const struct writeback_hole *before);
#endif
