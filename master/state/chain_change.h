/* chain_change.h - what the master decides about chains, as the log carries it and the state keeps
 * it: changes of chains, and the lives of targets that they settle. Pure.
 *
 * A target's life counts the processes that began on its disk: a greater one shows a restart. Its
 * lower half is that count; its upper half is chance, so that one that began on an old copy of the
 * disk is not taken for another with the same count. */
#ifndef CATENA_MASTER_STATE_CHAIN_CHANGE_H
#define CATENA_MASTER_STATE_CHAIN_CHANGE_H
#include <stdbool.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"
#include "master/state/chain_faults.h"

/* Where the line of an epoch has the count of acceptances (older_store/accept_plan.h). */
#define ACCEPT_COUNT_SHIFT 48

struct chain_change {
	uint32_t pool, partition;
	struct map_chain chain; /* of the next epoch */
};

struct chain_life {
	uint32_t target;
	uint64_t life;
};

/* True when the chain has members, each once: in-sync ones, then one that is syncing at most, then
 * offline ones. */
bool chain_shape_ok(const struct map_chain *chain);

/* True when a process of @life began on an older copy of the disk than one of life @seen did. */
static inline bool chain_life_is_old(uint64_t life, uint64_t seen)
{
	return !MANAGER_FAULTY(OLD_COPY) && life != seen && (uint32_t)life <= (uint32_t)seen;
}
#endif
