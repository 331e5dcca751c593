/* fences.c - when is nothing left of a session that was ended; see fences.h. */
#include "master/leases/fences.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "common/base/expects.h"
#include "common/base/bitmap.h"
#include "common/base/duration.h"
#include "master/state/chain_faults.h"

/* All chains are looked at no more often than this, for each. */
#define LOOK_NS 250u
/* Late members are looked for no more often than this. */
#define LATE_LOOK_NS (100 * NS_PER_MSEC)

struct fence {
	uint64_t session;
	uint64_t version; /* of the first map that names it; 0: not shown yet */
	uint64_t shown_ns;
	uint8_t *done; /* a bit for each chain */
	size_t left;   /* chains that are not */
	bool told;     /* that it is complete */
	struct fence *next;
};

struct fence_member {
	uint32_t target;
	uint64_t server;
};

/* A chain as it was last shown. */
struct shown_chain {
	uint32_t pool, partition;
	uint64_t epoch;
	uint64_t version; /* by which this epoch was shown first */
	uint64_t shown_ns, expelled_ns;
	uint32_t count;
	struct fence_member members[CHAIN_MEMBERS_MAX]; /* those in-sync */
	bool owed;
	uint64_t owed_version; /* of the last fence that went on without it */
};

struct fence_server {
	uint64_t id, acknowledged;
	UT_hash_handle hh;
};

struct fences {
	uint64_t overdue_ns;
	bool all_owed; /* from the first map on */
	struct fence *list;
	struct shown_chain *chains;
	size_t chain_count, owed_count;
	uint64_t version; /* of the last map; 0: none */
	uint64_t looked_ns, late_looked_ns;
	size_t late_at; /* chains before it were looked at */
	struct fence_server *servers;
};

struct fences *fences_new(uint64_t overdue_ns, bool owed)
{
	struct fences *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->overdue_ns = overdue_ns;
	f->all_owed = owed;
	return f;
}

static void fence_free(struct fence *fence)
{
	free(fence->done);
	free(fence);
}

void fences_free(struct fences *f)
{
	struct fence_server *server, *next_server = NULL;

	if (f == NULL)
		return;
	while (f->list != NULL) {
		struct fence *next = f->list->next;

		fence_free(f->list);
		f->list = next;
	}
	HASH_ITER(hh, f->servers, server, next_server)
	{
		HASH_DEL(f->servers, server);
		free(server);
	}
	free(f->chains);
	free(f);
}

/* ---- what happens ---- */

static int forget_done(struct fences *f, struct fence *fence)
{
	uint8_t *done = calloc(f->chain_count / 8 + 1, 1);

	if (done == NULL)
		return -ENOMEM;
	free(fence->done);
	fence->done = done;
	fence->left = f->chain_count;
	return 0;
}

int fences_begin(struct fences *f, uint64_t session)
{
	struct fence *fence;

	for (fence = f->list; fence != NULL; fence = fence->next)
		if (fence->session == session) {
			fence->told = false;
			return 0;
		}
	fence = calloc(1, sizeof(*fence));
	if (fence == NULL)
		return -ENOMEM;
	fence->session = session;
	if (forget_done(f, fence) != 0) {
		free(fence);
		return -ENOMEM;
	}
	fence->next = f->list;
	f->list = fence;
	return 0;
}

void fences_end(struct fences *f, uint64_t session)
{
	struct fence **at = &f->list;

	while (*at != NULL && (*at)->session != session)
		at = &(*at)->next;
	if (*at != NULL) {
		struct fence *fence = *at;

		*at = fence->next;
		fence_free(fence);
	}
}

static size_t count_chains(const struct cluster_map *map)
{
	size_t count = 0;

	for (size_t i = 0; i < map->pool_count; i++)
		count += map->pools[i].partitions;
	return count;
}

/* Lets the next map begin anew. What was owed is not forgotten: then it is all chains. */
static void unmake_chains(struct fences *f)
{
	free(f->chains);
	f->chains = NULL;
	f->all_owed = f->owed_count != 0;
	f->chain_count = f->owed_count = 0;
}

/* Begins anew, with the first map or with other pools. */
static int make_chains(struct fences *f, const struct cluster_map *map)
{
	size_t count = count_chains(map), n = 0;
	struct shown_chain *chains = calloc(count + 1, sizeof(*chains));

	if (chains == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++, n++) {
			chains[n].pool = map->pools[i].id;
			chains[n].partition = p;
			chains[n].owed = f->all_owed || f->owed_count != 0;
		}
	free(f->chains);
	f->chains = chains;
	f->chain_count = count;
	f->owed_count = f->all_owed || f->owed_count != 0 ? count : 0;
	f->all_owed = false;
	for (struct fence *fence = f->list; fence != NULL; fence = fence->next)
		if (forget_done(f, fence) != 0) {
			unmake_chains(f);
			return -ENOMEM;
		}
	return 0;
}

static bool same_pools(const struct fences *f, const struct cluster_map *map)
{
	size_t n = 0;

	if (f->chains == NULL || f->chain_count != count_chains(map))
		return false;
	for (size_t i = 0; i < map->pool_count; n += map->pools[i++].partitions)
		if (f->chains[n].pool != map->pools[i].id)
			return false;
	return true;
}

static void show_chain(struct shown_chain *to, const struct map_chain *from,
		       const struct cluster_map *map, uint64_t version, uint64_t now_ns)
{
	to->epoch = from->epoch;
	to->version = version;
	to->shown_ns = now_ns;
	to->count = 0;
	for (uint32_t i = 0; i < from->count; i++) {
		const struct map_target *target =
			cluster_map_target(map, from->members[i].target_id);

		if (from->members[i].state == MEMBER_IN_SYNC)
			to->members[to->count++] = (struct fence_member){
				.target = from->members[i].target_id,
				.server = target == NULL ? 0 : target->server_id};
	}
}

int fences_map(struct fences *f, const struct cluster_map *map, uint64_t version, uint64_t now_ns)
{
	size_t n = 0;

	if (!same_pools(f, map) && make_chains(f, map) != 0) {
		f->version = 0;
		return -ENOMEM;
	}
	f->version = version;
	for (size_t i = 0; i < map->pool_count; i++)
		for (uint32_t p = 0; p < map->pools[i].partitions; p++, n++)
			if (f->chains[n].version == 0 ||
			    f->chains[n].epoch != map->pools[i].chains[p].epoch)
				show_chain(&f->chains[n], &map->pools[i].chains[p], map, version,
					   now_ns);
	for (struct fence *fence = f->list; fence != NULL; fence = fence->next)
		if (fence->version == 0 && cluster_map_session_over(map, fence->session)) {
			fence->version = version;
			fence->shown_ns = now_ns;
		}
	return 0;
}

bool fences_has_map(const struct fences *f)
{
	return f->version != 0;
}

int fences_acknowledged(struct fences *f, uint64_t id, uint64_t version)
{
	struct fence_server *server;

	HASH_FIND(hh, f->servers, &id, sizeof(id), server);
	if (server == NULL) {
		server = calloc(1, sizeof(*server));
		if (server == NULL)
			return -ENOMEM;
		server->id = id;
		HASH_ADD(hh, f->servers, id, sizeof(server->id), server);
	}
	server->acknowledged = version;
	return 0;
}

/* ---- what follows ---- */

static bool has_acknowledged(const struct fences *f, uint64_t id, uint64_t version)
{
	const struct fence_server *server;

	HASH_FIND(hh, f->servers, &id, sizeof(id), server);
	return server != NULL && server->acknowledged >= version;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool all_have(const struct fences *f, const struct shown_chain *chain, uint64_t version)
{
	version = MANAGER_FAULTY(ACK_AT_OLD_EPOCH) ? version : later(version, chain->version);
	for (uint32_t i = 0; i < chain->count; i++)
		if (!has_acknowledged(f, chain->members[i].server, version))
			return false;
	return true;
}

/* True when the chain can serve nobody now. */
static bool is_dark(const struct shown_chain *chain, fences_harmless_fn *harmless, void *user)
{
	for (uint32_t i = 0; i < chain->count; i++)
		if (!harmless(user, chain->members[i].server))
			return false;
	return true;
}

/* True when all members that have a lease have acknowledged. */
static bool others_have(const struct fences *f, const struct shown_chain *chain, uint64_t version,
			fences_harmless_fn *harmless, void *user)
{
	for (uint32_t i = 0; i < chain->count; i++)
		if (!has_acknowledged(f, chain->members[i].server,
				      later(version, chain->version)) &&
		    !harmless(user, chain->members[i].server))
			return false;
	return true;
}

static void owe(struct fences *f, struct shown_chain *chain, uint64_t version)
{
	f->owed_count += chain->owed ? 0 : 1;
	chain->owed = true;
	chain->owed_version = later(chain->owed_version, version);
}

static void pay(struct fences *f)
{
	for (size_t i = 0; i < f->chain_count && f->owed_count != 0; i++) {
		struct shown_chain *chain = &f->chains[i];

		if (chain->owed && all_have(f, chain, chain->owed_version)) {
			chain->owed = false;
			f->owed_count--;
		}
	}
}

/* False: the fence is not complete in the chain, yet. */
static bool done_in(struct fences *f, struct shown_chain *chain, const struct fence *fence,
		    fences_harmless_fn *harmless, void *user)
{
	if (all_have(f, chain, fence->version))
		return true;
	if (MANAGER_FAULTY(CUT_OFF_COUNTS) && others_have(f, chain, fence->version, harmless, user))
		return true;
	if (!is_dark(chain, harmless, user))
		return false;
	owe(f, chain, fence->version);
	return true;
}

static bool next_complete(struct fences *f, uint64_t now_ns, fences_harmless_fn *harmless,
			  void *user, struct fence_action *out)
{
	for (struct fence *fence = f->list; fence != NULL; fence = fence->next) {
		if (fence->version == 0 || fence->told)
			continue;
		expects(fence->left <= f->chain_count);
		for (size_t i = 0; i < f->chain_count && fence->left != 0; i++) {
			if (bitmap_test(fence->done, i) ||
			    !done_in(f, &f->chains[i], fence, harmless, user))
				continue;
			bitmap_set(fence->done, i);
			fence->left--;
		}
		if (fence->left != 0)
			continue;
		fence->told = true;
		*out = (struct fence_action){.kind = FENCE_COMPLETE, .session = fence->session};
		return true;
	}
	f->looked_ns = now_ns;
	return false;
}

/* Returns since when the chain is waited for, and for what version; 0: it is not. */
static uint64_t waited_since(const struct fences *f, size_t at, uint64_t *version)
{
	const struct shown_chain *chain = &f->chains[at];
	uint64_t since_ns = chain->owed ? chain->shown_ns : 0;

	*version = chain->owed ? chain->owed_version : 0;
	for (const struct fence *fence = f->list; fence != NULL; fence = fence->next) {
		uint64_t shown_ns = later(fence->shown_ns, chain->shown_ns);

		if (fence->version == 0 || fence->told || bitmap_test(fence->done, at))
			continue;
		*version = later(*version, fence->version);
		if (since_ns == 0 || shown_ns < since_ns)
			since_ns = shown_ns;
	}
	*version = later(*version, chain->version);
	return since_ns;
}

/* Returns the member that is late, when another one has acknowledged; else CHAIN_MEMBERS_MAX. */
static uint32_t late_member(const struct fences *f, const struct shown_chain *chain,
			    uint64_t version)
{
	uint32_t late = CHAIN_MEMBERS_MAX;
	bool other = false;

	for (uint32_t i = 0; i < chain->count; i++) {
		if (has_acknowledged(f, chain->members[i].server, version))
			other = true;
		else if (late == CHAIN_MEMBERS_MAX)
			late = i;
	}
	return other ? late : CHAIN_MEMBERS_MAX;
}

static bool next_expel(struct fences *f, uint64_t now_ns, struct fence_action *out)
{
	if (f->late_at == 0 && now_ns < f->late_looked_ns + LATE_LOOK_NS)
		return false;
	f->late_looked_ns = now_ns;
	while (f->late_at < f->chain_count) {
		struct shown_chain *chain = &f->chains[f->late_at];
		uint64_t version, since_ns = waited_since(f, f->late_at++, &version);
		uint32_t late;

		if (since_ns == 0 || now_ns <= later(since_ns, chain->expelled_ns) + f->overdue_ns)
			continue;
		late = late_member(f, chain, version);
		chain->expelled_ns = now_ns;
		if (late == CHAIN_MEMBERS_MAX)
			continue;
		*out = (struct fence_action){.kind = FENCE_EXPEL,
					     .pool = chain->pool,
					     .partition = chain->partition,
					     .epoch = chain->epoch,
					     .target = chain->members[late].target,
					     .server = chain->members[late].server};
		return true;
	}
	f->late_at = 0;
	return false;
}

bool fences_next(struct fences *f, uint64_t now_ns, fences_harmless_fn *harmless, void *user,
		 struct fence_action *out)
{
	if (f->version == 0 || (f->owed_count == 0 && !fences_busy(f)))
		return false;
	expects(f->owed_count <= f->chain_count);
	if (now_ns < f->looked_ns + f->chain_count * LOOK_NS)
		return false;
	pay(f);
	return next_complete(f, now_ns, harmless, user, out) || next_expel(f, now_ns, out);
}

bool fences_may_renew(const struct fences *f, uint64_t server)
{
	if (f->all_owed)
		return false; /* no map was shown yet */
	for (size_t i = 0; i < f->chain_count && f->owed_count != 0; i++)
		for (uint32_t m = 0; f->chains[i].owed && m < f->chains[i].count; m++)
			if (f->chains[i].members[m].server == server &&
			    !MANAGER_FAULTY(LEASE_WHILE_OWED))
				return false;
	return true;
}

void fences_each_chain(const struct fences *f,
		       void (*each)(void *user, uint32_t pool, uint32_t partition, bool owed),
		       void *user)
{
	for (size_t i = 0; i < f->chain_count; i++)
		each(user, f->chains[i].pool, f->chains[i].partition,
		     f->chains[i].owed && !MANAGER_FAULTY(LEASE_WHILE_OWED));
}

bool fences_owed(const struct fences *f)
{
	return f->all_owed || f->owed_count != 0;
}

bool fences_busy(const struct fences *f)
{
	for (const struct fence *fence = f->list; fence != NULL; fence = fence->next)
		if (!fence->told)
			return true;
	return false;
}
