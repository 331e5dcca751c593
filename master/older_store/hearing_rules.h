/* hearing_rules.h - has a master that has started heard enough of its targets to serve? Pure; see
 * hearing.h. */
#ifndef CATENA_MASTER_OLDER_STORE_HEARING_RULES_H
#define CATENA_MASTER_OLDER_STORE_HEARING_RULES_H
#include <stdbool.h>
#include <stdint.h>
#include "common/os/clock.h"
#include "common/cluster/cluster_map.h"

#define HEARING_SHORT_NS (3 * NS_PER_SEC)

enum hearing_state {
	HEARING_SILENT,
	HEARING_REFUSED, /* it has told what it has seen, and that is all */
	HEARING_HERE
};

struct heard {
	uint32_t missing;  /* one of the targets that are waited for; 0: none */
	bool placed;       /* some chain is placed: the targets of chains are waited for */
	bool chain_silent; /* some chain has no in-sync member that is here */
};
/* By the map of the state; @state_of says what is known of a target. */
struct heard hearing_rules_count(const struct cluster_map *map,
				 enum hearing_state (*state_of)(const void *user, uint32_t target),
				 const void *user);
/* @waited_ns: since the start; @wait_ns: [recovery] hear_wait. */
bool hearing_rules_enough(const struct heard *heard, uint64_t waited_ns, uint64_t wait_ns);
/* May a server register whose targets' uuids are @uuids before enough was heard? Not one that the
 * store knows no target of, if it knows any: by what it says nobody can tell how old the store is,
 * and an old store would give it numbers that are others'. */
bool hearing_rules_take(const struct cluster_map *map, const char *const *uuids, size_t count);
#endif
