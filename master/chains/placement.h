/* placement.h - places the partitions of a new pool on targets. Pure and deterministic.
 *
 * Every chain has members of different failure domains. Targets get partitions in proportion to
 * their capacity, as far as the domains allow. Heads and tails are spread alike. Every pair of
 * targets shares about as many partitions as any other pair of such weights, so the work of a dead
 * target spreads over all. */
#ifndef CATENA_MASTER_CHAINS_PLACEMENT_H
#define CATENA_MASTER_CHAINS_PLACEMENT_H
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

struct placement_target {
	uint32_t id;     /* unique */
	uint64_t domain; /* of which no chain has two */
	uint64_t capacity;
};

/* Makes @partitions chains of @copies members, all in-sync, of epoch 1, into @out. The order of
 * @targets does not matter. -ENODEV: fewer domains than copies. -EINVAL, -ENOMEM. */
int placement_compute(const struct placement_target *targets, size_t count, uint32_t copies,
		      uint32_t partitions, struct map_chain *out);
/* Computes how many chains each target should be in, in the order of @targets. Errors as above. */
int placement_quotas(const struct placement_target *targets, size_t count, uint32_t copies,
		     uint32_t partitions, double *out);
#endif
