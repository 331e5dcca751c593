/* rpc_stream.c - one bidirectional stream, the same for both sides.
 *
 * Four operations at most are outstanding: op_over (completes when all is over), op_start (initial
 * metadata), one read, one write. Completions run on the endpoint's thread. A stream is finished
 * when op_over has completed and nothing is outstanding; the gRPC call is released when, after
 * that, no thread is inside a gRPC function with it (pins). */
#define LOG_MODULE "rpc"
#include <errno.h>
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/lock.h"
#include "common/os/log.h"
#include "common/rpc/rpc_internal.h"

#define stream_of(op, member) container_of(op, struct rpc_stream, member)

/* ---- life ---- */

static void unlink_stream(struct rpc_stream *s)
{
	struct rpc_endpoint *endpoint = s->endpoint;

	pthread_mutex_lock(&endpoint->lock);
	DL_DELETE(endpoint->streams, s);
	pthread_mutex_unlock(&endpoint->lock);
}

static void drop_queue(struct rpc_stream *s)
{
	struct rpc_segment *segment = s->queue_head;

	while (segment != NULL) {
		struct rpc_segment *next = segment->next;

		free(segment);
		segment = next;
	}
	s->queue_head = s->queue_tail = NULL;
	s->queued = 0;
}

/* Gives back the call and the endpoint's hold. No thread is inside gRPC with it any more. */
static void release_call(struct rpc_stream *s, grpc_call *call)
{
	grpc_call_unref(call);
	grpc_metadata_array_destroy(&s->initial);
	grpc_metadata_array_destroy(&s->trailing);
	grpc_slice_unref(s->status_details);
	rpc_endpoint_leave(s->endpoint);
	rpc_stream_unref(s);
}

/* Returns the call when it is this thread that must release it, else NULL. Locks: the stream's. */
static grpc_call *take_call(struct rpc_stream *s)
{
	grpc_call *call = s->call;

	lock_held(&s->lock);
	if (!s->closed_told || s->pins != 0)
		return NULL;
	s->call = NULL;
	return call;
}

static void unpin(struct rpc_stream *s)
{
	grpc_call *call;

	pthread_mutex_lock(&s->lock);
	expects(s->pins > 0);
	s->pins--;
	call = take_call(s);
	pthread_mutex_unlock(&s->lock);
	if (call != NULL)
		release_call(s, call);
}

struct rpc_stream *rpc_stream_ref(struct rpc_stream *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void rpc_stream_unref(struct rpc_stream *s)
{
	if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	drop_queue(s);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- starting operations ---- */

/* Counts an operation that start() must begin next. Locks: the stream's. */
static void reserve(struct rpc_stream *s)
{
	lock_held(&s->lock);
	expects(s->call != NULL);
	s->outstanding++;
	s->pins++;
}

static void start(struct rpc_stream *s, const grpc_op *ops, size_t count, struct rpc_op *tag)
{
	grpc_call_error rc;

	rpc_op_started(tag);
	rc = grpc_call_start_batch(s->call, ops, count, tag, NULL);
	if (rc != GRPC_CALL_OK) {
		/* Only a mistake of ours leads here; the call is ended rather than left half alive.
		 */
		log_error("grpc refused an operation error=%s op=%d", grpc_call_error_to_string(rc),
			  (int)ops[0].op);
		pthread_mutex_lock(&s->lock);
		s->outstanding--;
		if (s->error == 0)
			s->error = -EPROTO;
		pthread_mutex_unlock(&s->lock);
		grpc_call_cancel(s->call, NULL);
	}
	unpin(s);
}

static void start_write(struct rpc_stream *s, grpc_slice slice)
{
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};

	grpc_slice_unref(slice);
	start(s, &op, 1, &s->op_write);
	grpc_byte_buffer_destroy(buffer); /* emptied: the call has taken the slices */
}

static void start_end(struct rpc_stream *s, int error)
{
	grpc_op op = {0};
	grpc_slice text;

	if (!s->server) {
		op.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
		start(s, &op, 1, &s->op_write);
		return;
	}
	text = rpc_status_text(error);
	op.op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	op.data.send_status_from_server.status = rpc_status_of(error);
	op.data.send_status_from_server.status_details = error == 0 ? NULL : &text;
	start(s, &op, 1, &s->op_write);
	grpc_slice_unref(text);
}

static void start_read(struct rpc_stream *s)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &s->received};

	start(s, &op, 1, &s->op_read);
}

static void free_segment(void *segment)
{
	free(segment);
}

/* Starts whatever is to be sent next. Locks: the stream's, which is free afterwards. */
static void send_next_and_unlock(struct rpc_stream *s)
{
	struct rpc_segment *segment = s->queue_head;
	int error = s->error;

	lock_held(&s->lock);
	if (s->writing || s->over || (segment == NULL && (!s->closing || s->end_started))) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	s->writing = true;
	reserve(s);
	if (segment == NULL) {
		s->end_started = true;
		pthread_mutex_unlock(&s->lock);
		start_end(s, error);
		return;
	}
	s->queue_head = segment->next;
	if (s->queue_head == NULL)
		s->queue_tail = NULL;
	s->queued -= segment->size;
	pthread_mutex_unlock(&s->lock);
	start_write(s, grpc_slice_new_with_user_data(segment->data, segment->size, free_segment,
						     segment));
}

/* ---- completions ---- */

static void finish(struct rpc_stream *s)
{
	grpc_call *call;

	/* Out of the list first: a thread that pins streams of the list, under the endpoint's lock,
	 * must never be the one to release the call. */
	unlink_stream(s);
	if (s->server) {
		if (s->handler != NULL)
			s->handler->closed(s->user, s, s->error);
	} else {
		s->events.closed(s->user, s->error);
	}
	pthread_mutex_lock(&s->lock);
	drop_queue(s);
	s->closed_told = true;
	call = take_call(s);
	pthread_mutex_unlock(&s->lock);
	if (call != NULL)
		release_call(s, call);
}

/* The end of every completion. */
static void completed(struct rpc_stream *s)
{
	bool last;

	pthread_mutex_lock(&s->lock);
	expects(s->outstanding > 0);
	s->outstanding--;
	last = s->outstanding == 0 && s->over;
	pthread_mutex_unlock(&s->lock);
	if (last)
		finish(s);
}

static void on_start(struct rpc_op *op, bool ok)
{
	struct rpc_stream *s = stream_of(op, op_start);

	if (ok && !s->server) {
		rpc_refusal_forget();
		pthread_mutex_lock(&s->lock);
		if (!s->closing)
			s->deadline_ns = 0; /* connected */
		pthread_mutex_unlock(&s->lock);
	}
	completed(s);
}

static void on_write(struct rpc_op *op, bool ok)
{
	struct rpc_stream *s = stream_of(op, op_write);

	pthread_mutex_lock(&s->lock);
	s->writing = false;
	if (!ok) {
		/* The call is broken; op_over comes by itself. */
		s->closing = s->end_started = true;
		drop_queue(s);
	}
	send_next_and_unlock(s);
	completed(s);
}

static void deliver(struct rpc_stream *s, grpc_slice slice)
{
	const uint8_t *data = GRPC_SLICE_START_PTR(slice);
	size_t size = GRPC_SLICE_LENGTH(slice);

	if (!s->server)
		s->events.message(s->user, data, size);
	else if (s->handler != NULL)
		s->handler->message(s->user, s, data, size);
	rpc_endpoint_heard(s->endpoint, s);
}

/* The peer has ended its side. The client waits for the status, the server says it. */
static void read_ended(struct rpc_stream *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->server && !s->closing) {
		s->closing = true;
		s->deadline_ns = clock_monotonic_ns() + RPC_CLOSE_TIMEOUT_NS;
		s->deadline_error = -ETIMEDOUT;
	}
	send_next_and_unlock(s);
}

static void list_held(struct rpc_stream *s)
{
	struct rpc_endpoint *endpoint = s->endpoint;

	if (s->held_listed)
		return;
	s->held_listed = true;
	s->held_next = NULL;
	rpc_stream_ref(s);
	if (endpoint->held_tail != NULL)
		endpoint->held_tail->held_next = s;
	else
		endpoint->held_head = s;
	endpoint->held_tail = s;
}

/* Begins the next read, or leaves that to the next message of ours. */
static void read_again(struct rpc_stream *s)
{
	bool now = false;

	pthread_mutex_lock(&s->lock);
	if (!s->over) {
		now = s->sent || s->closing || s->alternations < RPC_ALTERNATIONS;
		if (now) {
			reserve(s);
		} else {
			s->read_held = true;
			s->held_until_ns = clock_monotonic_ns() + RPC_READ_HELD_NS;
			list_held(s);
		}
	}
	pthread_mutex_unlock(&s->lock);
	if (now)
		start_read(s);
}

/* Returns true when start_read() must follow. Locks: the stream's. */
static bool release_read(struct rpc_stream *s)
{
	lock_held(&s->lock);
	if (!s->read_held)
		return false;
	s->read_held = false;
	if (s->over)
		return false;
	reserve(s);
	return true;
}

uint64_t rpc_stream_held_until(struct rpc_endpoint *endpoint, uint64_t now_ns)
{
	while (endpoint->held_head != NULL) {
		struct rpc_stream *s = endpoint->held_head;
		bool read = false;
		uint64_t until;

		pthread_mutex_lock(&s->lock);
		until = s->read_held && !s->over ? s->held_until_ns : 0;
		if (until <= now_ns)
			read = release_read(s);
		pthread_mutex_unlock(&s->lock);
		if (until > now_ns)
			return until;
		if (read)
			start_read(s);
		endpoint->held_head = s->held_next;
		if (endpoint->held_head == NULL)
			endpoint->held_tail = NULL;
		s->held_listed = false;
		rpc_stream_unref(s);
	}
	return UINT64_MAX;
}

/* Whether the peer waits for us before it sends again. */
static void note_message(struct rpc_stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->alternations = s->sent ? s->alternations + 1 : 0;
	s->sent = false;
	pthread_mutex_unlock(&s->lock);
}

static void on_read(struct rpc_op *op, bool ok)
{
	struct rpc_stream *s = stream_of(op, op_read);
	grpc_byte_buffer *received = s->received;
	bool message = ok && received != NULL;
	grpc_slice slice;

	s->received = NULL;
	if (message)
		note_message(s);
	/* A server answers from the callback: that must not wait. A client wakes other threads,
	 * which would meet this one inside gRPC (and so cost a hop to gRPC's own thread) if it
	 * armed the next read after that. */
	if (message && !s->server)
		read_again(s);
	/* closing is read without the lock: a message may still come out beside a close by another
	 * thread, never after one on this thread. */
	if (message && !s->closing && rpc_message_bytes(received, &slice)) {
		deliver(s, slice);
		grpc_slice_unref(slice);
	}
	if (received != NULL)
		grpc_byte_buffer_destroy(received);
	if (message && s->server)
		read_again(s);
	else if (!message)
		read_ended(s);
	completed(s);
}

static void on_over(struct rpc_op *op, bool ok)
{
	struct rpc_stream *s = stream_of(op, op_over);
	int error;

	if (s->server)
		error = s->cancelled ? -EPIPE : 0;
	else
		error = rpc_status_errno(s->status, s->status_details);
	pthread_mutex_lock(&s->lock);
	s->over = true;
	s->deadline_ns = 0;
	if (s->error == 0)
		s->error = error;
	pthread_mutex_unlock(&s->lock);
	completed(s);
}

/* ---- beginning ---- */

struct rpc_stream *rpc_stream_new(struct rpc_endpoint *endpoint, grpc_call *call, bool server)
{
	struct rpc_stream *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	atomic_init(&s->refs, 1);
	pthread_mutex_init(&s->lock, NULL);
	s->endpoint = endpoint;
	s->call = call;
	s->server = server;
	s->writing = true; /* until rpc_stream_start() has begun: the handler may send before */
	s->op_start.done = on_start;
	s->op_read.done = on_read;
	s->op_write.done = on_write;
	s->op_over.done = on_over;
	grpc_metadata_array_init(&s->initial);
	grpc_metadata_array_init(&s->trailing);
	s->status_details = grpc_empty_slice();
	return s;
}

static void start_server_operations(struct rpc_stream *s)
{
	grpc_op over = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
			.data.recv_close_on_server.cancelled = &s->cancelled};
	grpc_op initial = {.op = GRPC_OP_SEND_INITIAL_METADATA};

	start(s, &over, 1, &s->op_over);
	start(s, &initial, 1, &s->op_start);
}

static void start_client_operations(struct rpc_stream *s)
{
	grpc_op over = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	grpc_op initial[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
			      {.op = GRPC_OP_RECV_INITIAL_METADATA}};

	over.data.recv_status_on_client.trailing_metadata = &s->trailing;
	over.data.recv_status_on_client.status = &s->status;
	over.data.recv_status_on_client.status_details = &s->status_details;
	/* Waits through failing attempts to connect, until our own deadline. */
	initial[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
			   GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
	initial[1].data.recv_initial_metadata.recv_initial_metadata = &s->initial;
	start(s, &over, 1, &s->op_over);
	start(s, initial, 2, &s->op_start);
}

void rpc_stream_start(struct rpc_stream *s, uint64_t connect_timeout_ns)
{
	struct rpc_endpoint *endpoint = s->endpoint;

	rpc_stream_ref(s); /* released with the call */
	rpc_stream_ref(s); /* ours, to the end of this function */
	pthread_mutex_lock(&s->lock);
	/* All before the first can complete, so that the stream is not finished half-way. */
	for (int i = 0; i < 3; i++)
		reserve(s);
	if (!s->server) {
		s->started_ns = clock_monotonic_ns();
		s->deadline_ns = s->started_ns + connect_timeout_ns;
		s->deadline_error = -ETIMEDOUT;
	}
	pthread_mutex_unlock(&s->lock);

	pthread_mutex_lock(&endpoint->lock);
	DL_PREPEND(endpoint->streams, s);
	pthread_mutex_unlock(&endpoint->lock);

	if (s->server)
		start_server_operations(s);
	else
		start_client_operations(s);
	start_read(s);

	/* Sent or refused by the handler, or the endpoint began to close meanwhile. */
	pthread_mutex_lock(&s->lock);
	s->writing = false;
	send_next_and_unlock(s);
	if (endpoint->closing)
		rpc_stream_cancel(s, -ECANCELED);
	rpc_stream_unref(s);
}

/* ---- use ---- */

static bool append(struct rpc_stream *s, const void *data, size_t size)
{
	struct rpc_segment *tail = s->queue_tail, *grown;
	size_t capacity;

	if (tail == NULL || tail->size + size > RPC_COALESCE_MAX) {
		capacity = size < 4096 ? 4096 : size;
		tail = malloc(sizeof(*tail) + capacity);
		if (tail == NULL)
			return false;
		tail->next = NULL;
		tail->size = 0;
		tail->capacity = capacity;
		if (s->queue_tail != NULL)
			s->queue_tail->next = tail;
		else
			s->queue_head = tail;
		s->queue_tail = tail;
	} else if (tail->size + size > tail->capacity) {
		struct rpc_segment **link = &s->queue_head;

		capacity = 2 * (tail->size + size);
		grown = realloc(tail, sizeof(*tail) + capacity);
		if (grown == NULL)
			return false;
		grown->capacity = capacity;
		while (*link != tail)
			link = &(*link)->next;
		*link = s->queue_tail = tail = grown;
	}
	memcpy(tail->data + tail->size, data, size);
	tail->size += size;
	s->queued += size;
	return true;
}

int rpc_stream_send(struct rpc_stream *s, const void *data, size_t size)
{
	bool write = false, read = false;
	int rc = 0;

	if (size > RPC_MESSAGE_MAX)
		return -EMSGSIZE;
	pthread_mutex_lock(&s->lock);
	if (s->over || s->closing || s->call == NULL) {
		rc = -EPIPE;
	} else if (s->writing) {
		if (s->queued + size > RPC_QUEUE_MAX)
			rc = -ENOBUFS;
		else if (!append(s, data, size))
			rc = -ENOMEM;
	} else {
		s->writing = true;
		write = true;
		reserve(s);
	}
	if (rc == 0) {
		s->sent = true;
		read = release_read(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (write)
		start_write(s, grpc_slice_from_copied_buffer(data, size));
	if (read)
		start_read(s);
	return rc;
}

void rpc_stream_close(struct rpc_stream *s)
{
	bool idle;

	pthread_mutex_lock(&s->lock);
	if (s->call == NULL || s->over || s->closing) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	/* There is no peer yet, and nothing was sent: no reason to wait. */
	idle = !s->server && s->deadline_ns != 0 && !s->writing && s->queue_head == NULL;
	s->closing = true;
	s->deadline_ns = clock_monotonic_ns() + RPC_CLOSE_TIMEOUT_NS;
	s->deadline_error = -ETIMEDOUT;
	send_next_and_unlock(s);
	if (idle)
		rpc_stream_cancel(s, -ECANCELED);
}

void rpc_stream_cancel(struct rpc_stream *s, int error)
{
	pthread_mutex_lock(&s->lock);
	if (s->call == NULL || s->over || s->outstanding == 0) {
		pthread_mutex_unlock(&s->lock);
		return;
	}
	s->closing = s->end_started = true;
	s->deadline_ns = 0;
	if (s->error == 0)
		s->error = error;
	drop_queue(s);
	s->pins++;
	pthread_mutex_unlock(&s->lock);
	grpc_call_cancel(s->call, NULL);
	unpin(s);
}

/* Why a connection could not be made in time, or cannot be made at all (then without waiting). */
static int connect_error(struct rpc_stream *s, bool late)
{
	struct rpc_endpoint *endpoint = s->endpoint;
	grpc_connectivity_state state;

	if (endpoint->channel == NULL)
		return late ? -ETIMEDOUT : 0;
	state = grpc_channel_check_connectivity_state(endpoint->channel, 0);
	if (state == GRPC_CHANNEL_TRANSIENT_FAILURE && rpc_refusal_since(s->started_ns) != NULL)
		return -EACCES;
	if (!late)
		return 0;
	return state == GRPC_CHANNEL_READY ? -ETIMEDOUT : -EHOSTUNREACH;
}

void rpc_stream_tick(struct rpc_stream *s, uint64_t now_ns)
{
	int error = 0;

	lock_held(&s->endpoint->lock);
	pthread_mutex_lock(&s->lock);
	if (s->deadline_ns != 0) {
		bool late = now_ns >= s->deadline_ns;

		if (s->server || s->closing)
			error = late ? s->deadline_error : 0;
		else
			error = connect_error(s, late);
	}
	pthread_mutex_unlock(&s->lock);
	if (error != 0)
		rpc_stream_cancel(s, error);
}
