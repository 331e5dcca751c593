/* chunkservers.h - the streams of chunkservers.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#define CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#include "master/shared/chunkserver.h"

extern const struct rpc_stream_handler chunkserver_stream_handler;

void chunkservers_push_map(struct master *master);
/* Ends the streams of all that have registered. */
void chunkservers_turn_away(struct master *master);
/* Answers the heartbeats that could not be answered before something was published. */
void chunkservers_renew_late(struct master *master, uint64_t now_ns);
#endif
