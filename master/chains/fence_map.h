/* fence_map.h - the map as a server is told it that has to know it before the others: it loses its
 * place in a chain, and may serve until it knows. Pure.
 *
 * It is not told of the other chains that have changed: somebody else may lose a place there, and
 * not know yet, and whoever goes on without that one would show what that one has not.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_CHAINS_FENCE_MAP_H
#define CATENA_MASTER_CHAINS_FENCE_MAP_H
#include "common/cluster/cluster_map.h"

/* Takes out of @next what @shown, the last map that all were told, has otherwise, but for the
 * chains in which a target of @server is in-sync no more. Both have the same pools. */
void fence_map_restrict(struct cluster_map *next, const struct cluster_map *shown, uint64_t server);
#endif
