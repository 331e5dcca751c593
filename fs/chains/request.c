/* request.c - requests from their beginning to their end, over as many attempts as it takes.
 *
 * The story of a request:
 *
 * 1. chains_client_send() counts it, and chains_request_route() chooses a member by the newest map
 *    (route.c): the head for updates and flushes, a near in-sync member for the rest.
 * 2. The link to that member's worker sends it (link.c), with the header that ops.c fills. An
 *    update has one operation id for all of its attempts.
 * 3. The answer comes on the link's loop. chains_route_judge() says what it means; mostly that the
 *    request is done. chains_request_finish() ends it and calls done().
 *
 * Failures. What passes by itself (another epoch, a member not ready, a broken connection, a peer
 * silent for CHAINS_SILENCE_NS) is tried again with the newest map, 1 to 500 ms apart (retry.c). It
 * is tried until the soft timeout, or for ever, and at once when a map comes in which the chain is
 * another. Of a stuck chain only a few requests probe; the others are parked. A request under way
 * with a member that keeps its place stays there. A read not answered for CHAINS_HEDGE_NS is asked
 * of another member (watch.c). A read that does not match its checksums is asked of the other
 * members; -EIO only when all copies are bad. Members that recognise a repeated update answer it
 * without doing it again. The session ends: unanswered updates end with -EIO (ops.c). */
#include "fs/chains/client.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "fs/chains/internal.h"

#define LOG_MODULE "chain"

#define SOFT_CHECK_NS    (100 * NS_PER_MSEC)
#define FULL_PATIENCE_NS (3 * NS_PER_SEC)
#define FULL_MEMORY_NS   (5 * NS_PER_SEC)
#define SPACE_WINDOW_NS  (5 * NS_PER_SEC)

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

/* ---- the end of a request ---- */

/* An update's id may be in the chunk's list, and nobody will say soon that it was answered, or the
 * list is too full to wait for that. */
static bool id_lingers(const struct chains_request *request, int error,
		       const struct frame_header *answer)
{
	if (error == 0)
		return answer != NULL && (answer->flags & FRAME_CROWDED) != 0;
	if (request->closing)
		return false;
	/* One that was refused may have been made the first time that it was sent. */
	return request->sends > (answer == NULL ? 0u : 1u);
}

void chains_request_finish(struct chains_client *client, struct chains_request *request, int error,
			   const struct frame_header *answer, struct buf *payload)
{
	const struct chunk_key key = request->key;
	uint64_t session = request->client_id;
	bool close = false;

	if (frame_is_update(request->op))
		close = chains_ops_forget(client, request, id_lingers(request, error, answer));
	chains_health_end(client, request, answer != NULL);
	chains_retry_finished(client, request, answer != NULL);
	request->done(request, error, answer, payload);
	if (close)
		chains_ops_close(client, &key, session);
	if (atomic_fetch_sub_explicit(&client->active, 1, memory_order_acq_rel) > 1 ||
	    !chains_client_stopping(client))
		return;
	pthread_mutex_lock(&client->stop_lock);
	pthread_cond_broadcast(&client->stopped);
	pthread_mutex_unlock(&client->stop_lock);
}

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

/* ---- attempts ---- */

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

/* *nobody: not before another map. */
static int choose(struct chains_client *client, struct chains_request *request,
		  struct chains_route *route, bool *nobody)
{
	struct chains_asker asker = chains_client_asker(client);
	const struct map_chain *chain;
	int rc = -EAGAIN;

	*nobody = false;
	pthread_rwlock_rdlock(&client->lock);
	request->map_count = atomic_load_explicit(&client->map_count, memory_order_relaxed);
	if (client->map == NULL ||
	    atomic_load_explicit(&client->session_id, memory_order_acquire) == 0)
		goto out;
	rc = chains_route_choose(client->map, request, &asker, route);
	chain = cluster_map_chain(client->map, request->key.pool, request->key.partition);
	/* Also when nobody can be asked: a map with another epoch is news then. */
	request->epoch = chain == NULL ? 0 : chain->epoch;
	*nobody = chain == NULL || cluster_map_chain_head(chain) < 0;
out:
	pthread_rwlock_unlock(&client->lock);
	return rc;
}

void chains_request_route(struct chains_client *client, struct chains_request *request)
{
	struct chains_link *link;
	struct chains_route route;
	bool nobody;
	int rc;

	if (chains_client_stopping(client) || chains_ops_void(client, request)) {
		chains_retry_fail(client, request, -EIO);
		return;
	}
	rc = choose(client, request, &route, &nobody);
	if (rc == -EIO) {
		chains_retry_fail(client, request, -EIO);
		return;
	}
	if (rc == -ENOENT && request->op != FRAME_WRITE) {
		request->absent = true;
		chains_retry_at(client, request, 0);
		return;
	}
	if (rc < 0 && nobody) {
		chains_retry_with_map(client, request);
		return;
	}
	link = rc < 0 ? NULL : chains_link_get(client, route.server_id, route.worker, true);
	if (link == NULL) {
		chains_retry_later(client, request);
		return;
	}
	request->epoch = route.epoch;
	request->target_id = route.target_id;
	request->server_id = route.server_id;
	chains_link_send(link, request);
}

static void add_target(uint32_t *targets, uint8_t *count, uint32_t target)
{
	if (*count < CHAIN_MEMBERS_MAX)
		targets[(*count)++] = target;
}

void chains_request_elsewhere(struct chains_client *client, struct chains_request *request)
{
	add_target(request->tried, &request->tried_count, request->target_id);
	chains_request_route(client, request);
}

void chains_request_lost(struct chains_client *client, struct chains_request *request)
{
	if (chains_route_role(request) == CHAINS_ANY && !chains_client_stopping(client) &&
	    !atomic_load_explicit(&request->cancelled, memory_order_acquire))
		chains_request_elsewhere(client, request);
	else
		chains_retry_later(client, request);
}

static bool read_is_good(struct chains_client *client, const struct chains_request *request,
			 const struct frame_header *answer, const struct buf *payload)
{
	static struct log_rate rate;
	int bad;

	if (request->op != FRAME_READ || payload == NULL)
		return true;
	if (answer->offset == request->offset && answer->length <= request->range) {
		bad = block_checksums_verify(buf_payload(payload), answer->offset, payload->length,
					     payload->crcs);
		if (bad < 0)
			return true;
	} else {
		bad = 0;
	}
	atomic_fetch_add_explicit(&client->stat_bad, 1, memory_order_relaxed);
	if (log_rate_ok(&rate, 10))
		log_error("data does not match its checksum file=%016" PRIx64 " chunk=%" PRIu32
			  " offset=%" PRIu64 " target=%" PRIu32 " partition=%" PRIu32,
			  request->key.file_id, request->key.index,
			  (uint64_t)request->offset + (uint64_t)bad * BLOCK_SIZE,
			  request->target_id, request->key.partition);
	return false;
}

static void note_space(struct chains_client *client, uint64_t bytes)
{
	uint64_t now = chains_client_now(client);

	/* Two windows, so that the least of the last few seconds is known at any time. */
	if (now - atomic_load_explicit(&client->space_since, memory_order_relaxed) >
	    SPACE_WINDOW_NS) {
		atomic_store_explicit(&client->space_since, now, memory_order_relaxed);
		atomic_store_explicit(&client->space[1],
				      atomic_load_explicit(&client->space[0], memory_order_relaxed),
				      memory_order_relaxed);
		atomic_store_explicit(&client->space[0], bytes, memory_order_relaxed);
	} else if (bytes < atomic_load_explicit(&client->space[0], memory_order_relaxed)) {
		atomic_store_explicit(&client->space[0], bytes, memory_order_relaxed);
	}
}

uint64_t chains_client_space_left(struct chains_client *client)
{
	uint64_t a = atomic_load_explicit(&client->space[0], memory_order_relaxed);
	uint64_t b = atomic_load_explicit(&client->space[1], memory_order_relaxed);

	return a < b ? a : b;
}

/* A full disk is taken out of its chains when others have room, which takes a moment. When that has
 * not helped, the cluster is full, and the next are told so at once. */
static bool wait_for_space(struct chains_client *client, struct chains_request *request)
{
	uint64_t now = chains_client_now(client);
	uint64_t told = atomic_load_explicit(&client->full_told_ns, memory_order_relaxed);

	if (request->full_ns == 0)
		request->full_ns = now;
	if ((told == 0 || now > told + FULL_MEMORY_NS) && now < request->full_ns + FULL_PATIENCE_NS)
		return true;
	atomic_store_explicit(&client->full_told_ns, now, memory_order_relaxed);
	return false;
}

/* The member says that what it got was damaged: on the way, or already here? */
static void send_again(struct chains_client *client, struct chains_request *request)
{
	const struct buf *payload = request->payload;

	log_warn("update arrived damaged file=%016" PRIx64 " chunk=%" PRIu32 " target=%" PRIu32,
		 request->key.file_id, request->key.index, request->target_id);
	request->checksum_failures++;
	if (payload != NULL && block_checksums_verify(buf_payload(payload), request->offset,
						      payload->length, payload->crcs) >= 0) {
		log_error("an update's bytes have changed in this machine's memory");
		chains_retry_fail(client, request, -EIO);
		return;
	}
	chains_retry_later(client, request);
}

void chains_request_answered(struct chains_client *client, struct chains_request *request,
			     const struct frame_header *answer, struct buf *payload)
{
	enum chains_verdict verdict;
	int error;

	if (frame_is_update(request->op) &&
	    (answer->status == FRAME_OK || answer->status == ENOSPC))
		note_space(client, answer->arg);
	verdict = chains_route_judge(request, answer->status, &error);
	if (verdict == CHAINS_DONE && error == -ENOSPC && wait_for_space(client, request))
		verdict = CHAINS_RETRY;
	/* Nobody waits for it, and what is damaged now may be mended. */
	if (verdict == CHAINS_DONE && error != 0 && request->closing &&
	    answer->status != FRAME_STATUS_FENCED)
		verdict = CHAINS_RETRY;
	if (verdict == CHAINS_DONE && error == 0 && !read_is_good(client, request, answer, payload))
		verdict = CHAINS_BAD_COPY;
	if (verdict == CHAINS_DONE) {
		chains_request_finish(client, request, error, answer, payload);
		return;
	}
	buf_unref(payload);
	atomic_fetch_add_explicit(&client->stat_repeats, 1, memory_order_relaxed);
	switch (verdict) {
	case CHAINS_OTHER_MEMBER:
		chains_request_elsewhere(client, request);
		break;
	case CHAINS_BAD_COPY:
		/* On the way, or on its disk? The member looks, and if so, has it mended. */
		if (answer->status == FRAME_OK && request->suspect != request->target_id)
			request->suspect = request->target_id;
		else
			add_target(request->bad, &request->bad_count, request->target_id);
		request->to_tail = false;
		chains_request_route(client, request);
		break;
	case CHAINS_ASK_TAIL:
		request->to_tail = true;
		chains_request_route(client, request);
		break;
	case CHAINS_SEND_AGAIN:
		send_again(client, request);
		break;
	case CHAINS_RETRY:
	case CHAINS_DONE:
		chains_retry_later(client, request);
		break;
	}
}

void chains_client_send(struct chains_client *client, struct chains_request *request)
{
	request->start_ns = chains_client_now(client);
	atomic_fetch_add_explicit(&client->active, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&client->stat_requests, 1, memory_order_relaxed);
	chains_health_begin(client, request);
	if (client->soft_timeout_ns != 0)
		chains_client_wake(client, request->start_ns + client->soft_timeout_ns);
	chains_request_route(client, request);
}

void chains_client_cancel(struct chains_request *request)
{
	atomic_store_explicit(&request->cancelled, true, memory_order_release);
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
