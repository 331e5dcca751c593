/* report.c - what the chain manager knows, for people. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "master/chains/manager_internal.h"
#include "master/servers/failure_domain.h"

static uint64_t out_for(const struct chain_manager *manager, const struct map_target *target,
			uint64_t now_ns)
{
	const struct live_target *known = liveness_target(&manager->live, target->id);
	const struct live_server *server = liveness_server(
		&manager->live, known != NULL && known->listed ? known->server : target->server_id);
	uint64_t since_ns = 0;

	if (server == NULL)
		return 1;
	if (server->registered && server->out_ns != 0)
		since_ns = server->out_ns;
	else if (!liveness_online(&manager->live, server->id, now_ns) || known == NULL)
		since_ns = server->heard_ns;
	else if (!known->listed)
		since_ns = known->unlisted_ns;
	else
		return 0;
	return now_ns > since_ns ? now_ns - since_ns : 1;
}

int chain_manager_target_status(const struct chain_manager *manager, const struct cluster_map *map,
				uint32_t id, uint64_t now_ns, struct chain_manager_status *out)
{
	const struct map_target *target = cluster_map_target(map, id);
	const struct live_target *known = liveness_target(&manager->live, id);

	if (target == NULL)
		return -ENOENT;
	*out = (struct chain_manager_status){0};
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++) {
			const struct map_chain *chain = &map->pools[i].chains[p];
			int at = cluster_map_chain_index(chain, id);

			if (at < 0)
				continue;
			out->partitions++;
			out->in_sync += chain->members[at].state == MEMBER_IN_SYNC ? 1 : 0;
			out->heads += cluster_map_chain_head(chain) == at ? 1 : 0;
		}
	if (known != NULL) {
		out->error = known->error;
		out->fair = (uint32_t)(known->fair + 0.5);
	}
	out->out_ns = out_for(manager, target, now_ns);
	return 0;
}

bool chain_manager_usage(const struct chain_manager *manager, uint32_t target,
			 struct liveness_report *out)
{
	const struct live_target *known = liveness_target(&manager->live, target);

	if (known == NULL || !known->listed)
		return false;
	*out = (struct liveness_report){.id = target,
					.life = known->life,
					.seen_life = known->seen_life,
					.capacity = known->capacity,
					.used = known->used,
					.full = known->full,
					.error = known->error};
	return true;
}

/* ---- warnings ---- */

struct teller {
	void (*each)(void *user, const char *line);
	void *user;
};

static bool is_dead(const struct survey *survey, const struct map_chain *chain)
{
	for (uint32_t i = 0; i < chain->count; i++)
		if (chain->members[i].state == MEMBER_IN_SYNC &&
		    survey_of(survey, chain->members[i].target_id)->presence < PRESENT_OLD)
			return false;
	return true;
}

static void warn_dead(const struct survey *survey, const struct map_pool *pool,
		      const struct teller *tell)
{
	uint32_t count = 0, first = 0;
	char line[256], missing[128] = "";
	size_t used = 0;

	for (uint32_t p = 0; p < pool->partitions; p++)
		if (pool->chains[p].epoch != 0 && is_dead(survey, &pool->chains[p])) {
			first = count++ == 0 ? p : first;
		}
	if (count == 0)
		return;
	for (uint32_t i = 0; i < pool->chains[first].count; i++)
		if (pool->chains[first].members[i].state == MEMBER_IN_SYNC &&
		    used < sizeof(missing) - 16)
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, " %u",
						 pool->chains[first].members[i].target_id);
	snprintf(line, sizeof(line),
		 "pool %u: %u partitions wait for their last in-sync members; partition %u for "
		 "targets%s",
		 pool->id, count, first, missing);
	tell->each(tell->user, line);
}

static bool shares(const struct survey *survey, const struct map_pool *pool,
		   const struct map_chain *chain)
{
	enum failure_domain level = survey_level(pool);

	for (uint32_t i = 0; i < chain->count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (chain->members[i].state != MEMBER_OFFLINE &&
			    chain->members[j].state != MEMBER_OFFLINE &&
			    survey_of(survey, chain->members[i].target_id)->domain[level] ==
				    survey_of(survey, chain->members[j].target_id)->domain[level])
				return true;
	return false;
}

static void warn_pool(const struct survey *survey, const struct map_pool *pool,
		      const struct teller *tell)
{
	uint32_t shared = 0, few = 0;
	char line[256];

	warn_dead(survey, pool, tell);
	for (uint32_t p = 0; p < pool->partitions; p++) {
		shared += shares(survey, pool, &pool->chains[p]) ? 1 : 0;
		few += pool->chains[p].epoch != 0 && chain_edit_count(&pool->chains[p],
								      MEMBER_IN_SYNC) < pool->copies
			       ? 1
			       : 0;
	}
	if (few != 0) {
		snprintf(line, sizeof(line), "pool %u: %u partitions have fewer than %u copies",
			 pool->id, few, pool->copies);
		tell->each(tell->user, line);
	}
	if (shared != 0) {
		snprintf(line, sizeof(line), "pool %u: %u partitions have several copies in one %s",
			 pool->id, shared, failure_domain_name(pool->failure_domain));
		tell->each(tell->user, line);
	}
}

static void warn_target(const struct chain_manager *manager, const struct survey_target *t,
			const struct teller *tell)
{
	const struct live_target *known = liveness_target(&manager->live, t->map->id);
	char line[256];

	if (known == NULL)
		return;
	line[0] = '\0';
	if (known->old_refused && known->damaged)
		snprintf(
			line, sizeof(line),
			"target %u: records that it had flushed are missing; it was refused, being "
			"the last that is left",
			t->map->id);
	else if (known->old_refused)
		snprintf(line, sizeof(line),
			 "target %u: an older copy of its disk was refused, being the last that is "
			 "left",
			 t->map->id);
	else if (t->presence == PRESENT_OLD && known->damaged)
		snprintf(line, sizeof(line), "target %u: records that it had flushed are missing",
			 t->map->id);
	else if (t->presence == PRESENT_OLD)
		snprintf(line, sizeof(line),
			 "target %u: an older copy of its disk (life %llu, seen %llu)", t->map->id,
			 (unsigned long long)known->life, (unsigned long long)known->seen_life);
	else if (t->presence == PRESENT_FAILED)
		snprintf(line, sizeof(line), "target %u: %s", t->map->id, strerror(known->error));
	else if (known->full && known->listed)
		snprintf(line, sizeof(line), "target %u is full", t->map->id);
	if (line[0] != '\0')
		tell->each(tell->user, line);
}

void chain_manager_warnings(const struct chain_manager *manager, const struct cluster_map *map,
			    uint64_t now_ns, void (*each)(void *user, const char *line), void *user)
{
	const struct teller tell = {.each = each, .user = user};
	struct survey survey;

	if (survey_make(&survey, map, &manager->live, &manager->complaints, now_ns) != 0)
		return;
	for (size_t i = 0; i < map->pool_count; i++)
		warn_pool(&survey, &map->pools[i], &tell);
	for (size_t i = 0; i < survey.count; i++)
		warn_target(manager, &survey.targets[i], &tell);
	survey_free(&survey);
}
