/* inbound.c - the link from the predecessor: being compared, being made equal.
 *
 * Catching up, as the successor sees it:
 *
 * 1. CATCHUP_COMPARE, first of a walk: the link begins anew (begin()). Updates that wait for space
 *    are dropped: they come again.
 * 2. CATCHUP_COMPARE of a range: when its queues are empty, the answer says which records differ.
 *    Chunks that the predecessor does not have are removed first.
 * 3. CATCHUP_DATA and CATCHUP_COMMIT of chunks that differ take their places in the chunks' queues.
 *    Until the link is done the copy counts as mixed: parts of it may be of two members.
 * 4. CATCHUP_END is answered when all that came before it is committed, durable here (a flush of
 *    everything, if anything was copied or this member is not in-sync), and answered by those
 *    behind.
 *
 * In place of 1 to 4, a resume asks whether this member has been ready since it began: OK or GAP.
 *
 * What may fail: the connection is lost, or anything is refused: the link is lost, and begins at 1.
 * A chunk is damaged: it is copied whatever its record says. A record is of a later epoch than the
 * chain: nothing is copied or removed (outdated). The store fails: CATCHUP_END is refused. */
#include "chunkserver/chain/inbound.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/configure.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"
#include "common/base/bitmap.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

#define REMOVE_BATCH 128

static struct log_rate bad_rate;

/* ---- damaged chunks ---- */

void chain_suspect_add(struct chain *chain, const struct chunk_key *key)
{
	for (unsigned i = 0; i < chain->copy.suspect_count; i++)
		if (chunk_key_equal(&chain->copy.suspects[i], key))
			return;
	if (chain->copy.suspect_count < SUSPECTS_MAX)
		chain->copy.suspects[chain->copy.suspect_count++] = *key;
}

void chain_damage_found(struct chain *chain, const struct chunk_key *key)
{
	chain_suspect_add(chain, key);
	/* What comes from the predecessor now would find the damage again: it has to compare. */
	if (!chain->role.head)
		chain->inbound.ready = false;
	(void)chain_report_unfit(chain);
}

static void suspect_remove(struct chain *chain, const struct chunk_key *key)
{
	for (unsigned i = 0; i < chain->copy.suspect_count; i++)
		if (chunk_key_equal(&chain->copy.suspects[i], key))
			chain->copy.suspects[i--] =
				chain->copy.suspects[--chain->copy.suspect_count];
}

static bool is_suspect(void *arg, const struct chunk_key *key)
{
	const struct chain *chain = arg;

	for (unsigned i = 0; i < chain->copy.suspect_count; i++)
		if (chunk_key_equal(&chain->copy.suspects[i], key))
			return true;
	return false;
}

/* ---- states ---- */

/* Drops held requests of the predecessor: they come again after the comparison. */
static void drop_held_forwards(struct chain *chain)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->held, r, next, chain_next)
	if (r->source.server_id != 0)
		chain_request_end_silently(r);
}

void chain_inbound_end_refuse(struct chain *chain)
{
	if (chain->inbound.end.wanted)
		chain_answer_source(chain, &chain->inbound.end.source, &chain->inbound.end.header,
				    FRAME_STATUS_GAP, 0, NULL);
	chain->inbound.end.wanted = false;
}

void chain_inbound_lose(struct chain *chain)
{
	struct inbound_compare *c = chain->inbound.compare;

	chain->inbound.state = INBOUND_LOST;
	chain->inbound.conn = 0;
	chain_inbound_end_refuse(chain);
	chain->inbound.end.flush_serial = 0;
	if (c != NULL)
		chain_answer_source(chain, &c->source, &c->header, FRAME_STATUS_GAP, 0, NULL);
	free(c);
	chain->inbound.compare = NULL;
	drop_held_forwards(chain);
}

void chain_source_lost(struct chain *chain, uint64_t conn)
{
	if (conn != 0 && chain->inbound.conn == conn)
		chain_inbound_lose(chain);
	if (conn != 0 && chain->early.source.conn == conn)
		chain_early_drop(chain, 0);
}

void chain_inbound_changed(struct chain *chain)
{
	chain->inbound.changed = true;
	chain->outbound.ready = false;
	chain->outbound.resumable = false;
	if (chain->outbound.link == CHAIN_LINK_UP || chain->outbound.link == CHAIN_LINK_COMPARING)
		chain_outbound_set(chain, CHAIN_LINK_WAIT);
}

static void begin(struct chain *chain, uint64_t conn)
{
	chain_inbound_lose(chain);
	expects(chain->inbound.compare == NULL && !chain->inbound.end.wanted);
	chain->inbound.state = INBOUND_SYNCING;
	chain->inbound.conn = conn;
	chain->inbound.ready = false;
	chain->inbound.changed = false;
	/* What waits for space would be waited for: it will come again. */
	chain_retry_requests(chain, true);
}

/* ---- CATCHUP_COMPARE ---- */

static void compare_answer(struct chain *chain, uint32_t status)
{
	struct inbound_compare *c = chain->inbound.compare;
	uint32_t bytes = BITMAP_BYTES(c->compare.count);
	struct buf *buf = NULL;

	chain->inbound.compare = NULL;
	if (status == FRAME_OK && bytes > 0) {
		buf = chain->env->ops->store.buffer(chain->env->ctx, bytes);
		if (buf == NULL) {
			status = FRAME_STATUS_NOT_READY;
		} else {
			memcpy(buf->data, c->bitmap, bytes);
			buf->start = 0;
			buf->length = bytes;
			block_checksums(buf->data, 0, bytes, buf->crcs);
		}
	}
	chain_answer_source(chain, &c->source, &c->header, status, 0, buf);
	buf_unref(buf);
	free(c);
}

static void compare_failed(struct chain *chain, int error)
{
	if (error == -EIO)
		chain_trouble(chain);
	else if (error == -ESTALE)
		chain_outdated_found(chain);
	compare_answer(chain, FRAME_STATUS_NOT_READY);
	chain_inbound_lose(chain);
}

static void remove_keys(struct chain *chain, const struct chain_source *source,
			const struct frame_header *header, const struct chunk_key *keys,
			uint32_t count)
{
	struct request *r = chain_request_new(chain, source, header, NULL);

	r->work.keys = chain_alloc(count * sizeof(*keys));
	memcpy(r->work.keys, keys, count * sizeof(*keys));
	r->work.key_count = count;
	for (uint32_t i = 0; i < count; i++)
		chain_drop_chunk_pending(chain, &keys[i]);
	chain_request_move(r, REQUEST_READING);
	r->waiting = true;
	r->work.epoch = chain->config.epoch;
	chain->removals++;
	DL_APPEND2(chain->reading, r, chain_prev, chain_next);
	chain_inbound_removals_advance(chain);
}

static bool in_range(const struct catchup_compare *compare, const struct chunk_key *key)
{
	struct catchup_key inner = {key->file_id, key->index};

	return catchup_key_compare(inner, compare->from) >= 0 &&
	       catchup_key_compare(inner, compare->to) <= 0;
}

bool chain_inbound_copies(const struct chain *chain, const struct chunk_key *key)
{
	struct catchup_key inner = {key->file_id, key->index};

	return chain->inbound.state == INBOUND_SYNCING &&
	       catchup_key_compare(inner, chain->inbound.from) >= 0 &&
	       catchup_key_compare(inner, chain->inbound.to) <= 0;
}

bool chain_inbound_compares(const struct chain *chain, const struct chunk_key *key)
{
	return chain->inbound.compare != NULL && in_range(&chain->inbound.compare->compare, key);
}

/* True when a record of the range is not at rest. */
static bool range_busy(const struct chain *chain, const struct catchup_compare *compare)
{
	const struct chain_chunk *chunk;

	DL_FOREACH(chain->chunks, chunk)
	if (chunk->queue != NULL && in_range(compare, &chunk->key))
		return true;
	return false;
}

/* True when something is queued in one of the chunks: it comes first, or it would make them anew.
 */
static bool keys_busy(struct chain *chain, const struct chain_work *request)
{
	for (uint32_t i = 0; i < request->key_count; i++) {
		const struct chain_chunk *chunk = chain_chunk_find(chain, &request->keys[i]);

		if (chunk != NULL && chunk->queue != NULL)
			return true;
	}
	return false;
}

void chain_inbound_removals_advance(struct chain *chain)
{
	struct request *r;

	DL_FOREACH2(chain->reading, r, chain_next)
	{
		if (!r->waiting || keys_busy(chain, &r->work))
			continue;
		r->waiting = false;
		chain_operation_add(r, CHAIN_REMOVE);
	}
}

/* Removes chunks of the range that the predecessor does not have, a batch at a time. True: there
 * are no more. */
static bool remove_extra(struct chain *chain)
{
	struct inbound_compare *c = chain->inbound.compare;
	const struct chain_source nobody = {0};
	struct chunk_key keys[REMOVE_BATCH];
	int n = 0;

	while (n == 0 && !c->cursor.done) {
		n = catchup_extra(&chain->env->ops->store, chain->env->ctx, chain->pool,
				  chain->partition, &c->compare, chain->config.epoch, &c->cursor,
				  keys, REMOVE_BATCH);
		if (n < 0) {
			compare_failed(chain, n);
			return false;
		}
	}
	if (n == 0)
		return true;
	chain_inbound_changed(chain);
	remove_keys(chain, &nobody, &c->header, keys, (uint32_t)n);
	return false;
}

void chain_inbound_advance(struct chain *chain)
{
	struct inbound_compare *c = chain->inbound.compare;
	int rc;

	/* What a former predecessor has had removed is not compared before it is gone. */
	if (c == NULL || c->removing || chain->aborting > 0 || chain->removals > 0 ||
	    range_busy(chain, &c->compare))
		return;
	if (!c->begun) {
		c->begun = true;
		rc = catchup_differs(&chain->env->ops->store, chain->env->ctx, chain->pool,
				     chain->partition, &c->compare, chain->config.epoch, is_suspect,
				     chain, c->bitmap);
		if (rc < 0) {
			compare_failed(chain, rc);
			return;
		}
	}
	if (remove_extra(chain))
		compare_answer(chain, FRAME_OK);
	else if (chain->inbound.compare != NULL)
		chain->inbound.compare->removing = true;
}

static void removed_by_predecessor(struct chain *chain, const struct chain_work *work)
{
	for (size_t i = 0; i < work->key_count; i++)
		(void)chain_drop_removed(chain, &work->keys[i]);
	chain_outbound_removed(chain, work->keys, work->key_count);
}

void chain_remove_done(struct chain_work *request, int error)
{
	struct request *r = request_of_work(request);
	struct chain *chain = r->chain;

	expects(r->env->operations > 0);
	r->env->operations--;
	if (chain != NULL && r->source.conn != 0) {
		if (error == 0)
			removed_by_predecessor(chain, &r->work);
		else
			chain_trouble(chain);
		chain_request_end(r, error == 0 ? FRAME_OK : FRAME_STATUS_NOT_READY, NULL);
	} else if (chain != NULL) {
		chain_request_end_silently(r);
		if (error == -EIO)
			chain_trouble(chain);
		if (chain->inbound.compare != NULL && chain->inbound.compare->removing) {
			chain->inbound.compare->removing = false;
			if (error != 0)
				compare_failed(chain, error);
			else
				chain_inbound_advance(chain);
		}
	}
	chain_request_unref(r);
	if (chain == NULL || chain->removals > 0)
		return;
	chain_inbound_advance(chain);
	chain_outbound_consider(chain);
}

static uint32_t compare_range(struct chain *chain, const struct chain_source *source,
			      const struct frame_header *header, const struct buf *payload)
{
	struct inbound_compare *c = chain_alloc(sizeof(*c));

	if (catchup_compare_decode(buf_payload(payload), payload->length, &c->compare) < 0) {
		free(c);
		return EINVAL;
	}
	if (c->compare.first)
		begin(chain, source->conn);
	/* Between the end and its answer nothing is compared, unless all begins anew. */
	if (chain->inbound.state != INBOUND_SYNCING || chain->inbound.conn != source->conn ||
	    chain->inbound.compare != NULL || chain->inbound.end.wanted) {
		free(c);
		return FRAME_STATUS_GAP;
	}
	c->source = *source;
	c->header = *header;
	chain->inbound.compare = c;
	chain->inbound.from = c->compare.from;
	chain->inbound.to = c->compare.to;
	chain_inbound_advance(chain);
	return FRAME_OK;
}

static uint32_t compare_gone(struct chain *chain, const struct chain_source *source,
			     const struct frame_header *header, const struct buf *payload)
{
	struct catchup_key gone[CATCHUP_GONE_MAX];
	struct chunk_key keys[CATCHUP_GONE_MAX];
	int count;

	if (chain->inbound.state == INBOUND_LOST || chain->inbound.conn != source->conn)
		return FRAME_STATUS_GAP;
	count = catchup_gone_decode(buf_payload(payload), payload->length, gone);
	if (count < 0)
		return EINVAL;
	for (int i = 0; i < count; i++) {
		keys[i] = (struct chunk_key){.pool = chain->pool,
					     .partition = chain->partition,
					     .file_id = gone[i].file_id,
					     .index = gone[i].index};
		if (chain_chunk_is_later(chain, &keys[i]))
			return FRAME_STATUS_NOT_READY;
	}
	remove_keys(chain, source, header, keys, (uint32_t)count);
	return FRAME_OK;
}

static uint32_t compare_blocks(struct chain *chain, const struct chain_source *source,
			       const struct frame_header *header, const struct buf *payload)
{
	const struct chain_ops *ops = chain->env->ops;
	struct catchup_blocks *blocks;
	struct chunk_key key = {.pool = chain->pool, .partition = chain->partition};
	struct buf *buf = NULL;
	uint32_t status = FRAME_STATUS_NOT_READY, bytes;
	int rc;

	if (chain->inbound.state != INBOUND_SYNCING || chain->inbound.conn != source->conn)
		return FRAME_STATUS_GAP;
	blocks = chain_alloc(sizeof(*blocks));
	if (catchup_blocks_decode(buf_payload(payload), payload->length, blocks) < 0) {
		free(blocks);
		return EINVAL;
	}
	key.file_id = blocks->key.file_id;
	key.index = blocks->key.index;
	bytes = BITMAP_BYTES(blocks->count);
	buf = ops->store.buffer(chain->env->ctx, bytes);
	if (buf == NULL)
		goto out;
	rc = catchup_blocks_differ(&ops->store, chain->env->ctx, &key, blocks,
				   is_suspect(chain, &key), buf->data);
	if (rc < 0) {
		chain_trouble(chain);
		goto out;
	}
	buf->start = 0;
	buf->length = bytes;
	block_checksums(buf->data, 0, bytes, buf->crcs);
	chain_answer_source(chain, source, header, FRAME_OK, 0, buf);
	status = FRAME_OK;
out:
	buf_unref(buf);
	free(blocks);
	return status;
}

/* Answers whether this member is what it was when the predecessor was equal with it: the
 * predecessor has pending whatever is lacking here. */
static uint32_t resume_arrived(struct chain *chain, const struct chain_source *source,
			       const struct frame_header *header)
{
	if (!chain->inbound.ready && !FAULTY(RESUME_UNEQUAL))
		return FRAME_STATUS_GAP;
	chain_inbound_lose(chain);
	chain->inbound.state = INBOUND_DONE;
	chain->inbound.conn = source->conn;
	chain->inbound.ready = true;
	chain->inbound.end.wanted = true;
	chain->inbound.end.source = *source;
	chain->inbound.end.header = *header;
	chain_outbound_consider(chain);
	chain_inbound_end_answer(chain);
	return FRAME_OK;
}

static uint32_t compare_arrived(struct chain *chain, const struct chain_source *source,
				const struct frame_header *header, const struct buf *payload)
{
	int kind = payload == NULL ? -EBADMSG
				   : catchup_compare_kind(buf_payload(payload), payload->length);

	if (kind == CATCHUP_KIND_RANGE)
		return compare_range(chain, source, header, payload);
	if (kind == CATCHUP_KIND_GONE)
		return compare_gone(chain, source, header, payload);
	if (kind == CATCHUP_KIND_BLOCKS)
		return compare_blocks(chain, source, header, payload);
	if (kind == CATCHUP_KIND_RESUME)
		return resume_arrived(chain, source, header);
	return EINVAL;
}

/* ---- CATCHUP_DATA, CATCHUP_COMMIT ---- */

static bool at_blocks(const struct frame_header *header)
{
	uint32_t length = header->length > 0 ? header->length : header->range;

	if (header->op == FRAME_CATCHUP_COMMIT)
		return header->length > 0;
	return length > 0 && header->offset % BLOCK_SIZE == 0 && length % BLOCK_SIZE == 0 &&
	       (header->length == 0 || header->range == 0);
}

static uint32_t copy_arrived(struct chain *chain, const struct chain_source *source,
			     const struct frame_header *header, struct buf *payload)
{
	struct chain_chunk *chunk;
	struct chunk_info info;
	struct request *r;
	int rc;

	info.version = 0;
	if (chain->inbound.state != INBOUND_SYNCING || chain->inbound.conn != source->conn)
		return FRAME_STATUS_GAP;
	if (!at_blocks(header) ||
	    (header->op == FRAME_CATCHUP_COMMIT &&
	     (catchup_commit_decode(buf_payload(payload), payload->length, &info) < 0 ||
	      info.epoch > chain->config.epoch)))
		return EINVAL;
	/* The predecessor's copy has them, or they were never answered to anyone. */
	chain_drop_chunk_pending(chain, &header->key);
	rc = chain_chunk_get(chain, &header->key, &chunk);
	if (rc < 0 && rc != -EBADMSG) {
		if (rc != -ESTALE)
			chain_trouble(chain);
		return FRAME_STATUS_NOT_READY;
	}
	if (rc < 0)
		return EIO;
	r = chain_request_new(chain, source, header, payload == NULL ? NULL : buf_ref(payload));
	if (chain->copy.state == COPY_WHOLE)
		chain->copy.state = COPY_MIXED;
	/* Updates may follow it at once. */
	if (header->op == FRAME_CATCHUP_COMMIT)
		chunk->last = info.version;
	chain_update_queue(chunk, r);
	return FRAME_OK;
}

void chain_inbound_complete(struct request *r)
{
	struct chain *chain = r->chain;
	struct chain_chunk *chunk = r->chunk;
	const struct chunk_key key = r->work.key;
	struct chunk_info info;
	int rc =
		catchup_commit_decode(buf_payload(r->work.payload), r->work.payload->length, &info);

	if (rc == 0 && chain->inbound.state != INBOUND_SYNCING)
		rc = -ECANCELED;
	if (rc == 0)
		rc = chain->env->ops->store.complete(chain->env->ctx, &key, &info);
	if (rc == 0) {
		chunk->committed = info.version;
		/* The predecessor goes on behind the copy: what has come since is queued, and the next
		 * update follows the last of those. */
		if (chunk->last < info.version)
			chunk->last = info.version;
		suspect_remove(chain, &key);
		chain_inbound_changed(chain);
		chain_request_end(r, FRAME_OK, NULL);
		return;
	}
	if (rc == -EIO)
		chain_trouble(chain);
	if (log_rate_ok(&bad_rate, 5))
		log_warn("copy not completed pool=%u partition=%u chunk=%llu/%u error=%d",
			 chain->pool, chain->partition, (unsigned long long)key.file_id, key.index,
			 rc);
	chain_inbound_end_refuse(chain);
	/* With those that have followed it. */
	chain_drop_from(r, FRAME_STATUS_NOT_READY, FRAME_STATUS_NOT_READY);
	chain_inbound_lose(chain);
}

/* ---- CATCHUP_END ---- */

void chain_inbound_end_answer(struct chain *chain)
{
	if (!chain->inbound.end.wanted || chain->inbound.end.uncommitted > 0 ||
	    chain->inbound.end.unanswered > 0 || chain->inbound.end.flush_serial != 0 ||
	    chain_holds_updates(chain))
		return;
	chain->inbound.end.wanted = false;
	chain_answer_source(chain, &chain->inbound.end.source, &chain->inbound.end.header, FRAME_OK,
			    0, NULL);
}

/* Ends the comparison: this member is equal with its predecessor from now on. */
static void inbound_done(struct chain *chain)
{
	chain->inbound.state = INBOUND_DONE;
	chain->inbound.ready = true;
	chain->copy.state = COPY_WHOLE;
	chain_outbound_consider(chain);
	chain_inbound_end_answer(chain);
}

void chain_all_flushed(struct chain_env *env, uint64_t serial, int error)
{
	struct chain *chain;

	expects(env->operations > 0);
	env->operations--;
	DL_FOREACH(env->chains, chain)
	if (chain->inbound.end.flush_serial == serial)
		break;
	if (chain == NULL)
		return;
	chain->inbound.end.flush_serial = 0;
	if (error == 0) {
		inbound_done(chain);
		return;
	}
	chain_trouble(chain);
	chain_inbound_lose(chain);
}

/* What was flushed while this member was away, or what it holds by copies, counts as durable at all
 * members from now on. So it has to be, whoever wrote it here. */
static void flush_everything(struct chain *chain)
{
	struct chain_action *action = chain_action_add(chain->env, CHAIN_FLUSH_ALL);

	expects(chain->inbound.end.wanted && chain->inbound.end.uncommitted == 0);
	chain->inbound.end.flush_serial = ++chain->env->last_id;
	chain->env->operations++;
	action->chain = chain;
	action->serial = chain->inbound.end.flush_serial;
	action->header.key = (struct chunk_key){.pool = chain->pool, .partition = chain->partition};
}

void chain_inbound_end_advance(struct chain *chain)
{
	if (chain->inbound.state != INBOUND_SYNCING || !chain->inbound.end.wanted ||
	    chain->inbound.end.flush_serial != 0)
		return;
	if ((!chain->role.in_sync || chain->inbound.changed) && !FAULTY(NO_FLUSH_AT_END))
		flush_everything(chain);
	else
		inbound_done(chain);
}

static void wait_for_one(struct chain *chain, struct request *r)
{
	/* Who is not waited for is compared before it is taken to have anything. */
	r->end_waits = chain_is_strict(chain);
	chain->inbound.end.unanswered += r->end_waits;
}

/* Marks what CATCHUP_END waits for. The predecessor may have none of these updates pending itself:
 * if this member died, it would take the members behind to have all that it has. */
static void wait_for_queues(struct chain *chain)
{
	struct chain_chunk *chunk;
	struct request *r;

	chain->inbound.end.uncommitted = chain->inbound.end.unanswered = 0;
	DL_FOREACH2(chain->pending, r, chain_next)
	wait_for_one(chain, r);
	DL_FOREACH(chain->chunks, chunk)
	{
		DL_FOREACH(chunk->queue, r)
		{
			r->before_end = true;
			chain->inbound.end.uncommitted++;
			wait_for_one(chain, r);
		}
	}
}

static uint32_t end_arrived(struct chain *chain, const struct chain_source *source,
			    const struct frame_header *header)
{
	if (chain->inbound.state != INBOUND_SYNCING || chain->inbound.conn != source->conn ||
	    chain->inbound.compare != NULL || chain->inbound.end.wanted)
		return FRAME_STATUS_GAP;
	chain->inbound.end.wanted = true;
	chain->inbound.end.source = *source;
	chain->inbound.end.header = *header;
	wait_for_queues(chain);
	if (chain->inbound.end.uncommitted == 0)
		chain_inbound_end_advance(chain);
	return FRAME_OK;
}

void chain_inbound_arrived(struct chain *chain, const struct chain_source *source,
			   const struct frame_header *header, struct buf *payload)
{
	uint32_t status;

	if ((header->flags & FRAME_FORWARD) == 0)
		status = EACCES;
	else if (chain->env->failed || chain->env->stopped || chain->copy.outdated)
		status = FRAME_STATUS_NOT_READY;
	else if (header->op == FRAME_CATCHUP_COMPARE)
		status = compare_arrived(chain, source, header, payload);
	else if (header->op == FRAME_CATCHUP_END)
		status = end_arrived(chain, source, header);
	else
		status = copy_arrived(chain, source, header, payload);
	if (status != FRAME_OK)
		chain_answer_source(chain, source, header, status, 0, NULL);
	if (status == EINVAL && log_rate_ok(&bad_rate, 5))
		log_warn("bad frame from predecessor op=%s pool=%u partition=%u",
			 frame_op_name(header->op), chain->pool, chain->partition);
	buf_unref(payload);
}
