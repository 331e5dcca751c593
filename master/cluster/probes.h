/* probes.h - asks addresses of servers that were lost whether anybody listens there.
 *
 * A refused connection is the quickest proof that a process is gone. The same thread looks after
 * decisions that are due within milliseconds.
 *
 * Threading: a thread of its own; nothing of it waits for the network with the state lock held. */
#ifndef CATENA_MASTER_CLUSTER_PROBES_H
#define CATENA_MASTER_CLUSTER_PROBES_H
struct master;
struct probes;

int probes_start(struct master *master, struct probes **out);
/* There may be something to ask. Any thread. NULL is allowed. */
void probes_kick(struct probes *probes);
/* Joins the thread; without the state lock. NULL is allowed. */
void probes_stop(struct probes *probes);
#endif
