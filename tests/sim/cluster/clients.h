/* clients.h - clients: they route by their own map, as the mount does, and repeat what got
 * no answer with the same operation id. */
#ifndef CATENA_TESTS_SIM_CLUSTER_CLIENTS_H
#define CATENA_TESTS_SIM_CLUSTER_CLIENTS_H
#include "tests/sim/cluster/sessions.h"

/* ---- attempts ---- */

void op_route(struct world *w, unsigned c, struct op *op);

/* ---- connections and maps ---- */

void at_client(struct world *w, struct event *event);
#endif
