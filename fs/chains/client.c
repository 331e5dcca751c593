/* client.c - a client's life, its map and session, and the ticks of its loops. The story of a
 * request is in request.c. */
#include "fs/chains/client.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fs/chains/internal.h"
#include "fs/chains/link.h"
#include "fs/chains/retry.h"
#include "fs/chains/watch.h"

#define SOFT_CHECK_NS (100 * NS_PER_MSEC)

uint64_t chains_client_now(struct chains_client *client)
{
	return client->transport->ops->now(client->transport);
}

void chains_client_wake(struct chains_client *client, uint64_t at_ns)
{
	client->transport->ops->wake(client->transport, 0, at_ns);
}

void chains_client_batch(struct chains_client *client, bool begin)
{
	client->transport->ops->batch(begin);
}

bool chains_client_stopping(struct chains_client *client)
{
	return atomic_load_explicit(&client->stopping, memory_order_acquire);
}

static struct chains_load load_of(void *user, uint64_t server_id, uint32_t worker)
{
	struct chains_link *link = chains_link_get(user, server_id, worker, false);

	if (link == NULL)
		return (struct chains_load){0};
	return (struct chains_load){
		.requests = atomic_load_explicit(&link->under_way, memory_order_relaxed),
		.down = atomic_load_explicit(&link->down, memory_order_relaxed) ||
			atomic_load_explicit(&link->silent, memory_order_relaxed),
	};
}

struct chains_asker chains_client_asker(struct chains_client *client)
{
	return (struct chains_asker){
		.near = {.host = client->host, .rack = client->rack, .zone = client->zone},
		.load = load_of,
		.user = client,
	};
}

/* ---- map and session ---- */

void chains_client_set_map(struct chains_client *client, struct cluster_map *map)
{
	struct cluster_map *old;
	uint64_t count;

	pthread_rwlock_wrlock(&client->lock);
	old = client->map;
	if (old != NULL && old->version > map->version && !client->any_map) {
		pthread_rwlock_unlock(&client->lock);
		return;
	}
	client->any_map = false;
	client->map = cluster_map_ref(map);
	count = atomic_fetch_add_explicit(&client->map_count, 1, memory_order_release) + 1;
	pthread_rwlock_unlock(&client->lock);
	for (struct chains_link *link = atomic_load(&client->links); link != NULL;
	     link = link->all_next)
		chains_watch_new_map(link, old, map);
	chains_retry_map(client, old, map, count);
	cluster_map_unref(old);
}

void chains_client_other_master(struct chains_client *client)
{
	pthread_rwlock_wrlock(&client->lock);
	client->any_map = true;
	pthread_rwlock_unlock(&client->lock);
}

struct cluster_map *chains_client_map(struct chains_client *client)
{
	struct cluster_map *map;

	pthread_rwlock_rdlock(&client->lock);
	map = client->map == NULL ? NULL : cluster_map_ref(client->map);
	pthread_rwlock_unlock(&client->lock);
	return map;
}

void chains_client_set_session(struct chains_client *client, uint64_t session_id)
{
	uint64_t old = atomic_exchange(&client->session_id, session_id);

	if (old == session_id)
		return;
	/* Connections have said in their HELLO whose they are. */
	for (struct chains_link *link = atomic_load(&client->links); old != 0 && link != NULL;
	     link = link->all_next)
		chains_link_reset(link);
	chains_retry_all(client);
}

uint64_t chains_client_session(struct chains_client *client)
{
	return atomic_load_explicit(&client->session_id, memory_order_acquire);
}

/* ---- life ---- */

static void soft_tick(struct chains_client *client, uint64_t now)
{
	uint64_t before = now - client->soft_timeout_ns;

	if (client->soft_timeout_ns == 0 || now <= client->soft_timeout_ns ||
	    atomic_load_explicit(&client->active, memory_order_relaxed) == 0)
		return;
	if (now >= client->soft_check_ns) {
		client->soft_check_ns = now + SOFT_CHECK_NS;
		for (struct chains_link *link = atomic_load(&client->links); link != NULL;
		     link = link->all_next) {
			struct chains_request *list = chains_link_take_old(link, before);

			while (list != NULL) {
				struct chains_request *request = list;

				list = request->next;
				chains_retry_fail(client, request, -EIO);
			}
		}
	}
	chains_client_wake(client, client->soft_check_ns);
}

static void on_tick(void *user, unsigned loop)
{
	struct chains_client *client = user;
	uint64_t now = chains_client_now(client);

	for (struct chains_link *link = atomic_load(&client->links); link != NULL;
	     link = link->all_next)
		if (link->loop == loop)
			chains_link_tick(link, now);
	if (loop == 0) {
		chains_retry_tick(client, now);
		soft_tick(client, now);
		if (client->tick != NULL)
			client->tick(client->user, now);
	}
	if (!chains_client_stopping(client))
		return;
	pthread_mutex_lock(&client->stop_lock);
	client->loops_ended |= UINT64_C(1) << loop;
	pthread_cond_broadcast(&client->stopped);
	pthread_mutex_unlock(&client->stop_lock);
}

static void copy_name(char out[MAP_NAME_MAX], const char *name)
{
	if (name != NULL)
		strncpy(out, name, MAP_NAME_MAX - 1);
}

int chains_client_create(const struct chains_client_options *options, struct chains_client **out)
{
	struct chains_client *client;
	int rc;

	if (options->transport->loops < 1 || options->transport->loops > CHAINS_LOOPS_MAX)
		return -EINVAL;
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return -ENOMEM;
	client->transport = options->transport;
	client->pool = options->pool;
	client->soft_timeout_ns = options->soft_timeout_ns;
	client->tick = options->tick;
	client->user = options->user;
	copy_name(client->host, options->host);
	copy_name(client->rack, options->rack);
	copy_name(client->zone, options->zone);
	client->space[0] = UINT64_MAX;
	client->space[1] = UINT64_MAX;
	pthread_rwlock_init(&client->lock, NULL);
	pthread_mutex_init(&client->ops_lock, NULL);
	pthread_mutex_init(&client->retry_lock, NULL);
	pthread_mutex_init(&client->stop_lock, NULL);
	pthread_cond_init(&client->stopped, NULL);
	*out = client;
	rc = client->transport->ops->start(client->transport, on_tick, client);
	if (rc < 0)
		chains_client_destroy(client);
	return rc;
}

static bool all_ended(const struct chains_client *client)
{
	return atomic_load(&client->active) == 0 &&
	       client->loops_ended == (UINT64_C(1) << client->transport->loops) - 1;
}

void chains_client_stop(struct chains_client *client)
{
	atomic_store_explicit(&client->stopping, true, memory_order_release);
	for (unsigned loop = 0; loop < client->transport->loops; loop++)
		client->transport->ops->wake(client->transport, loop, 0);
	pthread_mutex_lock(&client->stop_lock);
	while (!all_ended(client))
		pthread_cond_wait(&client->stopped, &client->stop_lock);
	pthread_mutex_unlock(&client->stop_lock);
	client->transport->ops->stop(client->transport);
}

void chains_client_destroy(struct chains_client *client)
{
	struct chains_link *link;

	if (client == NULL)
		return;
	link = atomic_load(&client->links);
	while (link != NULL) {
		struct chains_link *next = link->all_next;

		pthread_mutex_destroy(&link->lock);
		free(link->slots);
		free(link);
		link = next;
	}
	cluster_map_unref(client->map);
	pthread_rwlock_destroy(&client->lock);
	pthread_mutex_destroy(&client->ops_lock);
	pthread_mutex_destroy(&client->retry_lock);
	pthread_mutex_destroy(&client->stop_lock);
	pthread_cond_destroy(&client->stopped);
	free(client);
}

size_t chains_client_unreachable(struct chains_client *client, uint64_t *servers, size_t max)
{
	struct cluster_map *map = chains_client_map(client);
	uint64_t now = chains_client_now(client);
	size_t count = 0;

	for (struct chains_link *link = atomic_load(&client->links);
	     map != NULL && link != NULL && count < max; link = link->all_next) {
		const struct map_server *server = cluster_map_server(map, link->server_id);
		bool known = false;

		if (server == NULL || !server->online || !chains_watch_unreachable(link, now))
			continue;
		for (size_t i = 0; i < count; i++)
			known = known || servers[i] == link->server_id;
		if (!known)
			servers[count++] = link->server_id;
	}
	cluster_map_unref(map);
	return count;
}

void chains_client_stats(struct chains_client *client, struct chains_client_stats *out)
{
	*out = (struct chains_client_stats){
		.requests = atomic_load(&client->stat_requests),
		.repeats = atomic_load(&client->stat_repeats),
		.resets = atomic_load(&client->stat_resets),
		.bad_blocks = atomic_load(&client->stat_bad),
		.hedges = atomic_load(&client->stat_hedges),
	};
}
