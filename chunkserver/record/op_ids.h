/* op_ids.h - the ids of updates that a chunk goes on to know. Pure. */
#ifndef CATENA_CHUNKSERVER_RECORD_OP_IDS_H
#define CATENA_CHUNKSERVER_RECORD_OP_IDS_H
#include "chunkserver/record/chunk_info.h"
#include "common/cluster/cluster_map.h"

/* Forgets the updates in @ops, because a copy over the chunk has begun: of what they have made
 * parts may be gone, so none may be recognised from now on. How far the chunk had been, at least
 * @version, stays known as the id of op 0 of client 0, which no client has. Returns the new count,
 * at most 1. */
uint32_t op_ids_void(struct op_id *ops, uint32_t count, uint64_t version);
/* Drops, in place, the ids that can no longer be asked for, before an update of @client_id is
 * committed that says @answered. These are the ids that this client was answered. If @limit or more
 * were left, the ids of sessions that are over by @sessions go too (NULL: none is known to be). Of
 * a session that lives no other id ever goes: its update could come again, and would be applied
 * again, over what was written since. Returns the new count; @limit or more: there is no room for
 * the update's own id.
 *
 * Members need not agree on which sessions are over: each drops by the map that it has. An id that
 * one member may have dropped and another not is of a session that is over for good. A head refuses
 * updates of such a session when its map says so, and it does: a session is over in the map before
 * its fence is answered, every later map says so, and members hear of it before they hear of the
 * chains of that map (worker/place.c). A member that has its list from another one by a copy is
 * behind that one, in a chain which the other had heard of by its own map. To become the head it
 * takes a later chain. */
uint32_t op_ids_drop(struct op_id *ops, uint32_t count, uint64_t client_id, uint64_t answered,
		     const struct cluster_map *sessions, uint32_t limit);
#endif
