/* repair.c - chooses substitutes and moves; see repair.h. */
#include "master/chains/repair.h"

/* Differences of load that are left alone: chains, and parts of the fair part. */
#define LEFT_ALONE_CHAINS 2.0
#define LEFT_ALONE_PART   0.02

/* ---- choosing ---- */

static double surplus(const struct survey_target *t)
{
	return t->load - t->fair;
}

/* Finds the usable target that is furthest below its fair part. NULL: none. */
static struct survey_target *candidate_at(const struct pool_repair *r,
					  const struct map_chain *chain, uint32_t instead,
					  enum failure_domain level)
{
	struct survey_target *best = NULL;

	for (size_t i = 0; i < r->survey->count; i++) {
		struct survey_target *t = &r->survey->targets[i];

		if (!survey_usable(t) || t->coming >= r->moves_max ||
		    cluster_map_chain_index(chain, t->map->id) >= 0 ||
		    !survey_may_join(r->survey, chain, t->map->id, instead, level))
			continue;
		if (best == NULL || surplus(t) < surplus(best))
			best = t;
	}
	return best;
}

/* Finds a target that may come into @chain so that @instead can go. Coarse domains are given up one
 * after the other, but only where no target would keep them, busy or not. */
static struct survey_target *candidate(const struct pool_repair *r, const struct map_chain *chain,
				       uint32_t instead)
{
	/* One must go before another can come: not without losing a copy meanwhile. */
	if (chain_edit_count(chain, MEMBER_OFFLINE) == 0 && chain->count == CHAIN_MEMBERS_MAX)
		return NULL;
	for (int level = (int)survey_level(r->pool); level > 0; level--) {
		struct survey_target *found =
			candidate_at(r, chain, instead, (enum failure_domain)level);
		struct map_chain without = *chain;

		if (found != NULL)
			return found;
		if (instead != 0 && cluster_map_chain_index(chain, instead) >= 0)
			without.members[cluster_map_chain_index(chain, instead)].state =
				MEMBER_OFFLINE;
		if (survey_has_candidate(r->survey, &without, (enum failure_domain)level))
			return NULL;
	}
	return NULL;
}

static void add(struct map_chain *next, struct survey_target *t)
{
	/* Only in-sync members know what counts: the one that is out longest makes room. */
	if (next->count == CHAIN_MEMBERS_MAX)
		chain_edit_remove(
			next, next->members[next->count - chain_edit_count(next, MEMBER_OFFLINE)]
				      .target_id);
	chain_edit_put(next, t->map->id, MEMBER_SYNCING);
	t->coming++;
	t->load++;
}

static bool all_here(const struct pool_repair *r, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->members[i].state == MEMBER_IN_SYNC &&
		    survey_of(r->survey, chain->members[i].target_id)->presence != PRESENT_HERE)
			return false;
	return true;
}

static bool shares_domain(const struct pool_repair *r, const struct map_chain *chain, uint32_t i)
{
	enum failure_domain level = survey_level(r->pool);
	uint64_t domain = survey_of(r->survey, chain->members[i].target_id)->domain[level];

	for (uint32_t j = 0; j < chain->count; j++)
		if (j != i && chain->members[j].state != MEMBER_OFFLINE &&
		    survey_of(r->survey, chain->members[j].target_id)->domain[level] == domain)
			return true;
	return false;
}

/* ---- dropping ---- */

/* Says how much better the chain would be without member @i; the highest goes. */
static double burden(const struct pool_repair *r, const struct map_chain *chain, uint32_t i)
{
	const struct survey_target *t = survey_of(r->survey, chain->members[i].target_id);
	double sum = surplus(t);

	if (t->map->draining)
		sum += 4e9;
	if (t->full)
		sum += 2e9;
	if (shares_domain(r, chain, i))
		sum += 1e9;
	return sum;
}

/* Drops what a whole chain does not need. */
static void drop(const struct pool_repair *r, struct map_chain *next)
{
	while (chain_edit_count(next, MEMBER_OFFLINE) != 0)
		chain_edit_remove(next, next->members[next->count - 1].target_id);
	while (chain_edit_count(next, MEMBER_IN_SYNC) > r->pool->copies) {
		uint32_t worst = 0;

		for (uint32_t i = 1; i < next->count; i++)
			if (next->members[i].state == MEMBER_IN_SYNC &&
			    burden(r, next, i) > burden(r, next, worst))
				worst = i;
		survey_of(r->survey, next->members[worst].target_id)->load--;
		chain_edit_remove(next, next->members[worst].target_id);
	}
}

/* ---- substitutes ---- */

/* True when member @i has not been in-sync for too long: its place is given to another target. */
static bool given_up(const struct pool_repair *r, const struct chain_case *in, uint32_t i)
{
	uint32_t target = in->chain->members[i].target_id;
	const struct survey_target *t = survey_of(r->survey, target);
	bool syncing = in->chain->members[i].state == MEMBER_SYNCING;

	if (t->map->draining && !syncing)
		return true;
	for (uint32_t j = 0; j < CHAIN_MEMBERS_MAX; j++) {
		uint64_t since_ns = in->memory->lag[j].since_ns;

		if (in->memory->lag[j].target != target)
			continue;
		if (syncing && in->memory->lag[j].progress_ns > since_ns)
			since_ns = in->memory->lag[j].progress_ns;
		return r->survey->now_ns >= since_ns + r->replace_after_ns;
	}
	return false;
}

/* Adds a substitute to a chain with too few in-sync members. */
static bool substitute(const struct pool_repair *r, const struct chain_case *in,
		       struct map_chain *next)
{
	uint32_t in_sync = chain_edit_count(next, MEMBER_IN_SYNC), hoped = 0, stuck = 0;
	struct survey_target *found;

	for (uint32_t i = 0; i < in->chain->count; i++) {
		const struct chain_member *member = &in->chain->members[i];

		if (member->state == MEMBER_IN_SYNC)
			continue;
		if (!given_up(r, in, i))
			hoped++;
		else if (member->state == MEMBER_SYNCING)
			stuck = member->target_id;
	}
	if (in_sync + hoped >= r->pool->copies ||
	    (stuck == 0 && chain_edit_count(next, MEMBER_SYNCING)))
		return false;
	found = candidate(r, next, stuck);
	if (found == NULL)
		return false;
	if (stuck != 0)
		chain_edit_put(next, stuck, MEMBER_OFFLINE);
	add(next, found);
	return true;
}

/* Adds a member to a whole chain, so that one on a draining target can go. */
static bool empty_out(const struct pool_repair *r, struct map_chain *next)
{
	for (uint32_t i = 0; i < next->count; i++) {
		struct survey_target *t = survey_of(r->survey, next->members[i].target_id), *found;

		if (!t->map->draining || t->going >= r->moves_max)
			continue;
		found = candidate(r, next, t->map->id);
		if (found == NULL)
			continue;
		t->going++;
		add(next, found);
		return true;
	}
	return false;
}

/* Takes a full target out at once, where another can come: it makes all writes of its chains
 * fail. */
static bool relieve(const struct pool_repair *r, struct map_chain *next)
{
	for (uint32_t i = 0; i < next->count; i++) {
		struct survey_target *t = survey_of(r->survey, next->members[i].target_id), *found;

		if (!t->full || next->members[i].state == MEMBER_OFFLINE)
			continue;
		if (next->members[i].state == MEMBER_IN_SYNC &&
		    chain_edit_count(next, MEMBER_IN_SYNC) < 2)
			continue;
		if (next->members[i].state == MEMBER_IN_SYNC &&
		    chain_edit_count(next, MEMBER_SYNCING) != 0)
			continue;
		found = candidate(r, next, t->map->id);
		if (found == NULL)
			continue;
		chain_edit_put(next, t->map->id, MEMBER_OFFLINE);
		add(next, found);
		return true;
	}
	return false;
}

bool repair_chain(const struct pool_repair *r, const struct chain_case *in, struct map_chain *next)
{
	const struct map_chain *chain = in->chain;
	uint32_t in_sync = chain_edit_count(chain, MEMBER_IN_SYNC);
	bool changed = false;

	*next = *chain;
	next->epoch++;
	if (!all_here(r, chain))
		return false;
	if (in_sync > r->pool->copies ||
	    (in_sync == r->pool->copies && chain_edit_count(chain, MEMBER_OFFLINE) != 0)) {
		drop(r, next);
		return true;
	}
	if (r->paused) {
		/* No member can be getting nearer. */
		for (uint32_t i = 0; i < CHAIN_MEMBERS_MAX; i++)
			in->memory->lag[i].progress_ns = r->survey->now_ns;
		return false;
	}
	changed = relieve(r, next);
	if (!changed && in_sync < r->pool->copies)
		changed = substitute(r, in, next);
	if (!changed && in_sync == r->pool->copies && chain->count == in_sync)
		changed = empty_out(r, next);
	return changed;
}

/* ---- balance ---- */

bool repair_is_whole(const struct pool_repair *r)
{
	for (uint32_t p = 0; p < r->pool->partitions; p++) {
		const struct map_chain *chain = &r->pool->chains[p];

		if (chain_edit_count(chain, MEMBER_IN_SYNC) < r->pool->copies ||
		    !all_here(r, chain))
			return false;
	}
	return true;
}

/* False: some target has not said how large it is, so no fair part is known. */
static bool sizes_known(const struct survey *survey)
{
	bool some = false, none = false;

	for (size_t i = 0; i < survey->count; i++) {
		if (!survey_usable(&survey->targets[i]))
			continue;
		some |= survey->targets[i].capacity != 0;
		none |= survey->targets[i].capacity == 0;
	}
	return !(some && none);
}

/* Says how much better it is to have @to than @from in a chain; 0: not worth it. */
static double gain(const struct survey_target *from, const struct survey_target *to)
{
	double difference = surplus(from) - from->going - surplus(to);
	double fair = from->fair > to->fair ? from->fair : to->fair;

	if (difference <= LEFT_ALONE_CHAINS || difference <= LEFT_ALONE_PART * fair)
		return 0;
	return difference;
}

/* True when some target is so far above another that looking through all chains is worth it. */
static bool is_uneven(const struct survey *survey)
{
	const struct survey_target *most = NULL, *least = NULL;

	for (size_t i = 0; i < survey->count; i++) {
		const struct survey_target *t = &survey->targets[i];

		if (!survey_usable(t))
			continue;
		if (most == NULL || surplus(t) > surplus(most))
			most = t;
		if (least == NULL || surplus(t) < surplus(least))
			least = t;
	}
	return most != NULL && gain(most, least) > 0;
}

/* Finds the best move of a whole chain: *from's member gives way to *to. Returns its worth. */
static double best_move(const struct pool_repair *r, const struct map_chain *chain,
			struct survey_target **from_out, struct survey_target **to_out)
{
	enum failure_domain level = survey_level(r->pool);
	double best = 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		struct survey_target *from = survey_of(r->survey, chain->members[i].target_id);
		bool mend = shares_domain(r, chain, i);

		if (from->going >= r->moves_max)
			continue;
		for (size_t j = 0; j < r->survey->count; j++) {
			struct survey_target *to = &r->survey->targets[j];
			double worth;

			if (!survey_usable(to) || to->coming >= r->moves_max)
				continue;
			worth = mend ? 1e9 - surplus(to) : gain(from, to);
			if (worth <= best || cluster_map_chain_index(chain, to->map->id) >= 0 ||
			    !survey_may_join(r->survey, chain, to->map->id, from->map->id, level))
				continue;
			best = worth;
			*from_out = from;
			*to_out = to;
		}
	}
	return best;
}

static bool any_shared(const struct pool_repair *r)
{
	for (uint32_t p = 0; p < r->pool->partitions; p++)
		for (uint32_t i = 0; i < r->pool->chains[p].count; i++)
			if (shares_domain(r, &r->pool->chains[p], i))
				return true;
	return false;
}

bool repair_balance(const struct pool_repair *r, uint32_t *partition, struct map_chain *next)
{
	struct survey_target *from = NULL, *to = NULL;
	double best = 0;

	if (!sizes_known(r->survey) || (!is_uneven(r->survey) && !any_shared(r)))
		return false;
	for (uint32_t p = 0; p < r->pool->partitions; p++) {
		const struct map_chain *chain = &r->pool->chains[p];
		struct survey_target *from_here = NULL, *to_here = NULL;
		double worth;

		if (chain->count != r->pool->copies || chain->count == CHAIN_MEMBERS_MAX ||
		    chain_edit_count(chain, MEMBER_IN_SYNC) != chain->count)
			continue;
		worth = best_move(r, chain, &from_here, &to_here);
		if (worth <= best)
			continue;
		best = worth;
		from = from_here;
		to = to_here;
		*partition = p;
	}
	if (best <= 0)
		return false;
	*next = r->pool->chains[*partition];
	next->epoch++;
	from->going++;
	add(next, to);
	return true;
}

/* ---- heads ---- */

struct head_count {
	double heads, fair;
};

/* Counts the heads of the server that has @t, and the part of all heads that fits its chains. */
static struct head_count heads_of(const struct pool_repair *r, const struct survey_target *t)
{
	struct head_count sum = {0};

	for (size_t i = 0; i < r->survey->count; i++) {
		const struct survey_target *one = &r->survey->targets[i];

		if (one->server != t->server)
			continue;
		sum.heads += one->heads;
		sum.fair += (double)one->load / r->pool->copies;
	}
	return sum;
}

static bool leads_too_often(const struct head_count *count)
{
	return count->heads > count->fair * 1.25 && count->heads >= count->fair + 3;
}

/* Makes the member @head the first of the in-sync members, in the same circle. */
static void rotate(struct map_chain *next, uint32_t head)
{
	while (head-- > 0)
		chain_edit_put(next, next->members[0].target_id, MEMBER_IN_SYNC);
}

bool repair_heads(const struct pool_repair *r, uint32_t *partition, struct map_chain *next)
{
	uint64_t session;

	for (uint32_t p = 0; p < r->pool->partitions; p++) {
		const struct map_chain *chain = &r->pool->chains[p];
		const struct survey_target *head =
			survey_of(r->survey, chain->members[0].target_id);
		struct head_count count;

		if (chain->count != r->pool->copies || chain->count < 2)
			continue;
		count = heads_of(r, head);
		if (!leads_too_often(&count))
			continue;
		for (uint32_t i = 1; i < chain->count; i++) {
			const struct survey_target *other =
				survey_of(r->survey, chain->members[i].target_id);

			count = heads_of(r, other);
			if (count.heads + 1 > count.fair || other->server == head->server ||
			    complaints_by_client(r->survey->complaints, other->server,
						 r->survey->now_ns, &session))
				continue;
			*next = *chain;
			next->epoch++;
			rotate(next, i);
			*partition = p;
			return true;
		}
	}
	return false;
}
