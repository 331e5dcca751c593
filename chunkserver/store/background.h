/* background.h - bringing dirty chunks to rest. */
#ifndef CATENA_CHUNKSERVER_STORE_BACKGROUND_H
#define CATENA_CHUNKSERVER_STORE_BACKGROUND_H
#include <stdint.h>
#include "chunkserver/chunk/chunk.h"

/* Brings a dirty chunk one step further to rest, if it is time. */
void background_step(struct store_view *view, struct chunk *chunk, uint64_t now);
/* The same for all dirty chunks. */
void background_round(struct store_view *view, uint64_t now);
/* The same for as many as may be flushed, when very many are dirty. */
void background_more(struct store_view *view, uint64_t now);
/* At the end of a view, without the loop. */
void background_end(struct store_view *view);
#endif
