/* watch.c - requests that are with a link and should not be: because the map is
 * another now, or because the member says nothing. */
#include <string.h>
#include "common/os/clock.h"
#include "fs/chains/internal.h"
#include "fs/chains/link.h"
#include "fs/chains/watch.h"

/* A member that answers others is slow, not dead: give it more time. */
#define SLOW_NS (2 * NS_PER_SEC)
/* Each time that a read is given to another, the next waits twice as long: when all members are
 * slow, answers must not be thrown away for ever. */
#define HEDGES_MAX  6u
#define LOOK_NS     (100 * NS_PER_MSEC)
#define LOOK_MIN_NS (20 * NS_PER_MSEC)
/* A request kept through a change of its chain, and not answered since. Sent again it is recognised
 * by its id; this is for what was lost without a word. */
#define FORGOTTEN_NS    (3 * NS_PER_SEC)
#define UNREACHABLE_NS  (1500 * NS_PER_MSEC)
#define FAILURE_COUNTED (5 * NS_PER_SEC)

struct place {
	const struct chains_link *link;
	const struct cluster_map *map;
};

static bool is_misplaced(struct chains_request *request, const void *arg)
{
	const struct place *place = arg;
	const struct map_chain *chain;

	if (request->slot != CHAINS_LINK_NO_SLOT)
		return !chains_route_still_right(place->map, request, place->link->server_id,
						 place->link->worker);
	/* Not sent yet: then with the newest epoch. */
	chain = cluster_map_chain(place->map, request->key.pool, request->key.partition);
	return chain == NULL || chain->epoch != request->epoch;
}

static void route_all(struct chains_client *client, struct chains_request *list)
{
	while (list != NULL) {
		struct chains_request *request = list;

		list = request->next;
		request->attempts = 0;
		request->to_tail = false;
		chains_request_route(client, request);
	}
}

/* A server that was gone is worth another try. */
static bool is_back(const struct cluster_map *old, const struct map_server *server)
{
	const struct map_server *was =
		old == NULL || server == NULL ? NULL : cluster_map_server(old, server->id);

	return was != NULL && server->online &&
	       (!was->online || strcmp(was->address, server->address) != 0);
}

void chains_watch_new_map(struct chains_link *link, const struct cluster_map *old,
			  const struct cluster_map *map)
{
	const struct map_server *server = cluster_map_server(map, link->server_id);
	struct place place = {link, map};
	struct chains_request *list;
	bool moved;

	pthread_mutex_lock(&link->lock);
	moved = link->state != CHAINS_LINK_IDLE &&
		(server == NULL || strcmp(server->address, link->address) != 0);
	/* Perhaps because it is back. */
	if (old != map)
		link->not_before = 0;
	list = chains_link_take(link, is_misplaced, &place);
	pthread_mutex_unlock(&link->lock);
	if (is_back(old, server))
		atomic_store_explicit(&link->down, false, memory_order_relaxed);
	if (moved)
		chains_link_reset(link);
	route_all(link->client, list);
}

/* ---- members that say nothing ---- */

struct hedge {
	const struct cluster_map *map;
	struct chains_asker asker;
	uint64_t now;
	bool silent;
};

static bool wants_other(struct chains_request *request, const void *arg)
{
	const struct hedge *hedge = arg;
	uint64_t patience = hedge->silent ? CHAINS_HEDGE_NS : SLOW_NS;

	if (chains_route_role(request) == CHAINS_HEAD || request->hedges >= HEDGES_MAX)
		return false;
	/* It may have been sent after "now". */
	return hedge->now >= request->sent_ns + (patience << request->hedges) &&
	       chains_route_has_other(hedge->map, request, &hedge->asker);
}

static bool is_forgotten(struct chains_request *request, const void *arg)
{
	const struct hedge *hedge = arg;
	const struct map_chain *chain =
		cluster_map_chain(hedge->map, request->key.pool, request->key.partition);

	return hedge->now >= request->sent_ns + FORGOTTEN_NS && chain != NULL &&
	       chain->epoch != request->epoch;
}

/* The answer of the member may still come: by the slot's generation it is nobody's then. */
static void ask_others(struct chains_link *link, struct chains_request *list)
{
	struct chains_client *client = link->client;

	while (list != NULL) {
		struct chains_request *request = list;

		list = request->next;
		request->hedges++;
		request->tried_count = 0;
		request->to_tail = false;
		atomic_fetch_add_explicit(&client->stat_hedges, 1, memory_order_relaxed);
		chains_request_elsewhere(client, request);
	}
}

static bool has_something(const struct chains_link *link)
{
	return link->state != CHAINS_LINK_IDLE &&
	       (link->waiting != NULL ||
		atomic_load_explicit(&link->under_way, memory_order_relaxed) > 0);
}

uint64_t chains_watch_hedge(struct chains_link *link, uint64_t now)
{
	struct hedge hedge = {.asker = chains_client_asker(link->client), .now = now};
	struct chains_request *slow, *forgotten;
	struct cluster_map *map;
	bool due, busy;

	pthread_mutex_lock(&link->lock);
	busy = has_something(link);
	due = busy && now >= link->hedge_ns;
	if (busy && due) {
		hedge.silent = now >= link->quiet_since + CHAINS_HEDGE_NS;
		link->hedge_ns = hedge.silent ? now + LOOK_NS : link->quiet_since + CHAINS_HEDGE_NS;
		if (link->hedge_ns < now + LOOK_MIN_NS)
			link->hedge_ns = now + LOOK_MIN_NS;
	}
	pthread_mutex_unlock(&link->lock);
	if (!due)
		return busy ? link->hedge_ns : UINT64_MAX;
	/* Before the choice: reads that come now are not for this one either. */
	if (hedge.silent)
		atomic_store_explicit(&link->silent, true, memory_order_relaxed);
	map = chains_client_map(link->client);
	if (map == NULL)
		return link->hedge_ns;
	hedge.map = map;
	pthread_mutex_lock(&link->lock);
	slow = chains_link_take(link, wants_other, &hedge);
	forgotten = chains_link_take(link, is_forgotten, &hedge);
	pthread_mutex_unlock(&link->lock);
	cluster_map_unref(map);
	ask_others(link, slow);
	route_all(link->client, forgotten);
	return link->hedge_ns;
}

bool chains_watch_unreachable(struct chains_link *link, uint64_t now)
{
	bool failed, silent;

	pthread_mutex_lock(&link->lock);
	failed = link->state != CHAINS_LINK_UP && link->failures > 0 &&
		 now < link->failed_ns + FAILURE_COUNTED;
	silent = has_something(link) && now >= link->quiet_since + UNREACHABLE_NS;
	pthread_mutex_unlock(&link->lock);
	return failed || silent;
}
