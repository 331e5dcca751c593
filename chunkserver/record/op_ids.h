/* op_ids.h - the ids of updates that a chunk goes on to know. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_OP_IDS_H
#define CATENA_CHUNKSERVER_RECORD_OP_IDS_H
#include "chunkserver/record/chunk_info.h"
#include "common/cluster/cluster_map.h"

/* A copy over a chunk has begun: none of the updates in @ops may be recognised from now on, since
 * of what they have made parts may be gone. How far the chunk had been, at least @version, stays
 * known (op 0 of client 0 is nobody's). Returns the new count, at most 1. */
uint32_t op_ids_void(struct op_id *ops, uint32_t count, uint64_t version);
/* Before an update of @client_id is committed, which says @answered: drops, in place, what nobody
 * can ask for again. That is what this client was answered, and, if @limit or more were left, what
 * is of sessions that are over by @sessions (NULL: none is known to be). Of a session that lives
 * nothing else ever goes: an update of it that comes again would be applied again, over what others
 * have written since. Returns the new count; @limit or more: there is no room for the update's own
 * id.
 *
 * Members need not agree on what is over: each drops by the map that it has. All that one may have
 * dropped and another not is of sessions that are over for good. A head refuses their updates if
 * its map says so, and it does: a session is over in the map before its fence is answered, every
 * map after that says so, and members hear of it before they hear of the chains of that map
 * (worker/place.c). Who has a list from another member, by a copy, is behind that one in a chain
 * which that member had heard of by its own map; to become the head it takes a later one. */
uint32_t op_ids_drop(struct op_id *ops, uint32_t count, uint64_t client_id, uint64_t answered,
		     const struct cluster_map *sessions, uint32_t limit);
#endif
