/* master.h - the running master: what its parts share.
 *
 * Threads: the RPC thread (callbacks of sessions/clients.c, sessions/chunkservers.c, status.c), the
 * main loop (ticks, signals), the log's thread (flushes that are done), the removal thread, the
 * space thread, the probing thread.
 *
 * Locks: the state lock alone. It covers the state, the published map, leases, all sessions and the
 * removal queue's memory. Replies, leases, sessions and maps are sent with it held, so that a client
 * hears them in the order in which they were decided. What waits for the disk is sent without it. */
#ifndef CATENA_MASTER_SHARED_MASTER_H
#define CATENA_MASTER_SHARED_MASTER_H
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/kv/kv.h"
#include "common/net/tls.h"
#include "common/rpc/rpc.h"
#include "master/log/command_log.h"
#include "master/shared/config.h"
#include "master/shared/published_map.h"
#include "master/shared/refusals.h"
#include "master/state/state.h"

#define MASTER_PROTOCOL   1u
#define MASTER_BEHIND_MAX 512
/* To clients and chunkservers: the master's store is not fit to serve; it may be tomorrow. */
#define MASTER_ERROR_BEHIND ENOTRECOVERABLE

struct append_wait;
struct chain_manager;
struct publisher;
struct chunkserver;
struct client_session;
struct client_stream;
struct fences;
struct hearing;
struct keeper;
struct leases;
struct master;
struct probes;
struct registration;
struct removals;
struct space;

/* What the sessions do when something happens on a floor below them; handed in by master_start().
 * Locks: the state lock held. */
struct session_events {
	/* The map was published: everyone gets it, and ended sessions are looked at anew. */
	void (*published)(struct master *master);
	/* A decision about chains is next: what ended sessions owe the chains comes first. */
	void (*deciding)(struct master *master, uint64_t now_ns);
	/* Leases of chunkservers that had to wait may be renewed. */
	void (*renewable)(struct master *master, uint64_t now_ns);
	/* The master may serve, or there is a map to show: early clients are let in. */
	void (*admitting)(struct master *master, uint64_t now_ns);
	/* The store is behind: all streams end. */
	void (*turning_away)(struct master *master);
	/* A client's session is closed, durably: what follows for the others is decided. */
	void (*closed)(struct master *master, uint64_t now_ns);
};

struct master {
	struct master_config config;
	struct tls_identity self;
	struct kv *kv;
	struct state *state;
	struct command_log *log;
	struct keeper *keeper; /* of what the log does; NULL: it is not kept */
	struct rpc_server *rpc;
	pthread_mutex_t lock; /* the state lock */
	bool stopping;

	bool heard;                     /* enough targets since the start (cluster/hearing.h) */
	char behind[MASTER_BEHIND_MAX]; /* why nothing is served any more; "": it is */
	struct hearing *hearing;
	struct refusals refusals;
	struct published_map published;
	struct chain_manager *chain_manager;
	struct cluster_map *chains_map; /* see chains.h */
	struct publisher *publisher;
	const struct session_events *sessions;
	struct leases *leases;
	struct fences *fences;
	struct command_call owing; /* whether chains owe fences, on its way into the log */
	bool owing_under_way;
	struct client_session *clients; /* by id: every session of the store */
	struct client_stream *waiting;  /* by waiter number: not admitted yet */
	struct client_stream *early;    /* came before the master may serve */
	uint64_t next_waiter;
	uint64_t told_index;              /* clients have answers to commands up to here */
	struct append_wait *append_waits; /* in the order in which they came */
	size_t append_wait_count;
	bool append_asked;                  /* the log was called for one that had waited */
	struct registration *registrations; /* of chunkservers, on their way to the disk */
	struct chunkserver *chunkservers; /* by server id: those that registered since the start */
	struct probes *probes;
	uint64_t last_tick_ns, retry_ns;
	struct removals *removals;
	struct space *space;
};

/* Takes and releases the state lock. What was proposed to the log with it held is applied before it
 * is released, and its proposers are told. */
void master_lock(struct master *master);
void master_unlock(struct master *master);
/* Releases the lock, and leaves what was proposed to the end of the RPC thread's turn, so that
 * messages of several streams become one batch. Thread: the RPC's. */
void master_unlock_within_turn(struct master *master);
/* True once enough targets were heard, unless the store is behind. Locks: the state lock held. */
bool master_may_serve(const struct master *master);
#endif
