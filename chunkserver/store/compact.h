/* compact.h - having the db let go of what was deleted from it. */
#ifndef CATENA_CHUNKSERVER_STORE_COMPACT_H
#define CATENA_CHUNKSERVER_STORE_COMPACT_H
#include <stdbool.h>
#include "chunkserver/chunk/view.h"

/* Compacts in the background when there is enough garbage for the space that is left; sooner when a
 * write was @refused. */
void compact_consider(struct store_view *view, bool refused);
#endif
