/* fake_chain.h - chunkservers and a network for one thread: a chain_transport for the client's
 * side, with virtual time, seeded delays, and faults on demand. Copies of a chunk are one here:
 * what is tested is the client.
 *
 * What the servers insist on, because the real ones rely on it, ends up in fake->broken: checksums
 * of updates, no two overlapping updates of one client under way, op ids above `answered`. */
#ifndef CATENA_TESTS_LIB_FAKE_CHAIN_H
#define CATENA_TESTS_LIB_FAKE_CHAIN_H
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "common/base/duration.h"
#include "common/cluster/cluster_map_internal.h"
#include "common/net/hello.h"
#include "fs/chains/transport.h"
#include "tests/lib/random.h"

#define FAKE_SERVERS    3u
#define FAKE_WORKERS    2u
#define FAKE_PARTITIONS 7u
#define FAKE_LOOPS      2u
#define FAKE_CHUNK      (1u << 20)
#define FAKE_POOL       1u
#define FAKE_CLUSTER    "fake-cluster"
#define FAKE_INSTANCE   0x1234u
#define FAKE_MS         NS_PER_MSEC
#define FAKE_CHUNKS_MAX 128u
#define FAKE_OPS_MAX    64u
#define FAKE_LIST_MAX   3u /* few, so that lists go on */

struct fake;

struct fake_conn {
	struct fake *fake;
	struct chains_link *link;
	unsigned refs, loop, server, worker;
	bool open; /* for the client */
	bool cut;  /* for the server */
	bool greeted;
	uint64_t session;
	uint64_t to_server_ns, to_client_ns; /* last delivery: order is kept */
	struct fake_conn *next;
};

enum fake_event_kind { FAKE_READY, FAKE_CLOSED, FAKE_TO_SERVER, FAKE_TO_CLIENT, FAKE_COMMIT };

#define FAKE_WAITERS 8u /* for one update: on as many connections it was sent */

struct fake_update {
	struct fake_update *next;
	struct frame_header header;
	uint8_t *bytes;
	uint64_t version;
	/* Who waits for it. */
	struct {
		struct fake_conn *conn;
		uint64_t request_id;
	} waiters[FAKE_WAITERS];
	unsigned waiter_count;
};

struct fake_chunk {
	struct chunk_key key;
	uint8_t *data, *durable; /* committed; and what a power cut would leave */
	uint8_t present[FAKE_CHUNK / BLOCK_SIZE / 8];
	uint32_t length;
	uint64_t version; /* committed */
	uint64_t next_version;
	struct fake_update *pending, **pending_end; /* by version */
	struct {
		uint64_t client, op, version;
	} ops[FAKE_OPS_MAX];
	unsigned op_count;
	uint64_t watermark, watermark_client; /* answered, says that client */
	bool bad[FAKE_SERVERS];               /* this server's copy is damaged */
	unsigned verified[FAKE_SERVERS];      /* it was asked to look for itself */
};

struct fake_event {
	uint64_t at, order;
	enum fake_event_kind kind;
	struct fake_conn *conn; /* a reference */
	int error;
	struct frame_header header;
	struct buf *payload;
	struct fake_chunk *chunk;
	struct fake_event *next;
};

struct fake {
	struct chains_transport base;
	struct buf_pool *pool;
	uint64_t now, order;
	uint64_t wanted[FAKE_LOOPS];
	void (*tick)(void *user, unsigned loop);
	void *user;
	bool started, inline_ticks, in_tick;
	struct fake_event *events;
	struct fake_conn *conns;
	struct {
		bool up, frozen;
		uint64_t space;
	} servers[FAKE_SERVERS];
	uint64_t epochs[FAKE_PARTITIONS];
	unsigned rotation[FAKE_PARTITIONS]; /* the head's server */
	uint64_t map_version;
	struct fake_chunk chunks[FAKE_CHUNKS_MAX];
	unsigned chunk_count;
	uint64_t session; /* the last that an update came of */

	uint64_t rng;
	/* In 1/1000 of requests. */
	unsigned odd_status, lose_connection, damage, corrupt_reads;
	uint64_t delay_max; /* of each hop and each commit */
	bool hold_commits;
	unsigned stuck_partition; /* its updates are not committed; UINT32_MAX: none */
	uint32_t fail_updates;    /* status for every update, 0: none */
	bool crowded;             /* so it is said of all chunks */
	unsigned closed;          /* closings that came */
	uint64_t closed_answered; /* what the last of them said */
	uint64_t made_anew;       /* added to the instance that servers say they are of */
	const char *broken;
	/* Counters for tests. */
	unsigned seen[FRAME_OP_COUNT], seen_durable, asked[FAKE_SERVERS], connects;
	uint64_t bytes_asked;
};

uint64_t fake_random(struct fake *f);
bool fake_chance(struct fake *f, unsigned of_thousand);

/* ---- events ---- */

void fake_conn_unref(struct fake_conn *conn);
struct fake_event *fake_post(struct fake *f, enum fake_event_kind kind, uint64_t at,
			     struct fake_conn *conn);
uint64_t fake_delay(struct fake *f);
void fake_answer(struct fake_conn *conn, const struct frame_header *request, uint32_t status,
		 const struct frame_header *answer, struct buf *payload);

/* The connection ends, seen from both sides; what was on the way to the client is lost. */
void fake_cut(struct fake_conn *conn, int error);

#include "tests/lib/fake_servers.h"

/* ---- what tests do to the world ---- */

/* A new map of the world as it is; a reference. */
struct cluster_map *fake_map(struct fake *f);

/* What was held back. */
void fake_commit_all(struct fake *f);

/* Another head and epoch; what is pending there is kept by the others, or was nowhere else. */
void fake_change_chain(struct fake *f, unsigned partition);
void fake_kill(struct fake *f, unsigned server);

/* ---- the transport ---- */

uint64_t fake_now(struct chains_transport *t);

extern const struct chains_transport_ops fake_ops;

struct fake *fake_new(uint64_t seed);

/* Returns false when the pool has not got everything back. */
bool fake_free(struct fake *f);

/* The next thing happens. False: nothing ever will before @until. */
bool fake_step(struct fake *f, uint64_t until);
#endif
