/* removals.h - the chunks of files that are gone are removed from the targets, in the background.
 *
 * The durable queue of the state (files by sequence) is walked with a cursor. Each chunk of a file
 * is named to every member of its chain that is not offline, in batches per target; a file leaves
 * the queue when all have answered that its chunks are gone, durably. Removing is idempotent, so
 * whatever is in doubt (a lost connection, an error, no answer) is done again from the start of the
 * file. A file with a member that is not there, but is not out of its chain either, waits; others
 * overtake it. What an offline member has too much is removed when it is made equal.
 *
 * Threading: one thread of its own. All functions but start and stop with the state lock held. */
#ifndef CATENA_MASTER_CLUSTER_REMOVALS_H
#define CATENA_MASTER_CLUSTER_REMOVALS_H
#include <stdint.h>

struct master;
struct removals;

int removals_start(struct master *master, struct removals **out);
/* Joins the thread; without the state lock. NULL is allowed. */
void removals_stop(struct removals *removals);
/* A batch was answered. */
void removals_answer(struct removals *removals, uint32_t target_id, uint64_t sequence, int error);
/* A server is there (again): what waited for it is tried, what it was asked on an older stream too.
 * NULL is allowed. */
void removals_online(struct removals *removals);
/* A stream is lost: what it was asked is in doubt. NULL is allowed. */
void removals_lost(struct removals *removals);
#endif
