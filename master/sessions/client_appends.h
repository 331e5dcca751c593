/* client_appends.h - the queue for the right to append.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_APPENDS_H
#define CATENA_MASTER_SESSIONS_CLIENT_APPENDS_H
#include "master/sessions/clients.h"

/* Makes @request wait when the right to append is not free. True: it is answered later. */
bool client_append_waits(struct client_stream *stream, const Catena__Request *request,
			 uint64_t now_ns);
/* Drops what waits on this stream: nothing on it is answered any more. */
void client_appends_forget(struct client_stream *stream);
/* Gives rights to append to those that wait for them, as far as they are free; after requests, when
 * a session has ended, and each tick. */
void client_appends_go(struct master *master, uint64_t now_ns);
#endif
