/* publisher.h - carries the chain manager's decisions through the log to everybody.
 *
 * Change of chains, as when a server dies:
 *   1. A heartbeat is missing, a stream breaks or a probe is refused: the manager is told
 *      (sessions/chunkservers.c, probes.c), and publisher_act() asks it for a plan.
 *   2. Planned: a server that loses a place in it is not renewed from now on.
 *   3. In the log, as one batch: the changed chains, the lives that they settle, the fenced.
 *   4. Durable: the fenced are told, each only of the chains in which it loses its place. They are
 *      alive, and could serve on without the new map.
 *   5. Each of the fenced has named the new map in a heartbeat, or is harmless: the map is
 *      published to everybody, and withheld leases are renewed.
 *   6. Members go by the new epoch. Those that lost their place end it; the new head or tail takes
 *      over; a syncing member catches up, and its tail reports it.
 * Nothing new is decided before step 5 is done, and no map shows anything of the plan before.
 *
 * When something fails:
 *   - The log refuses the plan: it is made anew.
 *   - The store fails after step 3: the plan is in doubt. Once the store is open again, its state
 *     says whether the plan is in it.
 *   - The master ends before step 5: the store names the fenced. Its next life tells them first,
 *     and shows no map before.
 *   - A fenced server does not answer: its lease ends after lease and margin.
 *
 * Locks: the state lock held, but for publisher_start() and publisher_free(). */
#ifndef CATENA_MASTER_CLUSTER_PUBLISHER_H
#define CATENA_MASTER_CLUSTER_PUBLISHER_H
#include "master/shared/master.h"

struct chunkserver;

/* Errors: -ENOMEM. */
int publisher_start(struct master *master);
/* NULL is allowed as master->publisher. */
void publisher_free(struct master *master);

/* Does what can be done now; after anything that may have changed something. */
void publisher_act(struct master *master, uint64_t now_ns);
/* Does what is due each tick. @gap_ns: so long the process stood still; 0: it did not. */
void publisher_tick(struct master *master, uint64_t now_ns, uint64_t gap_ns);
/* True when publisher_act() should be called again within 10 ms. */
bool publisher_soon(struct master *master, uint64_t now_ns);
/* True when no change of chains is under way. */
bool publisher_settled(const struct master *master);
/* Notes that a command in the log, @index, changes the map. It is shown once it is durable. */
void publisher_changed(struct master *master, uint64_t index);
/* Begins to serve: enough targets were heard. */
void publisher_heard(struct master *master, uint64_t now_ns);
/* Notes that the store was opened again. */
void publisher_recovered(struct master *master);
/* Notes which map a server has, as it says. */
void publisher_seen(struct master *master, uint64_t server, uint64_t version);
/* Tells a fenced server the new map, as long as it has to know it before others. */
void publisher_push_fence(struct master *master, struct chunkserver *server);
/* Tells the speed limits of recovery to one server, or to all (NULL). */
void publisher_push_recovery(struct master *master, struct chunkserver *server);
#endif
