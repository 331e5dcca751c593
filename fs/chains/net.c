/* net.c - the real transport: conn.h on libuv loops, each with a thread. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "common/os/clock.h"
#include "common/net/conn.h"
#include "fs/chains/transport.h"

struct net;

struct net_loop {
	struct net *net;
	unsigned index;
	pthread_t thread;
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t timer;
	_Atomic uint64_t wanted; /* when the next tick is due */
	atomic_bool stopping;
};

struct net {
	struct chains_transport base;
	struct buf_pool *pool;
	SSL_CTX *tls;
	void (*tick)(void *user, unsigned loop);
	void *user;
	struct net_loop loops[];
};

/* The loop whose thread this is. */
static _Thread_local struct net_loop *own_loop;

static struct net *net_of(struct chains_transport *t)
{
	return (struct net *)t;
}

/* ---- ticks ---- */

static void on_timer(uv_timer_t *timer);

/* The loop's thread. */
static void arm(struct net_loop *loop)
{
	uint64_t wanted = atomic_load_explicit(&loop->wanted, memory_order_acquire);
	uint64_t now = clock_monotonic_ns(), ms = 0;

	if (wanted == UINT64_MAX || uv_is_closing((uv_handle_t *)&loop->timer))
		return;
	if (wanted > now)
		ms = (wanted - now + NS_PER_MSEC - 1) / NS_PER_MSEC;
	uv_update_time(&loop->loop);
	uv_timer_start(&loop->timer, on_timer, ms, 0);
}

static void run_tick(struct net_loop *loop)
{
	uint64_t wanted = atomic_load_explicit(&loop->wanted, memory_order_acquire);

	if (wanted <= clock_monotonic_ns()) {
		/* Wishes from here on are for another tick. */
		atomic_store_explicit(&loop->wanted, UINT64_MAX, memory_order_release);
		loop->net->tick(loop->net->user, loop->index);
	}
	arm(loop);
}

static void on_timer(uv_timer_t *timer)
{
	run_tick(timer->data);
}

static void on_async(uv_async_t *async)
{
	struct net_loop *loop = async->data;

	if (atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
		if (!uv_is_closing((uv_handle_t *)&loop->timer)) {
			uv_close((uv_handle_t *)&loop->timer, NULL);
			uv_close((uv_handle_t *)&loop->async, NULL);
		}
		return;
	}
	run_tick(loop);
}

static void net_wake(struct chains_transport *t, unsigned index, uint64_t at_ns)
{
	struct net_loop *loop = &net_of(t)->loops[index];
	uint64_t wanted = atomic_load_explicit(&loop->wanted, memory_order_relaxed);

	while (at_ns < wanted) {
		if (!atomic_compare_exchange_weak_explicit(&loop->wanted, &wanted, at_ns,
							   memory_order_acq_rel,
							   memory_order_relaxed))
			continue;
		if (own_loop == loop)
			arm(loop);
		else
			uv_async_send(&loop->async);
		return;
	}
}

static uint64_t net_now(struct chains_transport *t)
{
	return clock_monotonic_ns();
}

/* ---- connections ---- */

static void on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	chains_link_ready(user, peer);
}

static void on_frame(struct conn *conn, void *user, const struct frame_header *header,
		     struct buf *payload)
{
	chains_link_frame(user, header, payload);
}

static void on_closed(struct conn *conn, void *user, int error)
{
	chains_link_closed(user, error);
}

static int net_connect(struct chains_transport *t, unsigned index, const char *address,
		       struct chains_link *link, void **out)
{
	struct net *net = net_of(t);
	struct conn_options options = {
		.loop = &net->loops[index].loop,
		.tls = net->tls,
		.pool = net->pool,
		.callbacks = {.ready = on_ready, .frame = on_frame, .closed = on_closed},
		.user = link,
		.server_role = TLS_ROLE_CHUNKSERVER,
	};
	struct conn *conn;
	int rc = conn_connect(&options, address, &conn);

	if (rc == 0)
		*out = conn;
	return rc;
}

static void net_close(void *conn)
{
	conn_close(conn);
}

static int net_send(void *conn, const struct frame_header *header, struct buf *payload)
{
	return conn_send(conn, header, payload);
}

static void net_ref(void *conn)
{
	conn_ref(conn);
}

static void net_unref(void *conn)
{
	conn_unref(conn);
}

static void net_batch(bool begin)
{
	if (begin)
		conn_batch_begin();
	else
		conn_batch_end();
}

/* ---- threads ---- */

static void *loop_main(void *arg)
{
	struct net_loop *loop = arg;

	own_loop = loop;
	/* Ends when the last handle is closed. */
	uv_run(&loop->loop, UV_RUN_DEFAULT);
	return NULL;
}

static int loop_open(struct net *net, unsigned index)
{
	struct net_loop *loop = &net->loops[index];
	int rc = uv_loop_init(&loop->loop);

	if (rc < 0)
		return rc;
	rc = uv_async_init(&loop->loop, &loop->async, on_async);
	if (rc < 0) {
		uv_loop_close(&loop->loop);
		return rc;
	}
	uv_timer_init(&loop->loop, &loop->timer);
	loop->net = net;
	loop->index = index;
	loop->async.data = loop;
	loop->timer.data = loop;
	atomic_store(&loop->wanted, UINT64_MAX);
	return 0;
}

static void loop_end(struct net_loop *loop)
{
	atomic_store_explicit(&loop->stopping, true, memory_order_release);
	uv_async_send(&loop->async);
}

static void net_stop(struct chains_transport *t)
{
	struct net *net = net_of(t);

	for (unsigned i = 0; i < t->loops; i++)
		loop_end(&net->loops[i]);
	for (unsigned i = 0; i < t->loops; i++) {
		pthread_join(net->loops[i].thread, NULL);
		uv_loop_close(&net->loops[i].loop);
	}
}

static int net_start(struct chains_transport *t, void (*tick)(void *user, unsigned loop),
		     void *user)
{
	struct net *net = net_of(t);
	sigset_t all, old;
	unsigned started = 0;
	int rc = 0;

	net->tick = tick;
	net->user = user;
	/* Signals are for the program's own thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (rc == 0 && started < t->loops) {
		struct net_loop *loop = &net->loops[started];

		rc = loop_open(net, started);
		if (rc < 0)
			break;
		rc = -pthread_create(&loop->thread, NULL, loop_main, loop);
		if (rc < 0) {
			/* Its handles are closed by running it once, here. */
			loop_end(loop);
			uv_run(&loop->loop, UV_RUN_DEFAULT);
			uv_loop_close(&loop->loop);
			break;
		}
		started++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		return 0;
	t->loops = started;
	net_stop(t);
	return rc;
}

static void net_destroy(struct chains_transport *t)
{
	SSL_CTX_free(net_of(t)->tls);
	free(t);
}

static const struct chains_transport_ops net_ops = {
	.start = net_start,
	.stop = net_stop,
	.destroy = net_destroy,
	.now = net_now,
	.wake = net_wake,
	.connect = net_connect,
	.close = net_close,
	.send = net_send,
	.ref = net_ref,
	.unref = net_unref,
	.batch = net_batch,
};

int chains_net_create(const struct tls_files *tls, struct buf_pool *pool, unsigned loops,
		      struct chains_transport **out, char *error, size_t error_size)
{
	struct net *net = calloc(1, sizeof(*net) + loops * sizeof(net->loops[0]));
	int rc;

	if (net == NULL) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	net->base = (struct chains_transport){.ops = &net_ops, .loops = loops};
	net->pool = pool;
	rc = tls_context(tls, &net->tls, error, error_size);
	if (rc < 0) {
		free(net);
		return rc;
	}
	*out = &net->base;
	return 0;
}
