/* peers.h - connections from clients and from predecessors of chains. See peers.c.
 *
 * Thread: the worker's. */
#ifndef CATENA_CHUNKSERVER_WORKER_PEERS_H
#define CATENA_CHUNKSERVER_WORKER_PEERS_H
#include "chunkserver/worker/loop.h"
#include "common/base/duration.h"

#define PEER_REQUESTS_MAX 256u        /* of one client connection, before it is paused */
#define PEER_BYTES_MAX    (64u << 20) /* likewise, payloads */
#define PEER_QUEUED_MAX   (64u << 20) /* answers that it has not read */
/* A paused connection goes on at drained(), which comes only after a queue of CONN_DRAINED_MIN. */
_Static_assert(PEER_QUEUED_MAX / 2 >= CONN_DRAINED_MIN, "drained() ends a pause");
#define PEER_STUCK_NS (60 * NS_PER_SEC) /* of answers queued, and none read */

/* A connection from a client or a predecessor. */
struct peer {
	struct worker *worker;
	struct conn *conn;
	uint64_t id;               /* for chains */
	uint64_t server_id;        /* 0: a client */
	struct client_name client; /* of a client */
	bool checked;              /* by the map, server_id has the certificate's name */
	bool paused;
	uint32_t requests;
	uint64_t bytes;
	size_t queued;     /* bytes of answers at the last tick */
	uint64_t moved_ns; /* when that last changed */
	UT_hash_handle hh;
};

/* Takes over a detached connection whose HELLO was answered. */
void peer_adopt(struct worker *worker, struct conn *conn, const struct hello *hello);
/* Finds the connection that chains call @id. NULL: it is gone. */
struct peer *peer_find(struct worker *worker, uint64_t id);
/* Sends an answer to a request that was passed to a chain. @payload is borrowed. */
void peer_answer(struct peer *peer, const struct frame_header *header, struct buf *payload);
/* Closes all of them, when the worker stops. */
void peers_close(struct worker *worker);
/* Closes the connections of predecessors, so that they compare with what the target is now. */
void peers_close_predecessors(struct worker *worker, const char *why);
/* Closes the connections of clients whose sessions are over by the map. */
void peers_close_fenced(struct worker *worker);
/* Closes the connections of clients that do not read their answers. */
void peers_tick(struct worker *worker, uint64_t now_ns);
#endif
