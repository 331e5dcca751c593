/* clients.h - the streams of clients.
 *
 * Locks: the state lock held, but for clients_load() and clients_free(). Thread: any. */
#ifndef CATENA_MASTER_SESSIONS_CLIENTS_H
#define CATENA_MASTER_SESSIONS_CLIENTS_H
#include "master/sessions/client.h"

extern const struct rpc_stream_handler client_stream_handler;

int clients_load(struct master *master); /* at start */
void clients_free(struct master *master);
void clients_push_map(struct master *master);
/* Lets in the clients that came too early: the master may serve, or there is a map to show. */
void clients_heard(struct master *master, uint64_t now_ns);
/* Ends all streams. */
void clients_turn_away(struct master *master);
#endif
