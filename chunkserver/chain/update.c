/* update.c - updates and flushes, from their arrival to their answer. */
#include "chunkserver/chain/internal.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/record/op_ids.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

static struct log_rate gap_rate;

/* ---- after the commit ---- */

void chain_update_forward(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_action *action;
	enum follow follow;

	if (r->successor != SUCCESSOR_TO_SEND)
		return;
	follow = chain_walk_follow(r);
	if (follow == FOLLOW_LEAVE)
		r->successor = SUCCESSOR_NOT_ASKED;
	if (follow != FOLLOW_SEND)
		return;
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
		action->header.flags |= FRAME_SYNC;
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

/* Committed (a flush: its turn has come): for the successor to answer, and the disk to sync. */
static void become_pending(struct request *r)
{
	struct chain *chain = r->chain;

	r->state = REQUEST_PENDING;
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

/* TRUNCATE and PUNCH move the chunk's end: they go alone. So does what is copied, from updates. */
static bool conflict(const struct request *a, const struct request *b)
{
	bool copy_a = a->work.op == FRAME_SYNC_DATA || a->work.op == FRAME_SYNC_COMMIT;
	bool copy_b = b->work.op == FRAME_SYNC_DATA || b->work.op == FRAME_SYNC_COMMIT;

	if (a->work.op == FRAME_FLUSH || b->work.op == FRAME_FLUSH)
		return false;
	if (copy_a != copy_b)
		return true;
	if (copy_a)
		return a->work.op == FRAME_SYNC_DATA && b->work.op == FRAME_SYNC_DATA &&
		       chain_read_overlaps(a, b->work.offset, b->work.length);
	if (a->work.closing || b->work.closing)
		return false;
	if (a->work.op != FRAME_WRITE || b->work.op != FRAME_WRITE)
		return true;
	return chain_read_overlaps(a, b->work.offset, b->work.length);
}

/* What has been begun has to come to its end, and everything before it with it. */
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
		    r->work.op == FRAME_SYNC_COMMIT || !may_prepare(chunk, r))
			continue;
		r->state = REQUEST_PREPARING;
		chain_operation_add(r, CHAIN_PREPARE);
	}
}

static void start_commit(struct request *r)
{
	if (r->chain->role.head) {
		r->work.version = r->chunk->committed + 1;
		r->work.epoch = r->chain->config.epoch;
	}
	r->state = REQUEST_COMMITTING;
	chain_operation_add(r, CHAIN_COMMIT);
}

/* 0: all that the client was answered last is here. LOST: it went with the power of all copies, and
 * an update must not take its number. */
static uint32_t answered_status(const struct request *r)
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

/* False: the first of the queue has to wait for something. */
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
	if (r->work.op == FRAME_SYNC_COMMIT) {
		chain_inbound_complete(r);
		return true;
	}
	if (r->work.op != FRAME_FLUSH)
		return false;
	status = answered_status(r);
	if (status != 0) {
		chain_request_end(r, status, NULL);
		return true;
	}
	DL_DELETE(chunk->queue, r);
	chain_request_unqueued(r);
	r->work.version = chunk->committed;
	become_pending(r);
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
	r->state = REQUEST_QUEUED;
	DL_APPEND(chunk->queue, r);
	chunk->chain->queued++;
	chain_chunk_advance(chunk);
}

/* The store could not do it. What was not forwarded yet the head can still refuse, unless parts of
 * it are in place: readers would see them here and nowhere else, and perhaps the client repeats it
 * after others have written there. The others have to follow those before them. */
static void not_applied(struct request *r, int error)
{
	struct chain *chain = r->chain;
	bool space = error == -ENOSPC, damaged = error == -EBADMSG;

	r->state = REQUEST_RETRY; /* the store is done with it */
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
		r->state = REQUEST_PREPARED;
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

	if (r->work.op == FRAME_SYNC_DATA) {
		chain_inbound_changed(chain);
		chain_request_end(r, FRAME_OK, NULL);
		return;
	}
	chunk->committed = r->work.version;
	if (chunk->last < chunk->committed)
		chunk->last = chunk->committed;
	DL_DELETE(chunk->queue, r);
	chain_request_unqueued(r);
	become_pending(r);
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

/* ---- arrival ---- */

static bool well_formed(const struct chain *chain, const struct frame_header *header)
{
	uint32_t size = chain->config.chunk_size;

	switch (header->op) {
	case FRAME_WRITE:
		return header->length > 0 && (uint64_t)header->offset + header->length <= size;
	case FRAME_PUNCH:
		return header->range > 0 && (uint64_t)header->offset + header->range <= size;
	case FRAME_TRUNCATE:
		return header->offset <= size;
	default:
		return true;
	}
}

/* 0, or why the update is refused. */
static uint32_t check_client(struct chain *chain)
{
	if (!chain->role.head)
		return FRAME_STATUS_NOT_HEAD;
	if (chain->env->failed || chain->env->stopped)
		return FRAME_STATUS_NOT_READY;
	if (!chain_is_leased(chain->env))
		return FRAME_STATUS_NO_LEASE;
	if (chain->copy.state == COPY_UNFIT || chain->copy.outdated ||
	    (chain->outbound.link == CHAIN_LINK_DOWN && chain_is_strict(chain)))
		return FRAME_STATUS_NOT_READY;
	return 0;
}

static uint32_t check_predecessor(struct chain *chain, const struct chain_source *source,
				  const struct frame_header *header)
{
	if (chain->env->failed || chain->copy.outdated)
		return FRAME_STATUS_GAP;
	if (FAULTY(NO_GAP_CHECK))
		return 0;
	/* While we are made equal, what comes is behind the cursor. */
	if (chain->inbound.state == INBOUND_LOST || chain->inbound.conn != source->conn)
		return FRAME_STATUS_GAP;
	if (frame_is_update(header->op) && header->version == 0)
		return EINVAL;
	return 0;
}

static void accept_request(struct request *r);

static void hold(struct request *r)
{
	struct chain *chain = r->chain;

	if (chain->held_count >= CHAIN_HELD_MAX) {
		bool forwarded = r->source.server_id != 0;

		chain_request_refuse(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
		/* So that it stops sending until all of the chain stands. */
		if (forwarded)
			chain_inbound_lose(chain);
		return;
	}
	r->state = REQUEST_HELD;
	DL_APPEND2(chain->held, r, chain_prev, chain_next);
	chain->held_count++;
}

void chain_update_arrived(struct chain *chain, const struct chain_source *source,
			  const struct frame_header *header, struct buf *payload)
{
	bool forwarded = (header->flags & FRAME_FORWARD) != 0;
	uint32_t status =
		forwarded ? check_predecessor(chain, source, header) : check_client(chain);
	struct request *r;

	if (status == 0 && (!well_formed(chain, header) || header->key.pool != chain->pool ||
			    header->key.partition != chain->partition))
		status = EINVAL;
	if (status != 0) {
		chain_answer_source(chain, source, header, status, 0, NULL);
		buf_unref(payload);
		return;
	}
	r = chain_request_new(chain, source, header, payload);
	if (chain_holds_updates(chain))
		hold(r);
	else
		accept_request(r);
}

void chain_held_accept(struct chain *chain)
{
	while (chain->held != NULL && !chain_holds_updates(chain)) {
		struct request *r = chain->held;

		DL_DELETE2(chain->held, r, chain_prev, chain_next);
		chain->held_count--;
		r->state = REQUEST_NEW;
		accept_request(r);
	}
}

void chain_held_refuse(struct chain *chain, uint32_t for_client, uint32_t for_server)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->held, r, next, chain_next)
	{
		bool keep = for_server == 0 && r->source.server_id != 0 &&
			    chain->inbound.state != INBOUND_LOST;

		if (!keep)
			chain_request_refuse(r, for_client, for_server);
	}
}

/* ---- duplicates ---- */

static uint32_t ops_kept(const struct chain_env *env)
{
	return env->ops->ops_kept != 0 ? env->ops->ops_kept : STORE_OPS_KEPT;
}

static struct request *same_op(struct request *list, const struct request *r)
{
	struct request *other;

	DL_FOREACH(list, other)
	if (request_is_update(other) && !other->dropped && other->work.op_id == r->work.op_id &&
	    other->work.client_id == r->work.client_id)
		return other;
	return NULL;
}

static struct request *same_version(struct request *list, const struct request *r)
{
	struct request *other;

	DL_FOREACH(list, other)
	if (request_is_update(other) && !other->dropped && other->work.version == r->work.version)
		return other;
	return NULL;
}

/* The version that the update got when it came before; 0: it did not. */
static uint64_t version_of_op(const struct chunk_info *info, const struct request *r)
{
	for (uint32_t i = 0; i < info->op_count; i++)
		if (info->ops[i].op_id == r->work.op_id &&
		    info->ops[i].client_id == r->work.client_id)
			return info->ops[i].version;
	return 0;
}

/* The same update is under way: who asks again waits for it, too. */
static void join(struct request *r, struct request *first)
{
	if (r->work.flush && !first->work.flush)
		chain_request_refuse(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
	else {
		chain_request_add_waiter(first, &r->source);
		chain_request_end_silently(r);
	}
}

/* Applied before, but it is not certain that all others have it: passed on like a new one. */
static void pass_on(struct chain_chunk *chunk, struct request *r, uint64_t version)
{
	r->chunk = chunk;
	r->duplicate = true;
	r->work.version = version;
	become_pending(r);
}

/* True: it was one, and has been dealt with. */
static bool duplicate_of_client(struct chain_chunk *chunk, struct request *r,
				const struct chunk_info *info)
{
	struct request *first;
	uint64_t version;

	if (FAULTY(NO_DUPLICATE_CHECK))
		return false;
	first = same_op(chunk->queue, r);
	if (first == NULL)
		first = same_op(chunk->pending, r);
	if (first != NULL) {
		join(r, first);
		return true;
	}
	version = version_of_op(info, r);
	if (version == 0)
		return false;
	r->crowded = info->op_count > ops_kept(r->env) / 2;
	pass_on(chunk, r, version);
	return true;
}

static bool duplicate_of_predecessor(struct chain_chunk *chunk, struct request *r)
{
	struct request *first;

	if (r->work.version > chunk->last)
		return false;
	first = same_version(chunk->queue, r);
	if (first == NULL)
		first = same_version(chunk->pending, r);
	if (first != NULL)
		join(r, first);
	else
		pass_on(chunk, r, r->work.version);
	return true;
}

/* ---- room in the list of ids ----
 *
 * No id is dropped that may come again, so it must never be that all of a full list stay there
 * because something cannot come that would take one of them away:
 * - What is accepted when the list is more than three quarters full is its client's oldest on the
 *   chunk: for that one its client says in `answered` that all below it may go. So a client has one
 *   id at most in the last quarter, and its next one, or its closing, takes that away. If any
 *   update were taken there, the last of the room might go to younger ones of a client whose oldest
 *   was refused, and these cannot be dropped before that is answered.
 * - Who was told that the list is more than half full closes the chunk when it has nothing more
 *   under way there. Who was not leaves ids: no more than half of the list, since at the time when
 *   the last of these got there all of them were. */

/* Those will be in the list, too. */
static uint32_t queued_ids(const struct chain_chunk *chunk)
{
	const struct request *r;
	uint32_t count = 0;

	DL_FOREACH(chunk->queue, r)
	count += request_is_update(r) && !r->work.closing && !r->dropped && r->work.op_id != 0;
	return count;
}

/* @info is changed. */
static bool has_room(const struct chain_chunk *chunk, struct request *r, struct chunk_info *info)
{
	const struct chain_work *p = &r->work;
	uint32_t kept = ops_kept(r->env), queued = queued_ids(chunk), count;
	uint32_t limit = p->op_id == p->answered + 1 ? kept : kept - kept / 4;

	limit = limit > queued ? limit - queued : 0;
	count = store_ops_drop(info->ops, info->op_count, p->client_id, p->answered,
			       r->env->sessions, limit);
	r->crowded = count + queued >= kept / 2;
	return count < limit || FAULTY(EVICT_UNANSWERED);
}

/* 0: the update may be taken, as far as its id goes. */
static uint32_t ids_status(const struct chain_chunk *chunk, struct request *r,
			   struct chunk_info *info)
{
	if (!r->work.closing)
		return has_room(chunk, r, info) ? 0 : FRAME_STATUS_NOT_READY;
	return info->exists ? 0 : FRAME_STATUS_NOT_READY;
}

/* Its chunk has been removed here, or was never made: there is nothing to close, and a record would
 * stay for good. */
static bool closes_nothing(const struct chain_chunk *chunk, const struct request *r,
			   const struct chunk_info *info)
{
	return r->work.closing && !info->exists && chunk->queue == NULL;
}

/* ---- space ---- */

static bool admit(struct request *r)
{
	struct chain_env *env = r->env;
	uint64_t blocks = block_count(r->work.offset, r->work.length) + 1;
	uint64_t space = chain_space(r->chain), sum;

	r->admitted = blocks * BLOCK_SIZE;
	sum = env->ops->in_flight(env->ctx, (int64_t)r->admitted);
	if (sum + CHAIN_MARGIN <= space)
		return true;
	chain_outbound_probe(r->chain);
	return false;
}

/* ---- acceptance: the update gets its place ---- */

static void accept_client(struct chain_chunk *chunk, struct request *r)
{
	bool named = r->work.op_id != 0;
	struct chunk_info info;
	uint32_t status;

	if (named && r->env->ops->store.info(r->env->ctx, &r->work.key, &info) < 0) {
		chain_trouble(r->chain);
		chain_request_refuse(r, FRAME_STATUS_NOT_READY, 0);
		return;
	}
	if (named && duplicate_of_client(chunk, r, &info))
		return;
	r->chunk = chunk;
	if (named && closes_nothing(chunk, r, &info)) {
		chain_request_end(r, FRAME_OK, NULL);
		return;
	}
	status = answered_status(r);
	if (status == 0 && named)
		status = ids_status(chunk, r, &info);
	if (status != 0)
		chain_request_end(r, status, NULL);
	else if (r->work.op == FRAME_WRITE && !admit(r))
		chain_request_refuse(r, ENOSPC, 0);
	else
		chain_update_queue(chunk, r);
}

static void accept_forwarded(struct chain_chunk *chunk, struct request *r)
{
	struct chain *chain = r->chain;
	struct chunk_info info;

	if (duplicate_of_predecessor(chunk, r))
		return;
	if (r->work.closing && r->env->ops->store.info(r->env->ctx, &r->work.key, &info) == 0 &&
	    closes_nothing(chunk, r, &info)) {
		pass_on(chunk, r, r->work.version);
		return;
	}
	if (r->work.version != chunk->last + 1 && !FAULTY(NO_GAP_CHECK)) {
		if (log_rate_ok(&gap_rate, 5))
			log_warn("gap pool=%u partition=%u chunk=%llu/%u have=%llu got=%llu",
				 chain->pool, chain->partition,
				 (unsigned long long)r->work.key.file_id, r->work.key.index,
				 (unsigned long long)chunk->last,
				 (unsigned long long)r->work.version);
		chain_request_refuse(r, 0, FRAME_STATUS_GAP);
		chain_inbound_lose(chain);
		return;
	}
	chunk->last = r->work.version;
	chain_update_queue(chunk, r);
}

static void accept_request(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_chunk *chunk;
	int rc = chain_chunk_get(chain, &r->work.key, &chunk);

	if (rc == -EBADMSG) {
		chain_damage_found(chain, &r->work.key);
		chain_request_refuse(r, chain_report_unfit(chain) ? FRAME_STATUS_NOT_READY : EIO,
				     FRAME_STATUS_GAP);
		if (!chain->role.head)
			chain_inbound_lose(chain);
		return;
	}
	if (rc < 0) {
		if (rc != -ESTALE)
			chain_trouble(chain);
		chain_request_refuse(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
		if (!chain->role.head)
			chain_inbound_lose(chain);
		return;
	}
	chain_chunk_pin(chunk);
	if (r->work.op == FRAME_FLUSH)
		chain_update_queue(chunk, r);
	else if (r->source.server_id == 0)
		accept_client(chunk, r);
	else
		accept_forwarded(chunk, r);
	chain_chunk_unpin(chunk);
}
