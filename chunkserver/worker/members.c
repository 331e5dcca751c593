#include "chunkserver/worker/members.h"
#include "common/base/expects.h"
#include <stdlib.h>

static uint64_t member_key(uint32_t pool, uint32_t partition)
{
	return (uint64_t)pool << 32 | partition;
}

struct member *member_find(struct worker *worker, uint32_t pool, uint32_t partition,
			   uint32_t target_id)
{
	uint64_t key = member_key(pool, partition);
	struct member *member, *first;

	HASH_FIND(hh, worker->members, &key, sizeof(key), first);
	for (member = first; member != NULL; member = member->hash_next) {
		if (target_id == 0 || member->target->entry.target_id == target_id)
			return member;
	}
	return NULL;
}

struct member *member_add(struct worker *worker, struct worker_target *target, uint32_t pool,
			  uint32_t partition)
{
	struct member *member = calloc(1, sizeof(*member)), *first;

	expects(target->entry.target_id != 0);
	expects(member_find(worker, pool, partition, target->entry.target_id) == NULL);
	if (member == NULL)
		abort(); /* a member that is missing could not be told from one that is gone */
	member->pool = pool;
	member->partition = partition;
	member->key = member_key(pool, partition);
	member->target = target;
	member->chain = chain_new(target->env, pool, partition);
	HASH_FIND(hh, worker->members, &member->key, sizeof(member->key), first);
	if (first != NULL) {
		member->hash_next = first->hash_next;
		first->hash_next = member;
	} else {
		HASH_ADD(hh, worker->members, key, sizeof(member->key), member);
	}
	DL_APPEND(worker->member_list, member);
	return member;
}

void members_free(struct worker *worker)
{
	struct member *member, *next;

	HASH_CLEAR(hh, worker->members);
	DL_FOREACH_SAFE(worker->member_list, member, next)
	{
		expects(member->link == NULL);
		chain_free(member->chain);
		free(member);
	}
	worker->member_list = NULL;
}
