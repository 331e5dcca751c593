/* client_requests.c - requests of clients: executed in order, answered at once or when durable. */
#define LOG_MODULE "client"
#include "master/sessions/client_requests.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/leases/leases.h"
#include "master/sessions/client.h"
#include "master/sessions/client_appends.h"

/* Replies are sent once they are so large together: no message may grow too large. */
#define PUSH_BYTES_MAX (1u << 20)

/* What a client has sent together. It lives until all of it is answered. */
struct client_batch {
	struct master *master;
	struct client_stream *stream;   /* referenced */
	struct rpc_stream *rpc;         /* referenced: after the stream is over, nobody hears it */
	struct client_message *message; /* what the requests are part of; NULL: see answer_now() */
	size_t left;                    /* requests without an answer, and one while it is begun */
	struct push push;               /* answers of those that need not be durable */
	/* Answers of the others, to be sent together when all is durable. */
	struct command_flush flush;
	struct push durable;
	uint64_t *durable_ids; /* to say of each that it failed */
	size_t durable_count;
	uint64_t lane; /* the client's lane is done up to here, if not 0 */
	bool again;    /* the stream ends, and the client sends again what has no answer */
	struct request_call *calls;
	/* Of a request that has waited for the right to append, whose message is gone. */
	Catena__Request own;
	Catena__AppendReq append;
};

struct request_call {
	struct command_call call;
	struct client_batch *batch;
	const Catena__Request *request;
	uint8_t *reply; /* of a query */
	size_t reply_size;
};

static void add_error(struct push *push, uint64_t id, int error)
{
	Catena__Reply reply = CATENA__REPLY__INIT;

	reply.id = id;
	reply.error = error < 0 ? -error : error;
	push_message(push, CLIENT_PUSH_REPLIES, &reply.base);
}

/* ---- messages ---- */

int client_message_new(const uint8_t *data, size_t size, struct client_message **out)
{
	struct client_message *message = calloc(1, sizeof(*message));

	if (message == NULL)
		return -ENOMEM;
	message->refs = 1;
	message->batch = catena__client_batch__unpack(unpack_begin(&message->unpack), size, data);
	if (message->batch == NULL) {
		bool no_memory = message->unpack.no_memory;

		free(message);
		return no_memory ? -ENOMEM : -EBADMSG;
	}
	*out = message;
	return 0;
}

void client_message_unref(struct client_message *message)
{
	if (message == NULL)
		return;
	expects(message->refs > 0);
	if (--message->refs != 0)
		return;
	catena__client_batch__free_unpacked(message->batch, &message->unpack.allocator);
	free(message);
}

/* ---- answers ---- */

static void batch_free(struct client_batch *batch)
{
	client_stream_unref(batch->stream);
	rpc_stream_unref(batch->rpc);
	client_message_unref(batch->message);
	push_free(&batch->push);
	push_free(&batch->durable);
	free(batch->durable_ids);
	free(batch->calls);
	free(batch);
}

/* A client that does not read loses its stream. */
static void send(struct client_batch *batch, struct push *push)
{
	int rc = push->failed      ? -ENOMEM
		 : push->size == 0 ? 0
				   : rpc_stream_send(batch->rpc, push->data, push->size);

	if (rc != 0 && rc != -EPIPE)
		rpc_stream_close(batch->rpc);
	push_clear(push);
}

/* On the log's thread. */
static void on_durable(struct command_flush *flush, int status)
{
	struct client_batch *batch =
		(struct client_batch *)((char *)flush - offsetof(struct client_batch, flush));
	struct master *master = batch->master;

	if (status != 0) {
		push_clear(&batch->durable);
		for (size_t i = 0; i < batch->durable_count; i++)
			add_error(&batch->durable, batch->durable_ids[i], status);
	}
	send(batch, &batch->durable);
	master_lock(master);
	batch_free(batch);
	master_unlock(master);
}

void client_requests_push_done(struct master *master, uint64_t lane, struct push *push)
{
	uint64_t index = command_log_applied(master->log);

	lock_held(&master->lock);
	if (lane != 0)
		push_number(push, CLIENT_PUSH_LANE_DONE, lane);
	push_number(push, CLIENT_PUSH_INDEX, index);
	if (index > master->told_index)
		master->told_index = index;
	push_number(push, CLIENT_PUSH_DURABLE, command_log_durable(master->log));
}

/* Sends all answers, and frees the batch; or has the log do it, which tells when all is durable. */
static void send_all(struct client_batch *batch)
{
	struct command_log *log = batch->master->log;
	uint64_t index = command_log_applied(log);

	client_requests_push_done(batch->master, batch->lane, &batch->push);
	if (batch->durable_count != 0 && !command_log_is_durable(log, index)) {
		send(batch, &batch->push);
		batch->flush.done = on_durable;
		batch->flush.index = index;
		command_log_flush(log, &batch->flush);
		return;
	}
	push_raw(&batch->push, batch->durable.data, batch->durable.size);
	batch->push.failed |= batch->durable.failed;
	send(batch, &batch->push);
	batch_free(batch);
}

static void finish(struct client_batch *batch)
{
	struct master *master = batch->master;

	if (batch->own.append != NULL)
		master->append_asked = false;
	if (batch->again) {
		rpc_stream_close(batch->rpc);
		batch_free(batch);
	} else {
		send_all(batch);
	}
	/* Rights to append may have been given back. */
	if (master->append_waits != NULL && !master->stopping)
		client_requests_go(master, clock_boottime_ns());
}

/* No answer goes without the word up to where it may be lost. */
static void send_some(struct client_batch *batch)
{
	client_requests_push_done(batch->master, batch->lane, &batch->push);
	send(batch, &batch->push);
}

static void answered_one(struct client_batch *batch)
{
	expects(batch->left > 0);
	if (--batch->left == 0)
		finish(batch);
	else if (batch->push.size > PUSH_BYTES_MAX && !batch->again)
		send_some(batch);
}

static struct push *push_of(struct client_batch *batch, const Catena__Request *request)
{
	/* Refusals of the lane precede the word that it is done. */
	if (!request->durable || request->lane != 0)
		return &batch->push;
	batch->durable_ids[batch->durable_count++] = request->id;
	return &batch->durable;
}

static void answer(struct request_call *call, int status, const uint8_t *reply, size_t size)
{
	struct client_batch *batch = call->batch;
	const Catena__Request *request = call->request;

	/* -EPROTO: something that came before is lost. */
	if (status == COMMAND_MAY_HAPPEN || status == -EPROTO)
		batch->again = true;
	else if (status != 0 && request->lane != 0)
		batch->stream->left_out = true; /* the store is down */
	else if (status != 0)
		add_error(push_of(batch, request), request->id, status);
	else if (reply != NULL)
		push_bytes(push_of(batch, request), CLIENT_PUSH_REPLIES, reply, size);
}

/* ---- commands and queries ---- */

static void on_applied(struct command_call *command, int status)
{
	struct request_call *call = (struct request_call *)command;

	struct state_answer *result = &command->result.answer;

	answer(call, status, result->reply, result->reply_size);
	if (result->lane != 0)
		call->batch->lane = result->lane;
	free(result->reply);
	result->reply = NULL;
	answered_one(call->batch);
}

static int encode_statfs(struct request_call *call)
{
	struct master *master = call->batch->master;
	Catena__Reply reply = CATENA__REPLY__INIT;
	Catena__Statfs statfs = CATENA__STATFS__INIT;
	struct state_counts counts;
	struct published_map_space space;

	state_counts(master->state, &counts);
	published_map_space(&master->published, &space);
	statfs.inodes = counts.inodes;
	statfs.copies = space.copies;
	statfs.total_bytes = space.total;
	statfs.free_bytes = space.free;
	reply.id = call->request->id;
	reply.statfs = &statfs;
	call->reply_size = catena__reply__get_packed_size(&reply);
	call->reply = malloc(call->reply_size);
	if (call->reply == NULL)
		return -ENOMEM;
	catena__reply__pack(&reply, call->reply);
	return 0;
}

static int read_state(struct command_call *command)
{
	struct request_call *call = (struct request_call *)command;

	free(call->reply); /* of a first try */
	call->reply = NULL;
	if (call->request->op_case == CATENA__REQUEST__OP_STATFS)
		return encode_statfs(call);
	return state_query(call->batch->master->state, command->command.session, call->request,
			   &call->reply, &call->reply_size);
}

static void on_read(struct command_call *command, int status)
{
	struct request_call *call = (struct request_call *)command;

	answer(call, status, call->reply, call->reply_size);
	free(call->reply);
	call->reply = NULL;
	answered_one(call->batch);
}

static void run(struct client_session *session, struct request_call *call)
{
	struct master *master = call->batch->master;
	const Catena__Request *request = call->request;
	struct log_command *command = &call->call.command;

	call->batch->left++;
	command->kind = COMMAND_REQUEST;
	command->session = session->id;
	command->request.message = request;
	command->request.answered = session->answered;
	/* What is left is for programs that delete. */
	command->request.no_space = state_request_grows(request) && kv_space_low(master->kv);
	if (!state_request_is_command(request) && request->lane != 0) {
		call->batch->again = true; /* no query has a number of the lane */
		answered_one(call->batch);
	} else if (!state_request_is_command(request)) {
		call->call.read = read_state;
		call->call.done = on_read;
		command_log_read(master->log, &call->call);
	} else {
		call->call.done = on_applied;
		command_log_propose(master->log, &call->call);
	}
}

/* ---- batches ---- */

static struct client_batch *batch_new(struct client_stream *stream, struct client_message *message,
				      size_t requests, size_t durable)
{
	struct client_batch *batch = calloc(1, sizeof(*batch));

	if (batch == NULL)
		return NULL;
	batch->calls = calloc(requests, sizeof(*batch->calls));
	batch->durable_ids = calloc(durable + 1, sizeof(*batch->durable_ids));
	if (batch->calls == NULL || batch->durable_ids == NULL) {
		free(batch->calls);
		free(batch->durable_ids);
		free(batch);
		return NULL;
	}
	batch->master = stream->master;
	batch->stream = stream;
	stream->refs++;
	batch->rpc = rpc_stream_ref(stream->rpc);
	batch->message = message;
	if (message != NULL)
		message->refs++;
	batch->left = 1;
	return batch;
}

static size_t count_durable(const Catena__ClientBatch *message)
{
	size_t count = 0;

	for (size_t i = 0; i < message->n_requests; i++)
		count += message->requests[i]->durable ? 1 : 0;
	return count;
}

void client_requests(struct client_stream *stream, struct client_message *message, uint64_t now_ns)
{
	const Catena__ClientBatch *sent = message->batch;
	struct client_batch *batch;

	lock_held(&stream->master->lock);
	if (sent->n_requests == 0)
		return;
	batch = batch_new(stream, message, sent->n_requests, count_durable(sent));
	if (batch == NULL) {
		rpc_stream_close(stream->rpc);
		return;
	}
	for (size_t i = 0; i < sent->n_requests; i++) {
		struct request_call *call = &batch->calls[i];

		if (client_append_waits(stream, sent->requests[i], now_ns))
			continue;
		call->batch = batch;
		call->request = sent->requests[i];
		run(stream->session, call);
	}
	answered_one(batch);
}

void client_requests_recovered(struct master *master)
{
	uint64_t applied = command_log_applied(master->log);
	bool lost = applied < master->told_index;

	lock_held(&master->lock);
	if (lost)
		log_error("commands are lost with the store that were answered and not flushed "
			  "answered=%llu applied=%llu",
			  (unsigned long long)master->told_index, (unsigned long long)applied);
	master->told_index = applied;
	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next)
		if (s->stream != NULL && (lost || s->stream->left_out))
			rpc_stream_close(s->stream->rpc);
}

/* ---- the right to append ---- */

static void answer_now(struct append_wait *wait)
{
	struct client_batch *batch = batch_new(wait->stream, NULL, 1, wait->durable ? 1 : 0);

	if (batch == NULL) {
		rpc_stream_close(wait->stream->rpc);
		return;
	}
	wait->stream->master->append_asked = true;
	catena__append_req__init(&batch->append);
	catena__request__init(&batch->own);
	batch->append.ino = wait->ino;
	batch->own.id = wait->request;
	batch->own.time = wait->time;
	batch->own.durable = wait->durable;
	batch->own.op_case = CATENA__REQUEST__OP_APPEND;
	batch->own.append = &batch->append;
	batch->calls[0].batch = batch;
	batch->calls[0].request = &batch->own;
	run(wait->stream->session, &batch->calls[0]);
	answered_one(batch);
}

void client_requests_go(struct master *master, uint64_t now_ns)
{
	struct append_wait **link = &master->append_waits, *wait;

	lock_held(&master->lock);
	/* One at a time: what is free may not be so any more behind it. */
	while (!master->append_asked && (wait = *link) != NULL) {
		bool free_now = client_append_is_free(master, wait->ino, wait->stream->session->id);

		if (!free_now)
			leases_hurry(master->leases, state_append_holder(master->state, wait->ino),
				     now_ns);
		if (!free_now && now_ns < wait->until_ns) {
			link = &wait->next;
			continue;
		}
		*link = wait->next;
		master->append_wait_count--;
		if (free_now)
			answer_now(wait);
		else
			client_append_answer_again(wait);
		free(wait);
	}
}
