/* remove.h - deleting whole chunks. */
#ifndef CATENA_CHUNKSERVER_STORE_REMOVE_H
#define CATENA_CHUNKSERVER_STORE_REMOVE_H
#include <stdint.h>
#include "chunkserver/chunk/view.h"

/* Goes on unlinking files of removed chunks, when there are any and it is this view's turn. */
void remove_unlink_next(struct store_view *view, uint64_t now);
#endif
