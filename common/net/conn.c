/* conn.c - the life of a connection, and the callbacks of its loop. conn_internal.h has the story.
 */
#include "common/net/conn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/duration.h"
#include "common/base/expects.h"
#include "common/net/conn_internal.h"
#include "common/os/lock.h"
#include "common/os/log.h"

#define LOG_MODULE "conn"

#define HANDSHAKE_TIMEOUT_NS (5 * NS_PER_SEC)

struct log_rate conn_log_rate;

/* ---- references ---- */

static void conn_free(struct conn *conn)
{
	conn_connect_end(conn);
	conn_receive_end(conn);
	conn_send_free(&conn->tx);
	SSL_free(conn->ssl);
	pthread_mutex_destroy(&conn->ssl_lock);
	free(conn);
}

struct conn *conn_ref(struct conn *conn)
{
	unsigned before = atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);

	expects(before > 0);
	return conn;
}

void conn_unref(struct conn *conn)
{
	if (conn != NULL && atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) == 1)
		conn_free(conn);
}

/* ---- handles ---- */

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_async(uv_async_t *async);
static void on_timer(uv_timer_t *timer);

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* After this no callback of the handle comes; its memory goes when the loop is done with it. */
static void close_handle(void *handle)
{
	if (handle != NULL)
		uv_close(handle, free_handle);
}

int conn_poll_open(struct conn *conn)
{
	uv_poll_t *poll = malloc(sizeof(*poll));
	int rc;

	if (poll == NULL)
		return -ENOMEM;
	rc = uv_poll_init(conn->loop, poll, conn->fd);
	if (rc < 0) {
		free(poll);
		return rc;
	}
	poll->data = conn;
	conn->poll = poll;
	conn->poll_events = 0;
	return 0;
}

void conn_poll_close(struct conn *conn)
{
	close_handle(conn->poll);
	conn->poll = NULL;
}

static int handles_open(struct conn *conn, uv_loop_t *loop)
{
	uv_async_t *async = malloc(sizeof(*async));
	uv_timer_t *timer = malloc(sizeof(*timer));
	int rc = -ENOMEM;

	if (async == NULL || timer == NULL)
		goto fail;
	rc = uv_async_init(loop, async, on_async);
	if (rc < 0)
		goto fail;
	uv_timer_init(loop, timer);
	async->data = conn;
	timer->data = conn;
	conn->loop = loop;
	conn->timer = timer;
	pthread_mutex_lock(&conn->tx.lock);
	conn->tx.async = async;
	conn->tx.want_drained = conn->callbacks.drained != NULL;
	pthread_mutex_unlock(&conn->tx.lock);
	return 0;
fail:
	free(async);
	free(timer);
	return rc;
}

static void handles_close(struct conn *conn)
{
	uv_async_t *async;

	conn_poll_close(conn);
	close_handle(conn->timer);
	conn->timer = NULL;
	pthread_mutex_lock(&conn->tx.lock);
	async = conn->tx.async;
	conn->tx.async = NULL;
	pthread_mutex_unlock(&conn->tx.lock);
	close_handle(async);
	conn->loop = NULL;
}

static int poll_wanted(const struct conn *conn)
{
	int events = 0;

	switch (conn->state) {
	case CONN_CONNECTING:
		return UV_WRITABLE;
	case CONN_HANDSHAKING:
		return SSL_want_write(conn->ssl) ? UV_WRITABLE : UV_READABLE;
	case CONN_OPEN:
		if (!conn->rx.paused && !conn->rx.starved)
			events |= UV_READABLE;
		if (atomic_load_explicit(&conn->tx.blocked, memory_order_relaxed))
			events |= UV_WRITABLE;
		return events;
	case CONN_RESOLVING:
	case CONN_CLOSED:
		break;
	}
	return 0;
}

static void poll_update(struct conn *conn)
{
	int events = poll_wanted(conn);

	if (conn->poll == NULL || events == conn->poll_events)
		return;
	conn->poll_events = events;
	if (events == 0)
		uv_poll_stop(conn->poll);
	else
		uv_poll_start(conn->poll, events, on_poll);
}

/* ---- waking the loop ---- */

void conn_wake_locked(struct conn *conn)
{
	lock_held(&conn->tx.lock);
	if (conn->tx.async != NULL)
		uv_async_send(conn->tx.async);
}

void conn_wake(struct conn *conn)
{
	pthread_mutex_lock(&conn->tx.lock);
	conn_wake_locked(conn);
	pthread_mutex_unlock(&conn->tx.lock);
}

/* ---- what the loop calls ---- */

static void enter(struct conn *conn, struct conn_dispatch *d)
{
	d->gone = false;
	conn->dispatch = d;
	conn_ref(conn);
	conn_batch_begin();
}

static void leave(struct conn *conn, struct conn_dispatch *d)
{
	if (!d->gone) {
		conn->dispatch = NULL;
		poll_update(conn);
	}
	/* Writes the batch, for which peers wait. Its conns have references of their own. */
	conn_batch_end();
	conn_unref(conn);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn *conn = poll->data;
	struct conn_dispatch d;

	enter(conn, &d);
	if (status < 0) {
		/* libuv has stopped the handle; the system call that is due tells the error. */
		conn->poll_events = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	if (conn->state == CONN_CONNECTING) {
		conn_connect_event(conn, &d);
	} else if (conn->state == CONN_HANDSHAKING) {
		conn_handshake_step(conn, &d);
	} else if (conn->state == CONN_OPEN) {
		if ((events & UV_READABLE) != 0 && !conn->rx.paused)
			conn_receive_run(conn, &d);
		if (!d.gone && (events & UV_WRITABLE) != 0)
			conn_send_run(conn, &d);
	}
	leave(conn, &d);
}

static void on_async(uv_async_t *async)
{
	struct conn *conn = async->data;
	struct conn_dispatch d;

	enter(conn, &d);
	if (conn->start_error != 0) {
		conn_finish(conn, conn->start_error);
	} else if (conn->state == CONN_OPEN) {
		if (conn_receive_pending(conn))
			conn_receive_run(conn, &d);
		if (!d.gone)
			conn_send_run(conn, &d);
	}
	leave(conn, &d);
}

static void on_timer(uv_timer_t *timer)
{
	struct conn *conn = timer->data;
	struct conn_dispatch d;

	enter(conn, &d);
	if (conn->state == CONN_HANDSHAKING)
		conn_complain(conn, "handshake failed", "no answer in time");
	conn_finish(conn, -ETIMEDOUT);
	leave(conn, &d);
}

/* ---- begin ---- */

/* Makes a lock that spins a little: it is held for microseconds, and sleeping costs more. */
static void ssl_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

static int conn_create(const struct conn_options *options, bool server, struct conn **out)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	int rc;

	if (conn == NULL)
		return -ENOMEM;
	atomic_init(&conn->refs, 1);
	conn->fd = -1;
	conn->server = server;
	conn->tls = options->tls;
	conn->pool = options->pool;
	conn->callbacks = options->callbacks;
	conn->user = options->user;
	conn->server_role = options->server_role;
	conn->receive_max = options->receive_max == 0 ? FRAME_PAYLOAD_MAX : options->receive_max;
	conn_send_init(&conn->tx);
	ssl_lock_init(&conn->ssl_lock);
	rc = handles_open(conn, options->loop);
	if (rc < 0) {
		conn_unref(conn);
		return rc;
	}
	*out = conn;
	return 0;
}

static uint64_t timeout_ns(const struct conn_options *options)
{
	return options->handshake_timeout_ns == 0 ? HANDSHAKE_TIMEOUT_NS
						  : options->handshake_timeout_ns;
}

static void start_timer(struct conn *conn, uint64_t ns)
{
	/* The loop's idea of now may be old when the loop has not run lately. */
	uv_update_time(conn->loop);
	uv_timer_start(conn->timer, on_timer, (ns + NS_PER_MSEC - 1) / NS_PER_MSEC, 0);
}

int conn_connect(const struct conn_options *options, const char *address, struct conn **out)
{
	struct conn *conn;
	int rc = conn_create(options, false, &conn);

	if (rc < 0)
		return rc;
	rc = conn_connect_start(conn, address);
	if (rc < 0) {
		conn_close(conn);
		return rc;
	}
	start_timer(conn, timeout_ns(options));
	if (conn->start_error != 0)
		conn_wake(conn);
	poll_update(conn);
	*out = conn;
	return 0;
}

int conn_accept(const struct conn_options *options, int fd, struct conn **out)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	struct conn *conn;
	int rc = conn_create(options, true, &conn);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	conn->fd = fd;
	if (getpeername(fd, (struct sockaddr *)&address, &size) < 0) {
		rc = -errno;
		goto fail;
	}
	conn_address_name((struct sockaddr *)&address, conn->peer_name, sizeof(conn->peer_name));
	conn_address_tune(fd, (struct sockaddr *)&address, size);
	rc = conn_poll_open(conn);
	if (rc == 0)
		rc = conn_handshake_start(conn);
	if (rc < 0)
		goto fail;
	start_timer(conn, timeout_ns(options));
	poll_update(conn);
	*out = conn;
	return 0;
fail:
	conn_close(conn);
	return rc;
}

/* ---- end ---- */

static void conn_shut(struct conn *conn)
{
	expects(conn->state != CONN_CLOSED);
	conn->state = CONN_CLOSED;
	if (conn->dispatch != NULL)
		conn->dispatch->gone = true;
	conn->dispatch = NULL;
	conn_connect_end(conn);
	/* No poll handle may have the descriptor when it is closed. */
	handles_close(conn);
	conn_send_end(conn);
	conn_receive_end(conn);
}

void conn_finish(struct conn *conn, int error)
{
	conn_shut(conn);
	conn->callbacks.closed(conn, conn->user, error);
	conn_unref(conn);
}

void conn_close(struct conn *conn)
{
	/* CLOSED: closed() is running, and the conn is freed after it. */
	if (conn == NULL || conn->state == CONN_CLOSED)
		return;
	conn_shut(conn);
	conn_unref(conn);
}

/* ---- between loops ---- */

void conn_detach(struct conn *conn)
{
	expects(conn->state == CONN_OPEN);
	if (conn->dispatch != NULL)
		conn->dispatch->gone = true;
	conn->dispatch = NULL;
	handles_close(conn);
}

int conn_attach(struct conn *conn, uv_loop_t *loop, const struct conn_callbacks *callbacks,
		void *user)
{
	int rc;

	expects(conn->state == CONN_OPEN && conn->loop == NULL);
	conn->callbacks = *callbacks;
	conn->user = user;
	rc = handles_open(conn, loop);
	if (rc < 0)
		return rc;
	rc = conn_poll_open(conn);
	if (rc < 0) {
		handles_close(conn);
		return rc;
	}
	conn->rx.starved = false;
	poll_update(conn);
	/* For what was read or queued before. */
	conn_wake(conn);
	return 0;
}

void conn_pause(struct conn *conn, bool pause)
{
	if (conn->state == CONN_CLOSED || conn->rx.paused == pause)
		return;
	conn->rx.paused = pause;
	if (conn_receive_pending(conn))
		conn_wake(conn);
	if (conn->dispatch == NULL)
		poll_update(conn);
}

/* ---- names ---- */

void conn_set_pool(struct conn *conn, struct buf_pool *pool)
{
	conn->pool = pool;
}

const char *conn_peer_name(const struct conn *conn)
{
	return conn->peer_name;
}

const struct tls_identity *conn_identity(const struct conn *conn)
{
	return &conn->peer;
}

void conn_complain(const struct conn *conn, const char *what, const char *reason)
{
	if (log_rate_ok(&conn_log_rate, CONN_LOG_PER_SECOND))
		log_warn("%s peer=%s role=%s name=%s reason=\"%s\"", what, conn->peer_name,
			 tls_role_name(conn->peer.role),
			 conn->peer.name[0] == '\0' ? "-" : conn->peer.name, reason);
}
