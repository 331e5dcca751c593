/* accept_plan.c - see accept_plan.h. */
#include "master/accept_plan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/chain_faults.h"
#include "master/chain_manager.h"

struct told {
	struct map_chain chain; /* epoch 0: nobody has told it */
	uint64_t version;
};

struct heard_target {
	uint32_t id;
	bool told; /* chains that it knows */
};

struct accept_plan {
	const struct cluster_map *map;
	uint64_t chance;
	struct told **pools; /* as the map's, an array for each */
	struct heard_target *heard;
	size_t heard_count;
};

struct accept_plan *accept_plan_new(const struct cluster_map *map, uint64_t chance)
{
	struct accept_plan *plan = calloc(1, sizeof(*plan));

	if (plan == NULL)
		return NULL;
	plan->map = map;
	plan->chance = chance;
	plan->pools = calloc(map->pool_count + 1, sizeof(struct told *));
	for (size_t i = 0; plan->pools != NULL && i < map->pool_count; i++) {
		plan->pools[i] = calloc(map->pools[i].partitions, sizeof(struct told));
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

void accept_plan_free(struct accept_plan *plan)
{
	if (plan == NULL)
		return;
	for (size_t i = 0; plan->pools != NULL && i < plan->map->pool_count; i++)
		free(plan->pools[i]);
	free(plan->pools);
	free(plan->heard);
	free(plan);
}

static struct told *told_of(const struct accept_plan *plan, uint32_t pool, uint32_t partition)
{
	for (size_t i = 0; i < plan->map->pool_count; i++)
		if (plan->map->pools[i].id == pool && partition < plan->map->pools[i].partitions)
			return &plan->pools[i][partition];
	return NULL;
}

int accept_plan_chain(struct accept_plan *plan, uint32_t pool, uint32_t partition,
		      const struct map_chain *chain, uint64_t version)
{
	struct told *told = told_of(plan, pool, partition);

	if (told == NULL || chain->epoch == 0 || chain->count == 0 ||
	    chain->members[0].state != MEMBER_IN_SYNC)
		return -EINVAL;
	/* Of one epoch there is one chain, but where two masters have gone on from one store: then
	 * the one that went further is believed. */
	if (chain->epoch > told->chain.epoch ||
	    (chain->epoch == told->chain.epoch && version > told->version)) {
		told->chain = *chain;
		told->version = version;
	}
	return 0;
}

static struct heard_target *find_heard(const struct accept_plan *plan, uint32_t target)
{
	for (size_t i = 0; i < plan->heard_count; i++)
		if (plan->heard[i].id == target)
			return &plan->heard[i];
	return NULL;
}

int accept_plan_heard(struct accept_plan *plan, uint32_t target, bool told)
{
	struct heard_target *bigger, *known = find_heard(plan, target);

	if (known != NULL) {
		known->told = known->told || told;
		return 0;
	}
	bigger = realloc(plan->heard, (plan->heard_count + 1) * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	plan->heard = bigger;
	plan->heard[plan->heard_count++] = (struct heard_target){.id = target, .told = told};
	return 0;
}

bool accept_plan_has_heard(const struct accept_plan *plan, uint32_t target)
{
	return find_heard(plan, target) != NULL;
}

/* The newest that is known. */
static const struct map_chain *newest(const struct accept_plan *plan, size_t pool,
				      uint32_t partition)
{
	const struct map_chain *stored = &plan->map->pools[pool].chains[partition];
	const struct map_chain *told = &plan->pools[pool][partition].chain;

	/* Of an equal epoch that which somebody has gone by. */
	return told->epoch != 0 && told->epoch >= stored->epoch ? told : stored;
}

uint32_t accept_plan_missing(const struct accept_plan *plan, uint32_t after)
{
	uint32_t missing = 0;

#define LOOK_AT(id)                                                                                \
	do {                                                                                       \
		if ((id) > after && (missing == 0 || (id) < missing) &&                            \
		    !accept_plan_has_heard(plan, (id)))                                            \
			missing = (id);                                                            \
	} while (0)
	for (size_t i = 0; i < plan->map->target_count; i++)
		LOOK_AT(plan->map->targets[i].id);
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++) {
			const struct map_chain *chain = newest(plan, i, p);

			for (uint32_t m = 0; m < chain->count; m++)
				LOOK_AT(chain->members[m].target_id);
		}
	}
#undef LOOK_AT
	return missing;
}

size_t accept_plan_unknown(const struct accept_plan *plan)
{
	size_t unknown = 0;

	for (size_t i = 0; i < plan->map->pool_count; i++) {
		uint32_t partitions = plan->map->pools[i].partitions, known = 0;

		for (uint32_t p = 0; p < partitions; p++)
			known += newest(plan, i, p)->epoch != 0 ? 1 : 0;
		unknown += known == 0 ? 0 : partitions - known;
	}
	return unknown;
}

/* : the chain is one that was told, in numbers of whoever was master then. */
static bool goes_on(const struct accept_plan *plan, const struct chain_member *member, bool by_told)
{
	const struct heard_target *heard = find_heard(plan, member->target_id);

	return member->state == MEMBER_IN_SYNC && heard != NULL && (heard->told || !by_told);
}

static uint64_t jumped(const struct accept_plan *plan, uint64_t epoch)
{
	return epoch +
	       (MANAGER_FAULTY(ACCEPT_EPOCHS_SHORT) ? 1 : ACCEPT_EPOCHS + (plan->chance >> 32));
}

enum accept_kind accept_plan_result(const struct accept_plan *plan, uint32_t pool,
				    uint32_t partition, struct map_chain *out)
{
	const struct map_chain *stored = cluster_map_chain(plan->map, pool, partition), *best;
	const struct told *told = told_of(plan, pool, partition);
	enum accept_kind kind;
	bool by_told;

	memset(out, 0, sizeof(*out));
	if (stored == NULL || told == NULL)
		return ACCEPT_NOTHING;
	by_told = told->chain.epoch != 0 && told->chain.epoch >= stored->epoch;
	best = by_told ? &told->chain : stored;
	if (best->epoch == 0)
		return ACCEPT_NOTHING;
	kind = best->epoch > stored->epoch ? ACCEPT_NEWER : ACCEPT_SAME;
	for (uint32_t i = 0; i < best->count; i++)
		if (goes_on(plan, &best->members[i], by_told))
			out->members[out->count++] = best->members[i];
	if (out->count == 0) {
		/* Whoever of them comes first may not be the one that knows all. */
		*out = *best;
		kind = ACCEPT_SILENT;
	} else {
		for (uint32_t i = 0; i < best->count; i++)
			if (!goes_on(plan, &best->members[i], by_told))
				out->members[out->count++] = (struct chain_member){
					best->members[i].target_id, MEMBER_OFFLINE};
	}
	out->epoch = jumped(plan, best->epoch);
	return kind;
}

/* ---- the whole ---- */

const char *accept_clashes(const struct accept_plan *plan, const struct accept_target *targets,
			   size_t count, size_t which)
{
	const struct accept_target *target = &targets[which];
	const struct cluster_map *map = plan->map;
	const struct map_target *stored;

	if (target->id == 0)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (i != which && targets[i].id == target->id)
			return targets[i].uuid;
	stored = cluster_map_target(map, target->id);
	if (stored != NULL)
		return strcmp(stored->uuid, target->uuid) == 0 ? NULL : stored->uuid;
	/* Free, but it is known by another number. */
	for (size_t i = 0; i < map->target_count; i++)
		if (strcmp(map->targets[i].uuid, target->uuid) == 0)
			return map->targets[i].uuid;
	return NULL;
}

static bool is_known(const struct accept_plan *plan, const struct accept_target *targets,
		     size_t count, uint32_t target)
{
	if (cluster_map_target(plan->map, target) != NULL)
		return true;
	for (size_t i = 0; i < count; i++)
		if (targets[i].heard && targets[i].id == target)
			return true;
	return false;
}

/* Who was never heard of by its name cannot be in a chain. */
static void drop_unknown(const struct accept_plan *plan, const struct accept_target *targets,
			 size_t count, struct map_chain *chain)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < chain->count; i++)
		if (is_known(plan, targets, count, chain->members[i].target_id))
			chain->members[kept++] = chain->members[i];
	chain->count = kept;
}

static void decide_chain(const struct accept_plan *plan, const struct accept_target *targets,
			 size_t count, size_t pool_index, uint32_t partition,
			 struct accept_decision *out)
{
	const struct map_pool *pool = &plan->map->pools[pool_index];
	const struct map_chain *stored = &pool->chains[partition];
	struct chain_change *change = &out->chains[out->accept.chain_count];
	enum accept_kind kind = accept_plan_result(plan, pool->id, partition, &change->chain);

	if (kind == ACCEPT_NOTHING)
		return;
	drop_unknown(plan, targets, count, &change->chain);
	if (change->chain.count == 0 || change->chain.members[0].state != MEMBER_IN_SYNC) {
		uint64_t epoch = change->chain.epoch;

		if (stored->epoch == 0)
			return;
		kind = ACCEPT_SILENT;
		change->chain = *stored;
		change->chain.epoch = epoch;
	}
	change->pool = pool->id;
	change->partition = partition;
	out->newer += kind == ACCEPT_NEWER ? 1 : 0;
	out->silent += kind == ACCEPT_SILENT ? 1 : 0;
	out->accept.chain_count++;
}

/* What the store is to say of the target's life. A process that has gone by a map of the last
 * master was settled by that one, and has forgotten nothing since. Of any other it is not known
 * what the chains reflect: it counts as begun anew, by a life that is none of its own; but an old
 * copy of the disk has to be known as such. */
static uint64_t life_of(const struct state *state, const struct accept_target *from)
{
	uint64_t stored = state_target_life(state, from->uuid);

	if (MANAGER_FAULTY(ACCEPT_LIVES_OLD))
		return stored;
	if (from->settled)
		return from->life;
	if ((uint32_t)from->life == 0 || chain_life_is_old(from->life, stored))
		return stored;
	return ACCEPT_LIFE_UNKNOWN | ((uint32_t)from->life - 1);
}

/* The next target, in turns, that goes on; 0: none does. */
static uint32_t next_heard(const struct accept_target *targets, size_t count, size_t *turn)
{
	for (size_t tried = 0; tried < count; tried++) {
		const struct accept_target *target = &targets[(*turn)++ % count];

		if (target->heard && target->id != 0 && target->server.id != 0)
			return target->id;
	}
	return 0;
}

/* The chains of a pool are all placed at once. Of which nothing is known though others are (from
 *  on), those begin empty: each at one target, and the master adds the others. They cannot be
 * left to be placed like a new pool's, since whoever comes later has gone by epochs of theirs. */
static void begin_unknown(const struct accept_plan *plan, const struct accept_target *targets,
			  size_t count, size_t pool_index, size_t first,
			  struct accept_decision *out)
{
	const struct map_pool *pool = &plan->map->pools[pool_index];
	size_t at = first, known = out->accept.chain_count, turn = 0;
	uint64_t epoch = 0;

	for (uint32_t p = 0; p < pool->partitions; p++) {
		struct map_chain chain;

		if (accept_plan_result(plan, pool->id, p, &chain) != ACCEPT_NOTHING &&
		    chain.epoch > epoch)
			epoch = chain.epoch;
	}
	for (uint32_t p = 0; epoch != 0 && p < pool->partitions; p++) {
		struct chain_change *change = &out->chains[out->accept.chain_count];
		uint32_t target;

		if (at < known && out->chains[at].partition == p) {
			at++;
			continue;
		}
		target = next_heard(targets, count, &turn);
		if (target == 0)
			return;
		*change = (struct chain_change){
			.pool = pool->id,
			.partition = p,
			.chain = {.epoch = epoch,
				  .count = 1,
				  .members = {{.target_id = target, .state = MEMBER_IN_SYNC}}}};
		out->unknown++;
		out->accept.chain_count++;
	}
}

static void decide_target(const struct accept_plan *plan, const struct state *state,
			  const struct accept_target *from, struct accept_decision *out)
{
	struct state_accepted_target *to = &out->targets[out->accept.target_count];
	struct state_accept *accept = &out->accept;

	out->older |= state_check_seen(state, &from->seen) != STATE_SEEN_FINE;
	if (from->seen.life > accept->seen_life)
		accept->seen_life = from->seen.life;
	if (from->seen.version > accept->seen_version)
		accept->seen_version = from->seen.version;
	if (from->id > accept->seen_target)
		accept->seen_target = from->id;
	if (from->server.id > accept->seen_server)
		accept->seen_server = from->server.id;
	if (!from->heard || from->id == 0 || from->server.id == 0)
		return;
	if (cluster_map_target(plan->map, from->id) != NULL) {
		out->lives[accept->life_count++] =
			(struct chain_life){.target = from->id, .life = life_of(state, from)};
		return;
	}
	to->id = from->id;
	to->life = life_of(state, from);
	memcpy(to->uuid, from->uuid, sizeof(to->uuid));
	to->server = from->server;
	accept->target_count++;
}

int accept_decide(const struct accept_plan *plan, struct state *state,
		  const struct accept_target *targets, size_t count, struct accept_decision *out)
{
	size_t chains = 1;

	memset(out, 0, sizeof(*out));
	out->accept.chance = plan->chance;
	for (size_t i = 0; i < plan->map->pool_count; i++)
		chains += plan->map->pools[i].partitions;
	out->chains = calloc(chains, sizeof(*out->chains));
	out->targets = calloc(count + 1, sizeof(*out->targets));
	out->lives = calloc(count + 1, sizeof(*out->lives));
	if (out->chains == NULL || out->targets == NULL || out->lives == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		decide_target(plan, state, &targets[i], out);
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		size_t before = out->accept.chain_count;

		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++)
			decide_chain(plan, targets, count, i, p, out);
		begin_unknown(plan, targets, count, i, before, out);
	}
	out->accept.chains = out->chains;
	out->accept.targets = out->targets;
	out->accept.lives = out->lives;
	return 0;
}

void accept_decision_free(struct accept_decision *decision)
{
	free(decision->chains);
	free(decision->targets);
	free(decision->lives);
}
