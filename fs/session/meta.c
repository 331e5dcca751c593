/* meta.c - calls, opening and closing of the mount's session. */
#define LOG_MODULE "meta"
#include "fs/session/meta.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/cluster/request_kind.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/log.h"
#include "common/os/lock.h"
#include "fs/session/meta_internal.h"

/* ---- calls ---- */

/* @session 0: any. @later: it is of the lane, and may wait for company. @waits: for what is held. */
static void call(struct meta *meta, uint64_t session, Catena__Request *request, meta_done_fn *done,
		 void *user, bool later, bool waits)
{
	struct meta_pending *pending;
	int rc = -ENOMEM;

	request->id = 0;
	if (request->time == 0)
		request->time = clock_realtime_ns();
	pending = meta_pending_new(request);
	if (pending == NULL)
		goto failed;
	pending->done = done;
	pending->user = user;
	pending->in_lane = later;
	if (meta->options.soft_timeout_ns != 0)
		pending->deadline_ns = clock_monotonic_ns() + meta->options.soft_timeout_ns;
	/* Ids in the order of sending: one lock around both. */
	pthread_mutex_lock(&meta->lock);
	rc = meta->stream_state == META_STREAM_ENDED ||
			     (session != 0 && session != meta->session_id)
		     ? -EIO
		     : 0;
	if (rc == 0 && !(waits && meta_hold_wait(meta, pending))) {
		rc = meta_session_add(meta, pending);
		if (rc == 0)
			meta_session_send_pending(meta, pending,
						  later ? meta_session_queue : meta_session_send);
	}
	pthread_mutex_unlock(&meta->lock);
	if (rc == 0)
		return;
failed:
	free(pending);
	if (done != NULL)
		done(user, rc, NULL);
}

void meta_call(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	call(meta, 0, request, done, user, false, true);
}

void meta_call_now(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	call(meta, 0, request, done, user, false, false);
}

void meta_call_within(struct meta *meta, uint64_t session, bool now, Catena__Request *request,
		      meta_done_fn *done, void *user)
{
	call(meta, session, request, done, user, false, !now);
}

void meta_call_later(struct meta *meta, Catena__Request *request, meta_done_fn *done, void *user)
{
	expects(request_kind_is_command(request) && !request->durable);
	call(meta, 0, request, done, user, true, true);
}

bool meta_lane_full(const struct meta *meta)
{
	return atomic_load_explicit(&meta->full, memory_order_relaxed);
}

bool meta_sole(const struct meta *meta)
{
	return atomic_load_explicit(&meta->lease.sole, memory_order_acquire) &&
	       clock_boottime_ns() < atomic_load(&meta->lease.until_ns);
}

uint64_t meta_lease_left_ns(const struct meta *meta)
{
	uint64_t now_ns = clock_boottime_ns(), until_ns = atomic_load(&meta->lease.until_ns);

	if (!atomic_load_explicit(&meta->lease.sole, memory_order_acquire) || now_ns >= until_ns)
		return 0;
	return until_ns - now_ns;
}

uint64_t meta_generation(const struct meta *meta)
{
	return atomic_load_explicit(&meta->lease.generation, memory_order_acquire);
}

uint64_t meta_grant(const struct meta *meta)
{
	return atomic_load(&meta->lease.grant);
}

bool meta_reachable(const struct meta *meta)
{
	struct meta *m = (struct meta *)meta;
	bool yes;

	pthread_mutex_lock(&m->lock);
	yes = m->stream_state == META_STREAM_UP &&
	      clock_boottime_ns() < m->heard_ns + m->lease.length_ns;
	pthread_mutex_unlock(&m->lock);
	return yes;
}

void meta_lease_return(struct meta *meta)
{
	Catena__Lease lease = CATENA__LEASE__INIT;
	Catena__Lease *leases[1] = {&lease};
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;
	uint8_t data[64];

	lease.kind = CATENA__LEASE_KIND__LEASE_NONE;
	batch.n_returns = 1;
	batch.returns = leases;
	pthread_mutex_lock(&meta->lock);
	/* On another stream than the recall's the master asks again. */
	if (meta->lease.held) {
		lease.sequence = meta->lease.sequence;
		meta->lease.held = false;
		meta_session_send(meta, data, catena__client_batch__pack(&batch, data));
	}
	pthread_mutex_unlock(&meta->lock);
}

uint64_t meta_instance(const struct meta *meta)
{
	struct meta *m = (struct meta *)meta;
	uint64_t instance;

	pthread_mutex_lock(&m->lock);
	instance = m->instance;
	pthread_mutex_unlock(&m->lock);
	return instance;
}

uint64_t meta_session_id(const struct meta *meta)
{
	struct meta *m = (struct meta *)meta;
	uint64_t id;

	pthread_mutex_lock(&m->lock);
	id = m->session_id;
	pthread_mutex_unlock(&m->lock);
	return id;
}

uint32_t meta_default_pool(const struct meta *meta)
{
	return meta->default_pool;
}

/* ---- opening and closing ---- */

static void explain(struct meta *meta, uint64_t timeout_ns, char *error, size_t error_size)
{
	char refusal[256];
	int rc = meta->stream_error;

	rpc_client_refusal(meta->client, refusal, sizeof(refusal));
	if (meta->message[0] != '\0')
		snprintf(error, error_size, "the master at %s refuses this mount: %s",
			 meta->masters, meta->message);
	else if (refusal[0] != '\0')
		snprintf(error, error_size, "no connection to the master at %s: %s", meta->masters,
			 refusal);
	else if (rc == -EACCES)
		snprintf(error, error_size,
			 "the master at %s refuses this certificate (it must be one of role client "
			 "of this cluster)",
			 meta->masters);
	else if (rc == -EHOSTUNREACH || rc == -ECONNREFUSED)
		snprintf(error, error_size, "cannot reach the master at %s: nobody answers there",
			 meta->masters);
	else
		snprintf(error, error_size, "the master at %s did not answer within %.1f s",
			 meta->masters, (double)timeout_ns / (double)NS_PER_SEC);
}

/* Waits until the session is there, for at most @timeout_ns. Locks: the session's. */
static int wait_for_session(struct meta *meta, uint64_t timeout_ns)
{
	uint64_t end_ns = clock_monotonic_ns() + timeout_ns;

	lock_held(&meta->lock);
	while (meta->stream_state != META_STREAM_UP) {
		if (meta->refused || meta->stream_error == -EACCES)
			return -EACCES;
		if (!cond_wait_until(&meta->changed, &meta->lock, end_ns))
			return meta->stream_error == -EHOSTUNREACH ? -EHOSTUNREACH : -ETIMEDOUT;
	}
	return 0;
}

static struct meta *meta_new(const struct meta_options *options)
{
	struct meta *meta = calloc(1, sizeof(*meta));

	if (meta == NULL)
		return NULL;
	meta->options = *options;
	meta->masters = strdup(options->masters);
	meta->mount_name = strdup(options->mount_name != NULL ? options->mount_name : "");
	meta->options.masters = meta->masters;
	meta->options.mount_name = meta->mount_name;
	pthread_mutex_init(&meta->lock, NULL);
	pthread_cond_init(&meta->changed, NULL);
	meta_lease_init(&meta->lease);
	meta_arena_init(&meta->arena);
	return meta;
}

static void meta_free(struct meta *meta)
{
	meta_pending_ring_free(&meta->pending);
	meta_arena_free(&meta->arena);
	pthread_cond_destroy(&meta->changed);
	pthread_mutex_destroy(&meta->lock);
	free(meta->masters);
	free(meta->mount_name);
	free(meta);
}

/* No callback comes after this. */
static void stop_threads(struct meta *meta)
{
	pthread_mutex_lock(&meta->lock);
	meta->stream_state = META_STREAM_ENDED;
	pthread_cond_broadcast(&meta->changed);
	pthread_mutex_unlock(&meta->lock);
	if (meta->timer_started)
		pthread_join(meta->timer, NULL);
	rpc_client_close(meta->client);
}

int meta_open(const struct meta_options *options, uint64_t timeout_ns, struct meta **out,
	      char *error, size_t error_size)
{
	struct rpc_client_options client = {
		.target = options->masters, .tls = options->tls, .server_role = TLS_ROLE_MASTER};
	struct meta *meta = meta_new(options);
	int rc = -ENOMEM;

	if (meta == NULL || meta->masters == NULL || meta->mount_name == NULL ||
	    meta_pending_ring_init(&meta->pending) != 0) {
		snprintf(error, error_size, "out of memory");
		goto err_free;
	}
	rc = rpc_client_open(&client, &meta->client, error, error_size);
	if (rc != 0)
		goto err_free;
	pthread_mutex_lock(&meta->lock);
	/* A little less, so that its end says why. */
	meta_session_connect(meta, timeout_ns / 10 * 9);
	pthread_mutex_unlock(&meta->lock);
	rc = -pthread_create(&meta->timer, NULL, meta_timer_run, meta);
	if (rc != 0) {
		snprintf(error, error_size, "cannot start a thread: %s", strerror(-rc));
		goto err_stop;
	}
	meta->timer_started = true;
	pthread_mutex_lock(&meta->lock);
	rc = wait_for_session(meta, timeout_ns);
	if (rc != 0)
		explain(meta, timeout_ns, error, error_size);
	pthread_mutex_unlock(&meta->lock);
	if (rc != 0)
		goto err_stop;
	*out = meta;
	return 0;

err_stop:
	stop_threads(meta);
err_free:
	if (meta != NULL)
		meta_free(meta);
	return rc;
}

/* The master frees what the session had when it hears this; otherwise when its lease has run out.
 * Of one that is not clean it first makes sure that chunkservers take nothing of it any more. */
static void say_goodbye(struct meta *meta, bool clean)
{
	Catena__ClientBatch batch = CATENA__CLIENT_BATCH__INIT;
	uint64_t end_ns = clock_monotonic_ns() + META_GOODBYE_NS;
	uint32_t goodbye = clean ? META_GOODBYE_CLEAN : META_GOODBYE_DIRTY;
	uint8_t data[16];

	batch.n_goodbye = 1;
	batch.goodbye = &goodbye;
	pthread_mutex_lock(&meta->lock);
	if (meta->stream_state == META_STREAM_UP) {
		meta_session_send(meta, data, catena__client_batch__pack(&batch, data));
		if (meta->stream != NULL)
			rpc_stream_close(meta->stream);
		meta->stream_state = META_STREAM_ENDED;
		while (meta->stream != NULL && cond_wait_until(&meta->changed, &meta->lock, end_ns))
			;
	}
	pthread_mutex_unlock(&meta->lock);
}

void meta_close(struct meta *meta, bool clean)
{
	struct meta_pending_list ended;

	if (meta == NULL)
		return;
	say_goodbye(meta, clean);
	stop_threads(meta);
	meta_pending_list_init(&ended);
	meta_pending_empty(&meta->pending, &ended);
	pthread_mutex_lock(&meta->lock);
	meta_session_end_held(meta, true, &ended);
	pthread_mutex_unlock(&meta->lock);
	meta_pending_list_end(&ended, -EIO);
	meta_free(meta);
}
