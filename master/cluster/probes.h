/* probes.h - asks the addresses of lost servers whether a process listens there.
 *
 * A refused connection is the quickest proof that a process is gone. The same thread looks after
 * decisions that are due within milliseconds.
 *
 * Thread: one of its own. It never waits for the network with the state lock held. */
#ifndef CATENA_MASTER_CLUSTER_PROBES_H
#define CATENA_MASTER_CLUSTER_PROBES_H
struct master;
struct probes;

int probes_start(struct master *master, struct probes **out);
/* Wakes the thread: there may be a server to ask. Thread: any. NULL is allowed. */
void probes_kick(struct probes *probes);
/* Joins the thread; without the state lock. NULL is allowed. */
void probes_stop(struct probes *probes);
#endif
