/* configure.c - what a member is in its chain, and what becomes of its work when that changes.
 *
 * A change of the chain:
 *
 * 1. The newest map has a later epoch of the chain: chain_configure(). The same one is ignored; an
 *    older one makes the member outdated, and it serves nothing.
 * 2. The epoch is noted in the store before anything is done by it.
 * 3. Roles and neighbours are found: head, tail, who comes before and behind.
 * 4. The link from the predecessor is lost: frames of the old epoch are void.
 * 5. Pending and queued work is kept or dropped, by what the member was and is:
 *
 *    a member that                        | with pending work     | with queued work
 *    stays the head                       | keeps it              | keeps it
 *    becomes the head                     | keeps it: others lack | ends what the store has begun
 *    stays behind members it was behind   | keeps it              | ends what the store has begun
 *    is put behind another, or is syncing | drops it, EPOCH       | drops it
 *    is out                               | drops it, NOT_MINE    | drops it, NOT_MINE
 *
 * 6. The link to the successor begins anew (outbound.c), by a resume where the two were equal
 *    before.
 *
 * What a client hears meanwhile: EPOCH when its map is older or newer than the member's; NOT_HEAD
 * or NOT_MINE when the member is not what the client's map says; NOT_READY while links are not up
 * or the copy is not fit; NO_LEASE without the master; FENCED when its session is over; LOST when
 * all copies lost what it was answered. All but the last two lead to another attempt with the same
 * operation id.
 *
 * What may fail: a frame of the new epoch comes before the map: the predecessor's first question is
 * kept (chain_early_keep()), all else is answered EPOCH and comes again. The head has parts of two
 * members when its predecessor is gone: it serves nothing, and the master lets another go first. */
#include "chunkserver/chain/configure.h"
#include <string.h>
#include "chunkserver/chain/accept.h"
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/walk.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

static struct log_rate outdated_rate;

bool chain_is_member(const struct chain *chain)
{
	int self = chain->config.self;

	return self >= 0 && chain->config.members[self].state != MEMBER_OFFLINE;
}

static int neighbour(const struct chain_config *config, int step)
{
	int at = config->self + step;

	while (at >= 0 && at < (int)config->count && config->members[at].state != MEMBER_IN_SYNC)
		at += step;
	return at >= 0 && at < (int)config->count ? at : -1;
}

/* The tail makes syncing members equal, one at a time; none comes behind a syncing one. */
static void find_neighbours(struct chain *chain, int tail)
{
	const struct chain_config *config = &chain->config;
	int first_syncing = -1;

	for (int i = (int)config->count - 1; i >= 0; i--)
		if (config->members[i].state == MEMBER_SYNCING)
			first_syncing = i;
	if (chain->role.in_sync) {
		chain->role.next = chain->role.tail ? first_syncing : neighbour(config, 1);
		chain->role.previous = chain->role.head ? -1 : neighbour(config, -1);
	} else if (chain_is_member(chain) && first_syncing == config->self) {
		chain->role.previous = tail;
	}
}

static void find_roles(struct chain *chain)
{
	const struct chain_config *config = &chain->config;
	int first = -1, last = -1;

	for (int i = 0; i < (int)config->count; i++) {
		if (config->members[i].state != MEMBER_IN_SYNC)
			continue;
		last = i;
		first = first < 0 ? i : first;
	}
	chain->role.in_sync =
		chain_is_member(chain) && config->members[config->self].state == MEMBER_IN_SYNC;
	chain->role.head = chain->role.in_sync && first == config->self;
	chain->role.tail = chain->role.in_sync && last == config->self;
	chain->role.next = chain->role.previous = -1;
	find_neighbours(chain, last);
	chain->role.next_in_sync =
		chain->role.next >= 0 && config->members[chain->role.next].state == MEMBER_IN_SYNC;
}

static void leave(struct chain *chain)
{
	chain_drop_everything(chain, FRAME_STATUS_NOT_MINE, FRAME_STATUS_NOT_MINE);
	chain->copy.state = COPY_WHOLE;
}

/* ---- what was said before its time ---- */

void chain_early_drop(struct chain *chain, uint32_t status)
{
	if (chain->early.source.conn == 0)
		return;
	if (status != 0)
		chain_answer_source(chain, &chain->early.source, &chain->early.header, status, 0,
				    NULL);
	buf_unref(chain->early.payload);
	memset(&chain->early, 0, sizeof(chain->early));
}

/* The predecessor has heard of the change before us. It begins with one question, which is kept
 * until we have heard, too. */
bool chain_early_keep(struct chain *chain, const struct chain_source *source,
		      const struct frame_header *header, struct buf *payload)
{
	if (header->op != FRAME_CATCHUP_COMPARE || (header->flags & FRAME_FORWARD) == 0 ||
	    source->server_id == 0 || header->epoch <= chain->config.epoch)
		return false;
	chain_early_drop(chain, FRAME_STATUS_EPOCH);
	chain->early.source = *source;
	chain->early.header = *header;
	chain->early.payload = payload;
	return true;
}

static void early_arrive(struct chain *chain)
{
	struct chain_source source = chain->early.source;
	struct frame_header header = chain->early.header;
	struct buf *payload = chain->early.payload;

	if (source.conn == 0 || header.epoch > chain->config.epoch)
		return;
	memset(&chain->early, 0, sizeof(chain->early));
	chain_frame(chain, &source, &header, payload);
}

/* ---- chains older than the copy ---- */

static void outdated(struct chain *chain, uint64_t epoch, const char *of)
{
	chain->copy.outdated = true;
	if (log_rate_ok(&outdated_rate, 5))
		log_error("the master's chain is older than %s here: this copy is kept as it is, "
			  "and serves nothing pool=%u partition=%u epoch=%llu "
			  "hint=\"does the master run on an older copy of its store?\"",
			  of, chain->pool, chain->partition, (unsigned long long)epoch);
}

void chain_outdated_found(struct chain *chain)
{
	outdated(chain, chain->config.epoch, "chunks");
}

bool chain_chunk_is_later(struct chain *chain, const struct chunk_key *key)
{
	struct chunk_info info;

	if (chain->env->ops->store.info(chain->env->ctx, key, &info) < 0 || !info.exists ||
	    info.epoch <= chain->config.epoch)
		return false;
	chain_outdated_found(chain);
	return true;
}

/* True for a chain older than what this target was told of, by this process or an earlier one. */
static bool is_outdated(struct chain *chain, const struct chain_config *config)
{
	const struct chain_env *env = chain->env;
	uint64_t known = chain->config.epoch;

	if (known == 0 && env->ops->epoch != NULL)
		known = env->ops->epoch(env->ctx, chain->pool, chain->partition);
	if (config->epoch >= known || FAULTY(FORGET_EPOCH))
		return false;
	outdated(chain, config->epoch, "the one that was");
	return true;
}

/* ---- changes ---- */

static int index_of(const struct chain_config *config, uint32_t target_id)
{
	for (int i = 0; i < (int)config->count; i++)
		if (config->members[i].target_id == target_id)
			return i;
	return -1;
}

/* Everyone in-sync that comes before us has everything that we have, if they all came before us
 * already. Were we asleep meanwhile, so that it has changed more than once: nothing that we had not
 * heard of can have been answered without us, except when we were taken out. */
static bool follows(const struct chain *chain, const struct chain_config *old)
{
	const struct chain_config *config = &chain->config;

	/* Who was who in a store that is given up says nothing. */
	if (!epochs_of_one_line(old->epoch, config->epoch))
		return false;
	for (int i = 0; i < config->self; i++) {
		int before = index_of(old, config->members[i].target_id);

		if (config->members[i].state == MEMBER_IN_SYNC &&
		    (before < 0 || before >= old->self ||
		     old->members[before].state != MEMBER_IN_SYNC))
			return false;
	}
	return chain->role.previous >= 0;
}

/* True when the new successor came behind this member before, and every member between waited for
 * it. */
static bool precedes(const struct chain *chain, const struct chain_config *old, int old_next,
		     bool was_strict)
{
	int next = !chain->role.next_in_sync
			   ? -1
			   : index_of(old, chain->config.members[chain->role.next].target_id);

	if (next < 0 || next < old->self || old->members[next].state == MEMBER_OFFLINE)
		return false;
	return next != old_next || was_strict;
}

static void settle_readiness(struct chain *chain, const struct chain_config *old, bool was_member,
			     bool was_in_sync)
{
	if (!was_member)
		chain->inbound.ready = chain->outbound.ready = false;
	if (!chain->role.head && (!follows(chain, old) || (was_in_sync && !chain->role.in_sync)))
		chain->inbound.ready = false;
	/* Parts of our copy are the dead predecessor's: another member goes first, and makes us
	 * whole again. If there is none, ours still has all that was ever answered. */
	if (chain->role.head && chain->copy.state != COPY_WHOLE)
		chain->copy.state = chain_report_unfit(chain) ? COPY_UNFIT : COPY_WHOLE;
}

void chain_configure(struct chain *chain, const struct chain_config *config)
{
	const struct chain_config old = chain->config;
	bool was_head = chain->role.head, was_member = chain_is_member(chain);
	bool was_in_sync = chain->role.in_sync, was_strict = chain_is_strict(chain);
	int old_next = chain->role.next;

	if (is_outdated(chain, config))
		return;
	chain->copy.outdated = false;
	if (config->epoch == chain->config.epoch)
		return;
	expects(config->count <= CHAIN_MEMBERS_MAX && config->self < (int)config->count);
	chain->config = *config;
	chain->removals_before = chain->removals;
	if (chain->env->ops->set_epoch != NULL)
		chain->env->ops->set_epoch(chain->env->ctx, chain->pool, chain->partition,
					   config->epoch);
	find_roles(chain);
	chain->outbound.strict = false;
	if (chain->copy.state == COPY_UNFIT)
		chain->copy.state = COPY_MIXED;
	if (!chain_is_member(chain)) {
		leave(chain);
		early_arrive(chain);
		return;
	}
	log_debug("configured pool=%u partition=%u epoch=%llu self=%d of=%u", chain->pool,
		  chain->partition, (unsigned long long)config->epoch, config->self, config->count);
	settle_readiness(chain, &old, was_member, was_in_sync);
	/* By order of a store that is given up chunks may be removed here that are at others: in
	 * each line all are compared once. */
	chain->outbound.resumable = precedes(chain, &old, old_next, was_strict) &&
				    epochs_of_one_line(chain->outbound.up_epoch, config->epoch);
	/* Frames of the old epoch are refused for their epoch, and because of this. */
	if (!FAULTY(NO_EPOCH_CHECK))
		chain_inbound_lose(chain);
	/* What we have committed is not known to be the chain's any more: those who come before us
	 * now need not have it, nor do those behind us what they have not answered. */
	if (!chain->role.in_sync || (!chain->role.head && !follows(chain, &old))) {
		chain_drop_pending(chain, FRAME_STATUS_EPOCH, 0);
		chain->outbound.ready = false;
	}
	/* Those who come before us now have what was begun here, or nobody does: then we are the
	 * head, and it is ours to give to the others. The rest was answered to nobody. */
	if (!was_head && (chain->role.head || follows(chain, &old)) && chain->role.in_sync &&
	    !FAULTY(DROP_BEGUN))
		chain_drop_not_begun(chain, FRAME_STATUS_EPOCH);
	else if (!was_head || !chain->role.head)
		chain_drop_queued(chain, FRAME_STATUS_EPOCH, 0);
	if (!was_head || !chain->role.head)
		chain_held_refuse(chain, FRAME_STATUS_EPOCH, 0);
	/* Only now, since it may be that nobody has to be waited for. */
	chain->outbound.conn = 0; /* the caller says which one it is now */
	chain_outbound_reset(chain);
	if (!chain_is_strict(chain)) {
		chain_pending_advance(chain);
		chain_held_accept(chain);
	}
	early_arrive(chain);
}
