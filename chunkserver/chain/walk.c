/* walk.c - the walk that makes the successor equal, and which updates have to wait for it.
 *
 * The walk itself (catchup/) goes through the partition in key order and says what to send and
 * read. Here it is driven, and an update is told what it has to do with it: ahead of the cursor it
 * is the walk's to copy, behind it the successor must answer it, at the cursor it waits. A chunk
 * that is copied is at rest: its updates wait until the walk has done with it. */
#include "chunkserver/chain/walk.h"
#include <errno.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/configure.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"
#include "common/base/duration.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

#define WALK_CONTENT_MAX 2u /* frames */
#define TELL_NS          (600 * NS_PER_SEC)
#define DAMAGED_NS       (10 * NS_PER_SEC)

static struct log_rate skip_rate;

/* ---- what the walk asks ---- */

/* Returns the version above which all updates of the chunk are pending here. */
static uint64_t base_of(void *arg, const struct chunk_key *key, uint64_t version)
{
	struct chain_chunk *chunk = chain_chunk_find(arg, key);
	struct request *r = chunk == NULL || chunk->pending == NULL ? NULL : chunk->pending->prev;

	if (r == NULL || chunk->committed != version)
		return version;
	for (;; r = r->prev) {
		if (request_is_update(r) && !r->duplicate) {
			if (r->work.version != version || r->successor == SUCCESSOR_NOT_ASKED)
				break;
			version--;
		}
		if (r == chunk->pending)
			break;
	}
	return version;
}

static bool chunk_quiet(struct chain *chain, const struct chunk_key *key)
{
	struct chain_chunk *chunk = chain_chunk_find(chain, key);
	struct request *r;

	if (FAULTY(COPY_WHILE_CHANGED) || chunk == NULL)
		return true;
	DL_FOREACH(chunk->queue, r)
	if (request_is_begun(r))
		return false;
	return true;
}

/* The chunk's updates that have not been begun wait from now on; those that have come to an end. */
static bool chunk_at_rest(void *arg, const struct chunk_key *key)
{
	struct chain *chain = arg;
	struct chain_chunk *last;

	if (chain->walk.copying && !chunk_key_equal(&chain->walk.copy_key, key)) {
		chain->walk.copying = false;
		last = chain_chunk_find(chain, &chain->walk.copy_key);
		if (last != NULL)
			chain_chunk_advance(last);
	}
	chain->walk.copying = !FAULTY(COPY_WHILE_CHANGED);
	chain->walk.copy_key = *key;
	return chunk_quiet(chain, key);
}

/* True when @bytes may be read and sent now. Frames on their way to the successor's server stand
 * before everything else that goes there, so all walks together have few of them. A walk that
 * requests wait for need not wait for bandwidth, too. */
static bool may_copy(void *arg, uint32_t bytes)
{
	struct chain *chain = arg;
	const struct chain_env *env = chain->env;
	const struct chain_chunk *chunk = chain_chunk_find(chain, &chain->walk.copy_key);
	bool awaited = chain_is_strict(chain) ||
		       (chain->walk.copying && chunk != NULL && chunk->queue != NULL);

	if (!awaited && env->walk_content >= WALK_CONTENT_MAX)
		return false;
	return env->ops->may_copy == NULL || env->ops->may_copy(env->ctx, bytes) || awaited;
}

/* ---- a chunk that is copied ---- */

bool chain_walk_blocks(const struct chain_chunk *chunk)
{
	const struct chain *chain = chunk->chain;

	return chain->walk.copying && chunk_key_equal(&chain->walk.copy_key, &chunk->key);
}

void chain_walk_chunk_quiet(struct chain_chunk *chunk)
{
	struct chain *chain = chunk->chain;

	if (chain->walk.catchup != NULL && chain_walk_blocks(chunk) &&
	    chunk_quiet(chain, &chunk->key))
		chain_walk_advance(chain);
}

void chain_walk_release(struct chain *chain)
{
	const struct chunk_key *open =
		chain->walk.catchup == NULL ? NULL : catchup_walk_open_chunk(chain->walk.catchup);
	struct chain_chunk *chunk;

	/* Not opened yet: the walk waits for it. */
	if (!chain->walk.copying ||
	    (open != NULL && chunk_key_equal(open, &chain->walk.copy_key)) ||
	    (chain->walk.catchup != NULL &&
	     catchup_walk_place(chain->walk.catchup,
				(struct catchup_key){chain->walk.copy_key.file_id,
						     chain->walk.copy_key.index}) == CATCHUP_AHEAD))
		return;
	chain->walk.copying = false;
	chunk = chain_chunk_find(chain, &chain->walk.copy_key);
	if (chunk != NULL)
		chain_chunk_advance(chunk);
}

/* ---- whom an update waits for ---- */

bool chain_walk_needs_flush(const struct chain *chain)
{
	return chain_is_strict(chain) || chain->walk.catchup == NULL ||
	       catchup_walk_is_ending(chain->walk.catchup);
}

enum follow chain_walk_follow(const struct request *r)
{
	const struct chain *chain = r->chain;
	const struct chunk_key *key = &r->work.key;

	if (chain->outbound.link == CHAIN_LINK_UP)
		return FOLLOW_SEND;
	if (chain_is_strict(chain))
		return FOLLOW_LATER;
	if (chain->walk.catchup == NULL ||
	    (r->work.op == FRAME_FLUSH && !chain_walk_needs_flush(chain)))
		return FOLLOW_LEAVE;
	switch (catchup_walk_place(chain->walk.catchup,
				   (struct catchup_key){key->file_id, key->index})) {
	case CATCHUP_BEHIND:
		return FAULTY(FORGET_BEHIND_CURSOR) ? FOLLOW_LEAVE : FOLLOW_SEND;
	case CATCHUP_NOW:
		return FOLLOW_LATER;
	default:
		return FOLLOW_LEAVE;
	}
}

void chain_pending_advance(struct chain *chain)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->pending, r, next, chain_next)
	{
		chain_update_forward(r);
		chain_update_check_done(r);
	}
}

/* ---- its steps ---- */

void chain_walk_drop(struct chain *chain)
{
	if (chain->walk.catchup == NULL)
		return;
	if (chain->walk.catchup != chain->walk.asked)
		catchup_walk_free(chain->walk.catchup);
	chain->walk.catchup = NULL;
	for (unsigned i = 0; i <= CATCHUP_WINDOW; i++)
		chain->walk.frames[i].id = 0;
	expects(chain->env->walk_content >= chain->walk.content);
	chain->env->walk_content -= chain->walk.content;
	chain->walk.content = 0;
	DL_DELETE2(chain->env->walking, chain, walk_prev, walk_next);
	expects(!chain->walk.counted || chain->env->copying_walks > 0);
	if (chain->walk.counted)
		chain->env->copying_walks--;
	chain->walk.counted = false;
}

static void walk_send(struct chain *chain, const struct catchup_action *step)
{
	struct chain_action *action = chain_outbound_send(chain, step->op);

	action->payload = step->payload;
	action->header.flags = FRAME_FORWARD;
	action->header.key = step->key;
	action->header.offset = step->offset;
	action->header.range = step->range;
	action->header.length = step->payload == NULL ? 0 : step->payload->length;
	for (unsigned i = 0; i <= CATCHUP_WINDOW; i++) {
		if (chain->walk.frames[i].id == 0) {
			chain->walk.frames[i].id = action->header.request_id;
			chain->walk.frames[i].content =
				step->op == FRAME_CATCHUP_DATA && step->payload != NULL;
			break;
		}
	}
}

static void walk_read(struct chain *chain, const struct catchup_action *step)
{
	struct chain_action *action = chain_action_add(chain->env, CHAIN_WALK_READ);

	chain->walk.content++;
	chain->env->walk_content++;
	chain->env->operations++;
	action->chain = chain;
	action->serial = chain->walk.serial;
	action->header.key = step->key;
	action->header.offset = step->offset;
	action->header.range = step->range;
}

/* See chain_outbound_removed(). */
static void tell_after(struct chain *chain, const struct catchup_counts *counts)
{
	if (counts->copied > 0)
		chain->outbound.tell_until_ns = UINT64_MAX;
	else if (counts->compared > 0 && chain->outbound.tell_until_ns < UINT64_MAX)
		chain->outbound.tell_until_ns = chain->env->now_ns + TELL_NS;
}

/* Ends a walk that met chunks which are damaged or were never completed here. Another member has to
 * bring them; the successor was not sent them, so it is not equal. */
static void damaged_walk(struct chain *chain)
{
	bool strict = chain_is_strict(chain);

	(void)chain_report_unfit(chain);
	/* The predecessor may mend it, as long as nobody has decided otherwise. */
	if (!chain->role.head) {
		chain_inbound_end_refuse(chain);
		chain_drop_pending(chain, 0, FRAME_STATUS_GAP);
		chain->inbound.ready = chain->outbound.ready = false;
		chain_inbound_lose(chain);
	}
	chain_outbound_retry(chain, FRAME_STATUS_NOT_READY);
	if (!strict)
		chain->outbound.retry_at_ns = chain->env->now_ns + DAMAGED_NS;
}

static void walk_done(struct chain *chain)
{
	struct catchup_counts counts = catchup_walk_counts(chain->walk.catchup);

	chain->counts.walks++;
	chain->counts.copied += counts.copied;
	tell_after(chain, &counts);
	if (counts.copied > 0)
		log_info("successor made equal pool=%u partition=%u compared=%llu copied=%llu",
			 chain->pool, chain->partition, (unsigned long long)counts.compared,
			 (unsigned long long)counts.copied);
	if (counts.skipped > 0 && log_rate_ok(&skip_rate, 5))
		log_error("damaged chunks not copied pool=%u partition=%u count=%llu", chain->pool,
			  chain->partition, (unsigned long long)counts.skipped);
	chain->walk.damaged = counts.skipped > 0;
	if (counts.skipped > 0) {
		damaged_walk(chain);
		return;
	}
	chain_outbound_set(chain, CHAIN_LINK_UP);
}

static void walk_failed(struct chain *chain, uint32_t status)
{
	struct catchup_counts counts = catchup_walk_counts(chain->walk.catchup);

	tell_after(chain, &counts);
	if (status == EIO)
		chain_trouble(chain);
	else if (status == ESTALE)
		chain_outdated_found(chain);
	chain_outbound_retry(chain, status);
}

/* Counts that a frame's worth has arrived, or will not be sent: other walks may go on. */
static void content_done(struct chain *chain)
{
	struct chain *other, *next;

	if (chain->walk.content == 0)
		return;
	chain->walk.content--;
	chain->env->walk_content--;
	DL_FOREACH_SAFE2(chain->env->walking, other, next, walk_next)
	{
		if (other != chain)
			chain_walk_advance(other);
	}
}

/* Gives back what was counted for blocks that are not sent: their chunk is damaged. */
static void content_dropped(struct chain *chain)
{
	unsigned sent = 0;

	for (unsigned i = 0; i <= CATCHUP_WINDOW; i++)
		sent += chain->walk.frames[i].id != 0 && chain->walk.frames[i].content;
	while (chain->walk.content > sent)
		content_done(chain);
}

/* Asks the walk for its next step. That lets updates go on that waited for its last chunk, and what
 * they lead to may drop the walk. False: so it was, and the step is void. */
static bool next_step(struct chain *chain, struct catchup_action *step)
{
	struct catchup_walk *walk = chain->walk.catchup;

	expects(chain->walk.asked == NULL);
	chain->walk.asked = walk;
	catchup_walk_next(walk, step);
	chain->walk.asked = NULL;
	if (chain->walk.catchup == walk)
		return true;
	if (step->kind == CATCHUP_SEND)
		buf_unref(step->payload);
	catchup_walk_free(walk);
	return false;
}

static void walk_steps(struct chain *chain)
{
	while (chain->walk.catchup != NULL) {
		struct catchup_action step;

		if (!next_step(chain, &step))
			continue;
		switch (step.kind) {
		case CATCHUP_SEND:
			walk_send(chain, &step);
			break;
		case CATCHUP_READ:
			walk_read(chain, &step);
			break;
		case CATCHUP_DAMAGED:
			chain_suspect_add(chain, &step.key);
			content_dropped(chain);
			break;
		case CATCHUP_DONE:
			walk_done(chain);
			break;
		case CATCHUP_FAILED:
			walk_failed(chain, step.status);
			break;
		case CATCHUP_NONE:
			return;
		}
	}
}

void chain_walk_advance(struct chain *chain)
{
	/* What is released below may call back. */
	if (chain->walk.running)
		return;
	chain->walk.running = true;
	walk_steps(chain);
	chain->walk.running = false;
	chain_walk_release(chain);
	/* The cursor has moved: some updates have to be sent now, others need not be waited for. */
	if (!chain_is_strict(chain))
		chain_pending_advance(chain);
}

void chain_walk_start(struct chain *chain)
{
	static const struct catchup_owner callbacks = {
		.base = base_of, .quiet = chunk_at_rest, .may_copy = may_copy};
	struct chain_env *env = chain->env;
	struct catchup_owner owner = callbacks;

	owner.arg = chain;
	owner.others = chain_others_in_sync(chain);
	owner.epoch = chain->config.epoch;
	chain_outbound_set(chain, CHAIN_LINK_COMPARING);
	if (FAULTY(NO_GAP_CHECK)) {
		chain_outbound_set(chain, CHAIN_LINK_UP);
		return;
	}
	chain->walk.catchup =
		catchup_walk_new(&env->ops->store, env->ctx, chain->pool, chain->partition, &owner);
	if (chain->walk.catchup == NULL) {
		chain_outbound_retry(chain, ENOMEM);
		return;
	}
	expects(chain->walk.content == 0);
	chain->walk.serial = ++env->last_id;
	DL_APPEND2(env->walking, chain, walk_prev, walk_next);
	chain->walk.counted = !chain_is_strict(chain);
	if (chain->walk.counted)
		env->copying_walks++;
	chain_walk_advance(chain);
}

void chain_walk_read_done(struct chain_env *env, uint64_t serial, int error, struct buf *buf,
			  uint32_t offset)
{
	struct chain *chain;

	expects(env->operations > 0);
	env->operations--;
	DL_FOREACH2(env->walking, chain, walk_next)
	if (chain->walk.serial == serial)
		break;
	if (chain == NULL) {
		buf_unref(buf);
		return;
	}
	catchup_walk_read(chain->walk.catchup, error, buf, offset);
	if (error != 0)
		content_done(chain);
	chain_walk_advance(chain);
}

bool chain_walk_answered(struct chain *chain, const struct frame_header *header,
			 const struct buf *payload)
{
	for (unsigned i = 0; chain->walk.catchup != NULL && i <= CATCHUP_WINDOW; i++) {
		if (chain->walk.frames[i].id != header->request_id)
			continue;
		chain->walk.frames[i].id = 0;
		catchup_walk_answer(chain->walk.catchup, header->op, header->status, payload);
		if (chain->walk.frames[i].content)
			content_done(chain);
		chain_walk_advance(chain);
		return true;
	}
	return false;
}
