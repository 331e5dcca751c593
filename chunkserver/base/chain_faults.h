/* chain_faults.h - faults that tests plant in chain members, to see that the simulations find them.
 *
 * Each names a decision that is left out or made wrongly. Without CHAIN_PLANTED_FAULTS there is
 * nothing of them: FAULTY() is false. Pure. */
#ifndef CATENA_CHUNKSERVER_BASE_CHAIN_FAULTS_H
#define CATENA_CHUNKSERVER_BASE_CHAIN_FAULTS_H
#include <stdbool.h>

enum chain_fault {
	CHAIN_FAULT_NONE,
	CHAIN_FAULT_ACK_BEFORE_SUCCESSOR,
	CHAIN_FAULT_NO_DUPLICATE_CHECK,
	CHAIN_FAULT_COMMIT_OUT_OF_ORDER,
	CHAIN_FAULT_NO_GAP_CHECK,
	CHAIN_FAULT_SERVE_UNREADY,
	CHAIN_FAULT_NO_EPOCH_CHECK,
	CHAIN_FAULT_SERVE_WITHOUT_LEASE,
	CHAIN_FAULT_FORGET_BEHIND_CURSOR,
	CHAIN_FAULT_RESUME_UNEQUAL,
	CHAIN_FAULT_NO_FLUSH_AT_END,
	CHAIN_FAULT_NEVER_STRICT,
	CHAIN_FAULT_COPY_WHILE_CHANGED,
	CHAIN_FAULT_KEEP_OLD_CONNECTIONS,
	CHAIN_FAULT_PLACE_BY_OLD_MAP, /* target_entry.c */
	CHAIN_FAULT_ACCEPT_FENCED,
	CHAIN_FAULT_ACK_FENCE_EARLY,
	CHAIN_FAULT_ACK_UNCOMPARED,
	CHAIN_FAULT_FORGET_EPOCH,     /* any chain that the master tells is as good as the last */
	CHAIN_FAULT_SEEN_NOT_DURABLE, /* what was seen of masters and maps ends with the process */
	CHAIN_FAULT_TAKE_ANY_MASTER,  /* also one that another has overtaken */
	CHAIN_FAULT_FORGET_LOSS,
	CHAIN_FAULT_EVICT_UNANSWERED, /* record/op_ids.c */
	CHAIN_FAULT_DROP_BEGUN,       /* with the chain, and its bytes are thought to be nowhere */
	CHAIN_FAULT_FORGET_ALTERED,   /* what was broken off is compared with nobody's copy */
	CHAIN_FAULT_COUNT
};
#ifdef CHAIN_PLANTED_FAULTS
extern enum chain_fault chain_planted_fault;
#define FAULTY(name) (chain_planted_fault == CHAIN_FAULT_##name)
#else
#define FAULTY(name) false
#endif
#endif
