/* client.h - the tables of clients: their sessions and their streams.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SESSIONS_CLIENT_H
#define CATENA_MASTER_SESSIONS_CLIENT_H
#include <uthash.h>
#include "master/shared/master.h"
#include "master/shared/push.h"

/* A session of the store. */
struct client_session {
	uint64_t id;
	char *mount;
	char name[TLS_NAME_MAX];      /* of the certificate */
	struct client_stream *stream; /* NULL: not connected */
	uint64_t answered;            /* the client has the answers up to here */
	bool ending;                  /* its fence or its end is on its way into the log */
	bool complete;                /* its fence is; the log has to know first what is owed */
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
	bool left_out;                  /* commands of the lane, while the store was down */
	uint64_t waiter;                /* not 0: waits to be admitted */
	uint8_t *early;                 /* its SessionOpen, when that came too early */
	size_t early_size;
	struct client_stream *prev, *next; /* of master->early, then */
	char *mount;
	UT_hash_handle hh; /* of master->waiting, while it waits */
};

/* NULL: there is none. */
struct client_session *client_session_find(struct master *master, uint64_t id);
/* Makes a session that is in no table yet; the texts are copied. NULL: out of memory. */
struct client_session *client_session_new(uint64_t id, const char *mount, const char *name);
void client_session_free(struct client_session *session); /* NULL is allowed */
/* Gives a reference up, and frees the stream with the last. */
void client_stream_unref(struct client_stream *stream);
/* Sends; a client that does not read loses its stream. Locks: none are needed on the RPC thread. */
void client_send(struct client_stream *stream, const struct push *push);
#endif
