/* survey.h - what a plan of the chain manager looks at: every target of the map, with what is known
 * of it now. Pure; lives as long as one plan. */
#ifndef CATENA_MASTER_CHAINS_SURVEY_H
#define CATENA_MASTER_CHAINS_SURVEY_H
#include "master/servers/complaints.h"
#include "master/servers/liveness.h"

struct survey_target {
	const struct map_target *map;
	uint64_t server, life, capacity;
	enum presence presence;
	bool certain;    /* out: and will not be back as it was */
	bool known;      /* its server has registered with it since the master started */
	bool unsettled;  /* its life is not the one stored */
	bool blocked;    /* unsettled, and it cannot be settled in this plan */
	bool full, calm; /* calm: no error for a while */
	uint64_t domain[FAILURE_DOMAIN_ZONE + 1];
	/* Of one pool: chains it is in, its fair part of them, members being made equal for it. */
	uint32_t load, heads, coming, going;
	double fair;
};

struct survey {
	const struct cluster_map *map;
	const struct complaints *complaints;
	uint64_t now_ns;
	size_t count;
	struct survey_target *targets; /* in the order of the map's */
};

/* After liveness_update(). -ENOMEM. */
int survey_make(struct survey *survey, const struct cluster_map *map, const struct liveness *live,
		const struct complaints *complaints, uint64_t now_ns);
void survey_free(struct survey *survey);
/* A member of a chain of this map. */
struct survey_target *survey_of(const struct survey *survey, uint32_t target);

/* Fit to be made equal and to serve. */
bool survey_fit(const struct survey_target *target);
/* And to be given more. */
bool survey_usable(const struct survey_target *target);

/* Counts loads, heads, comings and goings of a pool, and the fair parts of what is usable. -ENOMEM.
 */
int survey_pool(struct survey *survey, const struct map_pool *pool);
/* May @target join @chain (or be in it again): nobody else of its domain (but @instead, 0: none) is
 * in it and not offline; no complaint keeps them apart. */
bool survey_may_join(const struct survey *survey, const struct map_chain *chain, uint32_t target,
		     uint32_t instead, enum failure_domain level);
/* True when a substitute of the right domains could be had for @chain. */
bool survey_has_candidate(const struct survey *survey, const struct map_chain *chain,
			  enum failure_domain level);
/* The level that a pool really has. */
enum failure_domain survey_level(const struct map_pool *pool);
#endif
