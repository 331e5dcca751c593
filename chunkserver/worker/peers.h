/* peers.h - connections that others opened: clients, and predecessors of chains. See peers.c. */
#ifndef CATENA_CHUNKSERVER_WORKER_PEERS_H
#define CATENA_CHUNKSERVER_WORKER_PEERS_H
#include "chunkserver/worker/loop.h"
#include "common/base/duration.h"

#define PEER_REQUESTS_MAX 256u        /* of one client connection, before it is paused */
#define PEER_BYTES_MAX    (64u << 20) /* likewise, payloads */
#define PEER_QUEUED_MAX   (64u << 20) /* answers that it has not read */
/* A paused one goes on when its queue is empty at the latest, which is told of such queues only. */
_Static_assert(PEER_QUEUED_MAX / 2 >= CONN_DRAINED_MIN, "drained() ends a pause");
#define PEER_STUCK_NS (60 * NS_PER_SEC) /* without reading anything of them */

/* A connection that others opened: a client, or a predecessor. */
struct peer {
	struct worker *worker;
	struct conn *conn;
	uint64_t id;               /* what chains call it */
	uint64_t server_id;        /* 0: a client */
	struct client_name client; /* then */
	bool checked;              /* server_id is what the map says of the certificate's name */
	bool paused;
	uint32_t requests;
	uint64_t bytes;
	size_t queued;     /* answers, at the last tick, */
	uint64_t moved_ns; /* and when that last changed */
	UT_hash_handle hh;
};

/* Takes over a detached connection whose HELLO was answered. */
void peer_adopt(struct worker *worker, struct conn *conn, const struct hello *hello);
/* Finds the connection that chains call @id. NULL: it is gone. */
struct peer *peer_find(struct worker *worker, uint64_t id);
/* Sends an answer. @payload is borrowed. */
void peer_answer(struct peer *peer, const struct frame_header *header, struct buf *payload);
void peers_close(struct worker *worker);
/* Closes the connections of predecessors, so that they compare with what the target is now. */
void peers_close_predecessors(struct worker *worker, const char *why);
/* Closes the connections of clients whose sessions are over by the map. */
void peers_close_fenced(struct worker *worker);
/* Closes the connections of clients that do not read their answers. */
void peers_tick(struct worker *worker, uint64_t now_ns);
#endif
