/* placement.c - chains for the partitions of a pool.
 *
 * Each target has a quota, the number of chains it should be in. Partition by partition, members
 * are chosen among the targets that are not ahead of their quota, the one that shares the fewest
 * chains (by weight) with those chosen already; whoever has fallen behind by a whole chain comes
 * first. */
#include "master/chains/placement.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct placement_share {
	uint32_t id;
	size_t domain; /* index */
	double quota;
	double chains, heads, tails; /* given so far */
};

struct placement_plan {
	struct placement_share *targets;
	size_t count, domains;
	uint32_t copies, partitions;
	uint32_t *shared; /* count x count: chains that two targets are both in */
	double *domain_quota;
};

static int by_id(const void *a, const void *b)
{
	const struct placement_target *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* A domain can be in a chain once, so no domain gets more than one chain per partition; what is
 * above goes to the others, by capacity. */
static void share_domains(struct placement_plan *plan, const double *capacity)
{
	double chains = (double)plan->copies * plan->partitions, weight = 0;
	size_t full = 0;
	bool again = true;

	for (size_t d = 0; d < plan->domains; d++) {
		plan->domain_quota[d] = -1;
		weight += capacity[d];
	}
	while (again) {
		double left = chains - (double)full * plan->partitions;

		again = false;
		for (size_t d = 0; d < plan->domains; d++) {
			if (plan->domain_quota[d] >= 0 ||
			    capacity[d] * left < plan->partitions * weight)
				continue;
			plan->domain_quota[d] = plan->partitions;
			weight -= capacity[d];
			full++;
			again = true;
			break;
		}
	}
	for (size_t d = 0; d < plan->domains; d++)
		if (plan->domain_quota[d] < 0)
			plan->domain_quota[d] =
				capacity[d] / weight * (chains - (double)full * plan->partitions);
}

static void plan_free(struct placement_plan *plan)
{
	free(plan->targets);
	free(plan->shared);
	free(plan->domain_quota);
}

static int plan_make(struct placement_plan *plan, const struct placement_target *sorted,
		     size_t count)
{
	double *capacity = calloc(count, sizeof(*capacity));
	uint64_t *domains = calloc(count, sizeof(*domains));
	int rc = 0;

	plan->targets = calloc(count, sizeof(*plan->targets));
	plan->shared = calloc(count * count, sizeof(*plan->shared));
	plan->domain_quota = calloc(count, sizeof(*plan->domain_quota));
	plan->count = count;
	if (capacity == NULL || domains == NULL || plan->targets == NULL || plan->shared == NULL ||
	    plan->domain_quota == NULL) {
		rc = -ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < count; i++) {
		size_t d = 0;

		while (d < plan->domains && domains[d] != sorted[i].domain)
			d++;
		if (d == plan->domains)
			domains[plan->domains++] = sorted[i].domain;
		/* One more byte, so that a target which reports nothing is a target still. */
		capacity[d] += (double)sorted[i].capacity + 1;
		plan->targets[i] = (struct placement_share){.id = sorted[i].id, .domain = d};
	}
	if (plan->domains < plan->copies) {
		rc = -ENODEV;
		goto out;
	}
	share_domains(plan, capacity);
	for (size_t i = 0; i < count; i++) {
		size_t d = plan->targets[i].domain;

		plan->targets[i].quota =
			plan->domain_quota[d] * ((double)sorted[i].capacity + 1) / capacity[d];
	}
out:
	free(capacity);
	free(domains);
	return rc;
}

static bool domain_taken(const struct placement_plan *plan, const size_t *chosen, uint32_t n,
			 size_t domain)
{
	for (uint32_t i = 0; i < n; i++)
		if (plan->targets[chosen[i]].domain == domain)
			return true;
	return false;
}

/* How much more than its part target @t shares with those chosen. */
static double crowding(const struct placement_plan *plan, const size_t *chosen, uint32_t n,
		       size_t t)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += (plan->shared[chosen[i] * plan->count + t] + 1) /
		       (plan->targets[chosen[i]].quota * plan->targets[t].quota);
	return sum;
}

/* The domain as a whole may be behind although each of its targets is not by a whole chain. */
static double domain_behind(const struct placement_plan *plan, size_t domain, double progress)
{
	double given = 0;

	for (size_t i = 0; i < plan->count; i++)
		if (plan->targets[i].domain == domain)
			given += plan->targets[i].chains;
	return plan->domain_quota[domain] * progress - given;
}

/* The next member for a partition; @progress is the part of all partitions done after this one. */
static size_t choose(const struct placement_plan *plan, const size_t *chosen, uint32_t n,
		     double progress)
{
	size_t best = plan->count;
	double best_rank = 0, best_crowding = 0, best_behind = 0;

	for (size_t t = 0; t < plan->count; t++) {
		const struct placement_share *target = &plan->targets[t];
		double behind, rank, crowd;

		if (domain_taken(plan, chosen, n, target->domain))
			continue;
		behind = target->quota * progress - target->chains;
		rank = behind <= 0 ? 0 : 1;
		if (behind >= 1 || domain_behind(plan, target->domain, progress) >= 1)
			rank = behind > 0 ? 2 : 1;
		crowd = crowding(plan, chosen, n, t);
		if (best != plan->count && rank < best_rank)
			continue;
		if (best == plan->count || rank > best_rank || crowd < best_crowding - 1e-12 ||
		    (crowd < best_crowding + 1e-12 && behind > best_behind + 1e-9)) {
			best = t;
			best_rank = rank;
			best_crowding = crowd;
			best_behind = behind;
		}
	}
	return best;
}

static void move_to(size_t *chosen, uint32_t from, uint32_t to)
{
	size_t member = chosen[from];

	chosen[from] = chosen[to];
	chosen[to] = member;
}

/* The one with the fewest heads for its weight leads, the one with the fewest tails ends. */
static void order(struct placement_plan *plan, size_t *chosen)
{
	uint32_t head = 0, tail = 1;

	for (uint32_t i = 1; i < plan->copies; i++) {
		const struct placement_share *a = &plan->targets[chosen[i]];
		const struct placement_share *b = &plan->targets[chosen[head]];

		if (a->heads / a->quota < b->heads / b->quota - 1e-12)
			head = i;
	}
	plan->targets[chosen[head]].heads++;
	move_to(chosen, head, 0);
	if (plan->copies == 1)
		return;
	for (uint32_t i = 2; i < plan->copies; i++) {
		const struct placement_share *a = &plan->targets[chosen[i]];
		const struct placement_share *b = &plan->targets[chosen[tail]];

		if (a->tails / a->quota < b->tails / b->quota - 1e-12)
			tail = i;
	}
	plan->targets[chosen[tail]].tails++;
	move_to(chosen, tail, plan->copies - 1);
}

static void place(struct placement_plan *plan, uint32_t partition, struct map_chain *out)
{
	double progress = ((double)partition + 1) / plan->partitions;
	size_t chosen[CHAIN_MEMBERS_MAX] = {0};

	for (uint32_t n = 0; n < plan->copies; n++)
		chosen[n] = choose(plan, chosen, n, progress);
	order(plan, chosen);
	memset(out, 0, sizeof(*out));
	out->epoch = 1;
	out->count = plan->copies;
	for (uint32_t i = 0; i < plan->copies; i++) {
		plan->targets[chosen[i]].chains++;
		out->members[i] = (struct chain_member){.target_id = plan->targets[chosen[i]].id,
							.state = MEMBER_IN_SYNC};
		for (uint32_t j = 0; j < plan->copies; j++)
			plan->shared[chosen[i] * plan->count + chosen[j]]++;
	}
}

/* In order of ids; *plan is to be freed in any case. */
static int plan_of(struct placement_plan *plan, const struct placement_target *targets,
		   size_t count)
{
	struct placement_target *sorted;
	int rc = 0;

	if (plan->copies == 0 || plan->copies > CHAIN_MEMBERS_MAX || plan->partitions == 0)
		return -EINVAL;
	if (count < plan->copies)
		return -ENODEV;
	sorted = malloc(count * sizeof(*sorted));
	if (sorted == NULL)
		return -ENOMEM;
	memcpy(sorted, targets, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_id);
	for (size_t i = 1; i < count; i++)
		if (sorted[i].id == sorted[i - 1].id)
			rc = -EINVAL;
	if (rc == 0)
		rc = plan_make(plan, sorted, count);
	free(sorted);
	return rc;
}

int placement_quotas(const struct placement_target *targets, size_t count, uint32_t copies,
		     uint32_t partitions, double *out)
{
	struct placement_plan plan = {.copies = copies, .partitions = partitions};
	int rc = plan_of(&plan, targets, count);

	for (size_t i = 0; rc == 0 && i < count; i++)
		for (size_t j = 0; j < count; j++)
			if (plan.targets[j].id == targets[i].id)
				out[i] = plan.targets[j].quota;
	plan_free(&plan);
	return rc;
}

int placement_compute(const struct placement_target *targets, size_t count, uint32_t copies,
		      uint32_t partitions, struct map_chain *out)
{
	struct placement_plan plan = {.copies = copies, .partitions = partitions};
	int rc = plan_of(&plan, targets, count);

	for (uint32_t p = 0; rc == 0 && p < partitions; p++)
		place(&plan, p, &out[p]);
	plan_free(&plan);
	return rc;
}
