/* drop.c - requests that end without having been done, or are to be tried again.
 *
 * An update that the store has begun with may be in place in part. docs/chain.md, "Equal at rest",
 * tells for each of its ends why no two members stay different. */
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/accept.h"
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"

void chain_drop_from(struct request *r, uint32_t for_client, uint32_t for_server)
{
	struct chain_chunk *chunk = r->chunk;

	chain_chunk_pin(chunk);
	while (r != NULL) {
		struct request *next = r->next;

		if (r->state == REQUEST_PREPARED)
			chain_operation_add(r, CHAIN_ABORT);
		if (r->touched)
			chain_copy_altered(r->chain);
		chain_request_refuse(r, for_client, for_server);
		r = next;
	}
	/* What comes next follows the last that stays. */
	chunk->last = chunk->committed;
	DL_FOREACH(chunk->queue, r)
	if (request_is_update(r) && !r->dropped && r->work.version > chunk->last)
		chunk->last = r->work.version;
	/* A removal that waits for these would wait for ever. */
	if (chunk->queue == NULL)
		chain_inbound_removals_advance(chunk->chain);
	chain_chunk_unpin(chunk);
}

/* Returns the first request that may be dropped: the one behind all that the store has begun with,
 * ended or not. NULL: there is none. */
static struct request *not_begun(const struct chain_chunk *chunk)
{
	struct request *from = chunk->queue, *r;

	DL_FOREACH(chunk->queue, r)
	{
		/* What is copied has its end with the walk that it came by. */
		if (!request_is_update(r) && r->work.op != FRAME_FLUSH)
			return chunk->queue;
		if (request_is_begun(r) && !r->dropped)
			from = r->next;
	}
	return from;
}

static void drop_deferred(struct chain_chunk *chunk, uint32_t for_client)
{
	struct request *r, *next;

	DL_FOREACH_SAFE(chunk->deferred, r, next)
	chain_request_refuse(r, for_client, for_client);
}

void chain_drop_queued(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	struct chain_chunk *chunk;

	for (chunk = chain_chunk_first(chain); chunk != NULL; chunk = chain_chunk_after(chunk)) {
		drop_deferred(chunk, for_client);
		if (chunk->queue != NULL)
			chain_drop_from(chunk->queue, for_client, for_server);
	}
}

void chain_drop_not_begun(struct chain *chain, uint32_t for_client)
{
	struct chain_chunk *chunk;
	struct request *r;

	for (chunk = chain_chunk_first(chain); chunk != NULL; chunk = chain_chunk_after(chunk)) {
		drop_deferred(chunk, for_client);
		r = not_begun(chunk);
		if (r != NULL)
			chain_drop_from(r, for_client, 0);
	}
}

void chain_drop_pending(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->pending, r, next, chain_next)
	chain_request_refuse(r, for_client, for_server);
}

void chain_drop_chunk_pending(struct chain *chain, const struct chunk_key *key)
{
	struct chain_chunk *chunk = chain_chunk_find(chain, key);
	struct request *r, *next;

	if (chunk == NULL)
		return;
	chain_chunk_pin(chunk);
	DL_FOREACH_SAFE(chunk->pending, r, next)
	chain_request_end(r, FRAME_OK, NULL);
	chain_chunk_unpin(chunk);
}

static bool is_copied(const struct chain_chunk *chunk)
{
	const struct request *r;

	DL_FOREACH(chunk->queue, r)
	if (!request_is_update(r) && r->work.op != FRAME_FLUSH)
		return true;
	return false;
}

bool chain_drop_removed(struct chain *chain, const struct chunk_key *key)
{
	struct chain_chunk *chunk = chain_chunk_find(chain, key);
	struct request *r, *next;
	bool copied;

	if (chunk == NULL)
		return false;
	chain_chunk_pin(chunk);
	chain_drop_chunk_pending(chain, key);
	copied = is_copied(chunk);
	if (chunk->queue != NULL && !copied) {
		DL_FOREACH_SAFE(chunk->queue, r, next)
		{
			if (r->state == REQUEST_PREPARED)
				chain_operation_add(r, CHAIN_ABORT);
			chain_request_end_removed(r);
		}
		chunk->committed = chunk->last = 0;
		chain_chunk_advance(chunk);
	}
	chain_chunk_unpin(chunk);
	return copied;
}

static void flush_again(struct chain *chain)
{
	struct request *r;

	DL_FOREACH2(chain->pending, r, chain_next)
	{
		if (r->flush != FLUSH_WANTED)
			continue;
		r->flush = FLUSH_UNDER_WAY;
		chain_operation_add(r, CHAIN_FLUSH);
	}
}

void chain_retry_requests(struct chain *chain, bool drop)
{
	struct chain_chunk *chunk;

	for (chunk = chain_chunk_first(chain); chunk != NULL; chunk = chain_chunk_after(chunk)) {
		struct request *r;
		bool again;

		for (r = chunk->queue; r != NULL && r->state != REQUEST_RETRY;)
			r = r->next;
		again = r != NULL;
		if (r != NULL && drop)
			chain_drop_from(r, 0, 0);
		for (r = chunk->queue; r != NULL; r = r->next)
			if (r->state == REQUEST_RETRY)
				chain_request_move(r, REQUEST_QUEUED);
		if (again)
			chain_chunk_advance(chunk);
	}
	if (!drop)
		flush_again(chain);
}

void chain_drop_everything(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	chain_inbound_end_refuse(chain);
	/* Before there may be nobody to wait for. */
	chain_drop_pending(chain, for_client, for_server);
	chain_held_refuse(chain, for_client, for_server);
	chain_drop_queued(chain, for_client, for_server);
	chain_inbound_lose(chain);
	chain_outbound_reset(chain);
	chain->inbound.ready = chain->outbound.ready = false;
}
