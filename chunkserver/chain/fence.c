/* fence.c - updates of clients whose sessions are over.
 *
 * A head refuses new ones, and lets go of those that it has not begun. What is begun comes to its
 * end: other members may have it by then. So they are counted, until none is queued or pending;
 * those that a predecessor had begun and passes on, too: it is not clean either before they are
 * answered here. */
#include "chunkserver/chain/fence.h"
#include "chunkserver/chain/configure.h"
#include "chunkserver/chain/request.h"
#include "chunkserver/chain/update.h"

bool chain_fence_refuses(const struct chain_env *env, uint64_t client_id)
{
	return env->sessions != NULL && cluster_map_session_over(env->sessions, client_id) &&
	       !FAULTY(ACCEPT_FENCED);
}

void chain_fence_count(struct request *r)
{
	if (r->fenced || r->dropped || r->env->sessions == NULL || !frame_is_update(r->work.op) ||
	    !cluster_map_session_over(r->env->sessions, r->work.client_id))
		return;
	r->fenced = true;
	r->env->fenced++;
}

void chain_fence_uncount(struct request *r)
{
	expects(!r->fenced || r->env->fenced > 0);
	if (r->fenced)
		r->env->fenced--;
	r->fenced = false;
}

/* Of a client, and nothing has been made of it: it has no version yet. */
static bool not_begun(const struct request *r)
{
	return (r->state == REQUEST_HELD || r->state == REQUEST_QUEUED) && r->source.conn != 0 &&
	       r->source.server_id == 0;
}

static void fence_held(struct chain *chain)
{
	struct request *r, *next;

	DL_FOREACH_SAFE2(chain->held, r, next, chain_next)
	{
		chain_fence_count(r);
		if (r->fenced && not_begun(r) && !FAULTY(ACCEPT_FENCED))
			chain_request_refuse(r, FRAME_STATUS_FENCED, 0);
	}
}

static void fence_chunk(struct chain_chunk *chunk)
{
	struct request *r, *next;
	bool dropped = false;

	DL_FOREACH(chunk->pending, r)
	chain_fence_count(r);
	DL_FOREACH_SAFE(chunk->queue, r, next)
	{
		chain_fence_count(r);
		if (!r->fenced || !not_begun(r) || FAULTY(ACCEPT_FENCED))
			continue;
		chain_request_refuse(r, FRAME_STATUS_FENCED, 0);
		dropped = true;
	}
	if (dropped)
		chain_chunk_advance(chunk);
}

void chain_env_sessions(struct chain_env *env, struct cluster_map *map)
{
	struct chain_chunk *chunk;
	struct chain *chain;

	if (env->sessions == map)
		return;
	cluster_map_unref(env->sessions);
	env->sessions = cluster_map_ref(map);
	DL_FOREACH(env->chains, chain)
	{
		fence_held(chain);
		for (chunk = chain_chunk_first(chain); chunk != NULL;
		     chunk = chain_chunk_after(chunk))
			fence_chunk(chunk);
	}
}

/* An in-sync member that was put behind another one, or began anew, may have in its store what
 * nobody else has and nothing remembers: an update that it had begun as the head, say. Its
 * predecessor takes that away when it compares; what a head has it gives to its successor when
 * these two compare. Until then the member might become the head, or others be read that lack it,
 * and what a client had begun whose session is over would take effect after all. */
static bool not_compared(const struct chain *chain)
{
	if (!chain_is_member(chain) || !chain->role.in_sync)
		return false;
	return chain->role.head ? !chain->role.tail && !chain->outbound.ready
				: !chain->inbound.ready;
}

size_t chain_env_fenced(const struct chain_env *env)
{
	size_t count = env->fenced;
	struct chain *chain;

	DL_FOREACH(env->chains, chain)
	if (not_compared(chain) && !FAULTY(ACK_UNCOMPARED))
		count++;
	return FAULTY(ACK_FENCE_EARLY) ? 0 : count;
}
