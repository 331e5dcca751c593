/* client_requests.h - requests of clients: executed in order, answered at once or when durable.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_REQUESTS_H
#define CATENA_MASTER_SESSIONS_CLIENT_REQUESTS_H
#include "master/sessions/client.h"
#include "common/cluster/unpack.h"

/* What a client has sent at once, decoded. It lives as long as a request of it is under way. */
struct client_message {
	unsigned refs;
	Catena__ClientBatch *batch;
	struct unpack unpack;
};

/* Decodes a message, with one reference. -EBADMSG, -ENOMEM. Locks: none are needed,
 * before others know of it. */
int client_message_new(const uint8_t *data, size_t size, struct client_message **out);
void client_message_unref(struct client_message *message); /* NULL is allowed */

/* Calls the log with all requests of @message, in order. The answers are sent when all of it is
 * done; those that have to be durable when they are. */
void client_requests(struct client_stream *stream, struct client_message *message, uint64_t now_ns);
/* Adds to @push up to where the client's commands are done, and up to where durable; @lane 0: not
 * known of the lane. */
void client_requests_push_done(struct master *master, uint64_t lane, struct push *push);
/* After the store was down: ends the streams of clients that have to send something again. */
void client_requests_recovered(struct master *master);
/* Gives rights to append to the requests that wait for them, as far as they are free; when a
 * session has ended, and each tick. After requests it is done by itself. */
void client_requests_go(struct master *master, uint64_t now_ns);
#endif
