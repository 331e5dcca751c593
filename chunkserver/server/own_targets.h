/* own_targets.h - what all targets of a server together remember of clusters, masters and maps, and
 * whether chains still need them.
 *
 * @stores are the open targets and @ids their numbers, in the same order, @count of both. An id of
 * 0 means that the master refuses the target. Nothing is owned or kept.
 *
 * Thread: the one that opened the stores. The functions called see write to the disks, and may take
 * as long as that. */
#ifndef CATENA_CHUNKSERVER_SERVER_OWN_TARGETS_H
#define CATENA_CHUNKSERVER_SERVER_OWN_TARGETS_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/server/master_session.h"
#include "chunkserver/store/store.h"
#include "common/cluster/cluster_map.h"

/* Returns the instance of the cluster that the targets belong to; 0: none yet. */
uint64_t own_targets_instance(struct store *const *stores, unsigned count);
/* True when a target has gone by a later life of a master, or by another one that began from the
 * same store. The log says which. */
bool own_targets_overtaken(struct store *const *stores, unsigned count,
			   const struct master_identity *master);
/* True when a target has gone by a newer map than @map. The log says so, because the master should
 * have noticed itself. */
bool own_targets_ahead(struct store *const *stores, unsigned count, const struct cluster_map *map);
/* Notes the master, and the numbers that it has given to the server and to the targets that it does
 * not refuse. False: a target that is down has not noted it. */
bool own_targets_see_master(struct store *const *stores, const uint32_t *ids, unsigned count,
			    const struct master_identity *master, uint64_t server_id);
/* Notes how far the master's log is on stable storage: an older copy of its store is known by
 * that. */
void own_targets_see_index(struct store *const *stores, unsigned count, uint64_t index);
/* Notes @map at the targets that the master does not refuse. False: as above. */
bool own_targets_see_map(struct store *const *stores, const uint32_t *ids, unsigned count,
			 const struct cluster_map *map);
/* True when a target is in a chain that another server's in-sync target could go on with. @map may
 * be NULL. */
bool own_targets_needed(const uint32_t *ids, unsigned count, const struct cluster_map *map);
#endif
