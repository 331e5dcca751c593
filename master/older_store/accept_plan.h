/* accept_plan.h - what becomes of the chains when an administrator accepts a master's store that is
 * older than what targets have seen. Pure.
 *
 * The store says what once was; each target tells the chains that it has gone by last. The newest
 * that anybody has gone by is right, because whoever did so was told by a master that had it
 * durably: so nothing that was written under it is overwritten by what is older. Epochs then jump
 * ahead of whatever might have been given out besides. Several copies of one store may be accepted,
 * without anybody knowing of the others: so an accepted store goes on in a line of epochs of its
 * own.
 *
 *     bits 48 to 63   acceptances there have been
 *     bits 32 to 47   chance, of the last one
 *     bits 0 to 31    counted from then on
 *
 * Within a line the higher epoch is the newer chain. Of two lines that of more acceptances is, and
 * of as many, the one whose map has gone further.
 *
 * Threading: one caller at a time. */
#ifndef CATENA_MASTER_OLDER_STORE_ACCEPT_PLAN_H
#define CATENA_MASTER_OLDER_STORE_ACCEPT_PLAN_H
#include <stdbool.h>
#include "common/cluster/cluster_map.h"

#define ACCEPT_LINE_SHIFT  32
#define ACCEPT_COUNT_SHIFT 48
/* The upper half of a life that is stored for a process of which nobody knows whether its chains
 * reflect that it has begun; the lower half is one less than the process counts. */
#define ACCEPT_LIFE_UNKNOWN (UINT64_C(1) << 32)

struct accept_plan;

/* @map: of the store; borrowed, and not to be changed meanwhile. @chance: of 64 bits, drawn for
 * this acceptance, not 0. NULL: out of memory. */
struct accept_plan *accept_plan_new(const struct cluster_map *map, uint64_t chance);
void accept_plan_free(struct accept_plan *plan); /* NULL is allowed */
/* The number of a target that says it is @told (0: it was told none): one that the store has given
 * and the target has not heard of stands. */
uint32_t accept_plan_number(const struct accept_plan *plan, const char *uuid, uint32_t told);
/* What @target, by the number that it was given, tells of a chain. @version: of the newest map that
 * it has gone by, as it is shown. -EINVAL: no such partition, or no such chain can be; -ENOMEM. */
int accept_plan_chain(struct accept_plan *plan, uint32_t target, uint32_t pool, uint32_t partition,
		      const struct map_chain *chain, uint64_t version);
/* It has told all. -ENOMEM. */
int accept_plan_heard(struct accept_plan *plan, uint32_t target);
bool accept_plan_has_heard(const struct accept_plan *plan, uint32_t target);
/* A target of the store or of some chain that has not been heard, above @after; 0: none. One that
 * was heard and knows nothing of a chain that names its number is not the one that is meant: that
 * was given the number by a master on another copy. */
uint32_t accept_plan_missing(const struct accept_plan *plan, uint32_t after);

/* Chains that nobody who has been heard knows anything of, nor the store, though they were placed:
 * the chains of a pool all are at once, and others of theirs are known. Whoever knows them is
 * missing. */
size_t accept_plan_unknown(const struct accept_plan *plan);

/* The epoch of the newest chain that is known; 0: none is. */
uint64_t accept_plan_epoch(const struct accept_plan *plan, uint32_t pool, uint32_t partition);

enum accept_kind {
	ACCEPT_NOTHING, /* it was never placed */
	ACCEPT_SAME,    /* as the store has it */
	ACCEPT_NEWER,   /* as targets have seen it later */
	ACCEPT_SILENT   /* no in-sync member has been heard: it waits for them, as it is known */
};
/* What the chain is from now on. Members that are not heard are offline if others can go on, as are
 * those that were being made equal. */
enum accept_kind accept_plan_result(const struct accept_plan *plan, uint32_t pool,
				    uint32_t partition, struct map_chain *out);

/* ---- for accept_decision.h ---- */

const struct cluster_map *accept_plan_map(const struct accept_plan *plan);
uint64_t accept_plan_chance(const struct accept_plan *plan);
/* So many acceptances there have been at least: the next one's line is a later one. */
void accept_plan_set_acceptances(struct accept_plan *plan, uint64_t acceptances);
/* The newest chain that is known, of a pool by its place in the map; epoch 0: none is. */
const struct map_chain *accept_plan_known(const struct accept_plan *plan, size_t pool_index,
					  uint32_t partition);
/* The first epoch of the line that this acceptance begins, where nothing older is known. */
uint64_t accept_plan_first_epoch(const struct accept_plan *plan);
#endif
