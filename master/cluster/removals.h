/* removals.h - removes the chunks of files that are gone from their targets, in the background.
 *
 *   1. A file's last name and last open go: the state puts it into its durable queue.
 *   2. The removal thread walks the queue with a cursor, and makes a job of each file whose entry is
 *      durable, and whose members are there. The file's size says its chunks; the map says their chains.
 *   3. Each chunk is named to the members of its chain that are not offline, one after another from
 *      the head on, in batches per target: a member gets copies from the one before it, which has
 *      none to give any more then. The number of unanswered chunks is bounded.
 *   4. A member answers a batch when its chunks are gone, durably. It names those that may come
 *      back, as copies were on their way: they are named once more, a few times at once and then
 *      with all of the file.
 *   5. When all have answered, about chains that have not changed meanwhile, the file leaves the
 *      queue, by a command of the log.
 *
 * When something fails:
 *   - An answer is an error, or none comes; a stream breaks; a chain changes before the answer: the
 *     job begins again from the start of the file. Removing is idempotent.
 *   - A member is away, but not out of its chain: the file waits, and others overtake it.
 *   - A member is offline: it is not asked. What it has too much goes when it catches up.
 *   - The master ends, or the command is lost with the power: the file is in the queue still.
 *
 * Thread: one of its own.
 * Locks: the state lock held, but for removals_start() and removals_stop(). */
#ifndef CATENA_MASTER_CLUSTER_REMOVALS_H
#define CATENA_MASTER_CLUSTER_REMOVALS_H
#include "catena.pb-c.h"

struct master;
struct removals;
struct rpc_stream;

int removals_start(struct master *master, struct removals **out);
/* Joins the thread; without the state lock. NULL is allowed. */
void removals_stop(struct removals *removals);
/* Notes that the store was read anew: the log's indices and the queue's sequences may come again, for
 * other commands. NULL is allowed. */
void removals_recovered(struct removals *removals);
/* Takes the answer to a batch; one that came on another stream (@from) counts for nothing. */
void removals_answer(struct removals *removals, const struct rpc_stream *from,
		     const Catena__Removed *answer);
/* Notes that a server is there, perhaps again. What waited for it is tried; what it was asked on an
 * older stream is asked again. NULL is allowed. */
void removals_online(struct removals *removals);
/* Notes that a stream is lost: what was asked on it is in doubt. NULL is allowed. */
void removals_lost(struct removals *removals);
#endif
