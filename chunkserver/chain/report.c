/* report.c - what the master has to know of a chain. */
#include "chunkserver/chain/internal.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

static void report(struct chain *chain, enum chain_report kind, uint32_t target_id)
{
	struct chain_action *action = chain_action_add(chain->env, CHAIN_REPORT);

	action->chain = chain;
	action->report = kind;
	action->header.key = (struct chunk_key){.pool = chain->pool, .partition = chain->partition};
	action->header.epoch = chain->config.epoch;
	action->header.arg = target_id;
}

void chain_report_caught_up(struct chain *chain)
{
	report(chain, CHAIN_CAUGHT_UP, chain->config.members[chain->role.next].target_id);
}

bool chain_others_in_sync(const struct chain *chain)
{
	for (int i = 0; i < (int)chain->config.count; i++)
		if (i != chain->config.self && chain->config.members[i].state == MEMBER_IN_SYNC)
			return true;
	return false;
}

bool chain_report_unfit(struct chain *chain)
{
	if (!chain->role.in_sync || !chain_others_in_sync(chain))
		return false;
	if (chain->copy.reported_epoch == chain->config.epoch)
		return true;
	chain->copy.reported_epoch = chain->config.epoch;
	log_warn("this copy has to be made good by another member pool=%u partition=%u epoch=%llu",
		 chain->pool, chain->partition, (unsigned long long)chain->config.epoch);
	report(chain, CHAIN_UNFIT, chain->config.members[chain->config.self].target_id);
	return true;
}
