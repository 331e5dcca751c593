/* master.h - the master's shell: its sessions with servers and clients, and what it looks
 * after. State, log index and chain manager are the real ones. */
#ifndef CATENA_TESTS_SIM_CLUSTER_MASTER_H
#define CATENA_TESTS_SIM_CLUSTER_MASTER_H
#include "tests/sim/cluster/fences.h"

/* ---- events ---- */

/* A probe arrives at the machine of a server. */
void probe_arrives(struct world *w, const struct event *event);
void at_master(struct world *w, struct event *event);
#endif
