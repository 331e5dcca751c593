/* rpc.h - unary calls and bidirectional streams over the gRPC C core, with mutual TLS 1.3.
 *
 * No grpc type leaves common/rpc/. Messages are opaque bytes here (protobuf above).
 *
 * Streams coalesce. gRPC allows one outstanding write per call; messages sent meanwhile wait, and
 * then go out CONCATENATED as one. In protobuf the concatenation of encoded messages is their
 * merge. So every message type of a stream consists of repeated fields only (a batch): the receiver
 * sees one batch with all of them, in order.
 *
 * Thread: rpc_init() comes once, after the process has forked for the last time. Callbacks run on
 * this module's threads, one per server or client, and must not block on the network.
 * rpc_stream_send(), rpc_call_reply() and rpc_stream_close() may be called from any thread, inside
 * callbacks too.
 *
 * Errors: -EPIPE stream over, -ETIMEDOUT deadline, -ECANCELED, -EACCES peer refused, -EHOSTUNREACH
 * no connection, -EPROTO. */
#ifndef CATENA_COMMON_RPC_RPC_H
#define CATENA_COMMON_RPC_RPC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/net/tls.h"

#define RPC_MESSAGE_MAX (4u << 20) /* larger ones are refused on both sides; send <= 1 MiB */

void rpc_init(void);
void rpc_shutdown(void); /* after all servers and clients are gone */

struct rpc_stream; /* reference counted: rpc_stream_ref/unref */
struct rpc_call;

/* ---- server ---- */
struct rpc_stream_handler {
	/* Returns 0 to accept, or -errno to refuse the peer. *stream_user comes back in the other
	 * callbacks. @stream is borrowed until closed() has returned, or longer by
	 * rpc_stream_ref().
	 */
	int (*open)(void *server_user, struct rpc_stream *stream, const struct tls_identity *peer,
		    void **stream_user);
	void (*message)(void *stream_user, struct rpc_stream *stream, const uint8_t *data,
			size_t size);
	/* The stream is over, ended by either side. Called exactly once for every accepted stream.
	 */
	void (*closed)(void *stream_user, struct rpc_stream *stream, int error);
};

struct rpc_method {
	const char *path;                        /* "/catena.Master/Session"; NULL ends the table */
	const struct rpc_stream_handler *stream; /* or NULL for a unary method, and then: */
	/* A call has come. It must end with rpc_call_reply(), now or later, from any thread. */
	void (*unary)(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		      const uint8_t *data, size_t size);
};

struct rpc_server;
struct rpc_server_options {
	const char *listen; /* host:port; port 0: any */
	struct tls_files tls;
	const struct rpc_method *methods; /* borrowed */
	/* Messages of streams have been given, and nothing more is ready: what they have brought can
	 * be done together. Called before the thread waits, and after RPC_TURN_MAX messages at the
	 * latest. May be NULL. */
	void (*turn)(void *user);
	void *user;
};
#define RPC_TURN_MAX 64u
/* Starts a server. Errors: -EADDRINUSE and others; @error has one line for people. */
int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **out, char *error,
		     size_t error_size);
uint16_t rpc_server_port(const struct rpc_server *server);
/* Ends all calls (closed() comes for each), joins the thread and frees. Takes a few seconds at
 * most. */
void rpc_server_stop(struct rpc_server *server);

/* Ends a call with @status 0 and the reply, or with -errno and no reply. Frees @call. Thread: any.
 */
void rpc_call_reply(struct rpc_call *call, int status, const void *data, size_t size);

/* ---- client ---- */
struct rpc_client;
struct rpc_client_options {
	const char *target; /* host:port */
	struct tls_files tls;
	enum tls_role server_role; /* what the server's certificate must prove */
};
int rpc_client_open(const struct rpc_client_options *options, struct rpc_client **out, char *error,
		    size_t error_size);
/* Cancels everything under way (callbacks come with -ECANCELED), joins the thread and frees. */
void rpc_client_close(struct rpc_client *client);

struct rpc_stream_events {
	void (*message)(void *user, const uint8_t *data, size_t size);
	/* The stream is over. Called exactly once; no callback comes after it. The user reconnects
	 * by a new stream, from any thread, inside this callback too. */
	void (*closed)(void *user, int error);
};
/* Starts a stream. *out is set before the first callback. It is a reference of the caller's, for
 * rpc_stream_unref() after closed() or rpc_stream_close().
 * Errors of connecting come by closed(), within @connect_timeout_ns: -EHOSTUNREACH nothing answers
 * there; -EACCES the TLS handshake fails (rpc_client_refusal() says why); -ETIMEDOUT connected, but
 * no answer. */
int rpc_stream_open(struct rpc_client *client, const char *path,
		    const struct rpc_stream_events *events, void *user, uint64_t connect_timeout_ns,
		    struct rpc_stream **out);

/* Says in one line why TLS of either side refused the last attempt to connect; "" if it did not. */
void rpc_client_refusal(struct rpc_client *client, char *out, size_t size);

/* Starts a call. @done is called exactly once: status 0 with the reply, or -errno. @timeout_ns
 * counts from now. */
int rpc_call(struct rpc_client *client, const char *path, const void *data, size_t size,
	     uint64_t timeout_ns,
	     void (*done)(void *user, int status, const uint8_t *data, size_t size), void *user);
/* Calls and waits for the answer; *reply is malloc()ed. Not to be used in a callback. */
int rpc_call_wait(struct rpc_client *client, const char *path, const void *data, size_t size,
		  uint64_t timeout_ns, uint8_t **reply, size_t *reply_size);

/* Returns what an error of this module means to people; 0: a stream has ended. */
const char *rpc_strerror(int error);

/* ---- both ---- */
/* Copies @data, and sends it now or, coalesced, after the write under way. Thread: any. Errors:
 * -EPIPE when the stream is over, -ENOBUFS when the peer has not read RPC_QUEUE_MAX bytes. */
#define RPC_QUEUE_MAX (64u << 20)
int rpc_stream_send(struct rpc_stream *stream, const void *data, size_t size);
/* Sends what is queued (for at most 2 s), then ends the stream; closed() still comes. */
void rpc_stream_close(struct rpc_stream *stream);
struct rpc_stream *rpc_stream_ref(struct rpc_stream *stream);
void rpc_stream_unref(struct rpc_stream *stream);
#endif
