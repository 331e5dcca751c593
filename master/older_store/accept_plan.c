/* accept_plan.c - see accept_plan.h. */
#include "master/older_store/accept_plan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/state/chain_faults.h"
#include "master/state/chain_change.h"

struct told {
	struct map_chain chain; /* the newest; epoch 0: nobody has told it */
	uint64_t version;
	uint64_t highest;  /* epoch of all that were told */
	uint32_t *members; /* who have told it as members of it */
	size_t member_count;
};

struct accept_plan {
	const struct cluster_map *map;
	uint64_t chance;
	struct told **pools; /* as the map's, an array for each */
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

static void free_pool(struct told *pool, uint32_t partitions)
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

static struct told *told_of(const struct accept_plan *plan, uint32_t pool, uint32_t partition)
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
	if (epoch >> ACCEPT_LINE_SHIFT == than >> ACCEPT_LINE_SHIFT)
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
	struct told *told = told_of(plan, pool, partition);

	if (told == NULL || chain->epoch == 0 || chain->count == 0 ||
	    chain->members[0].state != MEMBER_IN_SYNC ||
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

bool accept_plan_has_heard(const struct accept_plan *plan, uint32_t target)
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
	const struct told *told;  /* by whom, in numbers of whoever was master then; NULL: by the
				     store, in its own */
	uint64_t stored, highest; /* epochs */
};

static struct known known_of(const struct accept_plan *plan, size_t pool, uint32_t partition)
{
	const struct map_chain *stored = &plan->map->pools[pool].chains[partition];
	const struct told *told = &plan->pools[pool][partition];
	struct known known = {.chain = stored, .stored = stored->epoch, .highest = stored->epoch};

	if (told->highest > known.highest)
		known.highest = told->highest;
	/* Of an equal epoch that which somebody has gone by. */
	if (told->chain.epoch == 0 || is_same(&told->chain, stored) ||
	    (told->chain.epoch != stored->epoch &&
	     !is_newer(told->chain.epoch, told->version, stored->epoch,
		       plan->map->version << MAP_CHANGE_BITS)))
		return known;
	known.chain = &told->chain;
	known.told = told;
	return known;
}

/* Is it there, and the one that is meant? */
static bool is_meant(const struct accept_plan *plan, const struct known *known, uint32_t target)
{
	return accept_plan_has_heard(plan, target) &&
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
		if (!accept_plan_has_heard(plan, plan->map->targets[i].id))
			take_missing(plan->map->targets[i].id, after, &missing);
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++) {
			struct known known = known_of(plan, i, p);
			bool alone = !somebody_goes_on(plan, &known);

			for (uint32_t m = 0; m < known.chain->count; m++) {
				const struct chain_member *member = &known.chain->members[m];

				if (!accept_plan_has_heard(plan, member->target_id) ||
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
							   << ACCEPT_LINE_SHIFT;
}

/* Nobody goes on. Whoever of them comes first may not be the one that knows all; who is there, and
 * is not who was meant, is none of them. */
static void wait_for_members(const struct accept_plan *plan, const struct known *known,
			     struct map_chain *out)
{
	for (uint32_t i = 0; i < known->chain->count; i++) {
		const struct chain_member *member = &known->chain->members[i];

		if (!accept_plan_has_heard(plan, member->target_id) ||
		    is_meant(plan, known, member->target_id))
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

/* The chains of a pool are all placed at once. Chains of which nothing is known, though others of
 * the pool are (in @out from @first on), begin empty: each at one target, and the master adds the
 * others. The same holds for all of them when none is known and a target is missing that may know
 * them. They cannot be placed like a new pool's: a target that comes later has gone by epochs of
 * theirs. */
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
	if (epoch == 0 && accept_plan_missing(plan, 0) != 0)
		epoch = next_line(plan, 0);
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

/* Masters on several copies give numbers to servers, too; by name one is known for certain. */
static uint64_t server_id_of(const struct accept_plan *plan, const struct map_server *server,
			     struct accept_decision *out)
{
	struct state_accept *accept = &out->accept;
	bool taken = cluster_map_server(plan->map, server->id) != NULL;

	for (size_t i = 0; i < plan->map->server_count; i++)
		if (strcmp(plan->map->servers[i].name, server->name) == 0)
			return plan->map->servers[i].id;
	for (size_t i = 0; i < accept->target_count; i++) {
		if (strcmp(out->targets[i].server.name, server->name) == 0)
			return out->targets[i].server.id;
		taken = taken || out->targets[i].server.id == server->id;
	}
	return taken ? ++accept->seen_server : server->id;
}

/* No number comes again that anybody has been given, as far as is known. */
static void see_numbers(const struct accept_plan *plan, const struct accept_target *targets,
			size_t count, struct state_accept *accept)
{
	for (size_t i = 0; i < plan->map->server_count; i++)
		if (plan->map->servers[i].id > accept->seen_server)
			accept->seen_server = plan->map->servers[i].id;
	for (size_t i = 0; i < count; i++) {
		if (targets[i].id > accept->seen_target)
			accept->seen_target = targets[i].id;
		if (targets[i].server.id > accept->seen_server)
			accept->seen_server = targets[i].server.id;
	}
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++) {
			const struct map_chain *chain = known_of(plan, i, p).chain;

			for (uint32_t m = 0; m < chain->count; m++)
				if (chain->members[m].target_id > accept->seen_target)
					accept->seen_target = chain->members[m].target_id;
		}
	}
}

static int decide_target(const struct accept_plan *plan, const struct state *state,
			 const struct accept_target *from, struct accept_decision *out)
{
	struct state_accepted_target *to = &out->targets[out->accept.target_count];
	struct state_accept *accept = &out->accept;
	enum state_seen_verdict verdict;
	int rc = state_check_seen(state, from->uuid, &from->seen, &verdict);

	if (rc != 0)
		return rc;
	out->older |= verdict != STATE_SEEN_FINE;
	if (from->seen.life > accept->seen_life)
		accept->seen_life = from->seen.life;
	if (from->seen.version > accept->seen_version)
		accept->seen_version = from->seen.version;
	if (from->heard && from->seen.life != 0) {
		struct state_accept_seen *seen = &out->seen[accept->seen_count++];

		memcpy(seen->uuid, from->uuid, sizeof(seen->uuid));
		seen->seen = from->seen;
	}
	if (!from->heard || from->id == 0 || from->server.id == 0)
		return 0;
	if (cluster_map_target(plan->map, from->id) != NULL) {
		out->lives[accept->life_count++] =
			(struct chain_life){.target = from->id, .life = life_of(state, from)};
		return 0;
	}
	to->id = from->id;
	to->life = life_of(state, from);
	memcpy(to->uuid, from->uuid, sizeof(to->uuid));
	to->server = from->server;
	to->server.id = server_id_of(plan, &from->server, out);
	accept->target_count++;
	return 0;
}

/* Each acceptance makes lives jump. A target may have begun one of an accepted store without having
 * gone by a chain of it: whoever else has is not heard now, and its chains are to be older. */
static void see_acceptances(struct accept_plan *plan, const struct state *state,
			    const struct accept_target *targets, size_t count)
{
	uint64_t most = (UINT64_MAX >> ACCEPT_COUNT_SHIFT) - 2;
	struct state_life last;

	state_life(state, &last);
	for (size_t i = 0; i < count; i++)
		if (targets[i].seen.life > last.number)
			last.number = targets[i].seen.life;
	plan->acceptances = last.number / ACCEPT_LIFE_GAP;
	if (plan->acceptances > most)
		plan->acceptances = most;
}

int accept_decide(struct accept_plan *plan, struct state *state,
		  const struct accept_target *targets, size_t count, struct accept_decision *out)
{
	size_t chains = 1;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->accept.chance = plan->chance;
	for (size_t i = 0; i < plan->map->pool_count; i++)
		chains += plan->map->pools[i].partitions;
	out->chains = calloc(chains, sizeof(*out->chains));
	out->targets = calloc(count + 1, sizeof(*out->targets));
	out->lives = calloc(count + 1, sizeof(*out->lives));
	out->seen = calloc(count + 1, sizeof(*out->seen));
	if (out->chains == NULL || out->targets == NULL || out->lives == NULL || out->seen == NULL)
		return -ENOMEM;
	see_acceptances(plan, state, targets, count);
	see_numbers(plan, targets, count, &out->accept);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = decide_target(plan, state, &targets[i], out);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < plan->map->pool_count; i++) {
		size_t before = out->accept.chain_count;

		for (uint32_t p = 0; p < plan->map->pools[i].partitions; p++)
			decide_chain(plan, targets, count, i, p, out);
		begin_unknown(plan, targets, count, i, before, out);
	}
	out->accept.chains = out->chains;
	out->accept.targets = out->targets;
	out->accept.lives = out->lives;
	out->accept.seen = out->seen;
	return 0;
}

void accept_decision_free(struct accept_decision *decision)
{
	free(decision->chains);
	free(decision->targets);
	free(decision->lives);
	free(decision->seen);
}
