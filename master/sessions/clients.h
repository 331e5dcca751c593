/* clients.h - inside of the clients' part of the master: clients.c (streams and
 * their beginning), client_requests.c (requests and replies), client_leases.c (what leases.h
 * decides), client_fences.c (what fences.h decides). All with the state lock held, but for what
 * runs on the RPC thread's own data. */
#ifndef CATENA_MASTER_SESSIONS_CLIENTS_H
#define CATENA_MASTER_SESSIONS_CLIENTS_H
#include <uthash.h>
#include "master/leases/fences.h"
#include "master/leases/leases.h"
#include "master/sessions/sessions.h"
#include "master/shared/push.h"

/* A session of the store. */
struct client_session {
	uint64_t id;
	char *mount;
	char name[TLS_NAME_MAX];      /* of the certificate */
	struct client_stream *stream; /* NULL: not connected */
	uint64_t last_request;        /* highest id seen on this run of the master */
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
	bool ended;                     /* its session has gone elsewhere or is closed */
	uint64_t waiter;                /* not 0: waits to be admitted */
	uint8_t *early;                 /* its SessionOpen, when it came before we may serve */
	size_t early_size;
	struct client_stream *prev, *next; /* of master->early, then */
	char *mount;
	UT_hash_handle hh; /* of master->waiting, while it waits */
};

void client_stream_unref(struct client_stream *stream);
/* Sends; a client that does not read loses its stream. */
void client_send(struct client_stream *stream, const struct push *push);
struct client_session *client_session_find(struct master *master, uint64_t id);
struct client_session *client_session_new(uint64_t id, const char *mount, const char *name);
void client_session_free(struct client_session *session);
/* Makes @stream the session's and says so to the client. */
void client_attach(struct client_session *session, struct client_stream *stream, uint64_t secret,
		   uint64_t now_ns);
void client_refuse(struct client_stream *stream, int error, const char *message);

/* Executes all requests of a batch. Replies that need no sync are added to @push (and sent when it
 * has grown large); the others are sent when they are durable. */
void client_requests(struct client_stream *stream, const Catena__ClientBatch *batch,
		     struct push *push, uint64_t now_ns);

/* Executes one by itself, as if it came now. */
void client_request_now(struct client_stream *stream, const Catena__Request *request,
			uint64_t now_ns);

/* ---- client_appends.c ---- */
/* True: @request waits for the right to append, and will be answered later. */
bool client_append_waits(struct client_stream *stream, const Catena__Request *request,
			 uint64_t now_ns);
/* Nothing on this stream is answered any more. */
void client_appends_forget(struct client_stream *stream);

/* The session's stream, if it has one, is none of it any more, and ends. */
void client_end_stream(struct master *master, struct client_session *session);
/* Closes it in the store; nothing of it may be under way. */
void client_close_session(struct master *master, struct client_session *session, const char *why);
/* Ends it, so that nothing of it can take effect; then it is closed (client_fences.c). */
void client_fence_session(struct master *master, struct client_session *session);
#endif
