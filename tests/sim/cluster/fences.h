/* fences.h - sessions of clients that are ended while they have updates on their way, as
 * the master's shell does it (client_fences.c). State and fences are the real ones.
 *
 * A client whose session is over may not know it, and goes on as if it were not. When it hears of
 * it what it had under way has no answer, and it goes on with a new session as soon as the old one
 * is closed. Only a third of all seeds has any of this. */
#ifndef CATENA_TESTS_SIM_CLUSTER_FENCES_H
#define CATENA_TESTS_SIM_CLUSTER_FENCES_H
#include "tests/sim/cluster/chains.h"
#include "tests/sim/cluster/sessions.h"

/* ---- at the master ---- */

void session_ends(struct world *w, uint64_t session);

/* Everything in the state is durable. */
void sessions_durable(struct world *w);

/* A server says what it has come to, before its lease is considered. */
void fences_told(struct world *w, unsigned s, uint64_t version);
void fences_ticked(struct world *w);
void fences_published(struct world *w);
void fences_begin_life(struct world *w);
#endif
