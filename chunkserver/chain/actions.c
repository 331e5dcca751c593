/* actions.c - the ring of actions, and what the master is told of a chain. */
#include "chunkserver/chain/actions.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

#define RING_MIN 64u

void *chain_alloc(size_t size)
{
	void *memory = calloc(1, size);

	if (memory == NULL) {
		log_error("out of memory bytes=%zu: ending", size);
		abort();
	}
	return memory;
}

void chain_table_add(struct table *table, struct table_node *node, uint64_t hash)
{
	if (table_add(table, node, hash) == 0)
		return;
	log_error("out of memory for a table: ending");
	abort();
}

/* ---- the ring ---- */

static void ring_grow(struct chain_env *env)
{
	size_t size = env->ring_size == 0 ? RING_MIN : 2 * env->ring_size;
	struct chain_action *ring = chain_alloc(size * sizeof(*ring));

	for (size_t i = 0; i < env->ring_count; i++)
		ring[i] = env->ring[(env->ring_first + i) % env->ring_size];
	free(env->ring);
	env->ring = ring;
	env->ring_size = size;
	env->ring_first = 0;
}

struct chain_action *chain_action_add(struct chain_env *env, enum chain_action_kind kind)
{
	struct chain_action *action;

	if (env->ring_count == env->ring_size)
		ring_grow(env);
	action = &env->ring[(env->ring_first + env->ring_count++) % env->ring_size];
	memset(action, 0, sizeof(*action));
	action->kind = kind;
	return action;
}

static void abort_counts(struct chain *chain)
{
	if (chain == NULL)
		return;
	chain->aborting++;
	chain_copy_altered(chain);
}

void chain_operation_add(struct request *r, enum chain_action_kind kind)
{
	struct chain_action *action = chain_action_add(r->env, kind);

	action->chain = r->chain;
	action->request = &r->work;
	r->refs++;
	if (kind == CHAIN_ABORT)
		abort_counts(r->chain);
	if (kind == CHAIN_COMMIT || kind == CHAIN_ABORT)
		return;
	/* One more reference, for the result. */
	r->refs++;
	r->env->operations++;
}

void chain_trouble(struct chain *chain)
{
	chain_action_add(chain->env, CHAIN_TROUBLE)->chain = chain;
}

static void action_release(struct chain_action *action)
{
	struct chain *chain = action->kind == CHAIN_ABORT ? action->chain : NULL;

	buf_unref(action->payload);
	if (action->request != NULL)
		chain_request_unref(request_of_work(action->request));
	/* What the store has of the chunk may be compared only now. */
	if (chain == NULL)
		return;
	expects(chain->aborting > 0);
	if (--chain->aborting > 0)
		return;
	chain_inbound_advance(chain);
	chain_outbound_consider(chain);
}

/* The caller has done with the action that it took last. */
static void current_release(struct chain_env *env)
{
	if (!env->taken)
		return;
	env->taken = false;
	action_release(&env->current);
}

/* Between its choice and its execution an action may have become pointless. */
static bool still_wanted(struct chain_action *action)
{
	struct request *r = action->request == NULL ? NULL : request_of_work(action->request);
	struct chain_chunk *chunk;

	switch (action->kind) {
	case CHAIN_PREPARE:
		if (!r->dropped)
			return true;
		chain_prepared(&r->work, -ECANCELED, false);
		return false;
	case CHAIN_COMMIT:
		if (r->dropped) {
			chunk = r->chunk;
			action->kind = CHAIN_ABORT;
			abort_counts(action->chain);
			if (chunk != NULL)
				chain_chunk_pin(chunk);
			chain_request_end_silently(r);
			if (chunk != NULL) {
				chain_chunk_advance(chunk);
				chain_chunk_unpin(chunk);
			}
		}
		return true;
	case CHAIN_FLUSH:
	case CHAIN_READ:
		if (r->chain != NULL)
			return true;
		expects(r->env->operations > 0);
		r->env->operations--;
		chain_request_unref(r);
		return false;
	default:
		return true;
	}
}

const struct chain_action *chain_next(struct chain_env *env)
{
	current_release(env);
	while (env->ring_count > 0) {
		env->current = env->ring[env->ring_first];
		env->taken = true;
		env->ring_first = (env->ring_first + 1) % env->ring_size;
		env->ring_count--;
		if (env->current.kind == CHAIN_COMMIT)
			env->current.request->sessions = env->sessions;
		if (still_wanted(&env->current))
			return &env->current;
		current_release(env);
	}
	return NULL;
}

void chain_actions_free(struct chain_env *env)
{
	current_release(env);
	while (env->ring_count > 0) {
		action_release(&env->ring[env->ring_first]);
		env->ring_first = (env->ring_first + 1) % env->ring_size;
		env->ring_count--;
	}
	free(env->ring);
}

void chain_answer_source(struct chain *chain, const struct chain_source *source,
			 const struct frame_header *header, uint32_t status, uint64_t version,
			 struct buf *payload)
{
	struct chain_action *action;
	struct frame_header *h;

	if (source->conn == 0)
		return;
	action = chain_action_add(chain->env, CHAIN_ANSWER);
	action->chain = chain;
	action->conn = source->conn;
	h = &action->header;
	*h = *header;
	h->request_id = source->request_id;
	h->flags = FRAME_REPLY | (status == FRAME_OK ? header->flags & FRAME_CROWDED : 0);
	h->status = status;
	h->epoch = chain->config.epoch;
	h->version = version;
	h->length = 0;
	if (frame_is_update(h->op))
		h->arg = chain_space(chain);
	if (payload != NULL && status == FRAME_OK && payload->length > 0) {
		h->length = payload->length;
		action->payload = buf_ref(payload);
	}
}

/* ---- reports to the master ---- */

static void report(struct chain *chain, enum chain_report kind, uint32_t target_id)
{
	struct chain_action *action = chain_action_add(chain->env, CHAIN_REPORT);

	action->chain = chain;
	action->report = kind;
	action->header.key = (struct chunk_key){.pool = chain->pool, .partition = chain->partition};
	action->header.epoch = chain->config.epoch;
	action->header.arg = target_id;
}

void chain_report_caught_up(struct chain *chain)
{
	report(chain, CHAIN_CAUGHT_UP, chain->config.members[chain->role.next].target_id);
}

bool chain_others_in_sync(const struct chain *chain)
{
	for (int i = 0; i < (int)chain->config.count; i++)
		if (i != chain->config.self && chain->config.members[i].state == MEMBER_IN_SYNC)
			return true;
	return false;
}

bool chain_report_unfit(struct chain *chain)
{
	if (!chain->role.in_sync || !chain_others_in_sync(chain))
		return false;
	if (chain->copy.reported_epoch == chain->config.epoch)
		return true;
	chain->copy.reported_epoch = chain->config.epoch;
	log_warn("this copy has to be made good by another member pool=%u partition=%u epoch=%llu",
		 chain->pool, chain->partition, (unsigned long long)chain->config.epoch);
	report(chain, CHAIN_UNFIT, chain->config.members[chain->config.self].target_id);
	return true;
}
