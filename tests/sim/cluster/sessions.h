/* sessions.h - what is known of the updates of sessions that are over. */
#ifndef CATENA_TESTS_SIM_CLUSTER_SESSIONS_H
#define CATENA_TESTS_SIM_CLUSTER_SESSIONS_H
#include "tests/sim/cluster/checks.h"

/* The client gives up what it has under way; its files stay open until the session is closed. */
void op_given_up(struct world *w, struct op *op, uint64_t session);
void session_is_over(struct world *w, uint64_t session);

/* A member with a lease, in-sync by the chain that everybody knows of, commits an update. */
void check_commit(struct world *w, const struct disk *disk, const struct chain_work *request);

/* The master serves from now on. By its store a session may go on, or its fence, whose end was in
 * another one: that is lost, and what the session has on its way may take effect. */
void check_ends(struct world *w);
#endif
