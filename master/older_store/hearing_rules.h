/* hearing_rules.h - says whether a master that has started has heard enough targets to serve. Pure.
 * cluster/hearing.h has the story. */
#ifndef CATENA_MASTER_OLDER_STORE_HEARING_RULES_H
#define CATENA_MASTER_OLDER_STORE_HEARING_RULES_H
#include <stdbool.h>
#include <stdint.h>
#include "common/base/duration.h"
#include "common/cluster/cluster_map.h"

#define HEARING_SHORT_NS (3 * NS_PER_SEC)

enum hearing_state {
	HEARING_SILENT,
	HEARING_REFUSED, /* it has told what it has seen, and serves nothing */
	HEARING_HERE
};

struct heard {
	uint32_t missing;  /* one of the targets that the master waits for; 0: none */
	bool placed;       /* some chain is placed: the targets of chains are waited for */
	bool chain_silent; /* some chain has no in-sync member that is here */
};
/* Counts by the map of the state; @state_of says what is known of a target. */
struct heard hearing_rules_count(const struct cluster_map *map,
				 enum hearing_state (*state_of)(const void *user, uint32_t target),
				 const void *user);
/* True when enough was heard. @waited_ns: since the start; @wait_ns: [recovery] hear_wait. */
bool hearing_rules_enough(const struct heard *heard, uint64_t waited_ns, uint64_t wait_ns);
/* True when a server with targets of these @uuids may register before enough was heard. If the
 * store knows targets, one of these must be among them. What others say does not show how old the
 * store is, and an old store would give them numbers that are taken. */
bool hearing_rules_take(const struct cluster_map *map, const char *const *uuids, size_t count);
#endif
