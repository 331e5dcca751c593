/* conn_connect.c - from "host:port" to a connected socket. Each address of the name is tried in
 * turn; when none is left, the last one's error ends the conn. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/net/conn_internal.h"

/* Starts a connection to the next address that takes one. Errors: that of the last address tried;
 * @error when there was none to try. */
static int try_next(struct conn *conn, int error)
{
	while (conn->next_address != NULL) {
		const struct addrinfo *at = conn->next_address;
		int fd;

		conn->next_address = at->ai_next;
		conn_address_name(at->ai_addr, conn->peer_name, sizeof(conn->peer_name));
		fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			error = -errno;
			continue;
		}
		conn_address_tune(fd, at->ai_addr, at->ai_addrlen);
		if (connect(fd, at->ai_addr, at->ai_addrlen) < 0 && errno != EINPROGRESS) {
			error = -errno;
			close(fd);
			continue;
		}
		conn->fd = fd;
		error = conn_poll_open(conn);
		if (error == 0) {
			conn->state = CONN_CONNECTING;
			return 0;
		}
		close(fd);
		conn->fd = -1;
	}
	return error;
}

static int resolve_error(int code)
{
	switch (code) {
	case UV_EAI_MEMORY:
		return -ENOMEM;
	case UV_EAI_AGAIN:
		return -EAGAIN;
	default:
		return -EHOSTUNREACH; /* no such name */
	}
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *result)
{
	struct conn_resolve *resolve = request->data;
	struct conn *conn = resolve->conn;
	int rc;

	free(resolve);
	if (conn == NULL) {
		uv_freeaddrinfo(result);
		return;
	}
	conn->resolve = NULL;
	conn->addresses = result;
	conn->next_address = result;
	rc = status < 0 ? resolve_error(status) : try_next(conn, -EHOSTUNREACH);
	if (rc < 0)
		conn->start_error = rc;
	/* Either way the loop goes on from on_async(), where the poll is brought up to date. */
	conn_wake(conn);
}

static int resolve_start(struct conn *conn, const char *host, const char *port,
			 const struct addrinfo *hints)
{
	struct conn_resolve *resolve = calloc(1, sizeof(*resolve));
	int rc;

	if (resolve == NULL)
		return -ENOMEM;
	resolve->conn = conn;
	resolve->request.data = resolve;
	rc = uv_getaddrinfo(conn->loop, &resolve->request, on_resolved, host, port, hints);
	if (rc < 0) {
		free(resolve);
		return rc;
	}
	conn->resolve = resolve;
	conn->state = CONN_RESOLVING;
	return 0;
}

int conn_connect_start(struct conn *conn, const char *address)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	char host[256], port[8];
	int rc;

	if (conn_address_split(address, host, port) < 0 || host[0] == '\0')
		return -EINVAL;
	snprintf(conn->peer_name, sizeof(conn->peer_name), "%s", address);
	/* A number needs no look-up. */
	if (getaddrinfo(host, port, &hints, &conn->addresses) == 0) {
		conn->next_address = conn->addresses;
		rc = try_next(conn, -EHOSTUNREACH);
		if (rc < 0)
			conn->start_error = rc;
		return 0;
	}
	hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
	return resolve_start(conn, host, port, &hints);
}

/* Whether the socket is connected to itself. That happens within one machine, when nothing listens
 * and the system gives the socket the very port that it connects to. */
static bool met_itself(int fd)
{
	struct sockaddr_storage a = {0}, b = {0};
	socklen_t a_size = sizeof(a), b_size = sizeof(b);

	return getsockname(fd, (struct sockaddr *)&a, &a_size) == 0 &&
	       getpeername(fd, (struct sockaddr *)&b, &b_size) == 0 && a_size == b_size &&
	       memcmp(&a, &b, a_size) == 0;
}

void conn_connect_event(struct conn *conn, struct conn_dispatch *d)
{
	socklen_t size = sizeof(int);
	int error = 0, rc;

	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error == 0 && met_itself(conn->fd))
		error = ECONNREFUSED;
	if (error == 0) {
		conn_connect_end(conn);
		rc = conn_handshake_start(conn);
		if (rc == 0)
			conn_handshake_step(conn, d);
	} else {
		conn_poll_close(conn);
		close(conn->fd);
		conn->fd = -1;
		rc = try_next(conn, -error);
	}
	if (rc < 0)
		conn_finish(conn, rc);
}

void conn_connect_end(struct conn *conn)
{
	if (conn->resolve != NULL) {
		conn->resolve->conn = NULL;
		uv_cancel((uv_req_t *)&conn->resolve->request);
		conn->resolve = NULL;
	}
	if (conn->addresses != NULL)
		freeaddrinfo(conn->addresses);
	conn->addresses = NULL;
	conn->next_address = NULL;
}
