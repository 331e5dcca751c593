/* fence_map.h - makes the map that a fenced server is told before all others. Pure.
 *
 * A fenced server loses its place in a chain, and may serve until it knows. It hears of the chains
 * in which it loses its place, and of no other that has changed. In those, another server may lose
 * a place and not know it yet: if the chain went on without that one, it would show what that one
 * lacks.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_CHAINS_FENCE_MAP_H
#define CATENA_MASTER_CHAINS_FENCE_MAP_H
#include "common/cluster/cluster_map.h"

/* Sets the chains of @next back to what @shown has, the last map that all were told. The chains in
 * which a target of @server is in-sync no more stay as they are. Both maps have the same pools. */
void fence_map_restrict(struct cluster_map *next, const struct cluster_map *shown, uint64_t server);
#endif
