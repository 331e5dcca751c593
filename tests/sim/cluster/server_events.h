/* server_events.h - what happens at chunkservers. */
#ifndef CATENA_TESTS_SIM_CLUSTER_SERVER_EVENTS_H
#define CATENA_TESTS_SIM_CLUSTER_SERVER_EVENTS_H
#include "tests/sim/cluster/servers.h"

void at_server(struct world *w, struct event *event);
#endif
