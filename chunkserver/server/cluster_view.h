/* cluster_view.h - what this server knows of the cluster by its master, and has noted at its
 * targets.
 *
 * Targets remember which masters and maps they have gone by, so that an older copy of a master's
 * store is known. They note it before anything is done by what the master says. A target that is
 * down does nothing by it either, and notes it when it is back: cluster_view_note_again().
 *
 * Thread: the front loop's; noting may take as long as a write to the disk. */
#ifndef CATENA_CHUNKSERVER_SERVER_CLUSTER_VIEW_H
#define CATENA_CHUNKSERVER_SERVER_CLUSTER_VIEW_H
#include <stdbool.h>
#include <stdint.h>
#include "chunkserver/server/master_session.h"
#include "chunkserver/server/targets.h"
#include "common/cluster/cluster_map.h"

/* All zero: nothing. */
struct cluster_view {
	struct cluster_map *map;       /* NULL: none yet */
	struct master_identity master; /* the one that joined last */
	uint64_t server_id;
	uint64_t index_noted_ns;
	bool unnoted; /* some target has not noted the master or the map: it was down */
};

/* Judges the identity of a master. Errors: -EXDEV: it is of another cluster; -ESTALE: targets have
 * gone by a later one; -errno: a target cannot note its cluster. The log says which. */
int cluster_view_join(struct cluster_view *view, const struct targets *targets,
		      const struct master_identity *master);
/* Notes that the master has registered the server and @targets, which have their numbers. */
void cluster_view_registered(struct cluster_view *view, const struct targets *targets,
			     uint64_t server_id);
/* Takes a map, of which it keeps a reference. False: it is older than one that was gone by here,
 * and is not to be used. */
bool cluster_view_set_map(struct cluster_view *view, struct targets *targets,
			  struct cluster_map *map);
/* Notes that the master's log is on stable storage up to @index. */
void cluster_view_index(struct cluster_view *view, const struct targets *targets, uint64_t index);
/* Notes once more what some target has not noted, if there is one. */
void cluster_view_note_again(struct cluster_view *view, const struct targets *targets);
/* True when a client's session is over by the map. */
bool cluster_view_session_over(const struct cluster_view *view, uint64_t session);
void cluster_view_free(struct cluster_view *view);
#endif
