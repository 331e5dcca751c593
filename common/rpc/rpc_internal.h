/* rpc_internal.h - shared by rpc_common.c, rpc_stream.c, rpc_client.c and rpc_server.c only.
 *
 * An endpoint is one completion queue with the one thread that waits on it (and so does all the
 * I/O): a server or a client has one. Every operation given to gRPC carries a struct rpc_op as its
 * tag; the thread calls op->done.
 *
 * gRPC crashes when anything is started on a queue that is shut down, so endpoint.live counts what
 * may still start or complete something (calls, armed requests), and the queue is shut down only
 * when it has come to 0 after endpoint.closing was set.
 *
 * Lock order: endpoint.lock, then stream.lock. No user callback runs under either. */
#ifndef CATENA_COMMON_RPC_RPC_INTERNAL_H
#define CATENA_COMMON_RPC_RPC_INTERNAL_H
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdatomic.h>
#include "common/base/duration.h"
#include "common/rpc/rpc.h"

/* Messages waiting behind an outstanding write are joined up to this size. */
#define RPC_COALESCE_MAX (256u << 10)
/* The endpoint's thread looks at deadlines this often. */
#define RPC_TICK_MS 100
/* After this many alternations the peer is taken to wait for each answer before it sends again. The
 * next read then begins together with the answer, at the latest after RPC_READ_HELD_NS. Otherwise
 * gRPC (1.51) tells the peer in a message of its own that it may send more, which costs a wake-up
 * on both sides. With the answer it tells that along. */
#define RPC_ALTERNATIONS 8u
#define RPC_READ_HELD_NS (2 * NS_PER_MSEC)
/* For so long after messages of several streams it is looked for more before a turn ends. With one
 * stream that would only delay its answer. */
#define RPC_SEVERAL_NS (10 * NS_PER_MSEC)
/* A connection that has not finished its TLS handshake until then is dropped. */
#define RPC_HANDSHAKE_TIMEOUT_MS 5000
/* An orderly end that the peer does not answer becomes a cancellation after this. */
#define RPC_CLOSE_TIMEOUT_NS (2 * NS_PER_SEC)

/* Prepares accept4(). Comes before the first server; calling it again does no harm. Thread: any. */
void rpc_accept_init(void);

struct rpc_op {
	void (*done)(struct rpc_op *op, bool ok);
	atomic_bool started; /* see rpc_op_started() */
};

/* Comes before an operation is given to gRPC. gRPC's queue orders our writes before the reads of
 * the queue's thread. This says so to thread checkers, which do not see into gRPC. */
static inline void rpc_op_started(struct rpc_op *op)
{
	atomic_store_explicit(&op->started, true, memory_order_release);
}

/* A unary call of either side, in the endpoint's list. */
struct rpc_unary {
	struct rpc_unary *prev, *next;
	grpc_call *call;
};

struct rpc_endpoint {
	grpc_completion_queue *queue;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* live or closing */
	unsigned live;
	bool closing;
	struct rpc_stream *streams; /* with a call; for deadlines and for closing */
	struct rpc_unary *unaries;
	uint64_t next_tick_ns;
	struct rpc_stream *held_head, *held_tail; /* the thread's; see rpc_stream_held_until() */
	/* Turns of a server; the thread's. */
	void (*turn)(void *user); /* NULL: nobody wants to know */
	void *turn_user;
	unsigned heard;                      /* messages since the last turn */
	const struct rpc_stream *last_heard; /* never followed */
	uint64_t several_ns;                 /* messages came from several streams until then */
	grpc_channel *channel;               /* client only */
};

int rpc_endpoint_start(struct rpc_endpoint *endpoint);
/* False: closing; nothing may be started. Else live has been raised by one. */
bool rpc_endpoint_enter(struct rpc_endpoint *endpoint);
void rpc_endpoint_leave(struct rpc_endpoint *endpoint);
/* Waits until live is at most @live or @timeout_ns has passed (0: for ever). True: reached. */
bool rpc_endpoint_wait(struct rpc_endpoint *endpoint, unsigned live, uint64_t timeout_ns);
/* A message of @s was given to its user. Thread: the queue's. */
void rpc_endpoint_heard(struct rpc_endpoint *endpoint, const struct rpc_stream *s);
/* Shuts the queue down, joins the thread, frees what rpc_endpoint_start() made. live must be 0. */
void rpc_endpoint_stop(struct rpc_endpoint *endpoint);
/* Cancels every stream (callbacks come later). @cancel_error is what closed() says. */
void rpc_endpoint_cancel_streams(struct rpc_endpoint *endpoint, int cancel_error);

void rpc_unary_link(struct rpc_endpoint *endpoint, struct rpc_unary *unary);
void rpc_unary_unlink(struct rpc_endpoint *endpoint, struct rpc_unary *unary);
void rpc_unary_unlink_locked(struct rpc_endpoint *endpoint, struct rpc_unary *unary);
/* Cancels every unary call of a client. */
void rpc_endpoint_cancel_calls(struct rpc_endpoint *endpoint);

/* While a client closes, what gRPC says of its broken connections is no news: it goes to the debug
 * log. Any thread; each true is to be followed by a false. */
void rpc_log_closing(bool closing);

/* ---- streams ---- */
struct rpc_segment {
	struct rpc_segment *next;
	size_t size, capacity;
	uint8_t data[];
};

struct rpc_stream {
	atomic_uint refs;
	struct rpc_endpoint *endpoint;  /* valid while call is not NULL */
	struct rpc_stream *prev, *next; /* of endpoint->streams, under its lock */
	bool server;

	pthread_mutex_t lock;
	grpc_call *call;
	unsigned outstanding; /* operations started and not completed */
	unsigned pins;        /* threads inside a gRPC function with this call */
	bool over;            /* start nothing more */
	bool closing;         /* end when the queue has been sent */
	bool end_started;     /* status (server) or half-close (client) is started */
	bool writing;         /* a write or the end is outstanding */
	bool closed_told;
	int error; /* the first one, for closed() */
	uint64_t started_ns;
	uint64_t deadline_ns; /* cancel then with deadline_error; 0: none */
	int deadline_error;
	unsigned alternations; /* messages in a row that an answer of ours preceded */
	bool sent;             /* something was, since the last message */
	bool read_held;        /* the next read is not begun yet */
	uint64_t held_until_ns;
	struct rpc_segment *queue_head, *queue_tail, *sending;
	size_t queued;

	/* Of the endpoint's thread: in its list, which has a reference. */
	struct rpc_stream *held_next;
	bool held_listed;

	struct rpc_op op_start, op_read, op_write, op_over;
	grpc_byte_buffer *received;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice status_details;
	int cancelled;

	/* server */
	const struct rpc_stream_handler *handler;
	/* client */
	struct rpc_stream_events events;
	void *user; /* of the handler or of the events */
};

/* A stream with one reference (the caller's) around @call; takes over the call and one
 * rpc_endpoint_enter(). NULL: no memory (the caller keeps both). */
struct rpc_stream *rpc_stream_new(struct rpc_endpoint *endpoint, grpc_call *call, bool server);
/* Starts the operations of the beginning: until then nothing of gRPC knows the stream. The user's
 * pointers must be set. */
void rpc_stream_start(struct rpc_stream *stream, uint64_t connect_timeout_ns);
/* Cancels the stream when its deadline has passed. Locks: the endpoint's. */
void rpc_stream_tick(struct rpc_stream *stream, uint64_t now_ns);
/* Begins the reads that were held long enough. Returns until when the next one may be held, or
 * UINT64_MAX. Thread: the endpoint's. */
uint64_t rpc_stream_held_until(struct rpc_endpoint *endpoint, uint64_t now_ns);
/* Ends with the error given, without waiting for what is queued. */
void rpc_stream_cancel(struct rpc_stream *stream, int error);

/* ---- rpc_common.c ---- */
/* Returns why TLS refused a connection of this process since then, as a static text; NULL: it did
 * not.
 */
const char *rpc_refusal_since(uint64_t since_ns);
void rpc_refusal_forget(void);             /* a connection has succeeded */
grpc_status_code rpc_status_of(int error); /* -errno */
/* The text that goes with it and carries the errno itself; release with grpc_slice_unref(). */
grpc_slice rpc_status_text(int error);
int rpc_status_errno(grpc_status_code status, grpc_slice details);
struct rpc_pem {
	char *ca, *cert, *key;
};
int rpc_pem_load(const struct tls_files *files, struct rpc_pem *out, char *error,
		 size_t error_size);
void rpc_pem_free(struct rpc_pem *pem);
int rpc_peer_identity(grpc_call *call, struct tls_identity *out);
grpc_arg rpc_arg_int(const char *key, int value);
grpc_arg rpc_arg_string(const char *key, const char *value);
/* The message as contiguous bytes, borrowed from @slice, which the caller unrefs. False: none. */
bool rpc_message_bytes(grpc_byte_buffer *buffer, grpc_slice *slice);
grpc_byte_buffer *rpc_message_copy(const void *data, size_t size);
/* Client credentials and server credentials that refuse anything below TLS 1.3. */
grpc_channel_credentials *rpc_client_credentials(const struct rpc_pem *pem);
grpc_server_credentials *rpc_server_credentials(const struct rpc_pem *pem);
#endif
