/* chain_edit.c - see chain_edit.h. */
#include "master/chains/chain_edit.h"
#include <string.h>
#include "common/base/expects.h"

uint32_t chain_edit_count(const struct map_chain *chain, enum member_state state)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < chain->count; i++)
		n += chain->members[i].state == state ? 1 : 0;
	return n;
}

void chain_edit_remove(struct map_chain *chain, uint32_t target)
{
	int at = cluster_map_chain_index(chain, target);

	if (at < 0)
		return;
	chain->count--;
	memmove(&chain->members[at], &chain->members[at + 1],
		(chain->count - (uint32_t)at) * sizeof(chain->members[0]));
	chain->members[chain->count] = (struct chain_member){0};
}

void chain_edit_put(struct map_chain *chain, uint32_t target, enum member_state state)
{
	uint32_t at = 0;

	chain_edit_remove(chain, target);
	expects(chain->count < CHAIN_MEMBERS_MAX);
	while (at < chain->count && chain->members[at].state <= state)
		at++;
	memmove(&chain->members[at + 1], &chain->members[at],
		(chain->count - at) * sizeof(chain->members[0]));
	chain->members[at] = (struct chain_member){.target_id = target, .state = state};
	chain->count++;
}
