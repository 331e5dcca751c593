/* map.h - pools, servers and targets, as a check of the map knows them. Internal to master/check.
 * Pure. */
#ifndef CATENA_MASTER_CHECK_MAP_H
#define CATENA_MASTER_CHECK_MAP_H
#include "master/check/run.h"
#include "master/records/cluster.h"

#define CHECK_DOMAIN_LEVELS (FAILURE_DOMAIN_ZONE + 1)

/* Of those that are not readable only the number is known. */
struct check_pool {
	uint32_t id;
	bool readable;
	struct state_pool pool;
	uint64_t placed;  /* partitions with a chain */
	uint8_t *present; /* a bit for each partition: it has one */
};

struct check_server {
	uint64_t id;
	bool readable;
	uint64_t domains[CHECK_DOMAIN_LEVELS]; /* by enum failure_domain */
	char name[MAP_NAME_MAX];
};

struct check_target {
	uint32_t id;
	bool readable;
	struct state_target target;
};

/* Each array ascending by id. */
struct check_map {
	struct check_run *run;
	struct check_pool *pools;
	struct check_server *servers;
	struct check_target *targets;
	size_t pool_count, server_count, target_count;
};

/* map_parts.c: reads all but the chains, and compares them with each other. Freed in any case. */
int check_map_read(struct check_map *map);
void check_map_free(struct check_map *map);
/* Find a part; NULL: there is none. */
struct check_pool *check_map_pool(const struct check_map *map, uint32_t id);
const struct check_server *check_map_server(const struct check_map *map, uint64_t id);
const struct check_target *check_map_target(const struct check_map *map, uint32_t id);

/* map_chains.c: all chains, against these. */
int check_map_chains(struct check_map *map);
#endif
