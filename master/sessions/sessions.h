/* sessions.h - the streams of clients and chunkservers, for the floors above.
 *
 * Locks: the state lock held, but for clients_load() and clients_free(). */
#ifndef CATENA_MASTER_SESSIONS_SESSIONS_H
#define CATENA_MASTER_SESSIONS_SESSIONS_H
#include "master/shared/master.h"

/* ---- sessions.c ---- */
extern const struct session_events session_events;

/* ---- client_fences.c ---- */
int fences_start(struct master *master); /* -ENOMEM */
/* The view was published. */
void fences_shown(struct master *master);
/* Does what the fences decide; after anything that may have changed them. */
void fences_act(struct master *master, uint64_t now_ns);
/* Each tick. */
void fences_tick(struct master *master, uint64_t now_ns);

/* ---- clients.c, client_requests.c, client_leases.c, client_appends.c ---- */
extern const struct rpc_stream_handler client_stream_handler;
int clients_load(struct master *master); /* at start */
void clients_free(struct master *master);
/* Does what the leases decide; after anything that may have changed them. */
void clients_act(struct master *master, uint64_t now_ns);
/* The store was opened again: what it has and what memory has are made to agree. */
void clients_reconcile(struct master *master);
/* Looks again after sessions that could not be closed; now and then. */
void clients_retry(struct master *master);
/* Gives rights to append to those that wait for them, as far as they are free; after requests, when
 * a session has ended, and now and then. */
void client_appends_go(struct master *master, uint64_t now_ns);
void clients_push_map(struct master *master);
/* The master may serve, or there is a map to be shown: whoever came too early is let in. */
void clients_heard(struct master *master, uint64_t now_ns);
/* Ends all streams. */
void clients_turn_away(struct master *master);

/* ---- chunkservers.c ---- */
extern const struct rpc_stream_handler chunkserver_stream_handler;
void chunkservers_push_map(struct master *master);
/* Ends the streams of all that have registered. */
void chunkservers_turn_away(struct master *master);
/* Answers the heartbeats that could not be answered before something was published. */
void chunkservers_renew_late(struct master *master, uint64_t now_ns);
#endif
