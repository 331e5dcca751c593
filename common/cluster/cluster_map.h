/* cluster_map.h - the cluster map: pools, servers, targets and chains, as one immutable value.
 * Pure.
 *
 * The master makes it. Each client and chunkserver gets it whole on its session and swaps the
 * pointer. A newer version replaces an older one, never the other way. Maps are reference counted.
 * Thread: any. */
#ifndef CATENA_COMMON_CLUSTER_CLUSTER_MAP_H
#define CATENA_COMMON_CLUSTER_CLUSTER_MAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/cluster/chunk.h"

#define CHAIN_MEMBERS_MAX 8
#define MAP_NAME_MAX      128
/* The upper bits of a version count what is stored, the lower changes of liveness. */
#define MAP_CHANGE_BITS 36

enum member_state { MEMBER_IN_SYNC = 1, MEMBER_SYNCING = 2, MEMBER_OFFLINE = 3 };

struct chain_member {
	uint32_t target_id;
	enum member_state state;
};

/* Epochs of one line grow with each change. A master's store that is accepted although it is older
 * than what was done begins another line: members may have done then what it does not know. */
#define EPOCH_LINE_SHIFT 32
static inline bool epochs_of_one_line(uint64_t a, uint64_t b)
{
	return a >> EPOCH_LINE_SHIFT == b >> EPOCH_LINE_SHIFT;
}

struct map_chain {
	uint64_t epoch; /* 0: not placed yet */
	uint32_t count;
	struct chain_member members[CHAIN_MEMBERS_MAX]; /* head first; in-sync ones before others */
};

/* The kind of place of which a chain has at most one member. A server without the label counts by
 * the next finer one. */
enum failure_domain {
	FAILURE_DOMAIN_DEFAULT, /* as host */
	FAILURE_DOMAIN_SERVER,
	FAILURE_DOMAIN_HOST,
	FAILURE_DOMAIN_RACK,
	FAILURE_DOMAIN_ZONE
};

struct map_pool {
	uint32_t id;
	uint32_t copies;
	uint32_t partitions;
	uint32_t chunk_size;
	enum failure_domain failure_domain;
	struct map_chain *chains; /* partitions of them */
};

struct map_server {
	uint64_t id;
	uint32_t workers;
	bool online;                /* has a live session with the master */
	char name[MAP_NAME_MAX];    /* of its certificate */
	char address[MAP_NAME_MAX]; /* data plane, host:port */
	char host[MAP_NAME_MAX], rack[MAP_NAME_MAX], zone[MAP_NAME_MAX];
};

struct map_target {
	uint32_t id;
	uint64_t server_id;
	uint64_t capacity, used; /* bytes, as last reported */
	bool full;               /* takes no more data */
	bool draining;           /* is to be emptied */
	char uuid[37];
};

struct cluster_map {
	uint64_t version;
	uint64_t instance; /* of the cluster: chance, from when its master's store was made */
	char cluster[64];
	size_t pool_count, server_count, target_count;
	/* Each sorted by id, ascending: the lookups search by halves. */
	struct map_pool *pools;
	struct map_server *servers;
	struct map_target *targets;
	/* Sessions of clients that are over: these, ascending, and all below the floor. */
	uint64_t *fenced, session_floor;
	size_t fenced_count;
};

/* From and to the protobuf message ClusterMap; everything is bounded and cross-checked (chains name
 * known targets, targets known servers, no target twice in a chain, in-sync members first; ids of
 * servers and targets, and workers, are not 0; a chain for each partition). Any order of ids is
 * taken and sorted. -EBADMSG, -ENOMEM. */
int cluster_map_decode(const void *data, size_t size, struct cluster_map **out);
int cluster_map_encode(const struct cluster_map *map, uint8_t **out, size_t *size); /* malloc()ed */
/* The same from the message when it came inside another and is unpacked already (catena.pb-c.h);
 * nothing of it is kept. */
struct Catena__ClusterMap;
int cluster_map_from_message(const struct Catena__ClusterMap *message, struct cluster_map **out);
/* Give and take references. @map must come from decode. */
struct cluster_map *cluster_map_ref(struct cluster_map *map);
void cluster_map_unref(struct cluster_map *map); /* NULL is allowed */

/* Find a part of the map; NULL: it has none of that id. */
const struct map_pool *cluster_map_pool(const struct cluster_map *map, uint32_t pool);
const struct map_chain *cluster_map_chain(const struct cluster_map *map, uint32_t pool,
					  uint32_t partition);
const struct map_target *cluster_map_target(const struct cluster_map *map, uint32_t target_id);
const struct map_server *cluster_map_server(const struct cluster_map *map, uint64_t server_id);
const struct map_server *cluster_map_target_server(const struct cluster_map *map,
						   uint32_t target_id);
/* True when this client's session is over: no update of it may take effect any more. Id 0 is no
 * session. */
bool cluster_map_session_over(const struct cluster_map *map, uint64_t session);
/* Return the index of the first and of the last in-sync member; -1: none. */
int cluster_map_chain_head(const struct map_chain *chain);
int cluster_map_chain_tail(const struct map_chain *chain);
/* Returns the index of a target in the chain; -1: it is not a member. */
int cluster_map_chain_index(const struct map_chain *chain, uint32_t target_id);
#endif
