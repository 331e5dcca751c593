/* checks.h - what must hold in a cluster, whatever breaks.
 *
 * What was acknowledged and not flushed may only be lost when power was cut at members that were all
 * that was left of a chain: such a partition is "exposed" from then on, and of it only what was
 * durable is asked for. Nothing may be asked for any more when an administrator accepted the loss.
 */
#ifndef CATENA_TESTS_SIM_CLUSTER_CHECKS_H
#define CATENA_TESTS_SIM_CLUSTER_CHECKS_H
#include "common/base/crc32c.h"
#include "tests/lib/chain_halves.h"
#include "tests/sim/cluster/network.h"

struct history *history_of(void *world, const struct chunk_key *key, uint32_t block);

/* ---- what a member says ---- */

/* It has to know at least what any client knew when it was asked. */
void check_request(struct world *w, const struct frame_header *header);
void check_answer(struct world *w, const struct disk *disk, const struct frame_header *header);

/* ---- who may have lost what ---- */

void check_process_ended(struct world *w, const struct disk *disk, bool lost);

/* A copy that has lost something may go on in-sync when nobody was there who has more. */
void check_settled(struct world *w, const struct disk *disk);

/* The disk does not have any more what it had. */
void check_replaced(struct world *w, const struct disk *disk);

/* Only then somebody may say that the loss is to be accepted. */
bool is_lost(const struct world *w, unsigned p);

/* The loss of everything that was on a target. */
void check_wiped(struct world *w, const struct disk *disk);

/* ---- chains ---- */

bool in_sync_in(const struct map_chain *chain, uint32_t target);
void trace_chain(struct world *w, unsigned p, const struct map_chain *chain);

/* Somebody is told of it: of an epoch there is one chain, whichever master says so. */
void check_shown(struct world *w, unsigned p, const struct map_chain *chain);

/* The chain is durable, and on its way to everyone. */
void check_published(struct world *w, unsigned p, const struct map_chain *chain);

/* The master serves from now on. Whoever is here must not have gone by a later chain. What nobody
 * who is here knows of is as lost as if all that had seen it were. */
void check_serves(struct world *w);

/* ---- members at rest ---- */

/* After an event at the disk's server: each of its members with the one behind it. */
void check_rest(struct world *w, struct disk *disk);

/* ---- the end ---- */

/* Nobody waits for anything, and all chains are whole. */
bool quiet(struct world *w);
void check_copies(struct world *w);
/* All records of the master's store fit each other. */
void check_store(struct world *w);
void check_histories(struct world *w);
void tell_state(struct world *w);
#endif
