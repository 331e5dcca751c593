/* accept_plan.c - see accept_plan.h. */
#include "master/older_store/accept_plan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/state/chain_faults.h"
#include "master/state/chain_change.h"

struct told_chain {
	struct map_chain chain; /* the newest; epoch 0: none was told */
	uint64_t version;
	uint64_t highest;  /* epoch of all that were told */
	uint32_t *members; /* targets that have told it, being members of it */
	size_t member_count;
};

struct accept_plan {
	const struct cluster_map *map;
	uint64_t chance;
	struct told_chain **pools; /* as the map's, an array for each */
	uint32_t *heard;
	size_t heard_count;
	uint64_t acceptances; /* there have been at least, by the lives that were seen */
};

struct accept_plan *accept_plan_new(const struct cluster_map *map, uint64_t chance)
{
	struct accept_plan *plan = calloc(1, sizeof(*plan));

	if (plan == NULL)
		return NULL;
	plan->map = map;
	plan->chance = chance;
	plan->pools = calloc(map->pool_count + 1, sizeof(struct told_chain *));
	for (size_t i = 0; plan->pools != NULL && i < map->pool_count; i++) {
		plan->pools[i] = calloc(map->pools[i].partitions, sizeof(struct told_chain));
		if (plan->pools[i] == NULL)
			break;
		if (i + 1 == map->pool_count)
			return plan;
	}
	if (plan->pools != NULL && map->pool_count == 0)
		return plan;
	accept_plan_free(plan);
	return NULL;
}

static void free_pool(struct told_chain *pool, uint32_t partitions)
{
	for (uint32_t p = 0; pool != NULL && p < partitions; p++)
		free(pool[p].members);
	free(pool);
}

void accept_plan_free(struct accept_plan *plan)
{
	if (plan == NULL)
		return;
	for (size_t i = 0; plan->pools != NULL && i < plan->map->pool_count; i++)
		free_pool(plan->pools[i], plan->map->pools[i].partitions);
	free(plan->pools);
	free(plan->heard);
	free(plan);
}

static struct told_chain *told_of(const struct accept_plan *plan, uint32_t pool, uint32_t partition)
{
	for (size_t i = 0; i < plan->map->pool_count; i++)
		if (plan->map->pools[i].id == pool && partition < plan->map->pools[i].partitions)
			return &plan->pools[i][partition];
	return NULL;
}

uint32_t accept_plan_number(const struct accept_plan *plan, const char *uuid, uint32_t told)
{
	for (size_t i = 0; told == 0 && i < plan->map->target_count; i++)
		if (strcmp(plan->map->targets[i].uuid, uuid) == 0)
			return plan->map->targets[i].id;
	return told;
}

/* See the top of the header. */
static bool is_newer(uint64_t epoch, uint64_t version, uint64_t than, uint64_t than_version)
{
	if (epochs_of_one_line(epoch, than))
		return epoch > than || (epoch == than && version > than_version);
	if (epoch >> ACCEPT_COUNT_SHIFT != than >> ACCEPT_COUNT_SHIFT)
		return epoch > than;
	return version > than_version || (version == than_version && epoch > than);
}

static bool is_in(const uint32_t *ids, size_t count, uint32_t id)
{
	for (size_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Once. -ENOMEM. */
static int add_to(uint32_t **ids, size_t *count, uint32_t id)
{
	uint32_t *bigger;

	if (is_in(*ids, *count, id))
		return 0;
	bigger = realloc(*ids, (*count + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	*ids = bigger;
	bigger[(*count)++] = id;
	return 0;
}

int accept_plan_chain(struct accept_plan *plan, uint32_t target, uint32_t pool, uint32_t partition,
		      const struct map_chain *chain, uint64_t version)
{
	struct told_chain *told = told_of(plan, pool, partition);

	if (told == NULL || chain->epoch == 0 || !chain_shape_ok(chain) ||
	    chain->epoch >> ACCEPT_COUNT_SHIFT == UINT64_MAX >> ACCEPT_COUNT_SHIFT)
		return -EINVAL;
	if (chain->epoch > told->highest)
		told->highest = chain->epoch;
	/* Of one epoch there is one chain, but where two masters have gone on from one store: then
	 * the one that went further is believed. */
	if (told->chain.epoch == 0 ||
	    is_newer(chain->epoch, version, told->chain.epoch, told->version)) {
		told->chain = *chain;
		told->version = version;
	}
	if (cluster_map_chain_index(chain, target) < 0)
		return 0;
	return add_to(&told->members, &told->member_count, target);
}

int accept_plan_heard(struct accept_plan *plan, uint32_t target)
{
	return add_to(&plan->heard, &plan->heard_count, target);
}

static bool has_heard(const struct accept_plan *plan, uint32_t target)
{
	return is_in(plan->heard, plan->heard_count, target);
}

static bool is_same(const struct map_chain *a, const struct map_chain *b)
{
	if (a->epoch != b->epoch || a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++)
		if (a->members[i].target_id != b->members[i].target_id ||
		    a->members[i].state != b->members[i].state)
			return false;
	return true;
}

/* What is known of a chain. */
struct known {
	const struct map_chain *chain; /* the newest; epoch 0: none */
	const struct told_chain
		*told;            /* by whom, in numbers of whoever was master then; NULL: by the
				     store, in its own */
	uint64_t stored, highest; /* epochs */
};

static struct known known_of(const struct accept_plan *plan, size_t pool, uint32_t partition)
{
	const struct map_chain *stored = &plan->map->pools[pool].chains[partition];
	const struct told_chain *told = &plan->pools[pool][partition];
	struct known known = {.chain = stored, .stored = stored->epoch, .highest = stored->epoch};

	if (told->highest > known.highest)
		known.highest = told->highest;
	/* Of an equal epoch, the chain that some target has gone by. */
	if (told->chain.epoch == 0 || is_same(&told->chain, stored) ||
	    (told->chain.epoch != stored->epoch &&
	     !is_newer(told->chain.epoch, told->version, stored->epoch,
		       plan->map->version << MAP_CHANGE_BITS)))
		return known;
	known.chain = &told->chain;
	known.told = told;
	return known;
}

/* True when the target was heard, and is the one that is meant. */
static bool is_meant(const struct accept_plan *plan, const struct known *known, uint32_t target)
{
	return has_heard(plan, target) &&
	       (known->told == NULL ||
		is_in(known->told->members, known->told->member_count, target));
}

static bool goes_on(const struct accept_plan *plan, const struct known *known, uint32_t index)
{
	const struct chain_member *member = &known->chain->members[index];

	return member->state == MEMBER_IN_SYNC && is_meant(plan, known, member->target_id);
}

static bool somebody_goes_on(const struct accept_plan *plan, const struct known *known)
{
	for (uint32_t i = 0; i < known->chain->count; i++)
		if (goes_on(plan, known, i))
			return true;
	return false;
}

static void take_missing(uint32_t id, uint32_t after, uint32_t *missing)
{
	if (id > after && (*missing == 0 || id < *missing))
		*missing = id;
}

uint32_t accept_plan_missing(const struct accept_plan *plan, uint32_t after)
{
	uint32_t missing = 0;

	for (size_t i = 0; i < plan->map->target_count; i++)
		if (!has_heard(plan, plan->map->targets[i].id))
			take_missing(plan->map->targets[i].id, after, &missing);
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++) {
			struct known known = known_of(plan, i, p);
			bool alone = !somebody_goes_on(plan, &known);

			for (uint32_t m = 0; m < known.chain->count; m++) {
				const struct chain_member *member = &known.chain->members[m];

				if (!has_heard(plan, member->target_id) ||
				    (alone && member->state == MEMBER_IN_SYNC &&
				     !is_meant(plan, &known, member->target_id)))
					take_missing(member->target_id, after, &missing);
			}
		}
	}
	return missing;
}

size_t accept_plan_unknown(const struct accept_plan *plan)
{
	size_t unknown = 0;

	for (size_t i = 0; i < plan->map->pool_count; i++) {
		uint32_t partitions = plan->map->pools[i].partitions, known = 0;

		for (uint32_t p = 0; p < partitions; p++)
			known += known_of(plan, i, p).chain->epoch != 0 ? 1 : 0;
		unknown += known == 0 ? 0 : partitions - known;
	}
	return unknown;
}

/* What is known of the chain. False: there is no such partition. */
static bool find_known(const struct accept_plan *plan, uint32_t pool, uint32_t partition,
		       struct known *out)
{
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		if (plan->map->pools[i].id != pool || partition >= plan->map->pools[i].partitions)
			continue;
		*out = known_of(plan, i, partition);
		return true;
	}
	return false;
}

uint64_t accept_plan_epoch(const struct accept_plan *plan, uint32_t pool, uint32_t partition)
{
	struct known known;

	return find_known(plan, pool, partition, &known) ? known.chain->epoch : 0;
}

static uint64_t next_line(const struct accept_plan *plan, uint64_t highest)
{
	uint64_t count = highest >> ACCEPT_COUNT_SHIFT;

	if (MANAGER_FAULTY(ACCEPT_EPOCHS_SHORT))
		return highest + 1;
	if (count < plan->acceptances)
		count = plan->acceptances;
	return (count + 1) << ACCEPT_COUNT_SHIFT | (plan->chance >> ACCEPT_COUNT_SHIFT)
							   << EPOCH_LINE_SHIFT;
}

/* Lets a chain wait for its members: none goes on. The first that comes may not know all. A target
 * that is there, but is not the one that was meant, is none of them. */
static void wait_for_members(const struct accept_plan *plan, const struct known *known,
			     struct map_chain *out)
{
	for (uint32_t i = 0; i < known->chain->count; i++) {
		const struct chain_member *member = &known->chain->members[i];

		if (!has_heard(plan, member->target_id) || is_meant(plan, known, member->target_id))
			out->members[out->count++] = *member;
	}
}

enum accept_kind accept_plan_result(const struct accept_plan *plan, uint32_t pool,
				    uint32_t partition, struct map_chain *out)
{
	struct known known;

	memset(out, 0, sizeof(*out));
	if (!find_known(plan, pool, partition, &known) || known.chain->epoch == 0)
		return ACCEPT_NOTHING;
	out->epoch = next_line(plan, known.highest);
	if (!somebody_goes_on(plan, &known)) {
		wait_for_members(plan, &known, out);
		return ACCEPT_SILENT;
	}
	for (uint32_t i = 0; i < known.chain->count; i++)
		if (goes_on(plan, &known, i))
			out->members[out->count++] = known.chain->members[i];
	for (uint32_t i = 0; i < known.chain->count; i++)
		if (!goes_on(plan, &known, i))
			out->members[out->count++] = (struct chain_member){
				known.chain->members[i].target_id, MEMBER_OFFLINE};
	return known.told != NULL && known.chain->epoch != known.stored ? ACCEPT_NEWER
									: ACCEPT_SAME;
}

const struct cluster_map *accept_plan_map(const struct accept_plan *plan)
{
	return plan->map;
}

uint64_t accept_plan_chance(const struct accept_plan *plan)
{
	return plan->chance;
}

const struct map_chain *accept_plan_known(const struct accept_plan *plan, size_t pool_index,
					  uint32_t partition)
{
	return known_of(plan, pool_index, partition).chain;
}

void accept_plan_set_acceptances(struct accept_plan *plan, uint64_t acceptances)
{
	uint64_t most = (UINT64_MAX >> ACCEPT_COUNT_SHIFT) - 2;

	plan->acceptances = acceptances < most ? acceptances : most;
}

uint64_t accept_plan_first_epoch(const struct accept_plan *plan)
{
	return next_line(plan, 0);
}
