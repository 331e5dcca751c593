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

struct view {
	struct cluster_map *map; /* read it; change it by the functions below */
	uint8_t *encoded;        /* as last published */
	size_t encoded_size;
	uint64_t changes;
	bool hidden; /* nobody is shown the map for now */
};

/* After state_apply_start(). */
int view_open(struct view *view, struct state *state);
void view_close(struct view *view);
/* Takes over what is in the state now; it must be durable. Publish afterwards. */
int view_refresh(struct view *view, struct state *state);
/* What that will make of it, encoded (malloc()ed), as far as @server is to know it before the
 * others (fence_map.h): nobody else sees it before view_refresh(). */
int view_prepare(struct view *view, struct state *state, uint64_t server, uint8_t **out,
		 size_t *size);
/* The lowest version that is shown of the state's map with this version, or of a later one. */
uint64_t view_version_of(uint64_t state_version);
/* True: that is news; publish. */
bool view_set_online(struct view *view, uint64_t server_id, bool online);
void view_set_usage(struct view *view, uint32_t target_id, uint64_t capacity, uint64_t used,
		    bool full);
/* A new version, encoded anew. */
int view_publish(struct view *view);
/* Of what was published last, unless it was refreshed since. */
uint64_t view_version(const struct view *view);
/* The same with today's usage, malloc()ed, for those who only look. */
int view_encode_now(struct view *view, uint8_t **out, size_t *size);

struct view_space {
	uint64_t total, free; /* bytes of user data */
	uint32_t copies;
};
/* Of the default pool: what fits before the first target is full. */
void view_space(const struct view *view, struct view_space *out);
#endif
