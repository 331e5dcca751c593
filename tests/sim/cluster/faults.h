/* faults.h - what breaks in a cluster, and that it is mended in the end. */
#ifndef CATENA_TESTS_SIM_CLUSTER_FAULTS_H
#define CATENA_TESTS_SIM_CLUSTER_FAULTS_H
#include "tests/sim/cluster/clients.h"
#include "tests/sim/cluster/master.h"
#include "tests/sim/cluster/older.h"
#include "tests/sim/cluster/server_events.h"

/* ---- one of these ---- */

void fault_happens(struct world *w, const struct event *event);
void node_starts(struct world *w, unsigned node);
void heal(struct world *w);

/* An administrator looks at what does not go on by itself. */
void administrator_looks(struct world *w);
#endif
