/* drop.c - requests that end without having been done, or are to be tried again. */
#include "chunkserver/chain/internal.h"

void drop_from(struct request *r, uint32_t for_client, uint32_t for_server)
{
	struct chain_chunk *chunk = r->chunk;

	chunk_hold(chunk);
	while (r != NULL) {
		struct request *next = r->next;

		if (r->state == REQUEST_PREPARED)
			operation_add(r, CHAIN_ABORT);
		if (r->touched)
			copy_altered(r->chain);
		request_refuse(r, for_client, for_server);
		r = next;
	}
	/* What comes next follows the last that stays. */
	chunk->last = chunk->committed;
	DL_FOREACH(chunk->queue, r)
	if (is_update(r) && !r->dropped && r->work.version > chunk->last)
		chunk->last = r->work.version;
	/* A removal that waits for these would wait for ever. */
	if (chunk->queue == NULL)
		gone_go_on(chunk->chain);
	chunk_let_go(chunk);
}

/* The first of what may be dropped: behind all that the store has begun with, also when it could
 * not end it yet. NULL: nothing. */
static struct request *not_begun(const struct chain_chunk *chunk)
{
	struct request *from = chunk->queue, *r;

	DL_FOREACH(chunk->queue, r)
	{
		/* What is copied has its end with the walk that it came by. */
		if (!is_update(r) && r->work.op != FRAME_FLUSH)
			return chunk->queue;
		if (request_begun(r) && !r->dropped)
			from = r->next;
	}
	return from;
}

static void drop_deferred(struct chain_chunk *chunk, uint32_t for_client)
{
	struct request *r, *next;

	DL_FOREACH_SAFE(chunk->deferred, r, next)
	request_refuse(r, for_client, for_client);
}

void drop_queued(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	struct chain_chunk *chunk, *next;

	DL_FOREACH_SAFE(chain->chunks, chunk, next)
	{
		chunk_hold(chunk);
		drop_deferred(chunk, for_client);
		if (chunk->queue != NULL)
			drop_from(chunk->queue, for_client, for_server);
		chunk_let_go(chunk);
	}
}

void drop_not_begun(struct chain *chain, uint32_t for_client)
{
	struct chain_chunk *chunk, *next;
	struct request *r;

	DL_FOREACH_SAFE(chain->chunks, chunk, next)
	{
		chunk_hold(chunk);
		drop_deferred(chunk, for_client);
		r = not_begun(chunk);
		if (r != NULL)
			drop_from(r, for_client, 0);
		chunk_let_go(chunk);
	}
}

void drop_pending(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->pending, r, next, chain_next)
	request_refuse(r, for_client, for_server);
}

void drop_chunk_pending(struct chain *chain, const struct chunk_key *key)
{
	struct chain_chunk *chunk = chunk_find(chain, key);
	struct request *r, *next;

	if (chunk == NULL)
		return;
	chunk_hold(chunk);
	DL_FOREACH_SAFE(chunk->pending, r, next)
	request_end(r, FRAME_OK, NULL);
	chunk_let_go(chunk);
}

static bool is_copied(const struct chain_chunk *chunk)
{
	const struct request *r;

	DL_FOREACH(chunk->queue, r)
	if (!is_update(r) && r->work.op != FRAME_FLUSH)
		return true;
	return false;
}

void drop_removed(struct chain *chain, const struct chunk_key *key)
{
	struct chain_chunk *chunk = chunk_find(chain, key);
	struct request *r, *next;

	if (chunk == NULL)
		return;
	chunk_hold(chunk);
	drop_chunk_pending(chain, key);
	if (chunk->queue != NULL && !is_copied(chunk)) {
		DL_FOREACH_SAFE(chunk->queue, r, next)
		{
			if (r->state == REQUEST_PREPARED)
				operation_add(r, CHAIN_ABORT);
			request_removed(r);
		}
		chunk->committed = chunk->last = 0;
		chunk_go_on(chunk);
	}
	chunk_let_go(chunk);
}

static void sync_again(struct chain *chain)
{
	struct request *r;

	DL_FOREACH2(chain->pending, r, chain_next)
	{
		if (r->flush != FLUSH_WANTED)
			continue;
		r->flush = FLUSH_UNDER_WAY;
		operation_add(r, CHAIN_SYNC);
	}
}

void retry_requests(struct chain *chain, bool drop)
{
	struct chain_chunk *chunk, *next;

	DL_FOREACH_SAFE(chain->chunks, chunk, next)
	{
		struct request *r;
		bool again;

		chunk_hold(chunk);
		for (r = chunk->queue; r != NULL && r->state != REQUEST_RETRY;)
			r = r->next;
		again = r != NULL;
		if (r != NULL && drop)
			drop_from(r, 0, 0);
		for (r = chunk->queue; r != NULL; r = r->next)
			if (r->state == REQUEST_RETRY)
				r->state = REQUEST_QUEUED;
		if (again)
			chunk_go_on(chunk);
		chunk_let_go(chunk);
	}
	if (!drop)
		sync_again(chain);
}

void drop_everything(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	inbound_end_refuse(chain);
	/* Before there may be nobody to wait for. */
	drop_pending(chain, for_client, for_server);
	held_refuse(chain, for_client, for_server);
	drop_queued(chain, for_client, for_server);
	inbound_lose(chain);
	link_reset(chain);
	chain->inbound.ready = chain->outbound.ready = false;
}
