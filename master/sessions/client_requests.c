/* client_requests.c - requests of clients: executed in order, answered at once or when durable. */
#define LOG_MODULE "client"
#include "master/sessions/client_requests.h"
#include <errno.h>
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

/* Replies that wait for a flush. */
struct deferred {
	struct command_flush flush;
	struct rpc_stream *rpc; /* referenced */
	struct push push;
	uint64_t *ids; /* to say of each that it failed */
	size_t count;
};

static void add_error(struct push *push, uint64_t id, int error)
{
	Catena__Reply reply = CATENA__REPLY__INIT;

	reply.id = id;
	reply.error = error < 0 ? -error : error;
	push_message(push, CLIENT_PUSH_REPLIES, &reply.base);
}

/* ---- replies that wait ---- */

static void deferred_free(struct deferred *deferred)
{
	rpc_stream_unref(deferred->rpc);
	push_free(&deferred->push);
	free(deferred->ids);
	free(deferred);
}

/* On the log's thread. */
static void on_durable(struct command_flush *flush, int status)
{
	struct deferred *deferred = (struct deferred *)flush;
	int rc;

	if (status != 0) {
		push_clear(&deferred->push);
		for (size_t i = 0; i < deferred->count; i++)
			add_error(&deferred->push, deferred->ids[i], status);
	}
	rc = rpc_stream_send(deferred->rpc, deferred->push.data, deferred->push.size);
	if (rc != 0 && rc != -EPIPE)
		rpc_stream_close(deferred->rpc);
	deferred_free(deferred);
}

static struct deferred *deferred_new(struct client_stream *stream, size_t room)
{
	struct deferred *deferred = calloc(1, sizeof(*deferred));

	if (deferred == NULL)
		return NULL;
	deferred->ids = calloc(room, sizeof(*deferred->ids));
	if (deferred->ids == NULL) {
		free(deferred);
		return NULL;
	}
	deferred->rpc = rpc_stream_ref(stream->rpc);
	deferred->flush.done = on_durable;
	return deferred;
}

/* Sends the replies of a batch, which has been applied, when everything so far is durable. */
static void defer(struct master *master, struct deferred *deferred, struct push *push)
{
	uint64_t index = command_log_applied(master->log);

	if (deferred->push.failed) {
		rpc_stream_close(deferred->rpc);
		deferred_free(deferred);
		return;
	}
	if (command_log_is_durable(master->log, index)) {
		push_raw(push, deferred->push.data, deferred->push.size);
		deferred_free(deferred);
		return;
	}
	deferred->flush.index = index;
	command_log_flush(master->log, &deferred->flush);
}

/* ---- executing ---- */

struct request_answer {
	int status;
	uint8_t *reply;
	size_t size;
};

static void on_applied(void *user, uint64_t index, int status, const struct command_result *result)
{
	struct request_answer *answer = user;

	answer->status = status;
	answer->reply = result->reply;
	answer->size = result->reply_size;
}

/* True when the store's disk is nearly full: what is left is for programs that delete. A repetition
 * of what is done already must not be refused. A request is one when its id is not new, and may be
 * one soon after the client has come back. */
static bool refused_for_space(struct client_session *session, struct master *master,
			      const Catena__Request *request, uint64_t now_ns)
{
	bool repeated = request->id <= session->last_request || now_ns < session->lenient_until_ns;

	return !repeated && state_request_grows(request) && kv_space_low(master->kv);
}

static void run_command(struct client_session *session, struct master *master,
			const Catena__Request *request, uint64_t now_ns,
			struct request_answer *answer)
{
	struct log_command command = {
		.kind = COMMAND_REQUEST, .session = session->id, .request = request};

	if (refused_for_space(session, master, request, now_ns)) {
		answer->status = -ENOSPC;
		return;
	}
	command_log_propose(master->log, &command, on_applied, answer);
}

static void run_statfs(struct master *master, const Catena__Request *request,
		       struct request_answer *answer)
{
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
	reply.id = request->id;
	reply.statfs = &statfs;
	answer->size = catena__reply__get_packed_size(&reply);
	answer->reply = malloc(answer->size);
	if (answer->reply == NULL)
		answer->status = -ENOMEM;
	else
		catena__reply__pack(&reply, answer->reply);
}

static void run_query(struct client_session *session, struct master *master,
		      const Catena__Request *request, struct request_answer *answer)
{
	answer->status = command_log_error(master->log);
	if (answer->status != 0)
		return;
	if (request->op_case == CATENA__REQUEST__OP_STATFS) {
		run_statfs(master, request, answer);
		return;
	}
	answer->status =
		state_query(master->state, session->id, request, &answer->reply, &answer->size);
	if (answer->status != 0)
		command_log_failed(master->log, answer->status);
}

static void run(struct client_session *session, struct master *master,
		const Catena__Request *request, uint64_t now_ns, struct push *push)
{
	struct request_answer answer = {0};

	if (state_request_is_command(request))
		run_command(session, master, request, now_ns, &answer);
	else
		run_query(session, master, request, &answer);
	if (answer.status != 0)
		add_error(push, request->id, answer.status);
	else
		push_bytes(push, CLIENT_PUSH_REPLIES, answer.reply, answer.size);
	free(answer.reply);
	if (request->id > session->last_request)
		session->last_request = request->id;
}

static size_t count_flushes(const Catena__ClientBatch *batch)
{
	size_t count = 0;

	for (size_t i = 0; i < batch->n_requests; i++)
		count += batch->requests[i]->durable ? 1 : 0;
	return count;
}

void client_requests(struct client_stream *stream, const Catena__ClientBatch *batch,
		     struct push *push, uint64_t now_ns)
{
	struct master *master = stream->master;
	size_t flushes = count_flushes(batch);
	struct deferred *deferred = flushes == 0 ? NULL : deferred_new(stream, flushes);

	lock_held(&master->lock);
	if (flushes != 0 && deferred == NULL) {
		rpc_stream_close(stream->rpc);
		return;
	}
	for (size_t i = 0; i < batch->n_requests; i++) {
		const Catena__Request *request = batch->requests[i];

		if (client_append_waits(stream, request, now_ns))
			continue;
		if (request->durable) {
			deferred->ids[deferred->count++] = request->id;
			run(stream->session, master, request, now_ns, &deferred->push);
		} else {
			run(stream->session, master, request, now_ns, push);
		}
		if (push->size > PUSH_BYTES_MAX) {
			client_send(stream, push);
			push_clear(push);
		}
	}
	expects(deferred == NULL || deferred->count <= flushes);
	if (deferred != NULL)
		defer(master, deferred, push);
}

static void run_now(struct client_stream *stream, const Catena__Request *request, uint64_t now_ns)
{
	struct master *master = stream->master;
	struct deferred *deferred = request->durable ? deferred_new(stream, 1) : NULL;
	struct push push = {0};

	if (request->durable && deferred == NULL) {
		rpc_stream_close(stream->rpc);
		return;
	}
	if (deferred != NULL)
		deferred->ids[deferred->count++] = request->id;
	run(stream->session, master, request, now_ns, deferred != NULL ? &deferred->push : &push);
	if (deferred != NULL)
		defer(master, deferred, &push);
	client_send(stream, &push);
	push_free(&push);
}

/* ---- the right to append ---- */

static void answer_now(struct append_wait *wait, uint64_t now_ns)
{
	Catena__AppendReq append = CATENA__APPEND_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	append.ino = wait->ino;
	request.id = wait->request;
	request.time = wait->time;
	request.durable = wait->durable;
	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &append;
	run_now(wait->stream, &request, now_ns);
}

void client_requests_go(struct master *master, uint64_t now_ns)
{
	struct append_wait **link = &master->append_waits, *wait;

	lock_held(&master->lock);
	while ((wait = *link) != NULL) {
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
			answer_now(wait, now_ns);
		else
			client_append_answer_again(wait);
		free(wait);
	}
}
