/* chunkserver_sessions.h - inside of the chunkservers' part of the master. With the state lock. */
#ifndef CATENA_MASTER_CHUNKSERVER_SESSIONS_H
#define CATENA_MASTER_CHUNKSERVER_SESSIONS_H
#include "master/master.h"

struct chunkserver_stream;

/* A server that has registered since the master started. */
struct chunkserver {
	uint64_t id;
	char name[TLS_NAME_MAX];
	char address[MAP_NAME_MAX];
	struct chunkserver_stream *stream; /* NULL: not connected */
	uint64_t lease_until_ns;           /* by the master's clock */
	uint64_t disconnected_ns;
	bool online; /* as the map says */
	UT_hash_handle hh;
};

struct chunkserver_stream {
	struct master *master;
	struct rpc_stream *rpc; /* valid until the stream is over */
	unsigned refs;
	bool over;
	bool registering; /* in the log, not durable yet */
	char name[TLS_NAME_MAX];
	struct chunkserver *server; /* NULL: not registered, or not any more */
};

void chunkserver_stream_unref(struct chunkserver_stream *stream);
void chunkserver_send(struct chunkserver_stream *stream, const struct push *push);
struct chunkserver *chunkserver_by_name(struct master *master, const char *name);
/* Answers sooner or later. False: the peer does what no chunkserver may do. */
bool chunkserver_register(struct chunkserver_stream *stream, const Catena__Register *message);
#endif
