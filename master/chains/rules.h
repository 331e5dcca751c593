/* rules.h - what has to change in one chain because of the state of its members. Pure.
 *
 * The rules say which members go out, which catch up, and which become in-sync. Substitutes and
 * moves are repair.h's. */
#ifndef CATENA_MASTER_CHAINS_RULES_H
#define CATENA_MASTER_CHAINS_RULES_H
#include "master/chains/chain_edit.h"
#include "master/chains/survey.h"

/* What is remembered of a chain, beside the map. */
struct chain_memory {
	/* dark: no in-sync member of unbroken life was there. back_ns: when the first one came
	 * back; 0: still dark. unbroken: that one had forgotten nothing. */
	bool dark, unbroken;
	uint64_t back_ns;
	/* Reports, for one epoch each. */
	uint64_t caught_up_epoch, unfit_epoch;
	bool owed; /* no member becomes in-sync: see chain_manager_owes_chain() */
	uint32_t caught_up_target;
	uint64_t caught_up_life; /* of the tail that has said it */
	uint32_t unfit[CHAIN_MEMBERS_MAX];
	uint32_t unfit_count;
	uint32_t accept; /* the member that an administrator lets begin again; 0: none */
	struct {
		uint32_t target;
		uint64_t since_ns;    /* not in-sync */
		uint64_t progress_ns; /* was seen getting nearer */
	} lag[CHAIN_MEMBERS_MAX];
};

struct chain_case {
	const struct survey *survey;
	const struct map_pool *pool;
	const struct map_chain *chain;
	struct chain_memory *memory;
	struct complaints *complaints;
	bool waiting;   /* for more members to come back */
	size_t change;  /* its place in the plan, plus one; 0: it does not change */
	bool promoting; /* members that have been reported equal become in-sync now */
};

/* Brings the chain's memory up to date, and @out with it. To be called before the rest. */
void chain_rules_look(struct chain_case *out, uint64_t return_ns);
/* Marks unsettled members that this chain cannot settle now as blocked. True: some are new. */
bool chain_rules_block(const struct chain_case *in);
/* Applies all rules. True: @next is what the chain becomes, epoch included. */
bool chain_rules_apply(const struct chain_case *in, struct map_chain *next);
#endif
