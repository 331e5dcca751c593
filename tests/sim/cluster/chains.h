/* chains.h - the master's way from decisions to maps that everybody has, as cluster/publisher.c goes
 * it.
 *
 * A command is applied at once and durable when a flush has ended that began after it. Nobody hears
 * of what is not durable. A kill leaves what was applied, a power cut what was flushed. */
#ifndef CATENA_TESTS_SIM_CLUSTER_CHAINS_H
#define CATENA_TESTS_SIM_CLUSTER_CHAINS_H
#include "tests/sim/cluster/state.h"
#include "master/state/chain_faults.h"
#include "master/chains/fence_map.h"
#include "master/older_store/hearing_rules.h"

/* ---- the log ---- */

void flush_begins(struct world *w);

/* ---- the map ---- */

void send_map(struct world *w, uint64_t conn, struct cluster_map *map);

/* The lowest that is shown of it. */
uint64_t shown_version_of(uint64_t state_version);

/* A restarted server is told nothing before it is decided what becomes of its targets. */
void send_map_to_server(struct world *w, unsigned s, struct cluster_map *map);
void publish(struct world *w, bool planned);
bool online_changed(struct world *w);

/* ---- change of chains ---- */

/* Those who lose a place at which they may serve have it first. */
/* To one that has to know first: as far as it has to. */
void tell_fenced(struct world *w, unsigned s);
void fence_begins(struct world *w);
void fence_looks(struct world *w);
void fence_told(struct world *w, unsigned s, uint64_t version);
void consider_plan(struct world *w);

/* ---- its beginning ---- */

void sim_master_start(struct world *w);

/* ---- is its store fit to serve? ---- */

void hearing_looks(struct world *w);
void master_is_behind(struct world *w);

/* A target has seen what the store does not know. */
bool knows_more(struct world *w, const struct event *said);
#endif
