/* chunkservers.h - inside of the chunkservers' part of the master. With the state lock. */
#ifndef CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#define CATENA_MASTER_SESSIONS_CHUNKSERVERS_H
#include "master/shared/master.h"

struct chunkserver_stream;

#define SERVER_SYNCS_MAX 512u
struct server_sync {
	uint32_t pool, partition, target;
	uint64_t epoch, compared, copied;
	bool damaged;
};

/* A server that has registered since the master started. */
struct chunkserver {
	uint64_t id;
	char name[TLS_NAME_MAX];
	char address[MAP_NAME_MAX];
	struct chunkserver_stream *stream; /* NULL: not connected */
	uint64_t unanswered;               /* sequence of a heartbeat; 0: none */
	struct server_sync *syncs;         /* of its last heartbeat */
	size_t sync_count;
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
/* Answers the heartbeats that could not be answered before something was published. */
void chunkservers_renew_late(struct master *master, uint64_t now_ns);
bool chunkserver_online(struct master *master, const struct chunkserver *server);
struct chunkserver *chunkserver_by_name(struct master *master, const char *name);
/* Answers sooner or later. False: the peer does what no chunkserver may do. */
bool chunkserver_register(struct chunkserver_stream *stream, const Catena__Register *message);
#endif
