/* rpc.h - unary calls and bidirectional streams over the gRPC C core, with mutual TLS 1.3.
 *
 * No grpc type leaves common/rpc/. Messages are opaque bytes here (protobuf above).
 *
 * Streams coalesce: gRPC allows one outstanding write per call, so messages sent meanwhile wait,
 * and then go out CONCATENATED as one. Protobuf gives that a meaning: the concatenation of encoded
 * messages is their merge. So every message type sent on a stream consists of repeated fields only
 * (a batch), and the receiver sees one batch with all of them, in order.
 *
 * Threading: rpc_init() once after the process has forked for the last time. Callbacks run on this
 * module's threads (one per server or client), never two at a time for the same server or client,
 * and must not block on the network. rpc_stream_send(), rpc_call_reply(), rpc_stream_close() may be
 * called from any thread, inside callbacks too.
 *
 * Errors are negative errnos: -EPIPE stream over, -ETIMEDOUT deadline, -ECANCELED, -EACCES peer
 * refused, -EHOSTUNREACH no connection, -EPROTO. */
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
	/* Return 0 to accept, or -errno to refuse the peer. *stream_user comes back in the others.
	 * @stream is borrowed until closed() has returned: to keep it longer, rpc_stream_ref(). */
	int (*open)(void *server_user, struct rpc_stream *stream, const struct tls_identity *peer,
		    void **stream_user);
	void (*message)(void *stream_user, struct rpc_stream *stream, const uint8_t *data,
			size_t size);
	/* Over, whoever ended it; exactly once for every accepted stream. */
	void (*closed)(void *stream_user, struct rpc_stream *stream, int error);
};

struct rpc_method {
	const char *path;                        /* "/catena.Master/Session"; NULL ends the table */
	const struct rpc_stream_handler *stream; /* or NULL for a unary method, and then: */
	/* Must end, now or later, from any thread, with rpc_call_reply(). */
	void (*unary)(void *server_user, struct rpc_call *call, const struct tls_identity *peer,
		      const uint8_t *data, size_t size);
};

struct rpc_server;
struct rpc_server_options {
	const char *listen; /* host:port; port 0: any */
	struct tls_files tls;
	const struct rpc_method *methods; /* borrowed */
	void *user;
};
/* -EADDRINUSE and others; @error has one line for people. */
int rpc_server_start(const struct rpc_server_options *options, struct rpc_server **out, char *error,
		     size_t error_size);
uint16_t rpc_server_port(const struct rpc_server *server);
/* Ends all calls (closed() comes for each), joins the thread, frees. At most a few seconds. */
void rpc_server_stop(struct rpc_server *server);

/* @status 0 and the reply, or -errno and no reply. Frees @call. */
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
/* Cancels everything under way (callbacks come with -ECANCELED), joins, frees. */
void rpc_client_close(struct rpc_client *client);

struct rpc_stream_events {
	void (*message)(void *user, const uint8_t *data, size_t size);
	/* Exactly once; no callback after it. Reconnecting is the user's business: open a new one
	 * (from any thread, inside this callback too). */
	void (*closed)(void *user, int error);
};
/* Starts a stream; errors of connecting come by closed() (within connect_timeout_ns): -EHOSTUNREACH
 * nobody answers there, -EACCES the TLS handshake fails (rpc_client_refusal() says why), -ETIMEDOUT
 * connected but no answer. *out is a reference of the caller's: rpc_stream_unref() it when closed()
 * has come or after rpc_stream_close(). It is set before the first callback. */
int rpc_stream_open(struct rpc_client *client, const char *path,
		    const struct rpc_stream_events *events, void *user, uint64_t connect_timeout_ns,
		    struct rpc_stream **out);

/* Why the last attempt to connect was refused by one side's TLS, as one line; "" if it was not. */
void rpc_client_refusal(struct rpc_client *client, char *out, size_t size);

/* @done is called exactly once: status 0 with the reply, or -errno. @timeout_ns from now. */
int rpc_call(struct rpc_client *client, const char *path, const void *data, size_t size,
	     uint64_t timeout_ns,
	     void (*done)(void *user, int status, const uint8_t *data, size_t size), void *user);
/* Waits for the answer; *reply is malloc()ed. Not from a callback. */
int rpc_call_wait(struct rpc_client *client, const char *path, const void *data, size_t size,
		  uint64_t timeout_ns, uint8_t **reply, size_t *reply_size);

/* What an error of this module means to people; 0: of a stream that has ended. */
const char *rpc_strerror(int error);

/* ---- both ---- */
/* Copies @data; sends it now or, coalesced, when the write under way has ended. -EPIPE when the
 * stream is over, -ENOBUFS when the peer has not read RPC_QUEUE_MAX bytes. */
#define RPC_QUEUE_MAX (64u << 20)
int rpc_stream_send(struct rpc_stream *stream, const void *data, size_t size);
/* Sends what is queued (for at most 2 s), then ends the stream; closed() still comes. */
void rpc_stream_close(struct rpc_stream *stream);
struct rpc_stream *rpc_stream_ref(struct rpc_stream *stream);
void rpc_stream_unref(struct rpc_stream *stream);
#endif
