/* chunkserver.h - the table of chunkservers that have registered since the master started, and
 * their streams.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SHARED_CHUNKSERVER_H
#define CATENA_MASTER_SHARED_CHUNKSERVER_H
#include <uthash.h>
#include "master/shared/master.h"
#include "master/shared/push.h"

#define SERVER_CATCHUPS_MAX 512u
struct server_catchup {
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
	struct server_catchup *catchups;   /* of its last heartbeat */
	size_t catchup_count;
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

/* Finds a chunkserver. NULL: it has not registered. */
struct chunkserver *chunkserver_find(const struct master *master, uint64_t id);
struct chunkserver *chunkserver_by_name(const struct master *master, const char *name);
/* Sends; a chunkserver that does not read loses its stream. */
void chunkserver_send(struct chunkserver_stream *stream, const struct push *push);
void chunkserver_stream_unref(struct chunkserver_stream *stream);
void chunkserver_free_all(struct master *master); /* at the end */
#endif
