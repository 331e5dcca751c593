/* update.c - updates and flushes, from their place in a chunk's queue to their answer.
 *
 * The story of a write is told in accept.c. Requests of a chunk stand in its queue in the order of
 * their acceptance. Any number is prepared at a time as long as they do not overlap; commits keep
 * the order. */
#include "chunkserver/chain/update.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/read.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/walk.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

/* ---- after the commit ---- */

void chain_update_forward(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_action *action;
	enum follow follow;

	expects(r->state == REQUEST_PENDING);
	if (r->successor != SUCCESSOR_TO_SEND)
		return;
	follow = chain_walk_follow(r);
	if (follow == FOLLOW_LEAVE)
		r->successor = SUCCESSOR_NOT_ASKED;
	if (follow != FOLLOW_SEND)
		return;
	expects(chain->role.next >= 0 && chain->outbound.conn != 0);
	action = chain_action_add(chain->env, CHAIN_SEND);
	r->id = ++chain->env->last_id;
	r->successor = SUCCESSOR_SENT;
	r->sent_ns = chain->env->now_ns;
	chain_table_add(&chain->env->ids, &r->id_node, table_hash(r->id));
	action->chain = chain;
	action->conn = chain->outbound.conn;
	chain_request_fill_header(r, &action->header);
	action->header.request_id = r->id;
	action->header.flags = FRAME_FORWARD | (r->work.closing ? FRAME_CLOSING : 0);
	if (r->work.flush && chain_walk_needs_flush(chain))
		action->header.flags |= FRAME_DURABLE;
	action->header.epoch = chain->config.epoch;
	action->header.arg = chain->config.members[chain->role.next].target_id;
	if (r->work.op == FRAME_WRITE) {
		action->header.length = r->work.length;
		action->payload = buf_ref(r->work.payload);
	}
}

void chain_update_check_done(struct request *r)
{
	bool answered = r->successor == SUCCESSOR_ANSWERED || r->successor == SUCCESSOR_NOT_ASKED ||
			FAULTY(ACK_BEFORE_SUCCESSOR);

	if (r->state == REQUEST_PENDING && answered && r->flush == FLUSH_DONE)
		chain_request_end(r, FRAME_OK, NULL);
}

static void flush_start(struct request *r)
{
	r->flush = FLUSH_UNDER_WAY;
	chain_operation_add(r, CHAIN_FLUSH);
}

void chain_update_become_pending(struct request *r)
{
	struct chain *chain = r->chain;

	expects(r->chunk != NULL && r->successor == SUCCESSOR_TO_SEND);
	chain_request_move(r, REQUEST_PENDING);
	DL_APPEND(r->chunk->pending, r);
	DL_APPEND2(chain->pending, r, chain_prev, chain_next);
	chain->pending_count++;
	chain_update_forward(r);
	if (r->work.flush || r->work.op == FRAME_FLUSH)
		flush_start(r);
	else
		r->flush = FLUSH_DONE;
	chain_update_check_done(r);
}

void chain_flushed(struct chain_work *request, int error)
{
	struct request *r = request_of_work(request);

	expects(r->env->operations > 0);
	r->env->operations--;
	r->flush = error == 0 ? FLUSH_DONE : FLUSH_WANTED;
	if (r->chain != NULL && error == 0) {
		chain_update_check_done(r);
	} else if (r->chain != NULL) {
		r->env->retry = true;
		chain_trouble(r->chain);
	}
	chain_request_unref(r);
}

/* ---- the queue of a chunk ---- */

/* TRUNCATE and PUNCH move the chunk's end: they go alone. Copies of blocks and updates exclude each
 * other. */
static bool conflict(const struct request *a, const struct request *b)
{
	bool copy_a = a->work.op == FRAME_CATCHUP_DATA || a->work.op == FRAME_CATCHUP_COMMIT;
	bool copy_b = b->work.op == FRAME_CATCHUP_DATA || b->work.op == FRAME_CATCHUP_COMMIT;

	if (a->work.op == FRAME_FLUSH || b->work.op == FRAME_FLUSH)
		return false;
	if (copy_a != copy_b)
		return true;
	if (copy_a)
		return a->work.op == FRAME_CATCHUP_DATA && b->work.op == FRAME_CATCHUP_DATA &&
		       chain_read_overlaps(a, b->work.offset, b->work.length);
	if (a->work.closing || b->work.closing)
		return false;
	if (a->work.op != FRAME_WRITE || b->work.op != FRAME_WRITE)
		return true;
	return chain_read_overlaps(a, b->work.offset, b->work.length);
}

/* True when the store has begun with @r or one behind it: these come to their end, and @r first. */
static bool has_to_end(const struct request *r)
{
	for (; r != NULL; r = r->next)
		if (request_is_begun(r))
			return true;
	return false;
}

static bool may_prepare(const struct chain_chunk *chunk, const struct request *r)
{
	if (chain_walk_blocks(chunk) && !has_to_end(r))
		return false;
	for (const struct request *before = chunk->queue; before != r; before = before->next)
		if (conflict(before, r))
			return false;
	return true;
}

static void start_prepares(struct chain_chunk *chunk)
{
	struct request *r;

	DL_FOREACH(chunk->queue, r)
	{
		if (r->state != REQUEST_QUEUED || r->work.op == FRAME_FLUSH ||
		    r->work.op == FRAME_CATCHUP_COMMIT || !may_prepare(chunk, r))
			continue;
		chain_request_move(r, REQUEST_PREPARING);
		chain_operation_add(r, CHAIN_PREPARE);
	}
}

static void start_commit(struct request *r)
{
	if (r->chain->role.head) {
		r->work.version = r->chunk->committed + 1;
		r->work.epoch = r->chain->config.epoch;
	}
	chain_request_move(r, REQUEST_COMMITTING);
	chain_operation_add(r, CHAIN_COMMIT);
}

uint32_t chain_update_answered_status(const struct request *r)
{
	struct chain_env *env = r->env;
	struct chunk_info info;

	if (r->wanted == 0 || FAULTY(FORGET_LOSS))
		return 0;
	if (r->wanted > r->chunk->committed)
		return FRAME_STATUS_LOST;
	if (r->wanted_epoch == 0 || r->wanted_epoch >= r->chain->config.epoch)
		return 0;
	if (env->ops->store.info(env->ctx, &r->work.key, &info) < 0) {
		chain_trouble(r->chain);
		return FRAME_STATUS_NOT_READY;
	}
	/* Version 0: parts of two copies. */
	if (info.version == 0 ||
	    !chunk_history_has(&info.history, info.epoch, r->wanted_epoch, r->wanted))
		return FRAME_STATUS_LOST;
	return 0;
}

/* Advances the first request of the queue. False: it has to wait for something. */
static bool first_goes_on(struct chain_chunk *chunk)
{
	struct request *r = chunk->queue;
	uint32_t status;

	if (FAULTY(COMMIT_OUT_OF_ORDER))
		while (r != NULL && r->next != NULL && r->state != REQUEST_PREPARED)
			r = r->next;
	if (r == NULL)
		return false;
	if (r->state == REQUEST_PREPARED && !r->dropped) {
		start_commit(r);
		return false;
	}
	if (r->state != REQUEST_QUEUED)
		return false;
	if (r->work.op == FRAME_CATCHUP_COMMIT) {
		chain_inbound_complete(r);
		return true;
	}
	if (r->work.op != FRAME_FLUSH)
		return false;
	status = chain_update_answered_status(r);
	if (status != 0) {
		chain_request_end(r, status, NULL);
		return true;
	}
	DL_DELETE(chunk->queue, r);
	chain_request_unqueued(r);
	r->work.version = chunk->committed;
	chain_update_become_pending(r);
	return true;
}

void chain_chunk_advance(struct chain_chunk *chunk)
{
	struct chain *chain = chunk->chain;

	chain_chunk_pin(chunk);
	while (first_goes_on(chunk))
		;
	start_prepares(chunk);
	if (chunk->queue == NULL && chain->reading != NULL)
		chain_inbound_removals_advance(chain);
	if (chunk->queue == NULL)
		chain_inbound_advance(chain);
	if (chain->walk.copying)
		chain_walk_chunk_quiet(chunk);
	chain_chunk_unpin(chunk);
	if (chain->queued == 0)
		chain_outbound_consider(chain);
}

void chain_update_queue(struct chain_chunk *chunk, struct request *r)
{
	r->chunk = chunk;
	chain_request_move(r, REQUEST_QUEUED);
	DL_APPEND(chunk->queue, r);
	chunk->chain->queued++;
	chain_chunk_advance(chunk);
}

/* Goes on with an update that the store could not do. The head can still refuse it, because it was
 * not forwarded yet, unless parts of it are in place: readers would see them here and nowhere else,
 * and the client might repeat it after others have written there. Members behind the head have no
 * choice: they try again. */
static void not_applied(struct request *r, int error)
{
	struct chain *chain = r->chain;
	bool space = error == -ENOSPC, damaged = error == -EBADMSG;

	chain_request_move(r, REQUEST_RETRY); /* the store is done with it */
	/* Room in the list of ids comes with a newer map, if not here then at the head before. */
	if (!space && !damaged && error != -ENOMEM && error != -EBUSY) {
		r->env->retry = true;
		chain_trouble(chain);
		return;
	}
	if (damaged)
		chain_damage_found(chain, &r->work.key);
	if (chain->role.head && request_is_update(r) && (damaged || !r->touched)) {
		if (r->touched)
			chain_copy_altered(chain);
		chain_request_end(r,
				  space                                   ? ENOSPC
				  : damaged && !chain_report_unfit(chain) ? EIO
									  : FRAME_STATUS_NOT_READY,
				  NULL);
		return;
	}
	if (!damaged) {
		r->env->retry = true;
		/* A new comparison does not wait for space: it sends everything again. */
		if (chain_inbound_compares(chain, &r->work.key))
			chain_drop_from(r, 0, 0);
		return;
	}
	/* Not as done, when nothing is left that it waits for. */
	chain_inbound_end_refuse(chain);
	chain_drop_from(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
	chain_inbound_lose(chain);
}

void chain_prepared(struct chain_work *request, int error, bool touched)
{
	struct request *r = request_of_work(request);
	struct chain_chunk *chunk = r->chunk;

	expects(r->env->operations > 0);
	r->env->operations--;
	r->touched = r->touched || touched;
	if (chunk != NULL)
		chain_chunk_pin(chunk);
	if (r->chain == NULL || r->dropped) {
		if (error == 0)
			chain_operation_add(r, CHAIN_ABORT);
		else if (r->touched && r->chain != NULL)
			chain_copy_altered(r->chain);
		chain_request_end_silently(r);
	} else if (error == 0) {
		chain_request_move(r, REQUEST_PREPARED);
	} else {
		not_applied(r, error);
	}
	if (chunk != NULL) {
		chain_chunk_advance(chunk);
		chain_chunk_unpin(chunk);
	}
	chain_request_unref(r);
}

static void committed(struct request *r)
{
	struct chain_chunk *chunk = r->chunk;
	struct chain *chain = r->chain;

	if (r->work.op == FRAME_CATCHUP_DATA) {
		chain_inbound_changed(chain);
		chain_request_end(r, FRAME_OK, NULL);
		return;
	}
	chunk->committed = r->work.version;
	if (chunk->last < chunk->committed)
		chunk->last = chunk->committed;
	DL_DELETE(chunk->queue, r);
	chain_request_unqueued(r);
	chain_update_become_pending(r);
}

void chain_committed(struct chain_work *request, int error, bool touched)
{
	struct request *r = request_of_work(request);
	struct chain_chunk *chunk = r->chunk;

	chain_chunk_pin(chunk);
	r->touched = r->touched || touched;
	if (error == 0)
		committed(r);
	else
		not_applied(r, error);
	chain_chunk_advance(chunk);
	chain_chunk_unpin(chunk);
}
