/* client_session.h - a client's session gets a stream, loses it, and is closed.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_SESSION_H
#define CATENA_MASTER_SESSIONS_CLIENT_SESSION_H
#include "master/sessions/client.h"

/* Makes @stream the session's, in place of any other, and tells the client. @forgotten: commands
 * are lost that were answered. */
void client_session_attach(struct client_session *session, struct client_stream *stream,
			   uint64_t secret, bool forgotten, uint64_t now_ns);
/* Tells a client that it gets no session. */
void client_session_refuse(struct client_stream *stream, int error, const char *message);
/* Takes the stream away from its session, if it has one, and ends it. */
void client_session_end_stream(struct master *master, struct client_session *session);

/* Closes the session in the store; nothing of it may be under way, and its stream ends. If that
 * fails, session->close_failed: it has to be tried again. */
void client_session_close(struct master *master, struct client_session *session, const char *why);
/* Forgets a session that is not in the store any more. */
void client_session_gone(struct master *master, struct client_session *session);
/* Counts the session @id as closed when the command @index is durable. */
void client_session_flush_close(struct master *master, uint64_t id, uint64_t index);
/* Closes a session that is in the state, and that no client will use. */
void client_session_abandon(struct master *master, uint64_t id);
#endif
