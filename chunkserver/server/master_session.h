/* master_session.h - the chunkserver's stream to the master: registration, heartbeats, lease, map.
 *
 * The session reconnects by itself, with back-off, for ever. A refused registration is logged and
 * tried again slowly. So a chunkserver that was started too early, or against the wrong master,
 * stays up and says why.
 *
 * The parts of a message are taken in a fixed order: registration, maps, renewals, removals. So a
 * lease is never prolonged for a server that has not seen the map before it. A message that cannot
 * be taken ends the stream for the same reason. A map, a renewal or a removal before the
 * registration ends it, too: the master may be of another cluster.
 *
 * The serving lease runs from the moment its heartbeat was sent, by the boot-time clock. The master
 * counts from when it received the heartbeat, which is later: the lease ends here first.
 *
 * Thread: the loop's, for calls and callbacks. */
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

/* A master's identity, as it claims it. */
struct master_identity {
	uint64_t instance; /* of its cluster */
	uint64_t life, chance;
	uint64_t index; /* so far its log is on stable storage */
};

struct master_session_callbacks {
	/* Fills in the current figures of target @index; @report is all zero. */
	void (*report)(void *user, unsigned index, struct target_report *report);
	/* Fills in the rest of a heartbeat; @status is all zero. */
	void (*status)(void *user, struct server_status *status);
	/* Judges the master, before anything else that it says is taken. -errno ends the stream;
	 * the log says why. */
	int (*joined)(void *user, const struct master_identity *master);
	/* Takes the numbers of the server and of its targets, in their order; 0: refused. Maps
	 * older than @map_version do not know of this registration. */
	void (*registered)(void *user, uint64_t server_id, const uint32_t *target_ids,
			   uint64_t map_version);
	/* Passes the chains that target @index remembers to @each, which returns 0 or what ends
	 * the walk. */
	int (*remembered)(void *user, unsigned index, store_seen_each *each, void *each_user);
	void (*map)(void *user, struct cluster_map *map); /* borrowed */
	/* Prolongs the lease, by the boot-time clock. The first one says that the master has
	 * settled the lives of all targets. */
	void (*lease)(void *user, uint64_t until_ns);
	/* Says, with each renewal, how far the master's log is on stable storage. */
	void (*index)(void *user, uint64_t index);
	/* Deletes chunks of target @index. master_session_removed() answers, with @sequence. */
	void (*remove)(void *user, unsigned index, uint64_t sequence,
		       const struct chunk_order *chunks, size_t count);
	/* Sets how fast chunks may be copied, in bytes a second; 0: as clients leave room. */
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
	/* Returns the instance of the targets' cluster; 0: none yet. Asked before each
	 * registration. */
	uint64_t (*instance)(void *user);
	struct master_session_callbacks callbacks;
	void *user;
};

struct master_session;

/* Opens the session. Pointers in @options are borrowed until it is closed. A master that cannot be
 * reached is no error. Errors: -ENOMEM and the like, with one line in @error. */
int master_session_open(const struct master_session_options *options, struct master_session **out,
			char *error, size_t error_size);
/* Answers a removal; @error is 0 or a negative errno, @again are chunks that are gone, but may come
 * back. An answer to an order of an older stream does no harm. */
void master_session_removed(struct master_session *session, unsigned index, uint64_t sequence,
			    int error, const struct chunk_order *again, size_t count);
/* Sends reports of chains now, in one message. Without a registered stream it does nothing:
 * heartbeats repeat them. */
void master_session_report(struct master_session *session, const struct report *reports,
			   size_t count);
/* Sends a heartbeat now, when registered, beside those of the timer. */
void master_session_heartbeat(struct master_session *session);
/* True when the master has registered the server on the present stream. */
bool master_session_registered(const struct master_session *session);
/* Ends the stream; no callback comes after it. NULL is allowed. */
void master_session_close(struct master_session *session);
#endif
