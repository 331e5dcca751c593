#include "chunkserver/server/cluster_view.h"
#include <errno.h>
#include <inttypes.h>
#include "chunkserver/server/own_targets.h"
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

/* Often enough for what an administrator may do, and seldom enough to cost nothing. */
#define INDEX_EVERY_NS NS_PER_SEC

int cluster_view_join(struct cluster_view *view, const struct targets *targets,
		      const struct master_identity *master)
{
	uint64_t ours = targets_instance(targets), instance = master->instance;

	if (instance == 0 || (ours != 0 && ours != instance)) {
		log_error("the master is of another cluster of this name than the targets: its "
			  "store was made anew (catena-master --init) after them "
			  "instance=%016" PRIx64 " ours=%016" PRIx64
			  " hint=\"start the master on the store that the targets belong to, or "
			  "make new targets with --init in empty directories\"",
			  instance, ours);
		return -EXDEV;
	}
	if (master->life == 0 || own_targets_overtaken(targets->stores, targets->count, master))
		return -ESTALE;
	for (unsigned i = 0; i < targets->count; i++) {
		int rc = store_adopt(targets->stores[i], instance);

		if (rc < 0)
			return rc;
	}
	view->master = *master;
	return 0;
}

/* ---- noting at the targets ---- */

static void note_map(struct cluster_view *view, const struct targets *targets)
{
	if (view->map != NULL && targets->ids != NULL &&
	    !own_targets_see_map(targets->stores, targets->ids, targets->count, view->map))
		view->unnoted = true;
}

static void note_all(struct cluster_view *view, const struct targets *targets)
{
	expects(targets->ids != NULL);
	view->unnoted = !own_targets_see_master(targets->stores, targets->ids, targets->count,
						&view->master, view->server_id);
	note_map(view, targets);
}

void cluster_view_registered(struct cluster_view *view, const struct targets *targets,
			     uint64_t server_id)
{
	expects(view->master.life != 0);
	view->server_id = server_id;
	note_all(view, targets);
}

bool cluster_view_set_map(struct cluster_view *view, struct targets *targets,
			  struct cluster_map *map)
{
	if (view->map != NULL && map->version < view->map->version)
		return false;
	if (own_targets_ahead(targets->stores, targets->count, map))
		return false;
	cluster_map_unref(view->map);
	view->map = cluster_map_ref(map);
	targets_map(targets, map->version);
	note_map(view, targets);
	return true;
}

void cluster_view_index(struct cluster_view *view, const struct targets *targets, uint64_t index)
{
	uint64_t now_ns = clock_boottime_ns();

	if (now_ns - view->index_noted_ns < INDEX_EVERY_NS)
		return;
	view->index_noted_ns = now_ns;
	own_targets_see_index(targets->stores, targets->count, index);
}

void cluster_view_note_again(struct cluster_view *view, const struct targets *targets)
{
	if (view->unnoted)
		note_all(view, targets);
}

bool cluster_view_session_over(const struct cluster_view *view, uint64_t session)
{
	return view->map != NULL && cluster_map_session_over(view->map, session);
}

void cluster_view_free(struct cluster_view *view)
{
	cluster_map_unref(view->map);
	view->map = NULL;
}
