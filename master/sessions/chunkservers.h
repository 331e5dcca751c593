/* chunkservers.h - inside of the chunkservers' part of the master. With the state lock. */
#ifndef CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#define CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#include "master/leases/fences.h"
#include "master/sessions/sessions.h"
#include "master/shared/chunkserver_table.h"

/* Answers sooner or later. False: the peer does what no chunkserver may do. */
bool chunkserver_register(struct chunkserver_stream *stream, const Catena__Register *message);
#endif
