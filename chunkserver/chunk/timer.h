/* timer.h - when the background work of a view goes on. */
#ifndef CATENA_CHUNKSERVER_CHUNK_TIMER_H
#define CATENA_CHUNKSERVER_CHUNK_TIMER_H
#include "chunkserver/chunk/view.h"

/* Starts the view's timer when there is background work, unless it runs. */
void timer_start(struct store_view *view);
/* Has the next tick come at once. */
void timer_soon(struct store_view *view);
#endif
