/* chains.h - the chains as the state has them, durable or not: every decision is based on these.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SHARED_CHAINS_H
#define CATENA_MASTER_SHARED_CHAINS_H
#include "master/shared/master.h"

/* The chains and targets of the state. Borrowed until the next command. NULL: out of memory. */
const struct cluster_map *chains_map(struct master *master);
#endif
