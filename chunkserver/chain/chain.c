/* chain.c - environments and members, from their making to their end, and where frames go. */
#include "chunkserver/chain/chain.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chunkserver/chain/accept.h"
#include "chunkserver/chain/actions.h"
#include "chunkserver/chain/configure.h"
#include "chunkserver/chain/drop.h"
#include "chunkserver/chain/fence.h"
#include "chunkserver/chain/inbound.h"
#include "chunkserver/chain/member.h"
#include "chunkserver/chain/outbound.h"
#include "chunkserver/chain/read.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/walk.h"
#include "common/os/log.h"

#define LOG_MODULE "chain"

/* ---- environment ---- */

struct chain_env *chain_env_new(const struct chain_ops *ops, void *ctx, size_t scratch_bytes,
				uint64_t id_base)
{
	struct chain_env *env = chain_alloc(sizeof(*env));

	env->ops = ops;
	env->ctx = ctx;
	env->scratch_bytes = scratch_bytes;
	env->last_id = id_base;
	return env;
}

void chain_env_free(struct chain_env *env)
{
	if (env == NULL)
		return;
	chain_actions_free(env);
	cluster_map_unref(env->sessions);
	table_free(&env->ids);
	table_free(&env->chunks);
	free(env);
}

void chain_env_time(struct chain_env *env, uint64_t now_ns, uint64_t lease_until_ns)
{
	env->now_ns = now_ns;
	env->lease_until_ns = lease_until_ns;
}

void chain_env_stop(struct chain_env *env)
{
	struct chain *chain;

	env->stopped = true;
	DL_FOREACH(env->chains, chain)
	chain_held_refuse(chain, FRAME_STATUS_NOT_READY, 0);
}

size_t chain_env_operations(const struct chain_env *env)
{
	return env->operations;
}

size_t chain_env_requests(const struct chain_env *env)
{
	return env->requests;
}

void chain_tick(struct chain_env *env)
{
	bool retry = env->retry;
	struct chain *chain;

	env->retry = false;
	DL_FOREACH(env->chains, chain)
	{
		if (retry)
			chain_retry_requests(chain, false);
		chain_outbound_consider(chain);
	}
}

/* What the store holds is not certain any more: begin like a member that has just started. */
static void begin_anew(struct chain *chain)
{
	chain_drop_everything(chain, FRAME_STATUS_NOT_READY, FRAME_STATUS_GAP);
	chain->outbound.resumable = false;
}

void chain_store_failed(struct chain_env *env)
{
	struct chain *chain;

	if (env->failed)
		return;
	env->failed = true;
	DL_FOREACH(env->chains, chain)
	begin_anew(chain);
}

void chain_store_back(struct chain_env *env)
{
	struct chain *chain;

	env->failed = false;
	DL_FOREACH(env->chains, chain)
	chain_outbound_consider(chain);
}

/* ---- one chain ---- */

struct chain *chain_new(struct chain_env *env, uint32_t pool, uint32_t partition)
{
	struct chain *chain = chain_alloc(sizeof(*chain));

	chain->env = env;
	chain->pool = pool;
	chain->partition = partition;
	chain->config.self = -1;
	chain->role.next = chain->role.previous = -1;
	chain->outbound.free_bytes = UINT64_MAX;
	DL_APPEND(env->chains, chain);
	return chain;
}

void chain_free(struct chain *chain)
{
	struct chain_env *env;

	if (chain == NULL)
		return;
	env = chain->env;
	chain_early_drop(chain, 0);
	chain_walk_drop(chain);
	chain->walk.copying = false;
	chain_inbound_lose(chain);
	chain_held_refuse(chain, 0, 0);
	chain_drop_queued(chain, 0, 0);
	chain_drop_pending(chain, 0, 0);
	/* What the store still works on goes when it has done so. */
	while (chain->reading != NULL)
		chain_request_end_silently(chain->reading);
	while (chain->chunks != NULL) {
		struct chain_chunk *chunk = chain->chunks;

		chain_chunk_pin(chunk);
		while (chunk->queue != NULL)
			chain_request_end_silently(chunk->queue);
		chain_chunk_unpin(chunk);
	}
	DL_DELETE(env->chains, chain);
	for (size_t i = 0; i < env->ring_count; i++) {
		struct chain_action *action = &env->ring[(env->ring_first + i) % env->ring_size];

		if (action->chain == chain)
			action->chain = NULL;
	}
	if (env->current.chain == chain)
		env->current.chain = NULL;
	free(chain);
}

uint64_t chain_epoch(const struct chain *chain)
{
	return chain->config.epoch;
}

uint64_t chain_next_server(const struct chain *chain, uint32_t *target_id)
{
	if (chain->role.next < 0)
		return 0;
	if (target_id != NULL)
		*target_id = chain->config.members[chain->role.next].target_id;
	return chain->config.members[chain->role.next].server_id;
}

uint64_t chain_previous_server(const struct chain *chain)
{
	return chain->role.previous < 0 ? 0 : chain->config.members[chain->role.previous].server_id;
}

bool chain_is_head(const struct chain *chain)
{
	return chain->role.head;
}

bool chain_is_ready(const struct chain *chain)
{
	if (FAULTY(SERVE_UNREADY))
		return true;
	return chain->role.in_sync && !chain->env->failed && chain->copy.state != COPY_UNFIT &&
	       !chain->copy.outdated && chain->removals_before == 0 &&
	       (chain->role.head || chain->inbound.ready) &&
	       (chain->role.tail || chain->outbound.ready);
}

uint64_t chain_space(struct chain *chain)
{
	uint64_t free_bytes = chain->env->ops->free_bytes(chain->env->ctx);

	if (chain_is_strict(chain) && chain->outbound.free_bytes < free_bytes)
		free_bytes = chain->outbound.free_bytes;
	return free_bytes;
}

void chain_frame(struct chain *chain, const struct chain_source *source,
		 const struct frame_header *header, struct buf *payload)
{
	uint32_t status = EACCES;

	if (chain_early_keep(chain, source, header, payload))
		return;
	if (source->server_id == 0 && frame_is_update(header->op) &&
	    chain_fence_refuses(chain->env, header->client_id)) {
		status = FRAME_STATUS_FENCED;
	} else if (!chain_is_member(chain)) {
		status = FRAME_STATUS_NOT_MINE;
	} else if (header->epoch != chain->config.epoch && !FAULTY(NO_EPOCH_CHECK)) {
		status = FRAME_STATUS_EPOCH;
	} else if ((header->flags & FRAME_FORWARD) != 0 &&
		   (source->server_id == 0 || (source->server_id != chain_previous_server(chain) &&
					       !FAULTY(NO_EPOCH_CHECK)))) {
		status = EACCES; /* only the predecessor passes on */
	} else if (chain->removals_before > 0 && source->server_id == 0) {
		/* By its last predecessor. What came now might be removed with it. */
		status = FRAME_STATUS_NOT_READY;
	} else if ((frame_is_update(header->op) || header->op == FRAME_FLUSH) &&
		   ((header->flags & FRAME_FORWARD) != 0) == (source->server_id != 0)) {
		chain_update_arrived(chain, source, header, payload);
		return;
	} else if (header->op == FRAME_LIST) {
		buf_unref(payload);
		chain_list_arrived(chain, source, header);
		return;
	} else if (frame_is_read(header->op)) {
		buf_unref(payload);
		chain_read_arrived(chain, source, header);
		return;
	} else if (header->op >= FRAME_CATCHUP_COMPARE && header->op <= FRAME_CATCHUP_END) {
		chain_inbound_arrived(chain, source, header, payload);
		return;
	}
	chain_answer_source(chain, source, header, status, 0, NULL);
	buf_unref(payload);
}

/* ---- for logs and tests ---- */

const char *chain_link_name(enum chain_link link)
{
	static const char *const names[] = {"none", "down", "wait", "comparing", "up"};

	return names[link];
}

struct chain_counts chain_count(const struct chain *chain)
{
	struct chain_counts counts = chain->counts;

	counts.link = chain->outbound.link;
	counts.queued = chain->queued;
	counts.pending = chain->pending_count;
	counts.held = chain->held_count;
	counts.strict = chain_is_strict(chain);
	counts.walking = chain->walk.catchup != NULL;
	counts.damaged = chain->walk.damaged;
	counts.outdated = chain->copy.outdated;
	if (chain->walk.catchup != NULL) {
		struct catchup_counts walk = catchup_walk_counts(chain->walk.catchup);

		counts.walk_compared = walk.compared;
		counts.walk_copied = walk.bytes;
	}
	return counts;
}
