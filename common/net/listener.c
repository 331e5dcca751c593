/* listener.c - listening sockets; see conn.h. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn_internal.h"
#include "common/os/log.h"

#define LOG_MODULE "listener"

#define BACKLOG           1024
#define ACCEPTS_PER_EVENT 64
/* Out of descriptors: the socket stays readable, so looking at it again at once would spin. */
#define RETRY_MS 100

struct listener {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;
	uint16_t port;
	bool closing;
	int handles; /* whose close has not come yet */
	void (*accepted)(void *user, int fd);
	void *user;
};

static void on_event(uv_poll_t *poll, int status, int events);

static void on_retry(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	uv_poll_start(&listener->poll, UV_READABLE, on_event);
}

/* True for errors of one connection, like a peer that has gone meanwhile: the next may be fine. */
static bool is_passing(int error)
{
	return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM ||
	       error == ENETDOWN || error == EHOSTUNREACH || error == ENETUNREACH ||
	       error == EHOSTDOWN || error == ENONET || error == ENOPROTOOPT || error == EOPNOTSUPP;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	static struct log_rate rate;
	struct listener *listener = poll->data;

	for (int i = 0; i < ACCEPTS_PER_EVENT && !listener->closing; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			listener->accepted(listener->user, fd);
			continue;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		if (is_passing(errno))
			continue;
		if (log_rate_ok(&rate, 1))
			log_error("accepting failed port=%u reason=\"%s\" retry_ms=%d",
				  listener->port, strerror(errno), RETRY_MS);
		uv_poll_stop(&listener->poll);
		uv_timer_start(&listener->timer, on_retry, RETRY_MS, 0);
		return;
	}
}

/* True when only this machine can connect to @address. */
static bool only_within(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)address)
				     ->sin_addr.s_addr) >>
			       24 ==
		       127;
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(
		       &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static int bind_one(const struct addrinfo *at, uint16_t *port)
{
	struct sockaddr_storage bound = {0};
	socklen_t size = sizeof(bound);
	int one = 1, rc;
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* What is accepted inherits it, before it is established. */
	if (only_within(at->ai_addr))
		conn_address_tune(fd, at->ai_addr, at->ai_addrlen);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						  : ((struct sockaddr_in *)&bound)->sin_port);
	return fd;
}

/* The descriptor, or -errno. May wait for a name server: only at the start. */
static int bind_address(const char *address, uint16_t *port)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *found;
	char host[256], service[8];
	bool any;
	int rc;

	if (conn_address_split(address, host, service) < 0)
		return -EINVAL;
	any = host[0] == '\0' || strcmp(host, "*") == 0;
	if (getaddrinfo(any ? NULL : host, service, &hints, &found) != 0)
		return -EADDRNOTAVAIL;
	rc = -EADDRNOTAVAIL;
	for (const struct addrinfo *at = found; at != NULL && rc < 0; at = at->ai_next)
		rc = bind_one(at, port);
	freeaddrinfo(found);
	return rc;
}

int listener_open(uv_loop_t *loop, const char *address, void (*accepted)(void *user, int fd),
		  void *user, struct listener **out)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int rc;

	if (listener == NULL)
		return -ENOMEM;
	listener->accepted = accepted;
	listener->user = user;
	listener->fd = bind_address(address, &listener->port);
	if (listener->fd < 0) {
		rc = listener->fd;
		goto err_after_alloc;
	}
	rc = uv_poll_init(loop, &listener->poll, listener->fd);
	if (rc < 0)
		goto err_after_bind;
	uv_timer_init(loop, &listener->timer);
	listener->handles = 2;
	listener->poll.data = listener;
	listener->timer.data = listener;
	uv_poll_start(&listener->poll, UV_READABLE, on_event);
	*out = listener;
	return 0;

err_after_bind:
	close(listener->fd);
err_after_alloc:
	free(listener);
	return rc;
}

uint16_t listener_port(const struct listener *listener)
{
	return listener->port;
}

static void on_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	if (--listener->handles == 0)
		free(listener);
}

void listener_close(struct listener *listener)
{
	if (listener == NULL || listener->closing)
		return;
	listener->closing = true;
	uv_close((uv_handle_t *)&listener->poll, on_closed);
	uv_close((uv_handle_t *)&listener->timer, on_closed);
	close(listener->fd);
}
