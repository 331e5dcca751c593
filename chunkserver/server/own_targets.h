/* own_targets.h - what a server's targets, taken together, know of clusters, masters and maps, and
 * whether chains still need them.
 *
 * @stores are the open targets and @ids their numbers, in the same order, @count of both; an id of
 * 0 means that the master has refused that target. Nothing is owned or kept. For the thread that
 * opened the stores; what writes (see) may take as long as a write to the disk. */
#ifndef CATENA_CHUNKSERVER_SERVER_OWN_TARGETS_H
#define CATENA_CHUNKSERVER_SERVER_OWN_TARGETS_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/server/master_session.h"
#include "chunkserver/store/store.h"
#include "common/cluster/cluster_map.h"

/* The instance of the cluster that all targets agree on; 0: they belong to none yet. */
uint64_t own_targets_instance(struct store *const *stores, unsigned count);
/* Has a target had to do with a later life of a master than this one's, or with another that began
 * from the same store? Says so in the log. */
bool own_targets_overtaken(struct store *const *stores, unsigned count,
			   const struct master_identity *master);
/* Has a target gone by a newer map than @map? Says so in the log; the master itself should have
 * noticed. */
bool own_targets_ahead(struct store *const *stores, unsigned count, const struct cluster_map *map);
/* Notes who the master is, and the numbers that it has given to the server and to those targets
 * that it has not refused. False: some target has not noted it, since it is down. */
bool own_targets_see_master(struct store *const *stores, const uint32_t *ids, unsigned count,
			    const struct master_identity *master, uint64_t server_id);
/* Notes how far the master's log is on stable storage: an older copy of its store is known by it.
 */
void own_targets_see_index(struct store *const *stores, unsigned count, uint64_t index);
/* Notes @map at the targets that the master has not refused; false as above. */
bool own_targets_see_map(struct store *const *stores, const uint32_t *ids, unsigned count,
			 const struct cluster_map *map);
/* Is one of the targets in a chain that has somebody else who could go on without it? @map may be
 * NULL. */
bool own_targets_needed(const uint32_t *ids, unsigned count, const struct cluster_map *map);
#endif
