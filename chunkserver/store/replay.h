/* replay.h - what a crash leaves, looked at before the store is used. */
#ifndef CATENA_CHUNKSERVER_STORE_REPLAY_H
#define CATENA_CHUNKSERVER_STORE_REPLAY_H
#include "chunkserver/chunk/shared.h"

/* Brings everything that a crash may have left in order. Errors: -errno. */
int replay_all(struct store *store);
#endif
