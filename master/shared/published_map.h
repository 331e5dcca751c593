/* published_map.h - the cluster map as the master shows it: what is durable, with liveness and
 * usage.
 *
 * Pools, servers, targets and chains come from the state, and only when they are durable: nobody
 * may hear of a chain that a power cut could take back. Who is online and how full targets are is
 * known in memory only.
 *
 * The version is (version of the state's map) << 36 | changes in memory, the latter counted from
 * the master's start, which makes a new version of the state's map: so a restarted master's maps
 * are newer than those it gave out before, although it does not store them.
 *
 * Threading: with the state lock held. */
#ifndef CATENA_MASTER_SHARED_PUBLISHED_MAP_H
#define CATENA_MASTER_SHARED_PUBLISHED_MAP_H
#include "common/cluster/cluster_map.h"
#include "master/state/state.h"

struct published_map {
	struct cluster_map *map; /* read it; change it by the functions below */
	uint8_t *encoded;        /* as last published */
	size_t encoded_size;
	uint64_t changes;
	bool hidden; /* nobody is shown the map for now */
};

/* After state_apply_start(). */
int published_map_open(struct published_map *published, struct state *state);
void published_map_close(struct published_map *published);
/* Takes over what is in the state now; it must be durable. Publish afterwards. */
int published_map_refresh(struct published_map *published, struct state *state);
/* What that will make of it, encoded (malloc()ed), as far as @server is to know it before the
 * others (fence_map.h): nobody else sees it before published_map_refresh(). */
int published_map_prepare(struct published_map *published, struct state *state, uint64_t server,
			  uint8_t **out, size_t *size);
/* The lowest version that is shown of the state's map with this version, or of a later one. */
uint64_t published_map_version_of(uint64_t state_version);
/* True: that is news; publish. */
bool published_map_set_online(struct published_map *published, uint64_t server_id, bool online);
void published_map_set_usage(struct published_map *published, uint32_t target_id, uint64_t capacity,
			     uint64_t used, bool full);
/* A new version, encoded anew. */
int published_map_publish(struct published_map *published);
/* Of what was published last, unless it was refreshed since. */
uint64_t published_map_version(const struct published_map *published);
/* The same with today's usage, malloc()ed, for those who only look. */
int published_map_encode_now(struct published_map *published, uint8_t **out, size_t *size);

struct published_map_space {
	uint64_t total, free; /* bytes of user data */
	uint32_t copies;
};
/* Of the default pool: what fits before the first target is full. */
void published_map_space(const struct published_map *published, struct published_map_space *out);
#endif
