#include "chunkserver/worker/purge.h"
#include "common/base/expects.h"
#include <stdlib.h>

static uint64_t purge_key(uint32_t pool, uint32_t partition)
{
	return (uint64_t)pool << 32 | partition;
}

bool purge_list_holds(struct worker_target *target, uint32_t pool, uint32_t partition)
{
	struct purge *purge = target->purging;

	if (purge == NULL || purge->key != purge_key(pool, partition))
		return false;
	purge->wanted = true;
	return true;
}

void purge_list_add(struct worker_target *target, uint32_t pool, uint32_t partition)
{
	uint64_t key = purge_key(pool, partition);
	struct purge *purge;

	HASH_FIND(hh, target->purges, &key, sizeof(key), purge);
	if (purge != NULL)
		return;
	purge = calloc(1, sizeof(*purge));
	if (purge == NULL)
		return; /* the chunks stay until the partition changes again, or the next start */
	purge->pool = pool;
	purge->partition = partition;
	purge->key = key;
	HASH_ADD(hh, target->purges, key, sizeof(purge->key), purge);
}

void purge_list_drop(struct worker_target *target, struct purge *purge)
{
	expects(target->purging != purge); /* the batch goes on with it */
	HASH_DEL(target->purges, purge);
	free(purge);
}

void purge_list_put_last(struct worker_target *target, struct purge *purge)
{
	HASH_DEL(target->purges, purge);
	HASH_ADD(hh, target->purges, key, sizeof(purge->key), purge);
}

void purge_list_free(struct worker_target *target)
{
	struct purge *purge, *next = NULL;

	HASH_ITER(hh, target->purges, purge, next)
	{
		purge_list_drop(target, purge);
	}
}
