/* op_ids.c - which ids of updates a chunk goes on to know. Pure. */
#include "chunkserver/record/op_ids.h"
#include <string.h>
#include "chunkserver/base/chain_faults.h"

uint32_t op_ids_void(struct op_id *ops, uint32_t count, uint64_t version)
{
	for (uint32_t i = 0; i < count; i++)
		if (ops[i].version > version)
			version = ops[i].version;
	if (version == 0)
		return 0;
	ops[0] = (struct op_id){.version = version};
	return 1;
}

static uint32_t drop_answered(struct op_id *ops, uint32_t count, uint64_t client_id,
			      uint64_t answered)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		bool nobodys = ops[i].client_id == 0; /* of op_ids_void() */

		if (!nobodys && (ops[i].client_id != client_id || ops[i].op_id > answered))
			ops[kept++] = ops[i];
	}
	return kept;
}

static uint32_t drop_over(struct op_id *ops, uint32_t count, const struct cluster_map *sessions)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++)
		if (!cluster_map_session_over(sessions, ops[i].client_id))
			ops[kept++] = ops[i];
	return kept;
}

uint32_t op_ids_drop(struct op_id *ops, uint32_t count, uint64_t client_id, uint64_t answered,
		     const struct cluster_map *sessions, uint32_t limit)
{
	count = drop_answered(ops, count, client_id, answered);
	if (count >= limit && sessions != NULL)
		count = drop_over(ops, count, sessions);
	if (count >= limit && count > 0 && FAULTY(EVICT_UNANSWERED)) {
		count--;
		memmove(ops, ops + 1, count * sizeof(*ops));
	}
	return count;
}
