/* chain_edit.h - members of a chain are counted, put and removed. Pure.
 *
 * A chain keeps its order: in-sync members first, then the syncing one, then those offline. */
#ifndef CATENA_MASTER_CHAINS_CHAIN_EDIT_H
#define CATENA_MASTER_CHAINS_CHAIN_EDIT_H
#include "common/cluster/cluster_map.h"

uint32_t chain_edit_count(const struct map_chain *chain, enum member_state state);
/* Gives a member, or a new one, this state: it is the last among those of it. */
void chain_edit_put(struct map_chain *chain, uint32_t target, enum member_state state);
void chain_edit_remove(struct map_chain *chain, uint32_t target);
#endif
