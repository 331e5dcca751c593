/* route.h - the mount's own decisions of routing (fs/chains/route.c) for the
 * simulation of a cluster, which has the chunkserver's struct chain_request in sight. */
#ifndef CATENA_TESTS_SIM_CLUSTER_ROUTE_H
#define CATENA_TESTS_SIM_CLUSTER_ROUTE_H
#include <stdbool.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"

struct route_request {
	uint8_t op;
	bool to_tail;
	struct chunk_key key;
	uint32_t offset;
	uint8_t tried_count, bad_count;
	uint32_t tried[CHAIN_MEMBERS_MAX]; /* targets that could not answer this time */
	uint32_t bad[CHAIN_MEMBERS_MAX];   /* targets whose copy is bad */
	unsigned checksum_failures;
};

struct route {
	uint64_t epoch, server_id;
	uint32_t target_id;
};

enum route_verdict {
	ROUTE_DONE,
	ROUTE_RETRY,
	ROUTE_OTHER_MEMBER,
	ROUTE_BAD_COPY,
	ROUTE_ASK_TAIL,
	ROUTE_SEND_AGAIN,
};

/* @load: how many requests are under way to a server; -1: it could not be reached last time. */
int route_choose(const struct cluster_map *map, const struct route_request *request,
		 int (*load)(void *user, uint64_t server_id), void *user, struct route *out);
enum route_verdict route_judge(const struct route_request *request, uint32_t status, int *error);
bool route_to_any(const struct route_request *request);
uint64_t route_backoff_ns(unsigned attempts);
#endif
