/* migrate.h - moving inner blocks of long chunks to their files. */
#ifndef CATENA_CHUNKSERVER_STORE_MIGRATE_H
#define CATENA_CHUNKSERVER_STORE_MIGRATE_H
#include <stdint.h>
#include "chunkserver/chunk/view.h"

/* Begins the next move, when there is one to do and it is time. */
void migrate_next(struct store_view *view, uint64_t now);
#endif
