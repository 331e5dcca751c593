/* repair.h - substitutes, emptying, balance, heads: what has time. Pure.
 *
 * A member is added first, as syncing, and only when the chain has one in-sync member more than
 * copies does one go: so a move needs no memory, and one that was begun for a reason that is gone
 * ends well all the same. Every move makes the sum of the squares of (load - fair part) smaller, so
 * it comes to rest. */
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

/* A chain that the rules leave as it is. True: @next is what it becomes. */
bool repair_chain(const struct pool_repair *repair, const struct chain_case *in,
		  struct map_chain *next);

/* All chains have enough members and nobody of them is missing. */
bool repair_is_whole(const struct pool_repair *repair);
/* The next move for balance, or to mend failure domains, if there is one. */
bool repair_balance(const struct pool_repair *repair, uint32_t *partition, struct map_chain *next);
/* A chain that another member should lead; clients' complaints count. */
bool repair_heads(const struct pool_repair *repair, uint32_t *partition, struct map_chain *next);
#endif
