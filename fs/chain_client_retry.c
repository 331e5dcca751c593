/* chain_client_retry.c - requests that wait for another attempt: until a time, or until a map or an
 * answer says that it is worth it. */
#include <errno.h>
#include <string.h>
#include "common/clock.h"
#include "fs/chain_client_internal.h"

/* From here on a request is in the list that is looked at less often. */
#define LONG_NS (100 * NS_PER_MSEC)
/* So often it is, at least: a request may have been cancelled. */
#define LOOK_NS (500 * NS_PER_MSEC)
/* Times of that list are multiples of this, so that one look finds many. */
#define ROUND_NS (25 * NS_PER_MSEC)
#define PARK_NS  (5 * NS_PER_SEC)

void chain_retry_at(struct chain_client *client, struct chain_request *request, uint64_t at_ns)
{
	uint64_t now = chain_client_now(client), look;
	bool later = at_ns >= now + LONG_NS;
	struct retry_list *list = &client->retries[later ? 1 : 0];

	if (later)
		at_ns = (at_ns + ROUND_NS - 1) / ROUND_NS * ROUND_NS;
	look = later && at_ns > now + LOOK_NS ? now + LOOK_NS : at_ns;
	request->retry_ns = at_ns;
	pthread_mutex_lock(&client->retry_lock);
	if (list->first == NULL || look < list->look_ns)
		list->look_ns = look;
	request->next = list->first;
	list->first = request;
	pthread_mutex_unlock(&client->retry_lock);
	chain_client_wake(client, look);
}

void chain_retry_fail(struct chain_client *client, struct chain_request *request, int error)
{
	request->failed = error;
	chain_retry_at(client, request, 0);
}

/* True: it is one of the few of its chain that come again soon. */
static bool is_probe(struct chain_progress *progress, struct chain_request *request)
{
	if (request->probe)
		return true;
	if (atomic_fetch_add_explicit(&progress->probes, 1, memory_order_relaxed) < HEALTH_PROBES) {
		request->probe = true;
		return true;
	}
	atomic_fetch_sub_explicit(&progress->probes, 1, memory_order_relaxed);
	return false;
}

static void retry_after(struct chain_client *client, struct chain_request *request, uint64_t pause)
{
	struct chain_progress *progress = chain_progress_of(client, request);

	request->tried_count = 0;
	request->to_tail = false;
	if (!is_probe(progress, request)) {
		request->parked = true;
		atomic_fetch_add_explicit(&progress->parked, 1, memory_order_relaxed);
		pause = PARK_NS;
	}
	chain_retry_at(client, request, chain_client_now(client) + pause);
}

void chain_retry_later(struct chain_client *client, struct chain_request *request)
{
	uint64_t waited = chain_client_now(client) - request->start_ns;

	retry_after(client, request, chain_pause_ns(request->attempts++, waited));
}

void chain_retry_with_map(struct chain_client *client, struct chain_request *request)
{
	retry_after(client, request, CHAIN_BACKOFF_MAX_NS);
}

/* ---- earlier than planned ---- */

static bool any(const struct chain_request *request, const void *arg)
{
	return true;
}

static void hurry(struct chain_client *client,
		  bool (*wanted)(const struct chain_request *request, const void *arg),
		  const void *arg)
{
	bool found = false;

	pthread_mutex_lock(&client->retry_lock);
	for (unsigned i = 0; i < 2; i++) {
		struct retry_list *list = &client->retries[i];

		for (struct chain_request *r = list->first; r != NULL; r = r->next) {
			if (!wanted(r, arg))
				continue;
			r->retry_ns = 0;
			r->attempts = 0;
			list->look_ns = 0;
			found = true;
		}
	}
	pthread_mutex_unlock(&client->retry_lock);
	if (found)
		chain_client_wake(client, 0);
}

void chain_retry_all(struct chain_client *client)
{
	hurry(client, any, NULL);
}

struct of_chain {
	struct chain_client *client;
	const struct chain_progress *progress;
};

static bool is_of_chain(const struct chain_request *request, const void *arg)
{
	const struct of_chain *of = arg;

	return request->parked && chain_progress_of(of->client, request) == of->progress;
}

void chain_retry_chain(struct chain_client *client, const struct chain_progress *progress)
{
	struct of_chain of = {client, progress};

	hurry(client, is_of_chain, &of);
}

struct maps {
	const struct cluster_map *old, *map;
};

static bool server_changed(const struct maps *maps, uint64_t id)
{
	const struct map_server *was, *is;

	if (id == 0 || maps->old == NULL)
		return true;
	was = cluster_map_server(maps->old, id);
	is = cluster_map_server(maps->map, id);
	if (was == NULL || is == NULL)
		return was != is;
	return was->online != is->online || strcmp(was->address, is->address) != 0;
}

static bool concerned(const struct chain_request *request, const void *arg)
{
	const struct maps *maps = arg;
	const struct map_chain *chain =
		cluster_map_chain(maps->map, request->key.pool, request->key.partition);

	return (chain != NULL && chain->epoch != request->epoch) ||
	       (request->server_id != 0 && server_changed(maps, request->server_id));
}

void chain_retry_map(struct chain_client *client, const struct cluster_map *old,
		     const struct cluster_map *map)
{
	struct maps maps = {old, map};

	hurry(client, old == NULL ? any : concerned, &maps);
}

/* ---- when it is time ---- */

bool chain_soft_expired(const struct chain_client *client, const struct chain_request *request,
			uint64_t now)
{
	return client->soft_timeout_ns != 0 && now > request->start_ns &&
	       now - request->start_ns >= client->soft_timeout_ns;
}

static void retry_one(struct chain_client *client, struct chain_request *request, uint64_t now)
{
	if (request->parked) {
		request->parked = false;
		atomic_fetch_sub_explicit(&chain_progress_of(client, request)->parked, 1,
					  memory_order_relaxed);
	}
	if (request->failed == 0 && request->absent) {
		struct frame_header nothing = {.op = request->op, .key = request->key};

		chain_request_finish(client, request, 0, &nothing, NULL);
		return;
	}
	if (request->failed == 0 && atomic_load_explicit(&request->cancelled, memory_order_acquire))
		request->failed = -ECANCELED;
	if (request->failed == 0 &&
	    (chain_client_stopping(client) || chain_soft_expired(client, request, now)))
		request->failed = -EIO;
	if (request->failed != 0)
		chain_request_finish(client, request, request->failed, NULL, NULL);
	else
		chain_request_route(client, request);
}

/* Moves what is due to @due. */
static void take_due(struct chain_client *client, struct retry_list *list, uint64_t now, bool all,
		     struct chain_request **due)
{
	struct chain_request **at = &list->first;
	uint64_t next = UINT64_MAX;

	while (*at != NULL) {
		struct chain_request *request = *at;

		if (!all && request->retry_ns > now && !chain_soft_expired(client, request, now) &&
		    !atomic_load_explicit(&request->cancelled, memory_order_acquire)) {
			if (request->retry_ns < next)
				next = request->retry_ns;
			at = &request->next;
			continue;
		}
		*at = request->next;
		request->next = *due;
		*due = request;
	}
	list->look_ns = next > now + LOOK_NS ? now + LOOK_NS : next;
}

void chain_retry_tick(struct chain_client *client, uint64_t now)
{
	struct chain_request *due = NULL;
	uint64_t next = UINT64_MAX;
	bool all = chain_client_stopping(client);

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
		struct chain_request *request = due;

		due = request->next;
		retry_one(client, request, now);
	}
	if (next != UINT64_MAX)
		chain_client_wake(client, next);
}
