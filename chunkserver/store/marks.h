/* marks.h - the marks that make overwriting in place safe. */
#ifndef CATENA_CHUNKSERVER_STORE_MARKS_H
#define CATENA_CHUNKSERVER_STORE_MARKS_H
#include "chunkserver/store/plan.h"

/* Marks what the plan overwrites in place. 0: nothing in the way; 1: a flush of the log has to come
 * first; -errno. */
int marks_for_plan(struct plan *plan);
/* Marks what is overwritten now, before a flush of the chunk's file. */
int marks_guard(struct chunk *chunk);
#endif
