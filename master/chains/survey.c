/* survey.c - targets of the map and what is known of them; see survey.h. */
#include "master/chains/survey.h"
#include <errno.h>
#include <stdlib.h>
#include "common/base/duration.h"
#include "master/servers/failure_domain.h"
#include "master/chains/placement.h"

#define CALM_NS       (10 * NS_PER_SEC)
#define KEPT_FREE_MAX 2147483648.0

static void look_at(struct survey_target *out, const struct map_target *target,
		    const struct survey *survey, const struct liveness *live)
{
	const struct live_target *known = liveness_target(live, target->id);
	const struct map_server *server;

	out->map = target;
	out->server = known != NULL ? known->server : target->server_id;
	out->presence = liveness_presence(live, target->id, target->server_id, survey->now_ns,
					  &out->certain);
	server = cluster_map_server(survey->map, out->server);
	for (unsigned level = 0; server != NULL && level <= FAILURE_DOMAIN_ZONE; level++)
		out->domain[level] = failure_domain_of(server, (enum failure_domain)level);
	if (known == NULL)
		return;
	out->known = known->listed;
	out->life = known->life;
	out->unsettled = known->listed && known->life != known->seen_life;
	out->capacity = known->capacity;
	out->used = known->used;
	out->full = known->full;
	out->calm = known->error == 0 &&
		    (known->failed_ns == 0 || survey->now_ns >= known->failed_ns + CALM_NS);
}

int survey_make(struct survey *survey, const struct cluster_map *map, const struct liveness *live,
		const struct complaints *complaints, uint64_t now_ns)
{
	*survey = (struct survey){.map = map, .complaints = complaints, .now_ns = now_ns};
	survey->targets = calloc(map->target_count + 1, sizeof(*survey->targets));
	if (survey->targets == NULL)
		return -ENOMEM;
	survey->count = map->target_count;
	for (size_t i = 0; i < survey->count; i++)
		look_at(&survey->targets[i], &map->targets[i], survey, live);
	return 0;
}

void survey_free(struct survey *survey)
{
	free(survey->targets);
}

struct survey_target *survey_of(const struct survey *survey, uint32_t target)
{
	return &survey->targets[cluster_map_target(survey->map, target) - survey->map->targets];
}

bool survey_fit(const struct survey_target *target)
{
	return target->presence == PRESENT_HERE && target->calm && !target->full;
}

bool survey_usable(const struct survey_target *target)
{
	return survey_fit(target) && !target->map->draining;
}

enum failure_domain survey_level(const struct map_pool *pool)
{
	return pool->failure_domain == FAILURE_DOMAIN_DEFAULT ? FAILURE_DOMAIN_HOST
							      : pool->failure_domain;
}

/* ---- a pool ---- */

/* A chain that has enough members and one more coming: one of its members is on its way out. */
static void count_chain(struct survey *survey, const struct map_pool *pool,
			const struct map_chain *chain)
{
	uint32_t in_sync = 0;
	bool coming = false;

	for (uint32_t i = 0; i < chain->count; i++) {
		in_sync += chain->members[i].state == MEMBER_IN_SYNC ? 1 : 0;
		coming |= chain->members[i].state == MEMBER_SYNCING;
	}
	for (uint32_t i = 0; i < chain->count; i++) {
		struct survey_target *t = survey_of(survey, chain->members[i].target_id);

		if (chain->members[i].state == MEMBER_OFFLINE)
			continue;
		t->load++;
		if (i == 0)
			t->heads++;
		if (chain->members[i].state == MEMBER_SYNCING)
			t->coming++;
		else if (coming && in_sync >= pool->copies)
			t->going++;
	}
}

/* ---- room ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Chains that the target has on its disk. What is coming may be there or not. */
static double there(const struct survey_target *t)
{
	return t->load > t->coming ? t->load - t->coming / 2.0 : t->coming / 2.0;
}

/* Estimates what a chain takes on a disk: the lower median of what it takes on each, as disks may
 * hold much else. Where balance tends to does not depend on it: to as much left on each target for
 * each of its chains. Too large an estimate only has it rest earlier. */
static int chain_bytes(const struct survey *survey, double *out)
{
	double *each = calloc(survey->count + 1, sizeof(*each));
	size_t n = 0;

	*out = 0;
	if (each == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < survey->count; i++)
		if (there(&survey->targets[i]) > 0 && survey->targets[i].capacity != 0)
			each[n++] = (double)survey->targets[i].used / there(&survey->targets[i]);
	qsort(each, n, sizeof(*each), by_size);
	if (n != 0)
		*out = each[(n - 1) / 2];
	free(each);
	return 0;
}

/* What a target keeps free, so that it does not get full by what is moved to it. More than
 * chunkserver/disk/space.h has for that. */
static double kept_free(const struct survey_target *t)
{
	double part = (double)t->capacity / 8;

	return part < KEPT_FREE_MAX ? part : KEPT_FREE_MAX;
}

static uint64_t room_of(const struct survey_target *t, double chain)
{
	double all = (double)t->capacity - kept_free(t), room = all - (double)t->used;

	if (t->capacity == 0)
		return 0;
	room = (room > 0 ? room : 0) + there(t) * chain;
	/* Never so small that it is lost beside others in a sum. */
	return 1 + t->capacity / 1000000 + (uint64_t)(room < all ? room : all);
}

static int share(struct survey *survey, const struct map_pool *pool)
{
	struct placement_target *usable = calloc(survey->count + 1, sizeof(*usable));
	double *fair = calloc(survey->count + 1, sizeof(*fair));
	int rc = usable == NULL || fair == NULL ? -ENOMEM : 0;

	for (int level = (int)survey_level(pool); rc == 0 && level > 0; level--) {
		size_t n = 0;

		for (size_t i = 0; i < survey->count; i++)
			if (survey_usable(&survey->targets[i]))
				usable[n++] = (struct placement_target){
					.id = survey->targets[i].map->id,
					.domain = survey->targets[i].domain[level],
					.capacity = survey->targets[i].room};
		rc = placement_quotas(usable, n, pool->copies, pool->partitions, fair);
		for (size_t i = 0; rc == 0 && i < n; i++)
			survey_of(survey, usable[i].id)->fair = fair[i];
		if (rc != -ENODEV)
			break;
		rc = 0;
	}
	free(usable);
	free(fair);
	return rc;
}

int survey_pool(struct survey *survey, const struct map_pool *pool)
{
	double chain;
	int rc;

	for (size_t i = 0; i < survey->count; i++) {
		struct survey_target *t = &survey->targets[i];

		t->load = t->heads = t->coming = t->going = 0;
		t->fair = 0;
	}
	for (uint32_t p = 0; p < pool->partitions; p++)
		count_chain(survey, pool, &pool->chains[p]);
	rc = chain_bytes(survey, &chain);
	for (size_t i = 0; i < survey->count; i++)
		survey->targets[i].room = room_of(&survey->targets[i], chain);
	return rc != 0 ? rc : share(survey, pool);
}

bool survey_may_join(const struct survey *survey, const struct map_chain *chain, uint32_t target,
		     uint32_t instead, enum failure_domain level)
{
	const struct survey_target *t = survey_of(survey, target);

	for (uint32_t i = 0; i < chain->count; i++) {
		const struct chain_member *member = &chain->members[i];
		const struct survey_target *other;

		if (member->target_id == target || member->state == MEMBER_OFFLINE ||
		    member->target_id == instead)
			continue;
		other = survey_of(survey, member->target_id);
		if (other->domain[level] == t->domain[level] ||
		    complaints_barred(survey->complaints, other->server, t->server, survey->now_ns))
			return false;
	}
	return true;
}

bool survey_has_candidate(const struct survey *survey, const struct map_chain *chain,
			  enum failure_domain level)
{
	for (size_t i = 0; i < survey->count; i++)
		if (survey_usable(&survey->targets[i]) &&
		    cluster_map_chain_index(chain, survey->targets[i].map->id) < 0 &&
		    survey_may_join(survey, chain, survey->targets[i].map->id, 0, level))
			return true;
	return false;
}
