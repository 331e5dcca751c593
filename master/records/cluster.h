/* cluster.h - pools, servers, targets and chains: their tables and records.
 *
 * All of it is in memory. A change is made in a copy of the record, written, and then taken over.
 */
#ifndef CATENA_MASTER_RECORDS_CLUSTER_H
#define CATENA_MASTER_RECORDS_CLUSTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/cluster_map.h"
#include "common/kv/kv.h"
#include "master/records/types.h"

#define DEFAULT_POOL   1u
#define PARTITIONS_MAX 65536u

struct state;

struct state_pool {
	uint32_t id, copies, partitions, chunk_size;
	enum failure_domain failure_domain;
	char name[MAP_NAME_MAX];
	struct map_chain *chains;
};

struct state_target {
	uint32_t id;
	uint64_t server_id;
	uint64_t life; /* the last one whose consequences are in the chains; 0: none was seen */
	bool draining;
	char uuid[37];
};

struct cluster {
	struct state_pool *pools;
	struct map_server *servers;
	struct state_target *targets;
	size_t pool_count, server_count, target_count;
	struct state_recovery recovery;
	uint64_t *fenced; /* servers that had to be told first of the last change */
	size_t fenced_count;
};

/* NULL: there is none. */
struct state_pool *cluster_find_pool(struct cluster *cluster, uint32_t id);
struct state_target *cluster_find_target(struct cluster *cluster, uint32_t id);
/* Each adds a record to the batch. */
void cluster_put_server(struct kv_batch *batch, const struct map_server *server);
void cluster_put_target(struct kv_batch *batch, const struct state_target *target);
void cluster_put_chain(struct kv_batch *batch, uint32_t pool, uint32_t partition,
		       const struct map_chain *chain);
void cluster_put_recovery(struct kv_batch *batch, const struct state_recovery *recovery);
/* -ENOMEM. */
int cluster_put_fence(struct kv_batch *batch, const uint64_t *servers, size_t count);
void cluster_put_pool(struct kv_batch *batch, const struct state_pool *pool);
/* Each reads a record, all of it but a pool's chains. @key has META_KEY_MAX bytes, of which the ids are
 * taken. False for what was not written by the function above. */
bool cluster_decode_pool(const uint8_t *key, const uint8_t *data, size_t size,
			 struct state_pool *pool);
bool cluster_decode_server(const uint8_t *key, const uint8_t *data, size_t size,
			   struct map_server *server);
bool cluster_decode_target(const uint8_t *key, const uint8_t *data, size_t size,
			   struct state_target *target);
bool cluster_decode_chain(const uint8_t *data, size_t size, struct map_chain *chain);
bool cluster_decode_recovery(const uint8_t *data, size_t size, struct state_recovery *recovery);
/* The servers' numbers are the rest of the record, le64 each. */
bool cluster_decode_fence(const uint8_t *data, size_t size, size_t *count);
int cluster_load(struct state *state);
void cluster_unload(struct state *state);
#endif
