/* chain_faults.h - faults that tests plant in the decisions about chains, to see that they are
 * found (tests/sim/cluster). Without CHAIN_PLANTED_FAULTS there is nothing of them. */
#ifndef CATENA_MASTER_STATE_CHAIN_FAULTS_H
#define CATENA_MASTER_STATE_CHAIN_FAULTS_H
#include <stdbool.h>

enum manager_fault {
	MANAGER_FAULT_NONE,
	MANAGER_FAULT_PROMOTE_ON_OLD_EPOCH,     /* a report of an earlier epoch counts */
	MANAGER_FAULT_RENEW_BEFORE_PUBLICATION, /* leases go on while the decision is not known */
	MANAGER_FAULT_OUT_WITHOUT_WAITING,      /* a lost stream is as good as an ended lease */
	MANAGER_FAULT_NO_DEMOTION,              /* a restarted member stays in-sync */
	MANAGER_FAULT_OLD_COPY,                 /* an old copy of a disk may be the last */
	MANAGER_FAULT_NO_FENCE,                 /* who loses its place need not know it first */
	MANAGER_FAULT_FORGET_FENCE,             /* ... of the master's last life */
	MANAGER_FAULT_TELL_UNSETTLED,           /* a restarted server gets the map it had */
	MANAGER_FAULT_PUBLISH_EARLY,            /* what is not durable is told */
	MANAGER_FAULT_ACK_AT_OLD_EPOCH,         /* of a session's end, before the chain changed */
	MANAGER_FAULT_CUT_OFF_COUNTS,      /* an ended lease is as good as its acknowledgement */
	MANAGER_FAULT_LEASE_WHILE_OWED,    /* members are renewed that still have to acknowledge */
	MANAGER_FAULT_IGNORE_SEEN,         /* an older store is as good as any */
	MANAGER_FAULT_ACCEPT_EPOCHS_SHORT, /* epochs go on right behind those that were heard */
	MANAGER_FAULT_ACCEPT_UNFENCED,     /* sessions end with the store that knew them */
	MANAGER_FAULT_ACCEPT_IDS_SHORT,    /* numbers go on where the accepted store was */
	MANAGER_FAULT_REPORTS_OUTLIVE,     /* what a process has reported counts for the next */
	MANAGER_FAULT_TELL_ALL_FENCED,     /* who has to know first is told all */
	MANAGER_FAULT_ACCEPT_LIVES_OLD,    /* lives stay as the accepted store knows them */
};
#ifdef CHAIN_PLANTED_FAULTS
extern enum manager_fault manager_planted_fault;
#define MANAGER_FAULTY(name) (manager_planted_fault == MANAGER_FAULT_##name)
#else
#define MANAGER_FAULTY(name) false
#endif
#endif
