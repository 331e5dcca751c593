/* master.h - the running master: what its parts share.
 *
 * Threads: the RPC thread (callbacks of sessions/clients.c, sessions/chunkservers.c, status.c), the
 * main loop (ticks, signals), the log's thread (syncs that are done), the removal thread, the space
 * thread, the probing thread.
 *
 * One lock, the state lock, covers the state, the view, the leases, all sessions and the removal
 * queue's memory. Whoever sends leases, sessions or maps does so with it held, so that what a
 * client hears has the order in which it was decided; replies are sent without it. */
#ifndef CATENA_MASTER_SHARED_MASTER_H
#define CATENA_MASTER_SHARED_MASTER_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>
#include "common/kv/kv.h"
#include "common/rpc/rpc.h"
#include "common/net/tls.h"
#include "master/log/command_log.h"
#include "master/shared/config.h"
#include "master/sessions/fences.h"
#include "master/cluster/hearing.h"
#include "master/sessions/leases.h"
#include "master/shared/push.h"
#include "master/shared/refusals.h"
#include "master/state/state.h"
#include "master/shared/published_map.h"

#define MASTER_PROTOCOL 1u
#define MASTER_TICK_MS  100

struct chains;
struct probes;
struct removals;
struct space;
struct append_wait;
struct client_session;
struct client_stream;
struct chunkserver;

struct master {
	struct master_config config;
	struct tls_identity self;
	struct kv *kv;
	struct state *state;
	struct command_log *log;
	struct rpc_server *rpc;
	pthread_mutex_t lock; /* the state lock */
	bool stopping;

	struct hearing hearing;
	struct refusals refusals;
	struct view view;
	struct leases *leases;
	struct fences *fences;
	struct client_session *clients; /* by id: every session of the store */
	struct client_stream *waiting;  /* by waiter number: not admitted yet */
	struct client_stream *early;    /* came before the master may serve */
	uint64_t next_waiter;
	struct append_wait *append_waits; /* in the order in which they came */
	size_t append_wait_count;
	struct chunkserver *chunkservers; /* by server id: those that registered since the start */
	struct chains *chains;
	struct probes *probes;
	uint64_t last_tick_ns, retry_ns;
	struct removals *removals;
	struct space *space;
};

/* ---- master.c ---- */
/* Opens store, state and log and listens. One line in @error. */
int master_start(const struct master_config *config, struct master **out, char *error,
		 size_t error_size);
struct kv;
/* For those that use it without a master. */
int master_open_store(const struct master_config *config, struct kv **out, char *error,
		      size_t error_size);
/* First start: makes the data directory. */
int master_init(const struct master_config *config, char *error, size_t error_size);
/* "host:port" as it is, with the real port. */
void master_address(const struct master *master, char *out, size_t size);
/* Every MASTER_TICK_MS. */
void master_tick(struct master *master);
void master_stop(struct master *master);

void master_lock(struct master *master);
void master_unlock(struct master *master);

/* ---- client_fences.c ---- */
int fences_start(struct master *master); /* -ENOMEM */
/* The view was published. */
void fences_shown(struct master *master);
/* Does what the fences decide; after anything that may have changed them. */
void fences_act(struct master *master, uint64_t now_ns);
/* Each tick. */
void fences_tick(struct master *master, uint64_t now_ns);

/* ---- sessions/clients.c, client_requests.c, client_leases.c ---- */
extern const struct rpc_stream_handler client_stream_handler;
int clients_load(struct master *master); /* at start */
void clients_free(struct master *master);
/* Does what the leases decide; after anything that may have changed them. */
void clients_act(struct master *master, uint64_t now_ns);
/* The store was opened again: what it has and what memory has are made to agree. */
void clients_reconcile(struct master *master);
/* Looks again after sessions that could not be closed; now and then. */
void clients_retry(struct master *master);
/* Gives rights to append to those that wait for them, as far as they are free; after requests, when
 * a session has ended, and now and then. */
void client_appends_go(struct master *master, uint64_t now_ns);
void clients_push_map(struct master *master);
/* The master may serve, or there is a map to be shown: whoever came too early is let in. */
void clients_heard(struct master *master, uint64_t now_ns);
/* Ends all streams. */
void clients_turn_away(struct master *master);

/* ---- sessions/chunkservers.c ---- */
extern const struct rpc_stream_handler chunkserver_stream_handler;
void chunkservers_free(struct master *master);
void chunkservers_push_map(struct master *master);
/* Ends the streams of all that have registered. */
void chunkservers_turn_away(struct master *master);
/* The stream to who has this target (referenced), or NULL: not there now. */
struct rpc_stream *chunkservers_stream_of(struct master *master, uint32_t target_id);

/* ---- publisher.c ---- */
/* Publishes the view and pushes it to everyone. */
void master_publish(struct master *master);

/* ---- status.c ---- */
void status_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		  const uint8_t *data, size_t size);

/* ---- admin.c ---- */
void admin_serve(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		 const uint8_t *data, size_t size);
#endif
