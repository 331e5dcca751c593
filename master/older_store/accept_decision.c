/* accept_decision.c - see accept_decision.h. */
#include "master/older_store/accept_decision.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "master/state/chain_change.h"
#include "master/state/chain_faults.h"

const char *accept_decision_clash(const struct accept_plan *plan,
				  const struct accept_target *targets, size_t count, size_t which)
{
	const struct accept_target *target = &targets[which];
	const struct cluster_map *map = accept_plan_map(plan);
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
	if (cluster_map_target(accept_plan_map(plan), target) != NULL)
		return true;
	for (size_t i = 0; i < count; i++)
		if (targets[i].heard && targets[i].id == target)
			return true;
	return false;
}

/* Drops members that are known by number only: neither the store nor a registration names them. */
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
	const struct map_pool *pool = &accept_plan_map(plan)->pools[pool_index];
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

/* Gives the life that the store is to have of the target. A process that has gone by a map of the
 * last master was settled by that one, and has forgotten nothing since. Of any other it is not
 * known what the chains reflect. So it counts as begun anew, by a life that is none of its own; but
 * an old copy of the disk stays known as such. */
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

/* Gives the next target, in turns, that goes on; 0: none does. */
static uint32_t next_heard(const struct accept_target *targets, size_t count, size_t *turn)
{
	for (size_t tried = 0; tried < count; tried++) {
		const struct accept_target *target = &targets[(*turn)++ % count];

		if (target->heard && target->id != 0 && target->server.id != 0)
			return target->id;
	}
	return 0;
}

/* Lets chains begin empty of which nothing is known, though others of the pool are (in @out from
 * @first on): the chains of a pool are all placed at once. Each begins at one target, and the
 * master adds more. If no chain is known, and a missing target may know some, that holds for all of
 * them. They cannot be placed like a new pool's: a target that comes later has gone by their
 * epochs. */
static void begin_unknown(const struct accept_plan *plan, const struct accept_target *targets,
			  size_t count, size_t pool_index, size_t first,
			  struct accept_decision *out)
{
	const struct map_pool *pool = &accept_plan_map(plan)->pools[pool_index];
	size_t at = first, known = out->accept.chain_count, turn = 0;
	uint64_t epoch = 0;

	for (uint32_t p = 0; p < pool->partitions; p++) {
		struct map_chain chain;

		if (accept_plan_result(plan, pool->id, p, &chain) != ACCEPT_NOTHING &&
		    chain.epoch > epoch)
			epoch = chain.epoch;
	}
	if (epoch == 0 && accept_plan_missing(plan, 0) != 0)
		epoch = accept_plan_first_epoch(plan);
	for (uint32_t p = 0; epoch != 0 && p < pool->partitions; p++) {
		struct chain_change *change = &out->chains[out->accept.chain_count];
		uint32_t target;

		if (at < known && out->chains[at].partition == p) {
			at++;
			continue;
		}
		target = next_heard(targets, count, &turn);
		if (target == 0) {
			/* Those of the others would be placed, and these never. */
			out->stranded++;
			continue;
		}
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

/* Gives the id of a server. Masters on several copies give ids, too; the name alone is certain. */
static uint64_t server_id_of(const struct accept_plan *plan, const struct map_server *server,
			     struct accept_decision *out)
{
	struct state_accept *accept = &out->accept;
	bool taken = cluster_map_server(accept_plan_map(plan), server->id) != NULL;

	for (size_t i = 0; i < accept_plan_map(plan)->server_count; i++)
		if (strcmp(accept_plan_map(plan)->servers[i].name, server->name) == 0)
			return accept_plan_map(plan)->servers[i].id;
	for (size_t i = 0; i < accept->target_count; i++) {
		if (strcmp(out->targets[i].server.name, server->name) == 0)
			return out->targets[i].server.id;
		taken = taken || out->targets[i].server.id == server->id;
	}
	return taken ? ++accept->seen_server : server->id;
}

/* Notes the highest numbers that are known to have been given, so that none comes again. */
static void see_numbers(const struct accept_plan *plan, const struct accept_target *targets,
			size_t count, struct state_accept *accept)
{
	for (size_t i = 0; i < accept_plan_map(plan)->server_count; i++)
		if (accept_plan_map(plan)->servers[i].id > accept->seen_server)
			accept->seen_server = accept_plan_map(plan)->servers[i].id;
	for (size_t i = 0; i < count; i++) {
		if (targets[i].id > accept->seen_target)
			accept->seen_target = targets[i].id;
		if (targets[i].server.id > accept->seen_server)
			accept->seen_server = targets[i].server.id;
	}
	for (size_t i = 0; i < accept_plan_map(plan)->pool_count; i++) {
		for (uint32_t p = 0; p < accept_plan_map(plan)->pools[i].partitions; p++) {
			const struct map_chain *chain = accept_plan_known(plan, i, p);

			for (uint32_t m = 0; m < chain->count; m++)
				if (chain->members[m].target_id > accept->seen_target)
					accept->seen_target = chain->members[m].target_id;
		}
	}
}

static int decide_target(const struct accept_plan *plan, struct state *state,
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
	if (cluster_map_target(accept_plan_map(plan), from->id) != NULL) {
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

/* Notes how many acceptances there have been, by the lives that were seen: each makes them jump. A
 * target may know a life of an accepted store, and no chain of it. Targets that know such a chain
 * may not be heard now; their chains are to be older than what this acceptance makes. */
static void see_acceptances(struct accept_plan *plan, const struct state *state,
			    const struct accept_target *targets, size_t count)
{
	struct state_life last;

	state_life(state, &last);
	for (size_t i = 0; i < count; i++)
		if (targets[i].seen.life > last.number)
			last.number = targets[i].seen.life;
	accept_plan_set_acceptances(plan, last.number / ACCEPT_LIFE_GAP);
}

int accept_decision_make(struct accept_plan *plan, struct state *state,
			 const struct accept_target *targets, size_t count,
			 struct accept_decision *out)
{
	size_t chains = 1;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->accept.chance = accept_plan_chance(plan);
	for (size_t i = 0; i < accept_plan_map(plan)->pool_count; i++)
		chains += accept_plan_map(plan)->pools[i].partitions;
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
	for (size_t i = 0; i < accept_plan_map(plan)->pool_count; i++) {
		size_t before = out->accept.chain_count;

		for (uint32_t p = 0; p < accept_plan_map(plan)->pools[i].partitions; p++)
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
