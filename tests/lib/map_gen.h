/* map_gen.h - cluster maps made by hand, for tests of their codec. Such a map is freed by
 * map_gen_free(), and goes to cluster_map_encode() and the lookups only. */
#ifndef CATENA_TESTS_LIB_MAP_GEN_H
#define CATENA_TESTS_LIB_MAP_GEN_H
#include "common/cluster/cluster_map.h"
#include "tests/lib/fuzz.h"

void *map_gen_array(size_t count, size_t size);
void map_gen_free(struct cluster_map *map);

/* A valid map: ids with gaps, ascending; at most @most of each kind. */
struct cluster_map map_gen(uint64_t *state, uint32_t most);
bool map_gen_equal(const struct cluster_map *a, const struct cluster_map *b);
#endif
