/* chain_reports.h - reports of chains to the master, kept until the master has acted on them.
 *
 * A chain reports once, but the stream to the master may break with the report in it. So the last
 * report of each kind about each member is kept, and repeated with every heartbeat. A map with a
 * higher epoch of the chain ends it.
 *
 * Thread: one. */
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
/* Adds a report. It is ignored when the same of a later epoch is known. Errors: -ENOMEM. */
int chain_reports_add(struct chain_reports *reports, const struct report *report);
/* Drops the reports that the map has ended. */
void chain_reports_map(struct chain_reports *reports, const struct cluster_map *map);
/* Copies up to @max reports to @out, and returns how many. The next call goes on behind them. */
size_t chain_reports_next(struct chain_reports *reports, struct report *out, size_t max);
size_t chain_reports_count(const struct chain_reports *reports);
#endif
