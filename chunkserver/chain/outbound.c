/* outbound.c - the link to the successor: down -> wait -> comparing -> up.
 *
 * Catching up, as the predecessor sees it:
 *
 * 1. The connection stands (chain_connection()): the link is in WAIT.
 * 2. The two were equal before, and remember it: one question is enough (resume()). OK: the link is
 *    up.
 * 3. Else a walk begins (walk.c). It needs that this member is the head, or equal with its own
 *    predecessor. Before a walk to an in-sync successor, nothing may be uncommitted here.
 * 4. The walk ends with CATCHUP_END. Its answer says that the successor, and all behind it, have
 *    everything: the link is up.
 * 5. Everything pending is forwarded again, then the held requests are accepted (came_up()).
 * 6. A successor that was syncing is waited for from now on (strict), and only then reported to the
 *    master.
 *
 * The other side is told in inbound.c.
 *
 * What may fail: the connection is lost: down, and what was forwarded will be sent again. The
 * successor refuses anything: back to WAIT, and after a pause that grows from 20 ms to 1 s to
 * comparing. It says GAP: it has forgotten, so that a resume is not tried again. It answers nothing
 * for 30 s: comparing again. An update was broken off with bytes in place (chain_copy_altered()):
 * comparing again. */
#include "chunkserver/chain/outbound.h"
#include <errno.h>
#include "chunkserver/chain/accept.h"
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/update.h"
#include "chunkserver/chain/walk.h"
#include "common/base/duration.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

#define COPYING_WALKS_MAX 4u
#define BACKOFF_MIN_NS    (20 * NS_PER_MSEC)
#define PROBE_NS          (200 * NS_PER_MSEC)
#define PROBE_BELOW       (256ull << 20)

static struct log_rate retry_rate;

#define BIT(link) (1u << (link))
static const unsigned link_allowed[] = {
	[CHAIN_LINK_NONE] = BIT(CHAIN_LINK_DOWN) | BIT(CHAIN_LINK_WAIT),
	[CHAIN_LINK_DOWN] = BIT(CHAIN_LINK_NONE) | BIT(CHAIN_LINK_WAIT),
	[CHAIN_LINK_WAIT] = BIT(CHAIN_LINK_NONE) | BIT(CHAIN_LINK_DOWN) | BIT(CHAIN_LINK_COMPARING),
	[CHAIN_LINK_COMPARING] = BIT(CHAIN_LINK_NONE) | BIT(CHAIN_LINK_DOWN) |
				 BIT(CHAIN_LINK_WAIT) | BIT(CHAIN_LINK_UP),
	[CHAIN_LINK_UP] = BIT(CHAIN_LINK_NONE) | BIT(CHAIN_LINK_DOWN) | BIT(CHAIN_LINK_WAIT),
};

/* Takes back what was forwarded: it has to be sent again, answered or not, because the successor
 * may have lost its memory. */
static void take_back(struct chain *chain)
{
	struct request *r;

	DL_FOREACH2(chain->pending, r, chain_next)
	{
		if (r->successor == SUCCESSOR_SENT)
			table_remove(&chain->env->ids, &r->id_node);
		if (r->successor != SUCCESSOR_NOT_ASKED)
			r->successor = SUCCESSOR_TO_SEND;
	}
	chain->outbound.probe_id = 0;
}

static void came_up(struct chain *chain)
{
	struct request *r;

	chain->outbound.ready = true;
	chain->outbound.up_epoch = chain->config.epoch;
	chain->outbound.backoff_ns = 0;
	if (!chain->role.next_in_sync && !FAULTY(NEVER_STRICT))
		chain->outbound.strict = true;
	/* From now on what it lacks is pending here. */
	chain->outbound.resumable = chain_is_strict(chain);
	DL_FOREACH2(chain->pending, r, chain_next)
	chain_update_forward(r);
	chain_held_accept(chain);
	chain_inbound_end_answer(chain);
	if (!chain->role.next_in_sync)
		chain_report_caught_up(chain);
}

void chain_outbound_set(struct chain *chain, enum chain_link link)
{
	enum chain_link old = chain->outbound.link;

	if (link == old)
		return;
	expects((link_allowed[old] & BIT(link)) != 0);
	log_debug("link pool=%u partition=%u epoch=%llu from=%s to=%s", chain->pool,
		  chain->partition, (unsigned long long)chain->config.epoch, chain_link_name(old),
		  chain_link_name(link));
	chain->outbound.link = link;
	chain->outbound.resume_id = 0;
	if (link != CHAIN_LINK_UP && chain->outbound.removals_unanswered > 0) {
		chain->outbound.removals_unanswered = 0;
		chain->outbound.resumable = false;
	}
	if (old == CHAIN_LINK_COMPARING)
		chain_walk_drop(chain);
	/* Behind the cursor of a walk updates are sent, too. */
	if (old == CHAIN_LINK_UP || (old == CHAIN_LINK_COMPARING && link != CHAIN_LINK_UP))
		take_back(chain);
	if (link == CHAIN_LINK_UP)
		came_up(chain);
	else if (link == CHAIN_LINK_DOWN)
		chain_held_refuse(chain, FRAME_STATUS_NOT_READY, 0);
	chain_walk_release(chain);
	if (!chain_is_strict(chain)) {
		chain_pending_advance(chain);
		chain_held_accept(chain);
	}
}

void chain_outbound_reset(struct chain *chain)
{
	if (chain->role.next < 0)
		chain_outbound_set(chain, CHAIN_LINK_NONE);
	else
		chain_outbound_set(chain,
				   chain->outbound.conn == 0 ? CHAIN_LINK_DOWN : CHAIN_LINK_WAIT);
	chain->outbound.retry_at_ns = 0;
	chain->outbound.backoff_ns = 0;
	chain->outbound.free_bytes = UINT64_MAX;
}

void chain_connection(struct chain *chain, uint64_t conn)
{
	if (chain->role.next < 0 || conn == chain->outbound.conn)
		return;
	if (chain->outbound.link != CHAIN_LINK_DOWN)
		chain_outbound_set(chain, CHAIN_LINK_DOWN);
	chain->outbound.conn = conn;
	if (conn == 0)
		return;
	chain->outbound.retry_at_ns = 0;
	chain_outbound_set(chain, CHAIN_LINK_WAIT);
	chain_outbound_consider(chain);
}

void chain_outbound_retry(struct chain *chain, uint32_t status)
{
	if (chain->outbound.link != CHAIN_LINK_UP && chain->outbound.link != CHAIN_LINK_COMPARING)
		return;
	/* A neighbour that is not so far yet is no news. */
	if (status != FRAME_OK && status != FRAME_STATUS_NOT_READY &&
	    status != FRAME_STATUS_EPOCH && status != FRAME_STATUS_NOT_MINE &&
	    log_rate_ok(&retry_rate, 5))
		log_warn(
			"successor refuses pool=%u partition=%u link=%s status=%s: comparing again",
			chain->pool, chain->partition, chain_link_name(chain->outbound.link),
			frame_status_name(status));
	/* The successor is not what it was thought to be. */
	if (status == FRAME_STATUS_GAP)
		chain->outbound.resumable = false;
	chain->outbound.backoff_ns =
		chain->outbound.backoff_ns == 0 ? BACKOFF_MIN_NS : 2 * chain->outbound.backoff_ns;
	if (chain->outbound.backoff_ns > CHAIN_BACKOFF_NS)
		chain->outbound.backoff_ns = CHAIN_BACKOFF_NS;
	chain->outbound.retry_at_ns = chain->env->now_ns + chain->outbound.backoff_ns;
	chain_outbound_set(chain, CHAIN_LINK_WAIT);
}

void chain_copy_altered(struct chain *chain)
{
	if (FAULTY(DROP_BEGUN) || FAULTY(FORGET_ALTERED))
		return;
	chain->outbound.altered = true;
	chain->outbound.ready = false;
}

static void act_on_alteration(struct chain *chain)
{
	if (!chain->outbound.altered)
		return;
	chain->outbound.altered = false;
	chain->outbound.ready = false;
	chain_outbound_retry(chain, FRAME_OK);
}

struct chain_action *chain_outbound_send(struct chain *chain, uint8_t op)
{
	struct chain_action *action;

	expects(chain->role.next >= 0 && chain->outbound.conn != 0);
	action = chain_action_add(chain->env, CHAIN_SEND);

	action->chain = chain;
	action->conn = chain->outbound.conn;
	action->header = (struct frame_header){
		.op = op,
		.request_id = ++chain->env->last_id,
		.key = {.pool = chain->pool, .partition = chain->partition},
		.epoch = chain->config.epoch,
		.arg = chain->config.members[chain->role.next].target_id,
	};
	return action;
}

/* True when the oldest forwarded request has no answer for too long. Each is answered, or the
 * connection ends; should it ever be otherwise, comparing again puts it right. */
static bool waits_too_long(const struct chain *chain)
{
	const struct request *r = chain->pending;

	return chain->outbound.link == CHAIN_LINK_UP && r != NULL &&
	       r->successor == SUCCESSOR_SENT &&
	       chain->env->now_ns - r->sent_ns > CHAIN_PATIENCE_NS;
}

/* Asks the successor whether it is as it was, when the two have been equal and all that it may lack
 * is pending here. False: a walk is needed. */
static bool resume(struct chain *chain)
{
	struct chain_env *env = chain->env;
	struct chain_action *action;
	struct buf *buf;

	if (!chain->outbound.resumable || !chain->outbound.ready ||
	    !(chain->role.head || chain->inbound.ready))
		return false;
	buf = env->ops->store.buffer(env->ctx, CATCHUP_RESUME_BYTES);
	if (buf == NULL)
		return false;
	buf->start = 0;
	buf->length = CATCHUP_RESUME_BYTES;
	catchup_resume_encode(buf->data);
	block_checksums(buf->data, 0, buf->length, buf->crcs);
	chain_outbound_set(chain, CHAIN_LINK_COMPARING);
	action = chain_outbound_send(chain, FRAME_CATCHUP_COMPARE);
	action->payload = buf;
	action->header.flags = FRAME_FORWARD;
	action->header.length = buf->length;
	chain->outbound.resume_id = action->header.request_id;
	return true;
}

void chain_outbound_consider(struct chain *chain)
{
	struct chain_env *env = chain->env;

	act_on_alteration(chain);
	if (waits_too_long(chain))
		chain_outbound_retry(chain, ETIMEDOUT);
	if (chain->walk.catchup != NULL)
		chain_walk_advance(chain); /* it may have had to wait for its turn to copy */
	if (chain->outbound.link != CHAIN_LINK_WAIT || env->failed ||
	    env->now_ns < chain->outbound.retry_at_ns || chain->copy.state == COPY_UNFIT ||
	    chain->copy.outdated || resume(chain) || !(chain->role.head || chain->inbound.ready))
		return;
	/* A member that is in-sync is compared while nothing goes on here, since it is waited for;
	 * others while everything does, but not too many at a time. */
	if (chain->aborting > 0 || chain->removals > 0)
		return;
	if (chain_is_strict(chain) ? chain->queued > 0 : env->copying_walks >= COPYING_WALKS_MAX)
		return;
	chain_walk_start(chain);
}

/* ---- answers of the successor ---- */

static void space_told(struct chain *chain, uint64_t free_bytes)
{
	chain->outbound.free_bytes = free_bytes;
}

static struct request *request_by_id(struct chain *chain, uint64_t id)
{
	struct table_node *node = table_first(&chain->env->ids, table_hash(id));

	for (; node != NULL; node = table_more(node)) {
		struct request *r = (struct request *)(void *)((char *)node -
							       offsetof(struct request, id_node));

		if (r->id == id && r->chain == chain)
			return r;
	}
	return NULL;
}

static void resume_answered(struct chain *chain, uint32_t status)
{
	chain->outbound.resume_id = 0;
	if (status == FRAME_OK) {
		chain_outbound_set(chain, CHAIN_LINK_UP);
	} else if (status == FRAME_STATUS_GAP) {
		chain->outbound.resumable = false;
		chain_outbound_set(chain, CHAIN_LINK_WAIT);
		chain_outbound_consider(chain);
	} else {
		chain_outbound_retry(chain, status);
	}
}

void chain_answer(struct chain *chain, uint64_t conn, const struct frame_header *header,
		  const struct buf *payload)
{
	struct frame_header told = *header;
	struct request *r;

	if (conn == 0 || conn != chain->outbound.conn || header->request_id == 0)
		return;
	act_on_alteration(chain);
	if ((header->request_id & GONE_BIT) != 0) {
		chain->outbound.removals_unanswered -= chain->outbound.removals_unanswered > 0;
		if (header->status != FRAME_OK) {
			chain->outbound.resumable = false;
			chain_outbound_retry(chain, header->status);
		}
		return;
	}
	if (header->request_id == chain->outbound.probe_id) {
		chain->outbound.probe_id = 0;
		if (header->status == FRAME_OK)
			space_told(chain, header->arg);
		return;
	}
	/* It has gone on in a chain that we have not heard of, with what it had of this one or not.
	 */
	if (told.status == FRAME_OK && told.epoch > chain->config.epoch)
		told.status = FRAME_STATUS_EPOCH;
	if (header->request_id == chain->outbound.resume_id) {
		resume_answered(chain, told.status);
		return;
	}
	if (chain_walk_answered(chain, &told, payload))
		return;
	r = request_by_id(chain, header->request_id);
	if (r == NULL || r->work.op != header->op)
		return;
	/* Members behind it may have made it in the epoch that we have not heard of, and go by
	 * that; our client would count from ours. It is asked again, or somebody else is. */
	if (header->status == FRAME_OK && header->epoch > chain->config.epoch) {
		chain_outbound_retry(chain, FRAME_STATUS_EPOCH);
		return;
	}
	if (header->status != FRAME_OK) {
		chain_outbound_retry(chain, header->status);
		return;
	}
	table_remove(&chain->env->ids, &r->id_node);
	r->successor = SUCCESSOR_ANSWERED;
	if (request_is_update(r))
		space_told(chain, header->arg);
	chain_update_check_done(r);
}

void chain_outbound_probe(struct chain *chain)
{
	struct chain_env *env = chain->env;

	if (chain->outbound.link != CHAIN_LINK_UP || chain->outbound.probe_id != 0 ||
	    chain->outbound.free_bytes >= PROBE_BELOW ||
	    env->now_ns < chain->outbound.probed_ns + PROBE_NS)
		return;
	chain->outbound.probed_ns = env->now_ns;
	chain->outbound.probe_id = chain_outbound_send(chain, FRAME_PING)->header.request_id;
}

uint64_t chain_probe(struct chain *chain)
{
	chain_outbound_probe(chain);
	return chain_space(chain);
}

/* ---- removals ----
 *
 * The master orders each member to remove a chunk, one after another from the head on, so that one
 * which has removed it cannot be sent it any more but by a walk that had read it before. As long as
 * one is on its way here, the order is not done: see chain_chunk_removed().
 *
 * The master needs all of them to do it in one epoch. So that nothing is left behind when it has
 * not got that far: after a walk that has copied anything, and for a while after one that found
 * anything (the copy may have been made before we were started), removals are passed on along the
 * chain. */

static bool gone_send(struct chain *chain, const struct catchup_key *keys, uint32_t count)
{
	struct chain_env *env = chain->env;
	struct buf *buf = env->ops->store.buffer(env->ctx, CATCHUP_GONE_ALL_MAX);
	struct chain_action *action;

	if (buf == NULL)
		return false;
	buf->start = 0;
	buf->length = (uint32_t)catchup_gone_encode(keys, count, buf->data);
	block_checksums(buf->data, 0, buf->length, buf->crcs);
	action = chain_outbound_send(chain, FRAME_CATCHUP_COMPARE);
	action->payload = buf;
	action->header.flags = FRAME_FORWARD;
	action->header.length = buf->length;
	action->header.request_id |= GONE_BIT;
	chain->outbound.removals_unanswered++;
	return true;
}

void chain_outbound_removed(struct chain *chain, const struct chunk_key *keys, size_t count)
{
	struct catchup_key part[CATCHUP_GONE_MAX];

	if (chain->outbound.link != CHAIN_LINK_COMPARING &&
	    chain->env->now_ns >= chain->outbound.tell_until_ns)
		return;
	/* Who cannot be told has to be compared. */
	if (chain->outbound.link != CHAIN_LINK_COMPARING && chain->outbound.link != CHAIN_LINK_UP) {
		chain->outbound.resumable = false;
		return;
	}
	for (size_t done = 0; done < count;) {
		uint32_t n = 0;

		for (; n < CATCHUP_GONE_MAX && done < count; n++, done++)
			part[n] = (struct catchup_key){keys[done].file_id, keys[done].index};
		/* Without memory for the word: a new comparison finds them, too. */
		if (!gone_send(chain, part, n)) {
			chain_outbound_retry(chain, ENOMEM);
			return;
		}
	}
}

/* The predecessor has removed it before, so it is on its way only if it is of the range that was
 * compared last: of those before it all has come, and is in the store. */
static bool may_come_back(struct chain *chain, const struct chunk_key *key)
{
	struct chunk_info info;

	if (chain_inbound_copies(chain, key) || chain->removals > 0)
		return true;
	return chain->env->ops->store.info(chain->env->ctx, key, &info) < 0 || info.exists;
}

bool chain_chunk_removed(struct chain *chain, const struct chunk_key *key, uint64_t epoch)
{
	bool copied = chain_drop_removed(chain, key);

	chain_outbound_removed(chain, key, 1);
	return !copied && !chain->copy.outdated && chain->config.epoch >= epoch &&
	       !may_come_back(chain, key);
}
