/* rpc_endpoint.c - the completion queue, its thread, and the count of what is alive on it. */
#define LOG_MODULE "rpc"
#include <errno.h>
#include <grpc/support/time.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/cond.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

static void tick(struct rpc_endpoint *endpoint, uint64_t now)
{
	if (now < endpoint->next_tick_ns)
		return;
	endpoint->next_tick_ns = now + RPC_TICK_MS * NS_PER_MSEC;
	pthread_mutex_lock(&endpoint->lock);
	for (struct rpc_stream *s = endpoint->streams; s != NULL; s = s->next)
		rpc_stream_tick(s, now);
	pthread_mutex_unlock(&endpoint->lock);
}

static gpr_timespec deadline(uint64_t at_ns)
{
	return (gpr_timespec){.tv_sec = (int64_t)(at_ns / NS_PER_SEC),
			      .tv_nsec = (int32_t)(at_ns % NS_PER_SEC),
			      .clock_type = GPR_CLOCK_MONOTONIC};
}

/* ---- turns ---- */

void rpc_endpoint_heard(struct rpc_endpoint *endpoint, const struct rpc_stream *s)
{
	if (endpoint->turn == NULL)
		return;
	endpoint->heard++;
	if (endpoint->last_heard != s)
		endpoint->several_ns = clock_monotonic_ns() + RPC_SEVERAL_NS;
	endpoint->last_heard = s;
}

static void end_turn(struct rpc_endpoint *endpoint)
{
	if (endpoint->heard == 0)
		return;
	endpoint->heard = 0;
	endpoint->turn(endpoint->turn_user);
}

/* True when the turn goes on as long as something is ready. */
static bool turn_goes_on(const struct rpc_endpoint *endpoint, uint64_t now)
{
	return endpoint->heard > 0 && endpoint->heard < RPC_TURN_MAX && now < endpoint->several_ns;
}

/* ---- the thread ---- */

static void *endpoint_main(void *arg)
{
	struct rpc_endpoint *endpoint = arg;

	for (;;) {
		uint64_t now = clock_monotonic_ns(), until, held;
		grpc_event event;

		if (!turn_goes_on(endpoint, now))
			end_turn(endpoint);
		tick(endpoint, now);
		until = now + RPC_TICK_MS * NS_PER_MSEC;
		held = rpc_stream_held_until(endpoint, now);
		if (held < until)
			until = held;
		if (endpoint->heard > 0)
			until = now;
		event = grpc_completion_queue_next(endpoint->queue, deadline(until), NULL);
		if (event.type == GRPC_QUEUE_SHUTDOWN)
			break;
		if (event.type == GRPC_QUEUE_TIMEOUT)
			end_turn(endpoint);
		if (event.type == GRPC_OP_COMPLETE) {
			struct rpc_op *op = event.tag;

			(void)atomic_load_explicit(&op->started, memory_order_acquire);
			op->done(op, event.success != 0);
		}
	}
	end_turn(endpoint);
	rpc_stream_held_until(endpoint, UINT64_MAX);
	return NULL;
}

int rpc_endpoint_start(struct rpc_endpoint *endpoint)
{
	int rc;

	pthread_mutex_init(&endpoint->lock, NULL);
	pthread_cond_init(&endpoint->changed, NULL);
	endpoint->queue = grpc_completion_queue_create_for_next(NULL);
	rc = -pthread_create(&endpoint->thread, NULL, endpoint_main, endpoint);
	if (rc != 0) {
		grpc_completion_queue_shutdown(endpoint->queue);
		while (grpc_completion_queue_next(endpoint->queue,
						  gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
			       .type != GRPC_QUEUE_SHUTDOWN)
			;
		grpc_completion_queue_destroy(endpoint->queue);
		pthread_cond_destroy(&endpoint->changed);
		pthread_mutex_destroy(&endpoint->lock);
	}
	return rc;
}

bool rpc_endpoint_enter(struct rpc_endpoint *endpoint)
{
	bool ok;

	pthread_mutex_lock(&endpoint->lock);
	ok = !endpoint->closing;
	if (ok)
		endpoint->live++;
	pthread_mutex_unlock(&endpoint->lock);
	return ok;
}

void rpc_endpoint_leave(struct rpc_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->lock);
	expects(endpoint->live > 0);
	endpoint->live--;
	pthread_cond_broadcast(&endpoint->changed);
	pthread_mutex_unlock(&endpoint->lock);
}

bool rpc_endpoint_wait(struct rpc_endpoint *endpoint, unsigned live, uint64_t timeout_ns)
{
	uint64_t until = timeout_ns == 0 ? UINT64_MAX : clock_monotonic_ns() + timeout_ns;
	bool reached;

	pthread_mutex_lock(&endpoint->lock);
	while (endpoint->live > live && cond_wait_until(&endpoint->changed, &endpoint->lock, until))
		;
	reached = endpoint->live <= live;
	pthread_mutex_unlock(&endpoint->lock);
	return reached;
}

void rpc_endpoint_cancel_streams(struct rpc_endpoint *endpoint, int cancel_error)
{
	pthread_mutex_lock(&endpoint->lock);
	for (struct rpc_stream *s = endpoint->streams; s != NULL; s = s->next)
		rpc_stream_cancel(s, cancel_error);
	pthread_mutex_unlock(&endpoint->lock);
}

void rpc_unary_link(struct rpc_endpoint *endpoint, struct rpc_unary *unary)
{
	pthread_mutex_lock(&endpoint->lock);
	DL_PREPEND(endpoint->unaries, unary);
	pthread_mutex_unlock(&endpoint->lock);
}

void rpc_unary_unlink_locked(struct rpc_endpoint *endpoint, struct rpc_unary *unary)
{
	lock_held(&endpoint->lock);
	DL_DELETE(endpoint->unaries, unary);
}

void rpc_unary_unlink(struct rpc_endpoint *endpoint, struct rpc_unary *unary)
{
	pthread_mutex_lock(&endpoint->lock);
	rpc_unary_unlink_locked(endpoint, unary);
	pthread_mutex_unlock(&endpoint->lock);
}

void rpc_endpoint_cancel_calls(struct rpc_endpoint *endpoint)
{
	pthread_mutex_lock(&endpoint->lock);
	for (struct rpc_unary *u = endpoint->unaries; u != NULL; u = u->next)
		grpc_call_cancel(u->call, NULL);
	pthread_mutex_unlock(&endpoint->lock);
}

void rpc_endpoint_stop(struct rpc_endpoint *endpoint)
{
	grpc_completion_queue_shutdown(endpoint->queue);
	pthread_join(endpoint->thread, NULL);
	grpc_completion_queue_destroy(endpoint->queue);
	pthread_cond_destroy(&endpoint->changed);
	pthread_mutex_destroy(&endpoint->lock);
}
