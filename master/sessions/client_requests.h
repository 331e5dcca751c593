/* client_requests.h - requests of clients: executed in order, answered at once or when durable.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_REQUESTS_H
#define CATENA_MASTER_SESSIONS_CLIENT_REQUESTS_H
#include "master/sessions/client.h"

/* Executes all requests of a batch. Replies that need no flush are added to @push (and sent when it
 * has grown large); the others are sent when they are durable. */
void client_requests(struct client_stream *stream, const Catena__ClientBatch *batch,
		     struct push *push, uint64_t now_ns);
/* Gives rights to append to the requests that wait for them, as far as they are free; after
 * requests, when a session has ended, and each tick. */
void client_requests_go(struct master *master, uint64_t now_ns);
#endif
