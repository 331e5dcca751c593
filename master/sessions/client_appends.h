/* client_appends.h - the queue for the right to append.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_APPENDS_H
#define CATENA_MASTER_SESSIONS_CLIENT_APPENDS_H
#include "master/sessions/client.h"

struct append_wait {
	struct append_wait *next;
	struct client_stream *stream; /* its session's */
	uint64_t ino, request;
	int64_t time;
	bool durable;
	uint64_t until_ns;
};

/* True when the right is held by no other session. */
bool client_append_is_free(struct master *master, uint64_t ino, uint64_t session);
/* Makes @request wait when the right to append is not free. True: it is answered later. */
bool client_append_waits(struct client_stream *stream, const Catena__Request *request,
			 uint64_t now_ns);
/* Answers a waiting request with EAGAIN. */
void client_append_answer_again(struct append_wait *wait);
/* Drops what waits on this stream: nothing on it is answered any more. */
void client_appends_forget(struct client_stream *stream);
#endif
