/* cluster_map_internal.h - between cluster_map.c and its codec. */
#ifndef CATENA_COMMON_CLUSTER_CLUSTER_MAP_INTERNAL_H
#define CATENA_COMMON_CLUSTER_CLUSTER_MAP_INTERNAL_H
#include "common/cluster/cluster_map.h"

/* Empty, with one reference; its arrays are calloc()ed by the codec and freed by unref. */
struct cluster_map *cluster_map_alloc(void);

#endif
