/* accept.c - updates and flushes, from their arrival to their place in a chunk's queue.
 *
 * A write through the chain:
 *
 * 1. The head gets the frame from a client (chain_update_arrived()). It checks its role, the lease,
 *    the epoch and the link. The update is a repetition, or its ids and bytes must have room.
 * 2. The update takes its place in the queue of its chunk (chain_update_queue(), update.c). It has
 *    no version yet.
 * 3. The store prepares it as soon as no earlier one overlaps: the bytes are written, and shown to
 *    nobody.
 * 4. The store commits it when it is first in the queue. The head gives it the chunk's next
 *    version.
 * 5. It is pending: it is forwarded, and the own disk is flushed meanwhile if the client asked for
 *    that.
 * 6. The middle does 1 to 5 with what its predecessor forwards. The version must follow the last
 *    one.
 * 7. The tail has no successor: its answer needs only its own commit, and its flush.
 * 8. Each member answers when its successor has answered and its own disk is flushed. The head's
 *    answer goes to the client.
 *
 * A flush takes the same way without 3 and 4: its turn is when all updates before it are committed.
 *
 * What may fail:
 * - The link is not up: requests are held (64 a chain), and accepted when it is. More: NOT_READY for
 *   clients, GAP for the predecessor, which compares again. No connection at all: NOT_READY for
 *   clients; the predecessor's are held.
 * - A version does not follow the last: GAP, and the predecessor has to compare.
 * - The space is short: the head refuses with ENOSPC before anything happens (admit()).
 * - The disk is full all the same: the update waits and is tried again; the head alone may still
 *   refuse it, as long as no bytes of the chunk were gone over (not_applied(), update.c).
 * - A chunk cannot be read: the master is told, and lets another member go first (NOT_READY). EIO
 *   only when there is no other.
 * - The client asks twice: the second one joins the first, or is passed on like a new one under the
 *   version that the first one got. It is never applied again.
 * - The chain changes: see configure.c.
 *
 * Errors: statuses of frames. Nothing here returns an error to the caller. */
#include "chunkserver/chain/accept.h"
#include <errno.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"
#include "chunkserver/record/op_ids.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

static struct log_rate gap_rate;

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
		/* It stops sending then until all of the chain stands. */
		if (forwarded)
			chain_inbound_lose(chain);
		return;
	}
	chain_request_move(r, REQUEST_HELD);
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
		expects(chain->held_count > 0);
		chain->held_count--;
		chain_request_move(r, REQUEST_NEW);
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
	return env->ops->ops_kept != 0 ? env->ops->ops_kept : OP_IDS_KEPT;
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

/* Returns the version that the update got when it came before; 0: it did not come. */
static uint64_t version_of_op(const struct chunk_info *info, const struct request *r)
{
	for (uint32_t i = 0; i < info->op_count; i++)
		if (info->ops[i].op_id == r->work.op_id &&
		    info->ops[i].client_id == r->work.client_id)
			return info->ops[i].version;
	return 0;
}

/* Lets the source of @r wait for @first, the same update, which is under way. */
static void join(struct request *r, struct request *first)
{
	if (r->work.flush && !first->work.flush)
		chain_request_refuse(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
	else {
		chain_request_add_waiter(first, &r->source);
		chain_request_end_silently(r);
	}
}

/* Passes on an update that was applied before, like a new one: not all others may have it. */
static void pass_on(struct chain_chunk *chunk, struct request *r, uint64_t version)
{
	r->chunk = chunk;
	r->duplicate = true;
	r->work.version = version;
	chain_update_become_pending(r);
}

/* Deals with an update that has come before. False: it is new. */
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

/* Counts the queued updates whose ids will be in the list, too. */
static uint32_t queued_ids(const struct chain_chunk *chunk)
{
	const struct request *r;
	uint32_t count = 0;

	DL_FOREACH(chunk->queue, r)
	count += request_is_update(r) && !r->work.closing && !r->dropped && r->work.op_id != 0;
	return count;
}

/* True when the list of ids has room for one more. Drops from @info what may go. */
static bool has_room(const struct chain_chunk *chunk, struct request *r, struct chunk_info *info)
{
	const struct chain_work *p = &r->work;
	uint32_t kept = ops_kept(r->env), queued = queued_ids(chunk), count;
	uint32_t limit = p->op_id == p->answered + 1 ? kept : kept - kept / 4;

	limit = limit > queued ? limit - queued : 0;
	count = op_ids_drop(info->ops, info->op_count, p->client_id, p->answered, r->env->sessions,
			    limit);
	r->crowded = count + queued >= kept / 2;
	return count < limit || FAULTY(EVICT_UNANSWERED);
}

/* Returns 0 when the update may be taken as far as its id goes, else why not. */
static uint32_t ids_status(const struct chain_chunk *chunk, struct request *r,
			   struct chunk_info *info)
{
	if (!r->work.closing)
		return has_room(chunk, r, info) ? 0 : FRAME_STATUS_NOT_READY;
	return info->exists ? 0 : FRAME_STATUS_NOT_READY;
}

/* True for a closing of a chunk that was removed here, or never made. There is nothing to close,
 * and a record would stay for good. */
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
	status = chain_update_answered_status(r);
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
