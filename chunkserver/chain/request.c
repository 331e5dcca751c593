/* request.c - lives of requests, and the chunks that they are about. */
#include "chunkserver/chain/request.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/configure.h"
#include "chunkserver/chain/fence.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/read.h"

#define BIT(state) (1u << (state))
#define OVER       BIT(REQUEST_OVER)
/* Which states may follow each. The lives of requests are told in member.h. */
static const unsigned allowed[] = {
	[REQUEST_NEW] = BIT(REQUEST_HELD) | BIT(REQUEST_QUEUED) | BIT(REQUEST_PENDING) |
			BIT(REQUEST_READING) | OVER,
	[REQUEST_HELD] = BIT(REQUEST_NEW) | OVER,
	[REQUEST_QUEUED] = BIT(REQUEST_PREPARING) | BIT(REQUEST_PENDING) | BIT(REQUEST_NEW) | OVER,
	[REQUEST_PREPARING] = BIT(REQUEST_PREPARED) | BIT(REQUEST_RETRY) | OVER,
	[REQUEST_PREPARED] = BIT(REQUEST_COMMITTING) | OVER,
	[REQUEST_COMMITTING] = BIT(REQUEST_PENDING) | BIT(REQUEST_RETRY) | OVER,
	[REQUEST_PENDING] = OVER,
	[REQUEST_RETRY] = BIT(REQUEST_QUEUED) | OVER,
	[REQUEST_READING] = BIT(REQUEST_QUEUED) | OVER,
	[REQUEST_OVER] = 0,
};

void chain_request_move(struct request *r, enum request_state state)
{
	expects((allowed[r->state] & BIT(state)) != 0);
	r->state = state;
}

static uint32_t length_of(const struct frame_header *header)
{
	switch (header->op) {
	case FRAME_WRITE:
		return header->length;
	case FRAME_CATCHUP_DATA:
		return header->length > 0 ? header->length : header->range;
	default:
		return header->range;
	}
}

static bool of_client(const struct chain_source *source)
{
	return source->conn != 0 && source->server_id == 0;
}

struct request *chain_request_new(struct chain *chain, const struct chain_source *source,
				  const struct frame_header *header, struct buf *payload)
{
	struct chain_env *env = chain->env;
	struct request *r = chain_alloc(sizeof(*r) + env->scratch_bytes);

	r->work = (struct chain_work){
		.op = header->op,
		.flush = (header->flags & FRAME_DURABLE) != 0 && !frame_is_read(header->op),
		.verify = (header->flags & FRAME_VERIFY) != 0 && frame_is_read(header->op),
		.closing = (header->flags & FRAME_CLOSING) != 0,
		.key = header->key,
		.offset = header->offset,
		.length = length_of(header),
		.payload = payload,
		.epoch = header->epoch,
		.version = (header->flags & FRAME_FORWARD) != 0 ? header->version : 0,
		.client_id = header->client_id,
		.op_id = header->op_id,
		.answered = header->answered,
		.scratch = r->scratch,
	};
	if ((header->op == FRAME_FLUSH || frame_is_update(header->op)) &&
	    (header->flags & FRAME_FORWARD) == 0) {
		r->wanted = header->version;
		r->wanted_epoch = header->arg;
	}
	r->env = env;
	r->chain = chain;
	r->refs = 1;
	r->source = *source;
	/* How many ids there were is known to the head that took it. */
	r->crowded = frame_is_update(header->op) && source->server_id != 0;
	if (of_client(source))
		env->requests++;
	chain_fence_count(r);
	return r;
}

static void nobody_waits(struct request *r)
{
	struct request_waiter *waiter = r->waiters;

	if (of_client(&r->source))
		r->env->requests--;
	r->source = (struct chain_source){0};
	r->waiters = NULL;
	while (waiter != NULL) {
		struct request_waiter *next = waiter->next;

		if (of_client(&waiter->source))
			r->env->requests--;
		free(waiter);
		waiter = next;
	}
}

void chain_request_unref(struct request *r)
{
	expects(r->refs > 0);
	if (--r->refs > 0)
		return;
	expects(r->chain == NULL && r->successor != SUCCESSOR_SENT);
	buf_unref(r->work.payload);
	free(r->work.keys);
	free(r);
}

void chain_request_fill_header(const struct request *r, struct frame_header *header)
{
	const struct chain_work *p = &r->work;

	*header = (struct frame_header){
		.op = p->op,
		.key = p->key,
		.epoch = p->epoch,
		.version = p->version,
		.client_id = p->client_id,
		.op_id = p->op_id,
		.answered = p->answered,
		.offset = p->offset,
		.range = p->op == FRAME_PUNCH || p->op == FRAME_READ ? p->length : 0,
	};
}

void chain_request_add_waiter(struct request *r, const struct chain_source *source)
{
	struct request_waiter *waiter;

	/* The predecessor's old connection is gone when it asks again. */
	if (source->server_id != 0 || r->source.conn == 0) {
		if (of_client(&r->source))
			r->env->requests--;
		r->source = *source;
		if (of_client(source))
			r->env->requests++;
		return;
	}
	waiter = chain_alloc(sizeof(*waiter));
	waiter->source = *source;
	waiter->next = r->waiters;
	r->waiters = waiter;
	r->env->requests++;
}

static void tell(struct request *r, uint32_t for_client, uint32_t for_server, struct buf *payload)
{
	struct frame_header header;
	uint32_t status = r->source.server_id == 0 ? for_client : for_server;

	chain_request_fill_header(r, &header);
	header.flags = r->crowded ? FRAME_CROWDED : 0;
	if (status != UINT32_MAX)
		chain_answer_source(r->chain, &r->source, &header, status, r->work.version,
				    payload);
	for (struct request_waiter *w = r->waiters; w != NULL; w = w->next) {
		status = w->source.server_id == 0 ? for_client : for_server;
		if (status != UINT32_MAX)
			chain_answer_source(r->chain, &w->source, &header, status, r->work.version,
					    payload);
	}
	nobody_waits(r);
}

static bool in_queue(const struct request *r)
{
	switch (r->state) {
	case REQUEST_QUEUED:
	case REQUEST_PREPARING:
	case REQUEST_PREPARED:
	case REQUEST_COMMITTING:
	case REQUEST_RETRY:
		return true;
	default:
		return false;
	}
}

void chain_request_unqueued(struct request *r)
{
	struct chain *chain = r->chain;

	expects(chain->queued > 0);
	chain->queued--;
	if (!r->before_end)
		return;
	r->before_end = false;
	expects(chain->inbound.end.uncommitted > 0);
	if (--chain->inbound.end.uncommitted == 0)
		chain_inbound_end_advance(chain);
}

static void end_waits_less(struct request *r)
{
	if (!r->end_waits)
		return;
	r->end_waits = false;
	expects(r->chain->inbound.end.unanswered > 0);
	if (--r->chain->inbound.end.unanswered == 0)
		chain_inbound_end_answer(r->chain);
}

static void unlink_request(struct request *r)
{
	struct chain *chain = r->chain;

	if (r->successor == SUCCESSOR_SENT) {
		table_remove(&r->env->ids, &r->id_node);
		r->successor = SUCCESSOR_TO_SEND;
	}
	if (r->state == REQUEST_HELD) {
		DL_DELETE2(chain->held, r, chain_prev, chain_next);
		expects(chain->held_count > 0);
		chain->held_count--;
	} else if (r->state == REQUEST_READING) {
		DL_DELETE2(chain->reading, r, chain_prev, chain_next);
		if (r->work.key_count > 0) {
			expects(chain->removals > 0);
			chain->removals--;
			if (r->work.epoch != chain->config.epoch) {
				expects(chain->removals_before > 0);
				chain->removals_before--;
			}
		}
	} else if (r->state == REQUEST_PENDING) {
		DL_DELETE(r->chunk->pending, r);
		DL_DELETE2(chain->pending, r, chain_prev, chain_next);
		expects(chain->pending_count > 0);
		chain->pending_count--;
	} else if (in_queue(r) && (r->work.op == FRAME_READ || r->work.op == FRAME_STAT)) {
		DL_DELETE(r->chunk->deferred, r);
	} else if (in_queue(r)) {
		DL_DELETE(r->chunk->queue, r);
		chain_request_unqueued(r);
	}
	end_waits_less(r);
}

void chain_request_begin_reading(struct request *r, enum chain_action_kind kind)
{
	chain_request_move(r, REQUEST_READING);
	r->chunk = NULL;
	DL_APPEND2(r->chain->reading, r, chain_prev, chain_next);
	chain_operation_add(r, kind);
}

/* Off its lists, answered or not. The chunk may be gone after it. */
static void finish(struct request *r)
{
	struct chain_chunk *chunk = r->chunk;

	if (chunk != NULL)
		chain_chunk_pin(chunk);
	unlink_request(r);
	if (r->admitted)
		r->env->ops->in_flight(r->env->ctx, -(int64_t)r->admitted);
	r->admitted = 0;
	chain_fence_uncount(r);
	chain_request_move(r, REQUEST_OVER);
	r->chain = NULL;
	r->chunk = NULL;
	chain_request_unref(r);
	if (chunk != NULL)
		chain_chunk_unpin(chunk);
}

void chain_request_end(struct request *r, uint32_t status, struct buf *payload)
{
	if (r->chain == NULL)
		return;
	tell(r, status, status, payload);
	finish(r);
}

void chain_request_end_silently(struct request *r)
{
	if (r->chain == NULL)
		return;
	nobody_waits(r);
	finish(r);
}

static void let_go(struct request *r)
{
	/* The store has it: it goes when that ends. */
	if (r->state == REQUEST_PREPARING || r->state == REQUEST_COMMITTING) {
		r->dropped = true;
		chain_fence_uncount(r);
	} else {
		finish(r);
	}
}

void chain_request_refuse(struct request *r, uint32_t for_client, uint32_t for_server)
{
	if (r->chain == NULL)
		return;
	tell(r, for_client == 0 ? UINT32_MAX : for_client,
	     for_server == 0 ? UINT32_MAX : for_server, NULL);
	let_go(r);
}

void chain_request_end_removed(struct request *r)
{
	if (r->chain == NULL)
		return;
	tell(r, FRAME_STATUS_NOT_READY, FRAME_OK, NULL);
	let_go(r);
}

/* ---- chunks ---- */

struct chain_chunk *chain_chunk_find(struct chain *chain, const struct chunk_key *key)
{
	struct table_node *node = table_first(&chain->env->chunks, chunk_key_hash(key));

	for (; node != NULL; node = table_more(node)) {
		struct chain_chunk *chunk = (struct chain_chunk *)(void *)node;

		if (chunk->chain == chain && chunk_key_equal(&chunk->key, key))
			return chunk;
	}
	return NULL;
}

int chain_chunk_get(struct chain *chain, const struct chunk_key *key, struct chain_chunk **out)
{
	struct chain_env *env = chain->env;
	struct chain_chunk *chunk = chain_chunk_find(chain, key);
	struct chunk_info info;
	int rc;

	*out = chunk;
	if (chunk != NULL)
		return 0;
	rc = env->ops->store.info(env->ctx, key, &info);
	if (rc < 0)
		return rc;
	if (info.exists && info.epoch > chain->config.epoch) {
		chain_outdated_found(chain);
		return -ESTALE;
	}
	chunk = chain_alloc(sizeof(*chunk));
	chunk->key = *key;
	chunk->chain = chain;
	chunk->committed = chunk->last = catchup_version_of(&info);
	chain_table_add(&env->chunks, &chunk->node, chunk_key_hash(key));
	DL_APPEND(chain->chunks, chunk);
	*out = chunk;
	return 0;
}

void chain_chunk_pin(struct chain_chunk *chunk)
{
	chunk->pins++;
}

void chain_chunk_unpin(struct chain_chunk *chunk)
{
	expects(chunk->pins > 0);
	if (chunk->pins == 1 && chunk->deferred != NULL)
		chain_reads_advance(chunk);
	if (--chunk->pins > 0 || chunk->queue != NULL || chunk->pending != NULL ||
	    chunk->deferred != NULL)
		return;
	table_remove(&chunk->chain->env->chunks, &chunk->node);
	DL_DELETE(chunk->chain->chunks, chunk);
	free(chunk);
}

struct chain_chunk *chain_chunk_first(struct chain *chain)
{
	if (chain->chunks != NULL)
		chain_chunk_pin(chain->chunks);
	return chain->chunks;
}

struct chain_chunk *chain_chunk_after(struct chain_chunk *chunk)
{
	struct chain_chunk *next = chunk->next;

	if (next != NULL)
		chain_chunk_pin(next);
	chain_chunk_unpin(chunk);
	return next;
}
