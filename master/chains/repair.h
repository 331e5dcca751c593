/* repair.h - changes of chains that have time: substitutes, emptying, balance, heads. Pure.
 *
 * A repair begins when a member has not been in-sync for replace_after, or its target is full or
 * draining. It goes in three plans, and needs no memory beside the chain:
 *   1. A substitute is added, as syncing: of the right failure domains, the one furthest below its
 *      fair part, and not too busy. Coarser domains are given up where no target would keep them.
 *   2. It catches up; the tail reports it; the rules make it in-sync.
 *   3. The chain has one in-sync member more than copies: the one that burdens it most goes, and
 *      with it all offline members.
 * What fails on the way ends well all the same. If the substitute gets no nearer for replace_after,
 * another takes its place. If the old member comes back meanwhile, step 3 drops the worse of the
 * two. Paused recovery begins no step 1. A full target goes at once, where another can come: it
 * makes all writes of its chains fail.
 *
 * Balance is the same move without a loss. Every move makes the sum of the squares of (load - fair
 * part) smaller, so balance comes to rest. */
#ifndef CATENA_MASTER_CHAINS_REPAIR_H
#define CATENA_MASTER_CHAINS_REPAIR_H
#include "master/chains/rules.h"

struct pool_repair {
	struct survey *survey; /* survey_pool() was done */
	const struct map_pool *pool;
	uint64_t replace_after_ns;
	uint32_t moves_max;
	bool paused;
};

/* Repairs one chain that the rules leave as it is. True: @next is what it becomes. */
bool repair_chain(const struct pool_repair *repair, const struct chain_case *in,
		  struct map_chain *next);

/* True when all chains have enough members, and none is missing. */
bool repair_is_whole(const struct pool_repair *repair);
/* Finds the next move for balance, or one that mends failure domains. False: there is none. */
bool repair_balance(const struct pool_repair *repair, uint32_t *partition, struct map_chain *next);
/* Finds a chain that another member should lead; clients' complaints count. False: none. */
bool repair_heads(const struct pool_repair *repair, uint32_t *partition, struct map_chain *next);
#endif
