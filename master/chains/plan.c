/* plan.c - makes a plan from all that is known; see manager.h.
 *
 *   1. A survey says of each target what is known now, and each chain gets its case.
 *   2. Lives that some chain cannot settle now are blocked, in all chains of the target.
 *   3. Of each pool: the rules change chains; heads that clients cannot reach move; chains that the
 *      rules leave alone are repaired. If nothing had to change, balance and heads are improved.
 *   4. The lives that the changed chains reflect are settled by the same plan.
 * Out of memory anywhere: there is no plan, and the next tick makes one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/duration.h"
#include "master/chains/manager_internal.h"
#include "master/chains/placement.h"

#define HEADS_EVERY_NS (300 * NS_PER_MSEC)
/* A member that has caught up can wait a moment, and each map is work for everybody. */
#define PROMOTE_EVERY_NS (100 * NS_PER_MSEC)
#define BALANCE_EVERY_NS (100 * NS_PER_MSEC)
#define BALANCE_IDLE_NS  NS_PER_SEC /* when there was nothing to move */
#define BALANCE_LOOK_MAX 2000000u   /* bounds the work of one plan */
#define ROTATE_EVERY_NS  (10 * NS_PER_SEC)

/* ---- the plan: room ---- */

/* One more place at the end of an array; false: out of memory. */
static bool more_room(void **array, size_t count, size_t *room, size_t item)
{
	size_t wanted = *room == 0 ? 64 : *room * 2;
	void *bigger;

	if (count < *room)
		return true;
	bigger = realloc(*array, wanted * item);
	if (bigger == NULL)
		return false;
	*array = bigger;
	*room = wanted;
	return true;
}

static bool add_change(struct chain_manager *manager, uint32_t pool, uint32_t partition,
		       const struct map_chain *chain)
{
	struct chain_plan *plan = &manager->plan;

	if (!more_room((void **)&plan->changes, plan->change_count, &manager->change_room,
		       sizeof(*plan->changes)))
		return false;
	plan->changes[plan->change_count++] =
		(struct chain_change){.pool = pool, .partition = partition, .chain = *chain};
	return true;
}

static bool add_life(struct chain_manager *manager, uint32_t target, uint64_t life)
{
	struct chain_plan *plan = &manager->plan;

	if (!more_room((void **)&plan->lives, plan->life_count, &manager->life_room,
		       sizeof(*plan->lives)))
		return false;
	plan->lives[plan->life_count++] = (struct chain_life){.target = target, .life = life};
	return true;
}

static bool add_fenced(struct chain_manager *manager, uint64_t server)
{
	struct chain_plan *plan = &manager->plan;

	for (size_t i = 0; i < plan->fenced_count; i++)
		if (plan->fenced[i] == server)
			return true;
	if (!more_room((void **)&plan->fenced, plan->fenced_count, &manager->fenced_room,
		       sizeof(*plan->fenced)))
		return false;
	plan->fenced[plan->fenced_count++] = server;
	return true;
}

static int remember_pools(struct chain_manager *manager, const struct cluster_map *map)
{
	for (size_t i = 0; i < map->pool_count; i++) {
		struct pool_memory *pool;

		if (chain_manager_memory(manager, map->pools[i].id, 0) != NULL)
			continue;
		pool = calloc(1, sizeof(*pool));
		if (pool == NULL)
			return -ENOMEM;
		pool->chains = calloc(map->pools[i].partitions, sizeof(*pool->chains));
		if (pool->chains == NULL) {
			free(pool);
			return -ENOMEM;
		}
		pool->id = map->pools[i].id;
		pool->partitions = map->pools[i].partitions;
		pool->next = manager->pools;
		manager->pools = pool;
	}
	return 0;
}

/* ---- the plan: chains ---- */

/* What one plan is made with. */
struct planning {
	struct chain_manager *manager;
	struct survey survey;
	struct chain_case **cases; /* by pool: one for each chain */
};

/* Puts a change into the plan. A server that loses a place is not renewed, and is fenced if it may
 * serve. */
static bool change(struct planning *p, struct chain_case *in, uint32_t partition,
		   const struct map_chain *next)
{
	for (uint32_t i = 0; i < in->chain->count; i++) {
		uint32_t target = in->chain->members[i].target_id;
		const struct survey_target *t = survey_of(&p->survey, target);
		int at = cluster_map_chain_index(next, target);
		struct live_server *server;

		if (in->chain->members[i].state != MEMBER_IN_SYNC ||
		    (at >= 0 && next->members[at].state == MEMBER_IN_SYNC))
			continue;
		server = liveness_server(&p->manager->live, t->server);
		if (server != NULL)
			server->withheld = true;
		/* One that leaves, or has damage, serves until it knows; one that has failed may
		 * serve again before the others have heard that it is out. */
		if (server != NULL && !MANAGER_FAULTY(NO_FENCE) &&
		    ((server->leaving && server->connected) || t->presence == PRESENT_HERE ||
		     t->presence == PRESENT_QUIET || t->presence == PRESENT_FAILED) &&
		    !add_fenced(p->manager, t->server))
			return false;
	}
	expects(next->members[0].state == MEMBER_IN_SYNC);
	expects(chain_edit_count(next, MEMBER_SYNCING) <= 1);
	expects(next->epoch == in->chain->epoch + 1);
	expects(in->change == 0); /* no chain changes twice in one plan */
	in->change = p->manager->plan.change_count + 1;
	return add_change(p->manager, in->pool->id, partition, next);
}

static int make_cases(struct planning *p)
{
	const struct cluster_map *map = p->survey.map;

	p->cases = calloc(map->pool_count + 1, sizeof(struct chain_case *));
	if (p->cases == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < map->pool_count; i++) {
		const struct map_pool *pool = &map->pools[i];

		p->cases[i] = calloc(pool->partitions, sizeof(struct chain_case));
		if (p->cases[i] == NULL)
			return -ENOMEM;
		for (uint32_t n = 0; n < pool->partitions; n++) {
			p->cases[i][n] = (struct chain_case){
				.survey = &p->survey,
				.pool = pool,
				.chain = &pool->chains[n],
				.memory = chain_manager_memory(p->manager, pool->id, n),
				.complaints = &p->manager->complaints,
				.promoting = p->survey.now_ns >= p->manager->promote_ns,
			};
			chain_rules_look(&p->cases[i][n], p->manager->options.return_ns);
		}
	}
	return 0;
}

/* A life is settled in all chains of its target, or in none: what is stored must not be ahead of
 * the chains. So one chain that must wait can make others wait. */
static void block_lives(struct planning *p)
{
	bool news = true;

	while (news) {
		news = false;
		for (size_t i = 0; i < p->survey.map->pool_count; i++)
			for (uint32_t n = 0; n < p->survey.map->pools[i].partitions; n++)
				news |= chain_rules_block(&p->cases[i][n]);
	}
}

static bool stays_in_sync(const struct planning *p, uint32_t target)
{
	for (size_t i = 0; i < p->survey.map->pool_count; i++) {
		for (uint32_t n = 0; n < p->survey.map->pools[i].partitions; n++) {
			const struct chain_case *in = &p->cases[i][n];
			const struct map_chain *chain =
				in->change == 0 ? in->chain
						: &p->manager->plan.changes[in->change - 1].chain;
			int at = cluster_map_chain_index(chain, target);

			if (at >= 0 && chain->members[at].state == MEMBER_IN_SYNC)
				return true;
		}
	}
	return false;
}

/* True when this plan has decided, for all chains of the target, what follows from its life. While
 * a target is on its way out (quiet now), or its disk does not work, that is so only if nothing can
 * follow. */
static bool is_decided(const struct planning *p, const struct survey_target *t)
{
	switch (t->presence) {
	case PRESENT_HERE:
	case PRESENT_RESTARTED:
	case PRESENT_OLD:
		return !t->blocked;
	case PRESENT_FAILED:
		return !stays_in_sync(p, t->map->id);
	case PRESENT_QUIET:
	case PRESENT_OUT:
		break;
	}
	return false;
}

static bool settle_lives(struct planning *p)
{
	for (size_t i = 0; i < p->survey.count; i++) {
		const struct survey_target *t = &p->survey.targets[i];

		if (t->unsettled && is_decided(p, t) && !add_life(p->manager, t->map->id, t->life))
			return false;
	}
	return true;
}

/* ---- the plan: pools ---- */

static int first_chains(struct planning *p, const struct map_pool *pool)
{
	struct placement_target *targets = calloc(p->survey.count + 1, sizeof(*targets));
	struct map_chain *chains = calloc(pool->partitions, sizeof(*chains));
	int rc = targets == NULL || chains == NULL ? -ENOMEM : -ENODEV;
	size_t here = 0;

	/* One that is to be emptied is there, too, or its chains would never be placed. */
	for (size_t i = 0; i < p->survey.count; i++)
		here += survey_fit(&p->survey.targets[i]);
	for (int level = (int)survey_level(pool); rc == -ENODEV && level > 0; level--) {
		size_t n = 0;

		for (size_t i = 0; i < p->survey.count; i++)
			if (survey_usable(&p->survey.targets[i]))
				targets[n++] = (struct placement_target){
					.id = p->survey.targets[i].map->id,
					.domain = p->survey.targets[i].domain[level],
					.capacity = p->survey.targets[i].room};
		if (here < p->manager->options.initial_targets)
			break;
		rc = placement_compute(targets, n, pool->copies, pool->partitions, chains);
	}
	for (uint32_t n = 0; rc == 0 && n < pool->partitions; n++) {
		chains[n].epoch += p->manager->options.epoch_base;
		if (!add_change(p->manager, pool->id, n, &chains[n]))
			rc = -ENOMEM;
	}
	free(targets);
	free(chains);
	return rc == -ENODEV ? 0 : rc;
}

/* True when a head that clients cannot reach may give way to another member. One server's heads are
 * not moved again and again. */
static bool may_rotate(struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	void *bigger;

	for (size_t i = 0; i < manager->rotated_count; i++)
		if (manager->rotated[i].server == server)
			return now_ns >= manager->rotated[i].again_ns;
	bigger =
		realloc(manager->rotated, (manager->rotated_count + 1) * sizeof(*manager->rotated));
	if (bigger == NULL)
		return false;
	manager->rotated = bigger;
	manager->rotated[manager->rotated_count].server = server;
	manager->rotated[manager->rotated_count++].again_ns = 0;
	return true;
}

static void has_rotated(struct chain_manager *manager, uint64_t server, uint64_t now_ns)
{
	for (size_t i = 0; i < manager->rotated_count; i++)
		if (manager->rotated[i].server == server)
			manager->rotated[i].again_ns = now_ns + ROTATE_EVERY_NS;
}

static bool avoid_head(struct planning *p, const struct chain_case *in, struct map_chain *next)
{
	const struct survey_target *head = survey_of(&p->survey, in->chain->members[0].target_id);
	uint64_t session, now_ns = p->survey.now_ns;

	if (!complaints_by_client(&p->manager->complaints, head->server, now_ns, &session) ||
	    head->presence != PRESENT_HERE || !may_rotate(p->manager, head->server, now_ns))
		return false;
	for (uint32_t i = 1; i < in->chain->count; i++) {
		const struct survey_target *other =
			survey_of(&p->survey, in->chain->members[i].target_id);

		if (in->chain->members[i].state != MEMBER_IN_SYNC ||
		    other->presence != PRESENT_HERE ||
		    complaints_client_about(&p->manager->complaints, session, other->server))
			continue;
		*next = *in->chain;
		next->epoch++;
		chain_edit_put(next, in->chain->members[0].target_id, MEMBER_IN_SYNC);
		return true;
	}
	return false;
}

/* What is done with a chain in this plan. */
enum busy { BUSY_NOT, BUSY_RULES, BUSY_ROTATED };

static int avoid_heads(struct planning *p, size_t at, const struct pool_repair *repair,
		       enum busy *busy)
{
	if (p->manager->complaints.count == 0)
		return 0;
	for (uint32_t n = 0; n < repair->pool->partitions; n++) {
		struct map_chain next;

		if (busy[n] != BUSY_NOT || !avoid_head(p, &p->cases[at][n], &next))
			continue;
		if (!change(p, &p->cases[at][n], n, &next))
			return -ENOMEM;
		busy[n] = BUSY_ROTATED;
	}
	for (uint32_t n = 0; n < repair->pool->partitions; n++)
		if (busy[n] == BUSY_ROTATED)
			has_rotated(
				p->manager,
				survey_of(&p->survey, repair->pool->chains[n].members[0].target_id)
					->server,
				p->survey.now_ns);
	return 0;
}

static int balance(struct planning *p, size_t at, const struct pool_repair *repair)
{
	struct map_pool pool = *repair->pool;
	struct pool_repair after = *repair;
	uint64_t looked_at = (uint64_t)pool.partitions * pool.copies * (p->survey.count + 1);
	uint64_t left = BALANCE_LOOK_MAX / looked_at;
	struct map_chain next;
	uint32_t partition;
	bool any = false;

	pool.chains = malloc(pool.partitions * sizeof(*pool.chains));
	if (pool.chains == NULL)
		return -ENOMEM;
	memcpy(pool.chains, repair->pool->chains, pool.partitions * sizeof(*pool.chains));
	after.pool = &pool;
	/* What one move has changed counts for the next. */
	do {
		if (!repair_balance(&after, &partition, &next))
			break;
		any = true;
		pool.chains[partition] = next;
		if (!change(p, &p->cases[at][partition], partition, &next))
			break;
	} while (left-- > 0);
	free(pool.chains);
	p->manager->balance_ns = p->survey.now_ns + (any ? BALANCE_EVERY_NS : BALANCE_IDLE_NS);
	return 0;
}

/* Improves what has time, when all is well. */
static int improve(struct planning *p, size_t at, const struct pool_repair *repair)
{
	struct chain_manager *manager = p->manager;
	uint64_t now_ns = p->survey.now_ns;
	struct map_chain next;
	uint32_t partition;
	int rc;

	if (!repair_is_whole(repair))
		return 0;
	if (!repair->paused && now_ns >= manager->balance_ns) {
		rc = balance(p, at, repair);
		if (rc != 0)
			return rc;
	}
	if (manager->plan.change_count == 0 && now_ns >= manager->heads_ns &&
	    repair_heads(repair, &partition, &next)) {
		manager->heads_ns = now_ns + HEADS_EVERY_NS;
		if (!change(p, &p->cases[at][partition], partition, &next))
			return -ENOMEM;
	}
	return 0;
}

static int plan_pool(struct planning *p, size_t at)
{
	const struct map_pool *pool = &p->survey.map->pools[at];
	struct chain_manager *manager = p->manager;
	struct pool_repair repair = {.survey = &p->survey,
				     .pool = pool,
				     .replace_after_ns = manager->options.replace_after_ns,
				     .moves_max = manager->options.moves_max,
				     .paused = manager->recovery_paused};
	size_t before = manager->plan.change_count;
	struct map_chain next;
	enum busy *busy;
	int rc = survey_pool(&p->survey, pool);

	if (rc != 0 || pool->chains[0].epoch == 0)
		return rc != 0 ? rc : first_chains(p, pool);
	busy = calloc(pool->partitions, sizeof(*busy));
	if (busy == NULL)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < p->survey.count; i++) {
		struct live_target *known =
			liveness_target(&manager->live, p->survey.targets[i].map->id);

		if (known != NULL)
			known->fair += p->survey.targets[i].fair;
	}
	for (uint32_t n = 0; rc == 0 && n < pool->partitions; n++) {
		struct chain_case *in = &p->cases[at][n];

		if (in->chain->epoch == 0 || !chain_rules_apply(in, &next))
			continue;
		busy[n] = BUSY_RULES;
		if (chain_edit_count(&next, MEMBER_IN_SYNC) >
		    chain_edit_count(in->chain, MEMBER_IN_SYNC))
			manager->promote_ns = p->survey.now_ns + PROMOTE_EVERY_NS;
		if (!change(p, in, n, &next))
			rc = -ENOMEM;
	}
	if (rc == 0)
		rc = avoid_heads(p, at, &repair, busy);
	for (uint32_t n = 0; rc == 0 && n < pool->partitions; n++) {
		struct chain_case *in = &p->cases[at][n];

		if (busy[n] == BUSY_NOT && in->chain->epoch != 0 &&
		    repair_chain(&repair, in, &next) && !change(p, in, n, &next))
			rc = -ENOMEM;
	}
	if (rc == 0 && manager->plan.change_count == before)
		rc = improve(p, at, &repair);
	free(busy);
	return rc;
}

/* ---- the plan ---- */

static int make_plan(struct planning *p)
{
	int rc = make_cases(p);

	if (rc != 0)
		return rc;
	block_lives(p);
	for (size_t i = 0; rc == 0 && i < p->survey.map->pool_count; i++)
		rc = plan_pool(p, i);
	if (rc == 0 && !settle_lives(p))
		rc = -ENOMEM;
	return rc;
}

static void forget_fair(struct chain_manager *manager)
{
	for (struct live_target *t = manager->live.targets; t != NULL; t = t->hh.next)
		t->fair = 0;
}

bool chain_manager_plan(struct chain_manager *manager, const struct cluster_map *map,
			uint64_t now_ns, const struct chain_plan **out)
{
	struct planning p = {.manager = manager};
	int rc;

	if (manager->pending)
		return false;
	manager->live.changed = false;
	manager->plan.change_count = manager->plan.life_count = manager->plan.fenced_count = 0;
	chain_manager_withhold_nobody(manager);
	forget_fair(manager);
	liveness_update(&manager->live, now_ns);
	complaints_expire(&manager->complaints, now_ns);
	rc = remember_pools(manager, map);
	if (rc == 0)
		rc = survey_make(&p.survey, map, &manager->live, &manager->complaints, now_ns);
	if (rc == 0)
		rc = make_plan(&p);
	for (size_t i = 0; p.cases != NULL && i < map->pool_count; i++)
		free(p.cases[i]);
	free(p.cases);
	survey_free(&p.survey);
	/* Out of memory: half a plan is none. */
	if (rc != 0)
		chain_manager_withhold_nobody(manager);
	if (rc != 0 || manager->plan.change_count + manager->plan.life_count == 0)
		return false;
	*out = &manager->plan;
	return true;
}
