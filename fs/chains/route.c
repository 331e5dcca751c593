/* route.c - whom to ask, and what an answer means. No I/O, no clock. */
#include <errno.h>
#include <string.h>
#include "common/base/duration.h"
#include "fs/chains/route.h"

/* A member is preferred for its chunks, so that each member's memory holds other ones, until it has
 * so many more requests under way than another. */
#define SPREAD_SMALL 4u
#define SPREAD_BULK  8u
/* Bulk reads change the member this often: large enough for the member's own read-ahead. */
#define BULK_SHIFT 22

#define CHECKSUM_FAILURES_MAX 8u

enum chains_role chains_route_role(const struct chains_request *request)
{
	if (frame_is_update(request->op) || request->op == FRAME_FLUSH)
		return CHAINS_HEAD;
	return request->to_tail ? CHAINS_TAIL : CHAINS_ANY;
}

static bool listed(const uint32_t *targets, unsigned count, uint32_t target)
{
	for (unsigned i = 0; i < count; i++)
		if (targets[i] == target)
			return true;
	return false;
}

static bool same(const char *ours, const char *theirs)
{
	return ours[0] != '\0' && strcmp(ours, theirs) == 0;
}

static unsigned distance(const struct chains_near *near, const struct map_server *server)
{
	if (same(near->host, server->host))
		return 0;
	if (same(near->rack, server->rack))
		return 1;
	return same(near->zone, server->zone) ? 2 : 3;
}

struct candidate {
	const struct map_server *server;
	uint32_t target_id, worker;
	unsigned distance;
	struct chains_load load;
};

static int candidate_of(const struct cluster_map *map, const struct chains_request *request,
			uint32_t target_id, struct candidate *out)
{
	const struct map_server *server = cluster_map_target_server(map, target_id);

	if (server == NULL || server->workers == 0)
		return -EAGAIN;
	*out = (struct candidate){
		.server = server,
		.target_id = target_id,
		.worker = request->key.partition % server->workers,
	};
	return 0;
}

static uint64_t preference(const struct chains_request *request)
{
	struct chunk_key key = request->key;

	if (!request->bulk)
		return chunk_key_hash(&key);
	key.index = 0;
	key.partition = 0;
	return chunk_key_hash(&key) + request->key.index * (CHUNK_SIZE_MAX >> BULK_SHIFT) +
	       (request->offset >> BULK_SHIFT);
}

/* @count is at least 1. */
static const struct candidate *pick(const struct candidate *all, unsigned count,
				    const struct chains_request *request)
{
	unsigned slack = request->bulk ? SPREAD_BULK : SPREAD_SMALL;
	unsigned near_count = 0, nearest = UINT32_MAX;
	const struct candidate *near[CHAIN_MEMBERS_MAX] = {all}, *least = NULL, *chosen;
	bool any_up = false;

	for (unsigned i = 0; i < count; i++)
		any_up = any_up || !all[i].load.down;
	for (unsigned i = 0; i < count; i++)
		if (all[i].load.down != any_up && all[i].distance < nearest)
			nearest = all[i].distance;
	for (unsigned i = 0; i < count; i++) {
		if (all[i].load.down == any_up || all[i].distance != nearest)
			continue;
		near[near_count++] = &all[i];
		if (least == NULL || all[i].load.requests < least->load.requests)
			least = &all[i];
	}
	chosen = near[near_count == 0 ? 0 : preference(request) % near_count];
	if (least != NULL && chosen->load.requests > least->load.requests + slack)
		return least;
	return chosen;
}

static int choose_any(const struct cluster_map *map, const struct map_chain *chain,
		      const struct chains_request *request, const struct chains_asker *asker,
		      struct candidate *out)
{
	struct candidate all[CHAIN_MEMBERS_MAX];
	unsigned count = 0, in_sync = 0, bad = 0;

	for (uint32_t i = 0; i < chain->count; i++) {
		const struct chain_member *member = &chain->members[i];
		struct candidate *c = &all[count];

		if (member->state != MEMBER_IN_SYNC)
			continue;
		in_sync++;
		if (listed(request->bad, request->bad_count, member->target_id)) {
			bad++;
			continue;
		}
		if (listed(request->tried, request->tried_count, member->target_id) ||
		    candidate_of(map, request, member->target_id, c) < 0)
			continue;
		if (member->target_id == request->suspect) {
			*out = *c;
			return 0;
		}
		c->distance = distance(&asker->near, c->server);
		c->load = asker->load(asker->user, c->server->id, c->worker);
		c->load.down = c->load.down || !c->server->online;
		count++;
	}
	if (in_sync > 0 && bad == in_sync)
		return -EIO;
	if (count == 0)
		return -EAGAIN;
	*out = *pick(all, count, request);
	return 0;
}

int chains_route_choose(const struct cluster_map *map, const struct chains_request *request,
			const struct chains_asker *asker, struct chains_route *out)
{
	const struct map_chain *chain =
		cluster_map_chain(map, request->key.pool, request->key.partition);
	enum chains_role role = chains_route_role(request);
	struct candidate chosen;
	int rc, at;

	if (chain == NULL)
		return -EAGAIN;
	if (chain->epoch == 0)
		return -ENOENT;
	if (role == CHAINS_ANY) {
		rc = choose_any(map, chain, request, asker, &chosen);
	} else {
		at = role == CHAINS_HEAD ? cluster_map_chain_head(chain)
					 : cluster_map_chain_tail(chain);
		if (at < 0)
			return -EAGAIN;
		/* The tail's copy is bad, the others wait for updates: later, of the others. */
		if (listed(request->bad, request->bad_count, chain->members[at].target_id))
			return -EAGAIN;
		rc = candidate_of(map, request, chain->members[at].target_id, &chosen);
	}
	if (rc < 0)
		return rc;
	*out = (struct chains_route){
		.epoch = chain->epoch,
		.server_id = chosen.server->id,
		.worker = chosen.worker,
		.target_id = chosen.target_id,
	};
	return 0;
}

enum chains_verdict chains_route_judge(const struct chains_request *request, uint32_t status,
				       int *error)
{
	bool to_head = chains_route_role(request) == CHAINS_HEAD;

	*error = 0;
	switch (status) {
	case FRAME_OK:
		return CHAINS_DONE;
	case FRAME_STATUS_EPOCH:
	case FRAME_STATUS_NOT_HEAD:
	case FRAME_STATUS_NOT_MINE:
		return CHAINS_RETRY;
	case FRAME_STATUS_NOT_READY:
	case FRAME_STATUS_NO_LEASE:
	case FRAME_STATUS_GAP:
		return to_head || request->to_tail ? CHAINS_RETRY : CHAINS_OTHER_MEMBER;
	case FRAME_STATUS_ASK_TAIL:
		return to_head || request->to_tail ? CHAINS_RETRY : CHAINS_ASK_TAIL;
	case FRAME_STATUS_CHECKSUM:
		if (request->checksum_failures + 1 < CHECKSUM_FAILURES_MAX)
			return CHAINS_SEND_AGAIN;
		*error = -EIO;
		return CHAINS_DONE;
	case FRAME_STATUS_LOST:
		*error = -ENODATA;
		return CHAINS_DONE;
	case FRAME_STATUS_FENCED:
		/* Our session is over, which we have not heard yet. Its updates end with it. */
		if (!frame_is_update(request->op))
			return CHAINS_RETRY;
		*error = -EIO;
		return CHAINS_DONE;
	default:
		break;
	}
	/* One member's disk says nothing of the other copies. */
	if (!to_head && (status == EIO || status == EBADMSG || status == EUCLEAN))
		return CHAINS_BAD_COPY;
	if (status == ENOSPC || status == EACCES || status == EDQUOT)
		*error = -(int)status;
	else
		*error = -EIO;
	return CHAINS_DONE;
}

uint64_t chains_route_backoff_ns(unsigned attempts)
{
	uint64_t ns = NS_PER_MSEC;

	while (attempts-- > 0 && ns < CHAINS_BACKOFF_MAX_NS)
		ns *= 2;
	return ns < CHAINS_BACKOFF_MAX_NS ? ns : CHAINS_BACKOFF_MAX_NS;
}

uint64_t chains_route_pause_ns(unsigned attempts, uint64_t waited_ns)
{
	uint64_t ns = chains_route_backoff_ns(attempts);

	if (waited_ns < CHAINS_EARLY_NS && ns > CHAINS_BACKOFF_EARLY_NS)
		return CHAINS_BACKOFF_EARLY_NS;
	return ns;
}

bool chains_route_still_right(const struct cluster_map *map, const struct chains_request *request,
			      uint64_t server_id, uint32_t worker)
{
	const struct map_chain *chain =
		cluster_map_chain(map, request->key.pool, request->key.partition);
	const struct map_server *server;
	int at;

	if (chain == NULL)
		return false;
	if (chain->epoch == request->epoch)
		return true;
	at = cluster_map_chain_index(chain, request->target_id);
	server = at < 0 ? NULL : cluster_map_target_server(map, request->target_id);
	if (server == NULL || server->id != server_id || server->workers == 0 ||
	    request->key.partition % server->workers != worker)
		return false;
	switch (chains_route_role(request)) {
	case CHAINS_HEAD:
		return at == cluster_map_chain_head(chain);
	case CHAINS_TAIL:
		return at == cluster_map_chain_tail(chain);
	case CHAINS_ANY:
		break;
	}
	return chain->members[at].state == MEMBER_IN_SYNC;
}

bool chains_route_has_other(const struct cluster_map *map, const struct chains_request *request,
			    const struct chains_asker *asker)
{
	const struct map_chain *chain =
		cluster_map_chain(map, request->key.pool, request->key.partition);

	for (uint32_t i = 0; chain != NULL && i < chain->count; i++) {
		uint32_t target = chain->members[i].target_id;
		struct candidate c;

		if (chain->members[i].state != MEMBER_IN_SYNC || target == request->target_id ||
		    listed(request->bad, request->bad_count, target) ||
		    candidate_of(map, request, target, &c) < 0 || !c.server->online)
			continue;
		if (!asker->load(asker->user, c.server->id, c.worker).down)
			return true;
	}
	return false;
}
