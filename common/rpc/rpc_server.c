/* rpc_server.c - a server: its port, the armed requests, unary calls and their replies. */
#define LOG_MODULE "rpc"
#include <errno.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

/* Requests kept armed per method: calls that come while all are busy wait in gRPC. */
#define ARMED_PER_METHOD 8
#define METHODS_MAX      16
/* How long rpc_server_stop() waits for unary calls without an answer. */
#define STOP_TIMEOUT_NS (2 * NS_PER_SEC)

struct armed {
	struct rpc_op op;
	struct rpc_server *server;
	const struct rpc_method *method; /* NULL: whatever has no method of ours */
	void *registered;
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_call_details details;
	grpc_byte_buffer *payload;
};

struct rpc_server {
	struct rpc_endpoint endpoint;
	atomic_uint refs; /* of the owner and of every rpc_call */
	const struct rpc_method *methods;
	void *user;
	grpc_server *server;
	uint16_t port;
	struct rpc_op stopped;
	bool stop_told; /* under endpoint.lock */
	struct armed *armed;
	unsigned armed_count;
};

/* One unary call. It ends when it has been replied to and gRPC has said that it is over. */
struct rpc_call {
	struct rpc_op op_over, op_reply;
	struct rpc_unary unary;
	struct rpc_server *server;
	pthread_mutex_t lock;
	unsigned refs; /* the user's until the reply, op_over, op_reply, and threads in gRPC */
	bool replied;
	bool abandoned; /* the server is gone: the reply has nowhere to go */
	int cancelled;
};

#define call_of(op, member) container_of(op, struct rpc_call, member)

static void server_unref(struct rpc_server *server)
{
	if (atomic_fetch_sub(&server->refs, 1) == 1)
		free(server);
}

/* ---- unary calls ---- */

/* Gives one reference up. Locks: the call's, which is free afterwards. */
static void call_drop_and_unlock(struct rpc_call *call)
{
	struct rpc_server *server = call->server;
	bool last, abandoned = call->abandoned;

	lock_held(&call->lock);
	expects(call->refs > 0);
	last = --call->refs == 0;
	pthread_mutex_unlock(&call->lock);
	if (!last)
		return;
	if (!abandoned) {
		rpc_unary_unlink(&server->endpoint, &call->unary);
		grpc_call_unref(call->unary.call);
		rpc_endpoint_leave(&server->endpoint);
	}
	pthread_mutex_destroy(&call->lock);
	free(call);
	server_unref(server);
}

static void on_call_over(struct rpc_op *op, bool ok)
{
	struct rpc_call *call = call_of(op, op_over);

	pthread_mutex_lock(&call->lock);
	call_drop_and_unlock(call);
}

static void on_call_replied(struct rpc_op *op, bool ok)
{
	struct rpc_call *call = call_of(op, op_reply);

	pthread_mutex_lock(&call->lock);
	call_drop_and_unlock(call);
}

static void start_reply(struct rpc_call *call, int status, const void *data, size_t size)
{
	grpc_byte_buffer *message = status == 0 ? rpc_message_copy(data, size) : NULL;
	grpc_slice text = rpc_status_text(status);
	grpc_op ops[3] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
			  {.op = GRPC_OP_SEND_STATUS_FROM_SERVER},
			  {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = message}};

	ops[1].data.send_status_from_server.status = rpc_status_of(status);
	ops[1].data.send_status_from_server.status_details = status == 0 ? NULL : &text;
	rpc_op_started(&call->op_reply);
	if (grpc_call_start_batch(call->unary.call, ops, status == 0 ? 3 : 2, &call->op_reply,
				  NULL) != GRPC_CALL_OK) {
		log_error("grpc refused a reply");
		grpc_call_cancel(call->unary.call, NULL);
		on_call_replied(&call->op_reply, false);
	}
	grpc_slice_unref(text);
	if (message != NULL)
		grpc_byte_buffer_destroy(message);
}

void rpc_call_reply(struct rpc_call *call, int status, const void *data, size_t size)
{
	bool send;

	if (status == 0 && size > RPC_MESSAGE_MAX)
		status = -EMSGSIZE;
	pthread_mutex_lock(&call->lock);
	send = !call->abandoned;
	call->replied = true;
	if (send)
		call->refs++; /* op_reply's; the user's is kept until the end of this function */
	pthread_mutex_unlock(&call->lock);
	if (send)
		start_reply(call, status, data, size);
	pthread_mutex_lock(&call->lock);
	call_drop_and_unlock(call);
}

static void begin_unary(struct rpc_server *server, struct armed *armed)
{
	struct rpc_call *call = calloc(1, sizeof(*call));
	grpc_op over = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
	struct tls_identity peer;
	grpc_slice slice;

	if (call == NULL) {
		grpc_call_unref(armed->call);
		rpc_endpoint_leave(&server->endpoint);
		return;
	}
	pthread_mutex_init(&call->lock, NULL);
	call->op_over.done = on_call_over;
	call->op_reply.done = on_call_replied;
	call->server = server;
	call->unary.call = armed->call;
	call->refs = 2; /* the user's, op_over's */
	atomic_fetch_add(&server->refs, 1);
	rpc_unary_link(&server->endpoint, &call->unary);
	over.data.recv_close_on_server.cancelled = &call->cancelled;
	rpc_op_started(&call->op_over);
	if (grpc_call_start_batch(armed->call, &over, 1, &call->op_over, NULL) != GRPC_CALL_OK)
		call->refs--;
	if (armed->method == NULL)
		rpc_call_reply(call, -ENOSYS, NULL, 0);
	else if (rpc_peer_identity(armed->call, &peer) != 0)
		rpc_call_reply(call, -EACCES, NULL, 0);
	else if (!rpc_message_bytes(armed->payload, &slice))
		rpc_call_reply(call, -EINVAL, NULL, 0);
	else {
		armed->method->unary(server->user, call, &peer, GRPC_SLICE_START_PTR(slice),
				     GRPC_SLICE_LENGTH(slice));
		grpc_slice_unref(slice);
	}
}

/* ---- streams ---- */

static void begin_stream(struct rpc_server *server, struct armed *armed)
{
	struct rpc_stream *stream = rpc_stream_new(&server->endpoint, armed->call, true);
	struct tls_identity peer;
	int rc;

	if (stream == NULL) {
		grpc_call_unref(armed->call);
		rpc_endpoint_leave(&server->endpoint);
		return;
	}
	rc = rpc_peer_identity(armed->call, &peer);
	if (rc == 0)
		rc = armed->method->stream->open(server->user, stream, &peer, &stream->user);
	if (rc == 0) {
		stream->handler = armed->method->stream;
	} else {
		stream->closing = true;
		stream->error = rc;
		stream->deadline_ns = clock_monotonic_ns() + RPC_CLOSE_TIMEOUT_NS;
		stream->deadline_error = -ETIMEDOUT;
	}
	rpc_stream_start(stream, 0);
	rpc_stream_unref(stream);
}

/* ---- accepting ---- */

static bool arm(struct armed *armed)
{
	struct rpc_server *server = armed->server;
	struct rpc_endpoint *endpoint = &server->endpoint;
	grpc_call_error rc;

	if (!rpc_endpoint_enter(endpoint))
		return false;
	armed->call = NULL;
	armed->payload = NULL;
	grpc_metadata_array_init(&armed->metadata);
	grpc_call_details_init(&armed->details);
	rpc_op_started(&armed->op);
	if (armed->method == NULL)
		rc = grpc_server_request_call(server->server, &armed->call, &armed->details,
					      &armed->metadata, endpoint->queue, endpoint->queue,
					      &armed->op);
	else
		rc = grpc_server_request_registered_call(
			server->server, armed->registered, &armed->call, &armed->deadline,
			&armed->metadata, armed->method->stream != NULL ? NULL : &armed->payload,
			endpoint->queue, endpoint->queue, &armed->op);
	if (rc == GRPC_CALL_OK)
		return true;
	log_error("grpc refused to wait for calls error=%s", grpc_call_error_to_string(rc));
	grpc_metadata_array_destroy(&armed->metadata);
	grpc_call_details_destroy(&armed->details);
	rpc_endpoint_leave(endpoint);
	return false;
}

static void on_request(struct rpc_op *op, bool ok)
{
	struct armed *armed = (struct armed *)op;
	struct rpc_endpoint *endpoint = &armed->server->endpoint;

	/* The armed request's place in endpoint->live becomes the call's. */
	if (!ok)
		rpc_endpoint_leave(endpoint);
	else if (armed->method != NULL && armed->method->stream != NULL)
		begin_stream(armed->server, armed);
	else
		begin_unary(armed->server, armed);
	if (armed->payload != NULL)
		grpc_byte_buffer_destroy(armed->payload);
	grpc_metadata_array_destroy(&armed->metadata);
	grpc_call_details_destroy(&armed->details);
	if (ok)
		arm(armed);
}

/* ---- start and stop ---- */

/* gRPC only says that it could not: find out why first. SO_REUSEADDR as gRPC sets it too. */
static int probe_address(const char *listen_on, char *error, size_t error_size)
{
	char host[256];
	const char *colon = strrchr(listen_on, ':');
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
	size_t length;
	int fd, one = 1, rc = 0;

	if (colon == NULL || (size_t)(colon - listen_on) >= sizeof(host)) {
		snprintf(error, error_size, "%s: not an address of the form host:port", listen_on);
		return -EINVAL;
	}
	length = (size_t)(colon - listen_on);
	memcpy(host, listen_on, length);
	host[length] = '\0';
	if (host[0] == '[' && length > 1 && host[length - 1] == ']') {
		host[length - 1] = '\0';
		memmove(host, host + 1, length - 1);
	}
	rc = getaddrinfo(host[0] == '\0' ? NULL : host, colon + 1, &hints, &list);
	if (rc != 0) {
		snprintf(error, error_size, "cannot listen on %s: %s", listen_on, gai_strerror(rc));
		return -EINVAL;
	}
	fd = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, 0);
	rc = 0;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 1) != 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(list);
	if (rc != 0)
		snprintf(error, error_size, "cannot listen on %s: %s%s", listen_on, strerror(-rc),
			 rc == -EADDRINUSE ? " (is another server running?)" : "");
	return rc;
}

static grpc_server *make_server(void)
{
	const grpc_arg list[] = {
		rpc_arg_int(GRPC_ARG_ALLOW_REUSEPORT, 0),
		rpc_arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		rpc_arg_int(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		rpc_arg_int(GRPC_ARG_MAX_CONCURRENT_STREAMS, 64),
		rpc_arg_int(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, RPC_HANDSHAKE_TIMEOUT_MS),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, 10000),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		rpc_arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		/* Clients ping every 10 s, sometimes a little early. */
		rpc_arg_int(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 4000),
		rpc_arg_int(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
		rpc_arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		rpc_arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		rpc_arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, (int)RPC_MESSAGE_MAX),
		rpc_arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
	};
	grpc_channel_args args = {.num_args = sizeof(list) / sizeof(list[0]),
				  .args = (grpc_arg *)list};

	return grpc_server_create(&args, NULL);
}

static int register_methods(struct rpc_server *server)
{
	unsigned count = 0;

	while (server->methods[count].path != NULL)
		count++;
	if (count > METHODS_MAX)
		return -EINVAL;
	server->armed = calloc((count + 1) * ARMED_PER_METHOD, sizeof(*server->armed));
	if (server->armed == NULL)
		return -ENOMEM;
	server->armed_count = (count + 1) * ARMED_PER_METHOD;
	for (unsigned i = 0; i <= count; i++) {
		const struct rpc_method *method = i < count ? &server->methods[i] : NULL;
		void *registered = NULL;

		if (method != NULL)
			registered = grpc_server_register_method(
				server->server, method->path, NULL,
				method->stream != NULL ? GRPC_SRM_PAYLOAD_NONE
						       : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
				0);
		for (unsigned j = 0; j < ARMED_PER_METHOD; j++)
			server->armed[i * ARMED_PER_METHOD + j] =
				(struct armed){.op.done = on_request,
					       .server = server,
					       .method = method,
					       .registered = registered};
	}
	return 0;
}

static int add_port(struct rpc_server *server, const struct rpc_server_options *options,
		    char *error, size_t error_size)
{
	struct rpc_pem pem;
	grpc_server_credentials *creds;
	int port, rc;

	rc = probe_address(options->listen, error, error_size);
	if (rc == 0)
		rc = rpc_pem_load(&options->tls, &pem, error, error_size);
	if (rc != 0)
		return rc;
	creds = rpc_server_credentials(&pem);
	rpc_pem_free(&pem);
	if (creds == NULL) {
		snprintf(error, error_size, "%s: the certificate cannot be used",
			 options->tls.cert);
		return -EINVAL;
	}
	port = grpc_server_add_http2_port(server->server, options->listen, creds);
	grpc_server_credentials_release(creds);
	if (port <= 0) {
		snprintf(error, error_size,
			 "cannot listen on %s: the address or the certificate %s cannot be used",
			 options->listen, options->tls.cert);
		return -EADDRNOTAVAIL;
	}
	server->port = (uint16_t)port;
	return 0;
}

static void on_stopped(struct rpc_op *op, bool ok)
{
	struct rpc_server *server =
		(struct rpc_server *)((char *)op - offsetof(struct rpc_server, stopped));

	pthread_mutex_lock(&server->endpoint.lock);
	server->stop_told = true;
	pthread_cond_broadcast(&server->endpoint.changed);
	pthread_mutex_unlock(&server->endpoint.lock);
}

/* A call that waits for nothing but the user's reply, taken out of the list; NULL: none. */
static grpc_call *take_unanswered(struct rpc_endpoint *endpoint)
{
	grpc_call *found = NULL;

	pthread_mutex_lock(&endpoint->lock);
	for (struct rpc_unary *u = endpoint->unaries; u != NULL && found == NULL; u = u->next) {
		struct rpc_call *call = call_of(u, unary);

		pthread_mutex_lock(&call->lock);
		if (call->refs == 1 && !call->replied) {
			call->abandoned = true;
			found = u->call;
			rpc_unary_unlink_locked(endpoint, u);
		}
		pthread_mutex_unlock(&call->lock);
	}
	pthread_mutex_unlock(&endpoint->lock);
	return found;
}

/* Their replies will go nowhere. */
static void abandon_calls(struct rpc_server *server)
{
	grpc_call *call;

	while ((call = take_unanswered(&server->endpoint)) != NULL) {
		log_error("a call was never answered");
		grpc_call_unref(call);
		rpc_endpoint_leave(&server->endpoint);
	}
}

void rpc_server_stop(struct rpc_server *server)
{
	struct rpc_endpoint *endpoint;

	if (server == NULL)
		return;
	endpoint = &server->endpoint;
	pthread_mutex_lock(&endpoint->lock);
	endpoint->closing = true;
	pthread_mutex_unlock(&endpoint->lock);
	rpc_op_started(&server->stopped);
	grpc_server_shutdown_and_notify(server->server, endpoint->queue, &server->stopped);
	grpc_server_cancel_all_calls(server->server);
	if (!rpc_endpoint_wait(endpoint, 0, STOP_TIMEOUT_NS))
		abandon_calls(server);
	rpc_endpoint_wait(endpoint, 0, 0);
	pthread_mutex_lock(&endpoint->lock);
	while (!server->stop_told)
		pthread_cond_wait(&endpoint->changed, &endpoint->lock);
	pthread_mutex_unlock(&endpoint->lock);
	grpc_server_destroy(server->server);
	rpc_endpoint_stop(endpoint);
	free(server->armed);
	server->armed = NULL;
	server_unref(server);
}

int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **out, char *error,
		     size_t error_size)
{
	struct rpc_server *server = calloc(1, sizeof(*server));
	int rc;

	if (server == NULL) {
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	atomic_init(&server->refs, 1);
	server->methods = options->methods;
	server->user = options->user;
	server->stopped.done = on_stopped;
	server->endpoint.turn = options->turn;
	server->endpoint.turn_user = options->user;
	rc = rpc_endpoint_start(&server->endpoint);
	if (rc != 0) {
		snprintf(error, error_size, "cannot start a thread: %s", strerror(-rc));
		free(server);
		return rc;
	}
	rpc_accept_init();
	server->server = make_server();
	grpc_server_register_completion_queue(server->server, server->endpoint.queue, NULL);
	rc = register_methods(server);
	if (rc == 0)
		rc = add_port(server, options, error, error_size);
	else
		snprintf(error, error_size, "cannot register methods: %s", strerror(-rc));
	grpc_server_start(server->server);
	if (rc != 0) {
		rpc_server_stop(server);
		return rc;
	}
	*out = server;
	for (unsigned i = 0; i < server->armed_count; i++)
		arm(&server->armed[i]);
	return 0;
}

uint16_t rpc_server_port(const struct rpc_server *server)
{
	return server->port;
}
