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
#include <errno.h>
#include <inttypes.h>
#include "common/os/log.h"
#include "fs/chains/health.h"
#include "fs/chains/internal.h"
#include "fs/chains/link.h"
#include "fs/chains/ops.h"
#include "fs/chains/retry.h"

#define LOG_MODULE "chain"

#define FULL_PATIENCE_NS (3 * NS_PER_SEC)
#define FULL_MEMORY_NS   (5 * NS_PER_SEC)
#define SPACE_WINDOW_NS  (5 * NS_PER_SEC)

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

/* ---- attempts ---- */

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
