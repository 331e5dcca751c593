/* chunk_flush.h - making the committed updates of one chunk durable. */
#ifndef CATENA_CHUNKSERVER_STORE_CHUNK_FLUSH_H
#define CATENA_CHUNKSERVER_STORE_CHUNK_FLUSH_H
#include "chunkserver/chunk/chunk.h"

/* Flushes the chunk as store_flush() does, in the background; counts in view->settling meanwhile.
 * */
void chunk_flush_quietly(struct store_view *view, struct chunk *chunk);
#endif
