/* manager_internal.h - inside of the chain manager: manager.c, report.c. */
#ifndef CATENA_MASTER_CHAINS_MANAGER_INTERNAL_H
#define CATENA_MASTER_CHAINS_MANAGER_INTERNAL_H
#include "master/chains/manager.h"
#include "master/chains/rules.h"
#include "master/chains/repair.h"

struct pool_memory {
	uint32_t id, partitions;
	struct chain_memory *chains;
	struct pool_memory *next;
};

struct chain_manager {
	struct chain_manager_options options;
	struct liveness live;
	struct complaints complaints;
	struct pool_memory *pools;
	bool recovery_paused;
	bool leases_held;
	bool pending;                              /* a plan is in the log, and not published */
	uint64_t heads_ns, balance_ns, promote_ns; /* not again before */
	struct chain_plan plan;
	size_t change_room, life_room, fenced_room;
	struct {
		uint64_t server, again_ns;
	} * rotated; /* because of clients' complaints */
	size_t rotated_count;
};

/* NULL: nothing is known of it. */
struct chain_memory *chain_manager_memory(const struct chain_manager *manager, uint32_t pool,
					  uint32_t partition);
/* Whatever kept servers from being renewed is over. */
void chain_manager_withhold_nobody(struct chain_manager *manager);
#endif
