/* chains.c - the state's map, made anew when it has changed; see chains.h. */
#include "master/shared/chains.h"
#include "common/os/lock.h"

const struct cluster_map *chains_map(struct master *master)
{
	struct cluster_map *map;

	lock_held(&master->lock);
	if (master->chains_map != NULL &&
	    master->chains_map->version == state_map_version(master->state))
		return master->chains_map;
	map = state_map(master->state);
	if (map == NULL)
		return NULL;
	cluster_map_unref(master->chains_map);
	master->chains_map = map;
	return map;
}
