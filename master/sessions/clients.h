/* clients.h - the streams of clients, and the sessions that they belong to.
 *
 * Locks: the state lock held, but for clients_load() and clients_free(). Thread: any. */
#ifndef CATENA_MASTER_SESSIONS_CLIENTS_H
#define CATENA_MASTER_SESSIONS_CLIENTS_H
#include <uthash.h>
#include "master/shared/master.h"
#include "master/shared/push.h"

extern const struct rpc_stream_handler client_stream_handler;

/* A session of the store. */
struct client_session {
	uint64_t id;
	char *mount;
	char name[TLS_NAME_MAX];      /* of the certificate */
	struct client_stream *stream; /* NULL: not connected */
	uint64_t last_request;        /* highest id seen in this life of the master */
	uint64_t lenient_until_ns;    /* requests may be repetitions that are done already */
	bool close_failed;            /* closing it is to be tried again */
	UT_hash_handle hh;
};

/* A connection. Freed when it is closed and nothing under way needs it. */
struct client_stream {
	struct master *master;
	struct rpc_stream *rpc; /* valid until the stream is over */
	unsigned refs;
	bool over;
	char name[TLS_NAME_MAX];
	struct client_session *session; /* NULL: none */
	bool ended;                     /* its session is on another stream, or closed */
	uint64_t waiter;                /* not 0: waits to be admitted */
	uint8_t *early;                 /* its SessionOpen, when that came too early */
	size_t early_size;
	struct client_stream *prev, *next; /* of master->early, then */
	char *mount;
	UT_hash_handle hh; /* of master->waiting, while it waits */
};

/* ---- sessions ---- */

int clients_load(struct master *master); /* at start */
void clients_free(struct master *master);
struct client_session *client_session_find(struct master *master, uint64_t id);
struct client_session *client_session_new(uint64_t id, const char *mount, const char *name);
void client_session_free(struct client_session *session);

/* ---- streams ---- */

void client_stream_unref(struct client_stream *stream);
/* Sends; a client that does not read loses its stream. */
void client_send(struct client_stream *stream, const struct push *push);
/* Makes @stream the session's and says so to the client. */
void client_attach(struct client_session *session, struct client_stream *stream, uint64_t secret,
		   uint64_t now_ns);
void client_refuse(struct client_stream *stream, int error, const char *message);
/* Takes the stream away from its session, if it has one, and ends it. */
void client_stream_end(struct master *master, struct client_session *session);

/* ---- all of them ---- */

void clients_push_map(struct master *master);
/* Lets in the clients that came too early: the master may serve, or there is a map to show. */
void clients_heard(struct master *master, uint64_t now_ns);
/* Ends all streams. */
void clients_turn_away(struct master *master);
#endif
