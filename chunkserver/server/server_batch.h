/* server_batch.h - what a chunkserver tells the master, and the messages that it does so with.
 *
 * Each message is a packed ServerBatch of catena.proto. The bytes are the caller's, free() ends
 * them; NULL: out of memory. Arguments are borrowed, and nothing is kept.
 *
 * Thread: any. */
#ifndef CATENA_CHUNKSERVER_SERVER_SERVER_BATCH_H
#define CATENA_CHUNKSERVER_SERVER_SERVER_BATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "chunkserver/worker/chain_reports.h"
#include "chunkserver/worker/worker.h"

#define MASTER_UNREACHABLE_MAX 64u
#define MASTER_CATCHUPS_MAX    64u
#define MASTER_REPORTS_MAX     256u

/* The state of one target. */
struct target_report {
	const char *uuid;
	uint64_t capacity, used;
	bool full;
	int error; /* 0 or a positive errno: the target cannot serve */
	uint64_t life;
	bool damaged; /* store_damaged() */
	bool settled; /* this process has gone by a map: a master has settled the life */
	struct store_seen seen;
};

/* The state of the server in a heartbeat, beside its targets. */
struct server_status {
	bool leaving;
	uint64_t map_version;   /* by which all of the server goes */
	uint64_t fence_version; /* worker_fence_version(), of all */
	size_t unreachable_count, catchup_count, report_count;
	uint64_t unreachable[MASTER_UNREACHABLE_MAX]; /* servers */
	struct worker_catchup catchups[MASTER_CATCHUPS_MAX];
	struct report reports[MASTER_REPORTS_MAX]; /* once more */
};

/* The server's name for itself. Texts may be NULL: empty. */
struct server_registration {
	const char *cluster, *name, *address; /* address: where clients and peers reach it */
	const char *host, *rack, *zone;
	uint32_t workers;
	uint64_t instance; /* of the cluster that its targets are of; 0: none yet */
};

/* Targets with their numbers (0: none yet), in the same order. */
struct target_reports {
	const struct target_report *reports;
	const uint32_t *ids;
	size_t count;
};

uint8_t *server_batch_register(const struct server_registration *server,
			       const struct target_reports *targets, size_t *size);
uint8_t *server_batch_heartbeat(uint64_t sequence, const struct server_status *status,
				const struct target_reports *targets, size_t *size);
uint8_t *server_batch_reports(const struct report *reports, size_t count, size_t *size);
/* @error: 0 or a negative errno. @again: chunks that are gone, but may come back. */
uint8_t *server_batch_removed(uint32_t target_id, uint64_t sequence, int error,
			      const struct chunk_order *again, size_t count, size_t *size);
#endif
