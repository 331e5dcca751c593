/* older.h - the master's store is put back to older copies, and administrators accept one.
 *
 * Copies are made at any time, also of the running master and just after it has started. The store
 * that is put aside becomes such a copy itself: whoever comes later to be put back may be older
 * than it, or of another line. A master that is behind serves nobody until an administrator has put
 * another copy in its place, or has this one accepted, as master/shell/accept.c does it. Only a
 * fifth of all seeds has any of this. */
#ifndef CATENA_TESTS_SIM_CLUSTER_OLDER_H
#define CATENA_TESTS_SIM_CLUSTER_OLDER_H
#include "tests/sim/cluster/master.h"
#include "master/older_store/accept_decision.h"

void store_copied(struct world *w);

/* ---- administrators ---- */

/* Now and then. */
void administrator_of_stores(struct world *w);
void twin_ends(struct world *w);
void older_store(struct world *w, bool power);
void images_free(struct world *w);
#endif
