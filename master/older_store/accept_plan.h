/* accept_plan.h - gathers what targets have seen of the chains, while an administrator accepts a
 * master's store that is older. Pure.
 *
 * The store says what once was; each target tells the chains that it has gone by last. The newest
 * chain that any target has gone by is right: a master told it, which had it durably. So what was
 * written under it is never overwritten by something older. Epochs then jump ahead of all that may
 * have been given out besides. Several copies of one store may be accepted, each without knowledge
 * of the others. So an accepted store goes on in a line of epochs of its own:
 *
 *     bits 48 to 63   acceptances there have been
 *     bits 32 to 47   chance, of the last one
 *     bits 0 to 31    counted from then on
 *
 * Within a line the higher epoch is the newer chain. Of two lines, the one with more acceptances is
 * newer; of as many, the one whose map has gone further.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_OLDER_STORE_ACCEPT_PLAN_H
#define CATENA_MASTER_OLDER_STORE_ACCEPT_PLAN_H
#include <stdbool.h>
#include "common/cluster/cluster_map.h"

/* The upper half of the life that is stored when it is not known whether the chains reflect that a
 * process has begun. The lower half is one less than the process counts. */
#define ACCEPT_LIFE_UNKNOWN (UINT64_C(1) << 32)

struct accept_plan;

/* Begins an acceptance. @map: the store's; borrowed, and not to be changed meanwhile. @chance: 64
 * bits, drawn for this acceptance, not 0. NULL: out of memory. */
struct accept_plan *accept_plan_new(const struct cluster_map *map, uint64_t chance);
void accept_plan_free(struct accept_plan *plan); /* NULL is allowed */
/* Gives the number of a target that says it is @told; 0: it was told none. Then the number counts
 * that the store has given to @uuid. */
uint32_t accept_plan_number(const struct accept_plan *plan, const char *uuid, uint32_t told);
/* Takes what @target tells of a chain, by the number that it was given. @version: of the newest map
 * that it has gone by, as maps show it. Errors: -EINVAL: no such partition, or no such chain can
 * be; -ENOMEM. */
int accept_plan_chain(struct accept_plan *plan, uint32_t target, uint32_t pool, uint32_t partition,
		      const struct map_chain *chain, uint64_t version);
/* Notes that a target has told all its chains. Errors: -ENOMEM. */
int accept_plan_heard(struct accept_plan *plan, uint32_t target);
/* Gives the next target above @after, of the store or of some chain, that was not heard; 0: none. A
 * target may be heard and know nothing of a chain that names its number. Then a master on another
 * copy of the store has given that number, and the target that is meant is missing. */
uint32_t accept_plan_missing(const struct accept_plan *plan, uint32_t after);

/* Counts placed chains that neither the store nor any heard target knows. The chains of a pool are
 * all placed at once: if others of the pool are known, a target that knows these is missing. */
size_t accept_plan_unknown(const struct accept_plan *plan);

/* Gives the epoch of the newest chain that is known; 0: none is. */
uint64_t accept_plan_epoch(const struct accept_plan *plan, uint32_t pool, uint32_t partition);

enum accept_kind {
	ACCEPT_NOTHING, /* it was never placed */
	ACCEPT_SAME,    /* as the store has it */
	ACCEPT_NEWER,   /* as targets have seen it later */
	ACCEPT_SILENT   /* no in-sync member has been heard: it waits for them, as it is known */
};
/* Says what the chain is from now on. Members that were not heard, or were syncing, are offline if
 * others can go on. */
enum accept_kind accept_plan_result(const struct accept_plan *plan, uint32_t pool,
				    uint32_t partition, struct map_chain *out);

/* ---- for accept_decision.h ---- */

const struct cluster_map *accept_plan_map(const struct accept_plan *plan);
uint64_t accept_plan_chance(const struct accept_plan *plan);
/* Notes that there have been so many acceptances at least. The next line is a later one. */
void accept_plan_set_acceptances(struct accept_plan *plan, uint64_t acceptances);
/* Gives the newest chain that is known, of a pool by its place in the map; epoch 0: none is. */
const struct map_chain *accept_plan_known(const struct accept_plan *plan, size_t pool_index,
					  uint32_t partition);
/* Gives the first epoch of this acceptance's line, for a chain of which nothing older is known. */
uint64_t accept_plan_first_epoch(const struct accept_plan *plan);
#endif
