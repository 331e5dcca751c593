/* survey.h - a survey of every target in the map, with all that is known of it now: what one plan
 * is made from. Pure. It lives as long as the plan. */
#ifndef CATENA_MASTER_CHAINS_SURVEY_H
#define CATENA_MASTER_CHAINS_SURVEY_H
#include "master/servers/complaints.h"
#include "master/servers/liveness.h"

struct survey_target {
	const struct map_target *map;
	uint64_t server, life, capacity, used;
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
	uint64_t room; /* what fair parts go by, in bytes; see survey_pool(). 0: not known */
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
/* Gives what is known of a member of some chain of this map. */
struct survey_target *survey_of(const struct survey *survey, uint32_t target);

/* True when the target can catch up and serve. */
bool survey_fit(const struct survey_target *target);
/* True when it is fit, and may be given more partitions. */
bool survey_usable(const struct survey_target *target);

/* Counts loads, heads, comings and goings of a pool, and the fair parts of usable targets. These are
 * by room: what is left on the disk, and what the target's chains have there already. Where nobody
 * else uses the disks that is their capacity; where somebody does, all get full at the same time.
 * Errors: -ENOMEM. */
int survey_pool(struct survey *survey, const struct map_pool *pool);
/* True when @target may join @chain, or be in it again. No member but @instead (0: none) that is
 * not offline has its domain, and no complaint keeps it apart from one. */
bool survey_may_join(const struct survey *survey, const struct map_chain *chain, uint32_t target,
		     uint32_t instead, enum failure_domain level);
/* True when a substitute of the right domains could be had for @chain. */
bool survey_has_candidate(const struct survey *survey, const struct map_chain *chain,
			  enum failure_domain level);
/* Gives the level of failure domains that a pool really has. */
enum failure_domain survey_level(const struct map_pool *pool);
#endif
