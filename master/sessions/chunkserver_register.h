/* chunkserver_register.h - registration of a chunkserver.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CHUNKSERVER_REGISTER_H
#define CATENA_MASTER_SESSIONS_CHUNKSERVER_REGISTER_H
#include "master/shared/chunkserver.h"

/* Answers sooner or later. False: the peer does what no chunkserver may do. */
bool chunkserver_register(struct chunkserver_stream *stream, const Catena__Register *message);
#endif
