/* rpc_client.c - a client: one channel, its streams and unary calls. */
#define LOG_MODULE "rpc"
#include <arpa/inet.h>
#include <errno.h>
#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/os/clock.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

struct rpc_client {
	struct rpc_endpoint endpoint;
	uint64_t opened_ns;
	char authority[64]; /* the DNS name that the server must prove */
};

struct client_call {
	struct rpc_op op;
	struct rpc_unary unary;
	struct rpc_endpoint *endpoint;
	uint64_t started_ns;
	atomic_uint refs; /* of the starter and of the completion */
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *request, *reply;
	grpc_status_code status;
	grpc_slice details;
	void (*done)(void *user, int status, const uint8_t *data, size_t size);
	void *user;
};

/* Numeric addresses need no resolver. */
static int target_uri(const char *target, char *out, size_t size)
{
	struct in6_addr addr;
	char host[256];
	const char *colon = strrchr(target, ':');
	size_t length;
	int n;

	if (colon == NULL || colon == target || (size_t)(colon - target) >= sizeof(host))
		return -EINVAL;
	length = (size_t)(colon - target);
	memcpy(host, target, length);
	host[length] = '\0';
	if (inet_pton(AF_INET, host, &addr) == 1)
		n = snprintf(out, size, "ipv4:%s", target);
	else if (host[0] == '[')
		n = snprintf(out, size, "ipv6:%s", target);
	else
		n = snprintf(out, size, "dns:///%s", target);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static grpc_channel *make_channel(struct rpc_client *client, const char *uri,
				  grpc_channel_credentials *creds)
{
	const grpc_arg list[] = {
		rpc_arg_string(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, client->authority),
		rpc_arg_string(GRPC_ARG_DEFAULT_AUTHORITY, client->authority),
		rpc_arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		rpc_arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		rpc_arg_int(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX),
		rpc_arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200),
		/* This one is also how long an attempt to connect may take. */
		rpc_arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3000),
		rpc_arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000),
		rpc_arg_int(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, 10000),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000),
		rpc_arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		rpc_arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		rpc_arg_int(GRPC_ARG_ENABLE_RETRIES, 0),
		rpc_arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		rpc_arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		rpc_arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
		rpc_arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		rpc_arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, (int)RPC_MESSAGE_MAX),
	};
	grpc_channel_args args = {.num_args = sizeof(list) / sizeof(list[0]),
				  .args = (grpc_arg *)list};

	return grpc_channel_create(uri, creds, &args);
}

int rpc_client_open(const struct rpc_client_options *options, struct rpc_client **out, char *error,
		    size_t error_size)
{
	struct rpc_client *client = NULL;
	struct rpc_pem pem = {0};
	grpc_channel_credentials *creds = NULL;
	char uri[300];
	int rc;

	rc = target_uri(options->target, uri, sizeof(uri));
	if (rc != 0) {
		snprintf(error, error_size, "%s: not an address of the form host:port",
			 options->target);
		return rc;
	}
	rc = rpc_pem_load(&options->tls, &pem, error, error_size);
	if (rc != 0)
		return rc;
	client = calloc(1, sizeof(*client));
	if (client == NULL) {
		rc = -ENOMEM;
		goto err_text;
	}
	client->opened_ns = clock_monotonic_ns();
	snprintf(client->authority, sizeof(client->authority), "%s.catena",
		 tls_role_name(options->server_role));
	creds = rpc_client_credentials(&pem);
	if (creds == NULL) {
		rc = -EINVAL;
		goto err_text;
	}
	client->endpoint.channel = make_channel(client, uri, creds);
	grpc_channel_credentials_release(creds);
	rc = rpc_endpoint_start(&client->endpoint);
	if (rc != 0) {
		grpc_channel_destroy(client->endpoint.channel);
		goto err_text;
	}
	rpc_pem_free(&pem);
	*out = client;
	return 0;

err_text:
	snprintf(error, error_size, "cannot make a connection to %s: %s", options->target,
		 strerror(-rc));
	rpc_pem_free(&pem);
	free(client);
	return rc;
}

void rpc_client_close(struct rpc_client *client)
{
	struct rpc_endpoint *endpoint;

	if (client == NULL)
		return;
	endpoint = &client->endpoint;
	pthread_mutex_lock(&endpoint->lock);
	endpoint->closing = true;
	pthread_mutex_unlock(&endpoint->lock);
	rpc_endpoint_cancel_streams(endpoint, -ECANCELED);
	rpc_endpoint_cancel_calls(endpoint);
	rpc_endpoint_wait(endpoint, 0, 0);
	rpc_log_closing(true);
	/* The thread must still turn while the channel takes its connection down. */
	grpc_channel_destroy(endpoint->channel);
	rpc_endpoint_stop(endpoint);
	rpc_log_closing(false);
	free(client);
}

void rpc_client_refusal(struct rpc_client *client, char *out, size_t size)
{
	const char *meaning = rpc_refusal_since(client->opened_ns);

	snprintf(out, size, "%s", meaning != NULL ? meaning : "");
}

static grpc_call *make_call(struct rpc_client *client, const char *path, uint64_t timeout_ns)
{
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_slice method = grpc_slice_from_copied_string(path);
	grpc_call *call;

	if (timeout_ns != 0)
		deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
					gpr_time_from_nanos((int64_t)timeout_ns, GPR_TIMESPAN));
	call = grpc_channel_create_call(client->endpoint.channel, NULL, GRPC_PROPAGATE_DEFAULTS,
					client->endpoint.queue, method, NULL, deadline, NULL);
	grpc_slice_unref(method);
	return call;
}

int rpc_stream_open(struct rpc_client *client, const char *path,
		    const struct rpc_stream_events *events, void *user, uint64_t connect_timeout_ns,
		    struct rpc_stream **out)
{
	struct rpc_stream *stream;
	grpc_call *call;

	if (!rpc_endpoint_enter(&client->endpoint))
		return -ECANCELED;
	call = make_call(client, path, 0);
	stream = rpc_stream_new(&client->endpoint, call, false);
	if (stream == NULL) {
		grpc_call_unref(call);
		rpc_endpoint_leave(&client->endpoint);
		return -ENOMEM;
	}
	stream->events = *events;
	stream->user = user;
	*out = stream;
	rpc_stream_start(stream, connect_timeout_ns);
	return 0;
}

/* ---- unary ---- */

static void call_unref(struct client_call *c)
{
	struct rpc_endpoint *endpoint = c->endpoint;

	if (atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	if (c->reply != NULL)
		grpc_byte_buffer_destroy(c->reply);
	grpc_byte_buffer_destroy(c->request);
	grpc_metadata_array_destroy(&c->initial);
	grpc_metadata_array_destroy(&c->trailing);
	grpc_slice_unref(c->details);
	grpc_call_unref(c->unary.call);
	free(c);
	rpc_endpoint_leave(endpoint);
}

static void on_call_done(struct rpc_op *op, bool ok)
{
	struct client_call *c = (struct client_call *)op;
	int status = rpc_status_errno(c->status, c->details);
	grpc_slice slice;

	rpc_unary_unlink(c->endpoint, &c->unary);
	if (status == 0 && rpc_message_bytes(c->reply, &slice)) {
		c->done(c->user, 0, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
		grpc_slice_unref(slice);
	} else {
		if (status == -EHOSTUNREACH && rpc_refusal_since(c->started_ns) != NULL)
			status = -EACCES;
		c->done(c->user, status != 0 ? status : -EPROTO, NULL, 0);
	}
	call_unref(c);
}

static struct client_call *new_call(struct rpc_client *client, const char *path, const void *data,
				    size_t size, uint64_t timeout_ns)
{
	struct client_call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->op.done = on_call_done;
	c->endpoint = &client->endpoint;
	c->started_ns = clock_monotonic_ns();
	atomic_init(&c->refs, 2);
	c->unary.call = make_call(client, path, timeout_ns);
	c->request = rpc_message_copy(data, size);
	grpc_metadata_array_init(&c->initial);
	grpc_metadata_array_init(&c->trailing);
	c->details = grpc_empty_slice();
	return c;
}

static grpc_call_error start_call(struct client_call *c)
{
	grpc_op ops[] = {
		{.op = GRPC_OP_SEND_INITIAL_METADATA},
		{.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = c->request},
		{.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
		{.op = GRPC_OP_RECV_INITIAL_METADATA},
		{.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &c->reply},
		{.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
	};

	ops[3].data.recv_initial_metadata.recv_initial_metadata = &c->initial;
	ops[5].data.recv_status_on_client.trailing_metadata = &c->trailing;
	ops[5].data.recv_status_on_client.status = &c->status;
	ops[5].data.recv_status_on_client.status_details = &c->details;
	rpc_op_started(&c->op);
	return grpc_call_start_batch(c->unary.call, ops, sizeof(ops) / sizeof(ops[0]), &c->op,
				     NULL);
}

int rpc_call(struct rpc_client *client, const char *path, const void *data, size_t size,
	     uint64_t timeout_ns,
	     void (*done)(void *user, int status, const uint8_t *data, size_t size), void *user)
{
	struct client_call *c;
	grpc_call_error rc;

	if (size > RPC_MESSAGE_MAX)
		return -EMSGSIZE;
	if (!rpc_endpoint_enter(&client->endpoint))
		return -ECANCELED;
	c = new_call(client, path, data, size, timeout_ns);
	if (c == NULL) {
		rpc_endpoint_leave(&client->endpoint);
		return -ENOMEM;
	}
	c->done = done;
	c->user = user;
	rpc_unary_link(c->endpoint, &c->unary);
	rc = start_call(c);
	if (rc != GRPC_CALL_OK) {
		log_error("grpc refused a call error=%s", grpc_call_error_to_string(rc));
		rpc_unary_unlink(c->endpoint, &c->unary);
		atomic_store(&c->refs, 1);
	} else if (c->endpoint->closing) {
		/* rpc_client_close() may have looked through the list before this call was in it.
		 */
		grpc_call_cancel(c->unary.call, NULL);
	}
	call_unref(c);
	return rc == GRPC_CALL_OK ? 0 : -EPROTO;
}

struct call_wait {
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool ended;
	int status;
	uint8_t *reply;
	size_t size;
};

static void on_waited(void *user, int status, const uint8_t *data, size_t size)
{
	struct call_wait *w = user;

	pthread_mutex_lock(&w->lock);
	w->status = status;
	if (status == 0) {
		w->reply = malloc(size + 1);
		if (w->reply == NULL)
			w->status = -ENOMEM;
		else if (size != 0)
			memcpy(w->reply, data, size);
		w->size = size;
	}
	w->ended = true;
	pthread_cond_signal(&w->done);
	pthread_mutex_unlock(&w->lock);
}

int rpc_call_wait(struct rpc_client *client, const char *path, const void *data, size_t size,
		  uint64_t timeout_ns, uint8_t **reply, size_t *reply_size)
{
	struct call_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
	int rc = rpc_call(client, path, data, size, timeout_ns, on_waited, &w);

	if (rc != 0)
		return rc;
	pthread_mutex_lock(&w.lock);
	while (!w.ended)
		pthread_cond_wait(&w.done, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (w.status == 0) {
		*reply = w.reply;
		*reply_size = w.size;
	}
	return w.status;
}
