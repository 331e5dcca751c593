/* master_session.h - the chunkserver's stream to the master: registration, heartbeats, lease, map.
 *
 * Reconnects by itself, with back-off, for ever; a refused registration is logged and tried again
 * slowly, so that a chunkserver started too early or against the wrong master stays up and says
 * why.
 *
 * What comes in one message is taken up in an order: the map before a renewal, so that a lease is
 * never prolonged for a server that has not seen the map before it. A message that cannot be taken
 * up ends the stream for the same reason, and so do a map, a renewal or a removal from a master that
 * has not registered the server: it may be of another cluster.
 *
 * The serving lease runs from the moment its heartbeat was sent, by the monotonic clock: the master
 * counts from when it received it, which is later, so ours always ends first.
 *
 * Threading: created, used and closed on one libuv loop; all callbacks come there. */
#ifndef CATENA_CHUNKSERVER_SERVER_MASTER_SESSION_H
#define CATENA_CHUNKSERVER_SERVER_MASTER_SESSION_H
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "chunkserver/server/server_batch.h"
#include "chunkserver/store/store.h"
#include "common/cluster/chunk.h"
#include "common/cluster/cluster_map.h"
#include "common/net/tls.h"

#define MASTER_HEARTBEAT_MS 500

/* As it says itself. */
struct master_identity {
	uint64_t instance; /* of its cluster */
	uint64_t life, chance;
	uint64_t index; /* so far its log is on stable storage */
};

struct master_session_callbacks {
	/* Current figures of target @index; called before each heartbeat. */
	void (*report)(void *user, unsigned index, struct target_report *report);
	/* Before each heartbeat; @status is all zero. */
	void (*status)(void *user, struct server_status *status);
	/* Who the master is, before anything else that it says is taken up. -errno: it may not be
	 * ours, and the log says why. */
	int (*joined)(void *user, const struct master_identity *master);
	/* Registered: our server id, and the id of each target, in our order; 0: it is refused.
	 * Maps older than @map_version do not know of it. */
	void (*registered)(void *user, uint64_t server_id, const uint32_t *target_ids,
			   uint64_t map_version);
	/* The chains that target @index remembers; @each returns 0, or ends it. */
	int (*remembered)(void *user, unsigned index, store_seen_each *each, void *each_user);
	void (*map)(void *user, struct cluster_map *map); /* borrowed */
	/* The first one says that the master has settled the lives of all targets. */
	void (*lease)(void *user, uint64_t until_ns);
	/* With each of them: how far the master's log is on stable storage. */
	void (*index)(void *user, uint64_t index);
	/* Delete these chunks of target @index, then call master_session_removed() with @sequence.
	 */
	void (*remove)(void *user, unsigned index, uint64_t sequence, const struct chunk_key *keys,
		       size_t count);
	/* How fast chunks may be copied: bytes a second, 0: as clients leave room. */
	void (*recovery)(void *user, uint64_t rate, bool paused);
};

struct master_session_options {
	uv_loop_t *loop;
	const char *master; /* host:port */
	struct tls_files tls;
	const char *cluster, *name, *address; /* address: where clients and peers reach us */
	const char *host, *rack, *zone;
	uint32_t workers;
	unsigned target_count;
	/* Of the cluster that the targets are of, asked before each registration; 0: none yet. */
	uint64_t (*instance)(void *user);
	struct master_session_callbacks callbacks;
	void *user;
};

struct master_session;

/* Everything in @options is borrowed and must outlive the session. -ENOMEM and the like, with one
 * line in @error; a master that cannot be reached is no error. */
int master_session_open(const struct master_session_options *options, struct master_session **out,
			char *error, size_t error_size);
/* @error: 0 or a negative errno. The connection may have changed since: harmless. */
void master_session_removed(struct master_session *session, unsigned index, uint64_t sequence,
			    int error);
/* Sends these reports of chains now, in one message; without a registered stream they are for the
 * next heartbeats. */
void master_session_report(struct master_session *session, const struct report *reports,
			   size_t count);
/* Sends a heartbeat now, when registered, beside those of the timer. */
void master_session_heartbeat(struct master_session *session);
bool master_session_registered(const struct master_session *session);
/* Ends the stream; no callback comes after it. NULL is allowed. */
void master_session_close(struct master_session *session);
#endif
