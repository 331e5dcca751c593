/* retry.c - requests that wait for another attempt: until a time, or until a map or an
 * answer says that it is worth it. */
#include <errno.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "fs/chains/health.h"
#include "fs/chains/internal.h"
#include "fs/chains/retry.h"

/* A request that is due after this time or later is in the second list, which is looked at less
 * often. */
#define LONG_NS (100 * NS_PER_MSEC)
/* The second list is looked at no later than after this time, for requests that were cancelled. */
#define LOOK_NS (500 * NS_PER_MSEC)
/* Requests in the second list are due at multiples of this, so that one look finds many. */
#define ROUND_NS (25 * NS_PER_MSEC)
/* A parked request comes again after this time even if no probe finds out anything. */
#define PARK_NS (5 * NS_PER_SEC)

/* Puts the request into its list. Returns when that must be looked at for it. Locks: retry_lock. */
static uint64_t enlist(struct chains_client *client, struct chains_request *request, uint64_t at_ns,
		       uint64_t now)
{
	bool later = at_ns >= now + LONG_NS;
	struct retry_list *list = &client->retries[later ? 1 : 0];
	uint64_t look;

	lock_held(&client->retry_lock);
	if (later)
		at_ns = (at_ns + ROUND_NS - 1) / ROUND_NS * ROUND_NS;
	look = later && at_ns > now + LOOK_NS ? now + LOOK_NS : at_ns;
	request->retry_ns = at_ns;
	if (list->first == NULL || look < list->look_ns)
		list->look_ns = look;
	request->next = list->first;
	list->first = request;
	return look;
}

void chains_retry_at(struct chains_client *client, struct chains_request *request, uint64_t at_ns)
{
	uint64_t now = chains_client_now(client), look;

	pthread_mutex_lock(&client->retry_lock);
	look = enlist(client, request, at_ns, now);
	pthread_mutex_unlock(&client->retry_lock);
	chains_client_wake(client, look);
}

void chains_retry_fail(struct chains_client *client, struct chains_request *request, int error)
{
	request->failed = error;
	chains_retry_at(client, request, 0);
}

/* ---- parked until a probe has found out. Locks: retry_lock. ---- */

static bool same_chain(const struct chains_request *a, const struct chains_request *b)
{
	return a->key.pool == b->key.pool && a->key.partition == b->key.partition;
}

static void park(struct chains_progress *progress, struct chains_request *request)
{
	const struct chains_request *first = progress->parked;

	expects(!request->parked);
	request->parked = true;
	if (first == NULL)
		progress->parked_mixed = false;
	else if (!same_chain(first->park_prev, request))
		progress->parked_mixed = true;
	DL_APPEND2(progress->parked, request, park_prev, park_next);
	atomic_fetch_add_explicit(&progress->parked_count, 1, memory_order_relaxed);
}

static void unpark(struct chains_progress *progress, struct chains_request *request)
{
	expects(request->parked);
	DL_DELETE2(progress->parked, request, park_prev, park_next);
	request->parked = false;
	atomic_fetch_sub_explicit(&progress->parked_count, 1, memory_order_relaxed);
}

/* Makes the request a probe while there are too few. True: it is one, and comes again soon. */
static bool is_probe(struct chains_progress *progress, struct chains_request *request)
{
	if (!request->probe && progress->probes < CHAINS_HEALTH_PROBES) {
		request->probe = true;
		progress->probes++;
	}
	return request->probe;
}

/* ---- to the list ---- */

/* Whether a map that came since the member was chosen changes something for the request. For maps
 * that come once it is in the list, chains_retry_map() finds it there. @servers_count: the client's,
 * read under retry_lock. */
static bool map_is_news(struct chains_client *client, struct chains_request *request,
			uint64_t servers_count)
{
	bool news = request->map_count == 0 ||
		    (request->server_id != 0 && request->map_count < servers_count);
	const struct map_chain *chain;

	pthread_rwlock_rdlock(&client->lock);
	chain = cluster_map_chain(client->map, request->key.pool, request->key.partition);
	news = news || (chain != NULL && chain->epoch != request->epoch);
	request->map_count = atomic_load_explicit(&client->map_count, memory_order_relaxed);
	pthread_rwlock_unlock(&client->lock);
	return news;
}

static void retry_after(struct chains_client *client, struct chains_request *request,
			uint64_t pause)
{
	struct chains_progress *progress = chains_health_progress(client, request);
	uint64_t now = chains_client_now(client), servers_count, look;
	bool news = false;

	request->tried_count = 0;
	request->to_tail = false;
	pthread_mutex_lock(&client->retry_lock);
	/* chains_retry_map() looks at the lists after map_count has grown. So either it finds the
	 * request there, or this loop sees the new count. */
	while (!news && atomic_load_explicit(&client->map_count, memory_order_acquire) !=
				request->map_count) {
		servers_count = client->servers_count;
		pthread_mutex_unlock(&client->retry_lock);
		news = map_is_news(client, request, servers_count);
		pthread_mutex_lock(&client->retry_lock);
	}
	if (news) {
		request->attempts = 0;
		pause = 0;
	} else if (!is_probe(progress, request)) {
		park(progress, request);
		pause = PARK_NS;
	}
	look = enlist(client, request, now + pause, now);
	pthread_mutex_unlock(&client->retry_lock);
	chains_client_wake(client, look);
}

void chains_retry_later(struct chains_client *client, struct chains_request *request)
{
	uint64_t waited = chains_client_now(client) - request->start_ns;

	retry_after(client, request, chains_route_pause_ns(request->attempts++, waited));
}

void chains_retry_with_map(struct chains_client *client, struct chains_request *request)
{
	retry_after(client, request, CHAINS_BACKOFF_MAX_NS);
}

/* ---- earlier than planned ---- */

/* Makes the request due at once. Locks: retry_lock. */
static void hurry_one(struct retry_list *list, struct chains_request *request)
{
	request->retry_ns = 0;
	request->attempts = 0;
	list->look_ns = 0;
}

static bool any(const struct chains_request *request, const void *arg)
{
	return true;
}

/* Makes all requests due that are @wanted. True: there are some. Locks: retry_lock. */
static bool hurry(struct chains_client *client,
		  bool (*wanted)(const struct chains_request *request, const void *arg),
		  const void *arg)
{
	bool found = false;

	lock_held(&client->retry_lock);
	for (unsigned i = 0; i < 2; i++) {
		struct retry_list *list = &client->retries[i];

		for (struct chains_request *r = list->first; r != NULL; r = r->next) {
			if (!wanted(r, arg))
				continue;
			hurry_one(list, r);
			found = true;
		}
	}
	return found;
}

void chains_retry_all(struct chains_client *client)
{
	bool found;

	pthread_mutex_lock(&client->retry_lock);
	found = hurry(client, any, NULL);
	pthread_mutex_unlock(&client->retry_lock);
	if (found)
		chains_client_wake(client, 0);
}

/* Makes a parked request due at once. It is in the second list, as PARK_NS is more than LONG_NS.
 * Locks: retry_lock. */
static void hurry_parked(struct chains_client *client, struct chains_progress *progress,
			 struct chains_request *request)
{
	lock_held(&client->retry_lock);
	unpark(progress, request);
	hurry_one(&client->retries[1], request);
}

/* Makes those due that were parked until a request of this chain is answered. True: there are some.
 * Locks: retry_lock. */
static bool hurry_chain(struct chains_client *client, struct chains_progress *progress,
			const struct chains_request *answered)
{
	struct chains_request *next, *kept = NULL;
	bool found = false, mixed = false;

	lock_held(&client->retry_lock);
	/* When only another chain of the same number is stuck, answers must not walk its requests. */
	if (progress->parked == NULL ||
	    (!progress->parked_mixed && !same_chain(progress->parked, answered)))
		return false;
	for (struct chains_request *r = progress->parked; r != NULL; r = next) {
		next = r->park_next;
		if (same_chain(r, answered)) {
			hurry_parked(client, progress, r);
			found = true;
			continue;
		}
		mixed = mixed || (kept != NULL && !same_chain(kept, r));
		kept = r;
	}
	progress->parked_mixed = mixed;
	return found;
}

/* Gives the place of a probe that has ended to the first parked request. True: there is one. Locks:
 * retry_lock. */
static bool hand_on(struct chains_client *client, struct chains_progress *progress)
{
	struct chains_request *heir = progress->parked;

	lock_held(&client->retry_lock);
	expects(progress->probes > 0);
	if (heir == NULL) {
		progress->probes--;
		return false;
	}
	hurry_parked(client, progress, heir);
	heir->probe = true;
	return true;
}

void chains_retry_finished(struct chains_client *client, struct chains_request *request,
			   bool answered)
{
	struct chains_progress *progress = chains_health_progress(client, request);
	bool found = false;

	/* A request that is parked after this look does not miss its answer: it is parked only while
	 * there are probes, and these look here again when they end. */
	if (!request->probe &&
	    (!answered || atomic_load_explicit(&progress->parked_count, memory_order_relaxed) == 0))
		return;
	pthread_mutex_lock(&client->retry_lock);
	if (answered)
		found = hurry_chain(client, progress, request);
	if (request->probe) {
		request->probe = false;
		found = hand_on(client, progress) || found;
	}
	pthread_mutex_unlock(&client->retry_lock);
	if (found)
		chains_client_wake(client, 0);
}

struct maps {
	const struct cluster_map *old, *map;
};

static bool is_another(const struct map_server *was, const struct map_server *is)
{
	return was->online != is->online || strcmp(was->address, is->address) != 0;
}

static bool server_changed(const struct maps *maps, uint64_t id)
{
	const struct map_server *was, *is;

	if (id == 0 || maps->old == NULL)
		return true;
	was = cluster_map_server(maps->old, id);
	is = cluster_map_server(maps->map, id);
	if (was == NULL || is == NULL)
		return was != is;
	return is_another(was, is);
}

static bool any_server_changed(const struct maps *maps)
{
	if (maps->old == NULL || maps->old->server_count != maps->map->server_count)
		return true;
	for (size_t i = 0; i < maps->map->server_count; i++) {
		const struct map_server *was = &maps->old->servers[i];
		const struct map_server *is = &maps->map->servers[i];

		if (was->id != is->id || is_another(was, is))
			return true;
	}
	return false;
}

static bool concerned(const struct chains_request *request, const void *arg)
{
	const struct maps *maps = arg;
	const struct map_chain *chain =
		cluster_map_chain(maps->map, request->key.pool, request->key.partition);

	return (chain != NULL && chain->epoch != request->epoch) ||
	       (request->server_id != 0 && server_changed(maps, request->server_id));
}

void chains_retry_map(struct chains_client *client, const struct cluster_map *old,
		      const struct cluster_map *map, uint64_t map_count)
{
	struct maps maps = {old, map};
	bool servers = any_server_changed(&maps), found;

	pthread_mutex_lock(&client->retry_lock);
	if (servers && map_count > client->servers_count)
		client->servers_count = map_count;
	found = hurry(client, old == NULL ? any : concerned, &maps);
	pthread_mutex_unlock(&client->retry_lock);
	if (found)
		chains_client_wake(client, 0);
}

/* ---- when it is time ---- */

static bool soft_expired(const struct chains_client *client, const struct chains_request *request,
			 uint64_t now)
{
	return client->soft_timeout_ns != 0 && !request->closing && now > request->start_ns &&
	       now - request->start_ns >= client->soft_timeout_ns;
}

static void retry_one(struct chains_client *client, struct chains_request *request, uint64_t now)
{
	if (request->failed == 0 && request->absent) {
		struct frame_header nothing = {.op = request->op, .key = request->key};

		chains_request_finish(client, request, 0, &nothing, NULL);
		return;
	}
	if (request->failed == 0 && atomic_load_explicit(&request->cancelled, memory_order_acquire))
		request->failed = -ECANCELED;
	if (request->failed == 0 &&
	    (chains_client_stopping(client) || soft_expired(client, request, now)))
		request->failed = -EIO;
	if (request->failed != 0)
		chains_request_finish(client, request, request->failed, NULL, NULL);
	else
		chains_request_route(client, request);
}

/* Moves the requests that are due, or @all of them, to @due. Locks: retry_lock. */
static void take_due(struct chains_client *client, struct retry_list *list, uint64_t now, bool all,
		     struct chains_request **due)
{
	struct chains_request **at = &list->first;
	uint64_t next = UINT64_MAX;

	while (*at != NULL) {
		struct chains_request *request = *at;

		if (!all && request->retry_ns > now && !soft_expired(client, request, now) &&
		    !atomic_load_explicit(&request->cancelled, memory_order_acquire)) {
			if (request->retry_ns < next)
				next = request->retry_ns;
			at = &request->next;
			continue;
		}
		*at = request->next;
		if (request->parked)
			unpark(chains_health_progress(client, request), request);
		request->next = *due;
		*due = request;
	}
	list->look_ns = next > now + LOOK_NS ? now + LOOK_NS : next;
}

void chains_retry_tick(struct chains_client *client, uint64_t now)
{
	struct chains_request *due = NULL;
	uint64_t next = UINT64_MAX;
	bool all = chains_client_stopping(client);

	pthread_mutex_lock(&client->retry_lock);
	for (unsigned i = 0; i < 2; i++) {
		struct retry_list *list = &client->retries[i];

		if (list->first == NULL)
			continue;
		if (all || now >= list->look_ns ||
		    (client->soft_timeout_ns != 0 && now >= client->soft_check_ns))
			take_due(client, list, now, all, &due);
		if (list->first != NULL && list->look_ns < next)
			next = list->look_ns;
	}
	pthread_mutex_unlock(&client->retry_lock);
	while (due != NULL) {
		struct chains_request *request = due;

		due = request->next;
		retry_one(client, request, now);
	}
	if (next != UINT64_MAX)
		chains_client_wake(client, next);
}
