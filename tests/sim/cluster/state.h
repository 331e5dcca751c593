/* state.h - the master's store: its beginning, its end, and what goes into it. */
#ifndef CATENA_TESTS_SIM_CLUSTER_STATE_H
#define CATENA_TESTS_SIM_CLUSTER_STATE_H
#include "tests/sim/cluster/checks.h"

/* Nobody is served, and nothing decided, before the targets are heard, and when one knows more. */
bool may_serve(const struct world *w);

/* The state's own map, for the manager. */
void master_state_changed(struct world *w);
void take_fenced(struct master *m, const uint64_t *servers, size_t count);
int master_apply_plan(struct world *w, const struct chain_plan *plan);
void sim_master_init(struct world *w);
void master_kill(struct world *w, bool power);
#endif
