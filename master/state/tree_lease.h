/* tree_lease.h - the exclusive lease on the whole tree, as the store has it. */
#ifndef CATENA_MASTER_STATE_TREE_LEASE_H
#define CATENA_MASTER_STATE_TREE_LEASE_H
#include <stdbool.h>
#include <stdint.h>
#include "master/records/core.h"

/* After the sessions. */
int tree_lease_load(struct state *state);
void tree_lease_unload(struct state *state);
/* Adds to the batch what follows for the lease from the end of @session; tree_lease_closed() after
 * it was written. */
void tree_lease_batch_close(const struct state *state, struct kv_batch *batch,
			    const struct session *session);
void tree_lease_closed(struct state *state, uint64_t session);
/* May the session do what its program has the answer of since this generation? */
bool tree_lease_allows(const struct state *state, const struct session *session,
		       uint64_t generation);
#endif
