#include "chunkserver/server/acceptor.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/cluster/ids.h"
#include "common/os/clock.h"
#include "common/os/log.h"

#define LOG_MODULE "acceptor"

#define HELLO_TIMEOUT_MS   5000u
#define REFUSED_TIMEOUT_MS 1000u

/* A connection between accept and HELLO. */
struct pending {
	struct acceptor *acceptor;
	struct conn *conn;
	struct in6_addr address;
	uint64_t deadline_ns; /* of HELLO; the handshake has its own */
	const char *refused;  /* why; the peer was told, and is to close. NULL: it is not */
	struct pending *prev, *next;
};

struct acceptor {
	struct acceptor_options options;
	struct listener *listener;
	struct pending *pending;
	unsigned pending_count;
	uint64_t server_id;
	uv_timer_t timer;
};

static void forget(struct pending *pending)
{
	expects(pending->acceptor->pending_count > 0);
	DL_DELETE(pending->acceptor->pending, pending);
	pending->acceptor->pending_count--;
	free(pending);
}

static void say_refused(const struct conn *conn, const char *why)
{
	static struct log_rate rate;

	if (log_rate_ok(&rate, 5))
		log_warn("connection refused peer=%s name=%s reason=\"%s\"", conn_peer_name(conn),
			 conn_identity(conn) != NULL ? conn_identity(conn)->name : "", why);
}

static void refuse(struct pending *pending, const char *why)
{
	struct conn *conn = pending->conn;

	say_refused(conn, why);
	forget(pending);
	conn_close(conn);
}

/* Returns why the first frame is refused; NULL: it is accepted. *@status is for the answer; 0: the
 * connection is closed without one. */
static const char *judge(const struct acceptor *acceptor, const struct tls_identity *peer,
			 const struct frame_header *header, const struct buf *payload,
			 struct hello *hello, uint32_t *status)
{
	*status = 0;
	if (header->op != FRAME_HELLO || (header->flags & FRAME_REPLY) != 0 || payload == NULL)
		return "first frame is not HELLO";
	if (hello_decode(buf_payload(payload), payload->length, hello) < 0)
		return "HELLO of another protocol";
	if (strcmp(hello->cluster, acceptor->options.cluster) != 0 ||
	    strcmp(peer->cluster, acceptor->options.cluster) != 0)
		return "of another cluster";
	if (acceptor->options.instance == 0)
		return "this server has not been registered yet";
	*status = EXDEV;
	if (hello->instance != acceptor->options.instance)
		return "of another cluster of this name: the master's store was made anew since it "
		       "was started";
	*status = 0;
	if (peer->role != TLS_ROLE_CLIENT && peer->role != TLS_ROLE_CHUNKSERVER)
		return "certificate has neither the role client nor chunkserver";
	if (peer->role == TLS_ROLE_CLIENT && !id_is_ours(hello->id))
		return "a session of another group of masters";
	if (hello->worker >= acceptor->options.workers)
		return "no such worker";
	return NULL;
}

static int answer_hello(struct acceptor *acceptor, struct conn *conn,
			const struct frame_header *request)
{
	struct frame_header header = {.op = FRAME_HELLO, .flags = FRAME_REPLY};
	struct hello hello = {.protocol = HELLO_PROTOCOL, .instance = acceptor->options.instance};
	struct buf *payload = buf_get(acceptor->options.pool, HELLO_BYTES);
	int rc;

	if (payload == NULL)
		return -ENOMEM;
	hello.worker = acceptor->options.workers;
	hello.id = acceptor->server_id;
	memcpy(hello.cluster, acceptor->options.cluster,
	       strnlen(acceptor->options.cluster, sizeof(hello.cluster) - 1));
	hello_encode(&hello, payload->data);
	payload->length = HELLO_BYTES;
	block_checksums(payload->data, 0, HELLO_BYTES, payload->crcs);
	header.request_id = request->request_id;
	header.length = HELLO_BYTES;
	rc = conn_send(conn, &header, payload);
	buf_unref(payload);
	return rc;
}

/* Refuses with an answer. Closing is left to the peer for a while, so that the answer arrives. */
static void refuse_with(struct pending *pending, const struct frame_header *request,
			uint32_t status, const char *why)
{
	struct frame_header header = {.op = FRAME_HELLO,
				      .flags = FRAME_REPLY,
				      .request_id = request->request_id,
				      .status = status};

	pending->refused = why;
	pending->deadline_ns = clock_monotonic_ns() + REFUSED_TIMEOUT_MS * NS_PER_MSEC;
	if (conn_send(pending->conn, &header, NULL) < 0)
		refuse(pending, "out of memory");
}

static bool is_fenced(const struct pending *pending, const struct hello *hello)
{
	const struct acceptor_options *options = &pending->acceptor->options;

	return conn_identity(pending->conn)->role == TLS_ROLE_CLIENT &&
	       options->is_over(options->user, hello->id);
}

static void on_frame(struct conn *conn, void *user, const struct frame_header *header,
		     struct buf *payload)
{
	struct pending *pending = user;
	struct acceptor *acceptor = pending->acceptor;
	struct hello hello;
	uint32_t status = 0;
	const char *why = pending->refused;

	if (why == NULL)
		why = judge(acceptor, conn_identity(conn), header, payload, &hello, &status);
	if (why == NULL && payload != NULL &&
	    block_checksums_verify(buf_payload(payload), 0, payload->length, payload->crcs) >= 0)
		why = "HELLO does not match its checksum";
	buf_unref(payload);
	if (why == NULL && is_fenced(pending, &hello)) {
		refuse_with(pending, header, FRAME_STATUS_FENCED, "its session is over");
		return;
	}
	if (status != 0) {
		say_refused(conn, why);
		refuse_with(pending, header, status, why);
		return;
	}
	if (why == NULL && answer_hello(acceptor, conn, header) < 0)
		why = "out of memory";
	if (why != NULL) {
		refuse(pending, why);
		return;
	}
	forget(pending);
	conn_detach(conn);
	acceptor->options.adopt(acceptor->options.user, conn, &hello);
}

static void on_ready(struct conn *conn, void *user, const struct tls_identity *peer)
{
	struct pending *pending = user;

	(void)conn;
	(void)peer;
	pending->deadline_ns = clock_monotonic_ns() + HELLO_TIMEOUT_MS * NS_PER_MSEC;
}

static void on_closed(struct conn *conn, void *user, int error)
{
	(void)conn;
	(void)error;
	forget(user);
}

static struct in6_addr address_of(int fd)
{
	struct sockaddr_storage peer = {0};
	socklen_t size = sizeof(peer);
	struct in6_addr address = {0};

	if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
		return address;
	if (peer.ss_family == AF_INET6)
		address = ((const struct sockaddr_in6 *)&peer)->sin6_addr;
	else if (peer.ss_family == AF_INET)
		memcpy(&address, &((const struct sockaddr_in *)&peer)->sin_addr,
		       sizeof(struct in_addr));
	return address;
}

static bool too_many(struct acceptor *acceptor, const struct in6_addr *address)
{
	const struct pending *pending;
	unsigned same = 0;

	if (acceptor->pending_count >= ACCEPTOR_PENDING_MAX)
		return true;
	DL_FOREACH(acceptor->pending, pending)
	{
		if (memcmp(&pending->address, address, sizeof(*address)) == 0)
			same++;
	}
	return same >= ACCEPTOR_PENDING_PER_ADDRESS;
}

static void on_accepted(void *user, int fd)
{
	static struct log_rate rate;
	struct acceptor *acceptor = user;
	struct in6_addr address = address_of(fd);
	struct conn_options options = {
		.loop = acceptor->options.loop,
		.tls = acceptor->options.tls,
		.pool = acceptor->options.pool,
		.callbacks = {.ready = on_ready, .frame = on_frame, .closed = on_closed},
	};
	struct pending *pending;

	if (too_many(acceptor, &address)) {
		if (log_rate_ok(&rate, 1))
			log_warn("too many connections are being set up: dropping new ones");
		close(fd);
		return;
	}
	pending = calloc(1, sizeof(*pending));
	if (pending == NULL) {
		close(fd);
		return;
	}
	pending->acceptor = acceptor;
	pending->address = address;
	pending->deadline_ns = UINT64_MAX;
	options.user = pending;
	if (conn_accept(&options, fd, &pending->conn) < 0) {
		free(pending);
		return;
	}
	DL_APPEND(acceptor->pending, pending);
	acceptor->pending_count++;
}

static void on_timer(uv_timer_t *timer)
{
	struct acceptor *acceptor = timer->data;
	struct pending *pending, *next;
	uint64_t now = clock_monotonic_ns();

	DL_FOREACH_SAFE(acceptor->pending, pending, next)
	{
		if (now > pending->deadline_ns)
			refuse(pending,
			       pending->refused != NULL ? pending->refused : "no HELLO in time");
	}
}

int acceptor_open(const struct acceptor_options *options, struct acceptor **out)
{
	struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
	int rc;

	if (acceptor == NULL)
		return -ENOMEM;
	acceptor->options = *options;
	rc = listener_open(options->loop, options->listen, on_accepted, acceptor,
			   &acceptor->listener);
	if (rc < 0) {
		free(acceptor);
		return rc;
	}
	uv_timer_init(options->loop, &acceptor->timer);
	acceptor->timer.data = acceptor;
	uv_timer_start(&acceptor->timer, on_timer, 1000, 1000);
	*out = acceptor;
	return 0;
}

uint16_t acceptor_port(const struct acceptor *acceptor)
{
	return listener_port(acceptor->listener);
}

void acceptor_set_server_id(struct acceptor *acceptor, uint64_t server_id)
{
	acceptor->server_id = server_id;
}

void acceptor_set_instance(struct acceptor *acceptor, uint64_t instance)
{
	expects(acceptor->options.instance == 0 || acceptor->options.instance == instance);
	acceptor->options.instance = instance;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void acceptor_close(struct acceptor *acceptor)
{
	struct pending *pending, *next;

	if (acceptor == NULL)
		return;
	listener_close(acceptor->listener);
	DL_FOREACH_SAFE(acceptor->pending, pending, next)
	{
		struct conn *conn = pending->conn;

		forget(pending);
		conn_close(conn);
	}
	uv_close((uv_handle_t *)&acceptor->timer, on_timer_closed);
}
