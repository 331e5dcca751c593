/* chain_change.c - which chains there can be. Pure. */
#include "master/state/chain_change.h"

bool chain_shape_ok(const struct map_chain *chain)
{
	enum member_state last = MEMBER_IN_SYNC;
	unsigned syncing = 0;

	if (chain->count == 0 || chain->count > CHAIN_MEMBERS_MAX ||
	    chain->members[0].state != MEMBER_IN_SYNC)
		return false;
	for (uint32_t i = 0; i < chain->count; i++) {
		const struct chain_member *member = &chain->members[i];

		if (member->state < last || member->state > MEMBER_OFFLINE ||
		    cluster_map_chain_index(chain, member->target_id) != (int)i)
			return false;
		last = member->state;
		syncing += member->state == MEMBER_SYNCING ? 1 : 0;
	}
	return syncing <= 1;
}
