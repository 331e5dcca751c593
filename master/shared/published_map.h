/* published_map.h - the cluster map as the master shows it: what is durable, with liveness and
 * usage.
 *
 * Pools, servers, targets and chains come from the state, and only when they are durable: a chain
 * that a power cut could take back is shown to no one. Liveness and the fill of targets are known
 * in memory only.
 *
 * The version is (version of the state's map) << 36 | changes in memory. The latter are counted
 * from the master's start, which makes a new version of the state's map. So the maps of a restarted
 * master are newer than those that it gave out before, although it does not store them.
 *
 * Locks: the state lock held. */
#ifndef CATENA_MASTER_SHARED_PUBLISHED_MAP_H
#define CATENA_MASTER_SHARED_PUBLISHED_MAP_H
#include "common/cluster/cluster_map.h"
#include "master/state/state.h"

struct published_map {
	struct cluster_map *map; /* read it; change it by the functions below */
	uint8_t *encoded;        /* as last published */
	size_t encoded_size;
	uint64_t changes;
	bool hidden; /* the map is shown to no one for now */
};

/* Opens it, after state_apply_start(). Errors: of published_map_refresh() and encoding. */
int published_map_open(struct published_map *published, struct state *state);
void published_map_close(struct published_map *published);
/* Takes over what is in the state now; it must be durable. Publish afterwards. Errors: -ENOMEM. */
int published_map_refresh(struct published_map *published, struct state *state);
/* Encodes what a refresh would show, as far as @server is to know it before all others
 * (chains/fence_map.h). *out is malloc()ed. */
int published_map_prepare(struct published_map *published, struct state *state, uint64_t server,
			  uint8_t **out, size_t *size);
/* Gives the lowest version under which the state's map of this version, or a later one, is
 * shown. */
uint64_t published_map_version_of(uint64_t state_version);
/* True: that is news, to be published. */
bool published_map_set_online(struct published_map *published, uint64_t server_id, bool online);
void published_map_set_usage(struct published_map *published, uint32_t target_id, uint64_t capacity,
			     uint64_t used, bool full);
/* Makes a new version, encoded anew. */
int published_map_publish(struct published_map *published);
/* Gives the version that was published last, unless the map was refreshed since. */
uint64_t published_map_version(const struct published_map *published);
/* Encodes the map with the usage of now, for a status. *out is malloc()ed. */
int published_map_encode_now(struct published_map *published, uint8_t **out, size_t *size);

struct published_map_space {
	uint64_t total, free; /* bytes of user data */
	uint32_t copies;
};
/* Computes the space of the default pool: what fits before the first target is full. */
void published_map_space(const struct published_map *published, struct published_map_space *out);
#endif
