/* chain_reports.h - what chains have reported to the master, kept until the master has acted on it.
 *
 * A chain reports once, but the stream to the master may be lost with the report in it. So the last
 * report of each kind about each member is kept, and sent again with every heartbeat, until the map
 * has a higher epoch for its chain, which ends what it was about.
 *
 * Threading: one thread. */
#ifndef CATENA_CHUNKSERVER_WORKER_CHAIN_REPORTS_H
#define CATENA_CHUNKSERVER_WORKER_CHAIN_REPORTS_H
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

struct report {
	uint32_t pool, partition;
	uint64_t epoch;
	uint32_t target_id;
	uint32_t kind; /* enum chain_report; the same numbers as in catena.proto */
};

struct chain_reports;

struct chain_reports *chain_reports_new(void);          /* NULL: out of memory */
void chain_reports_free(struct chain_reports *reports); /* NULL is allowed */
/* One of an epoch lower than what is known is ignored. 0 or -ENOMEM. */
int chain_reports_add(struct chain_reports *reports, const struct report *report);
/* Forgets what is over by this map. */
void chain_reports_map(struct chain_reports *reports, const struct cluster_map *map);
/* Up to @max of them, other ones first next time. Returns how many. */
size_t chain_reports_next(struct chain_reports *reports, struct report *out, size_t max);
size_t chain_reports_count(const struct chain_reports *reports);
#endif
