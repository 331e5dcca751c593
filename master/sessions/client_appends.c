/* client_appends.c - the queue for the right to append: in memory, first come, first served.
 *
 * A request for a right that is held or wanted by another session waits here, and goes into the log
 * when its turn comes. Later requests of its session overtake it. After APPEND_PATIENCE_NS it is
 * answered EAGAIN, so that its client can give up, and other answers are not kept behind it; a
 * client that still wants the right asks again. A stream that ends takes its waiting requests along;
 * the client repeats them on the next. */
#include "master/sessions/client_appends.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "master/leases/leases.h"
#include "master/sessions/client_requests.h"
#include "master/sessions/clients.h"

#define APPEND_PATIENCE_NS NS_PER_SEC
#define APPEND_WAITS_MAX   65536u

struct append_wait {
	struct append_wait *next;
	struct client_stream *stream; /* its session's */
	uint64_t ino, request;
	int64_t time;
	bool sync;
	uint64_t until_ns;
};

static bool is_free_for(struct master *master, uint64_t ino, uint64_t session)
{
	uint64_t holder = state_append_holder(master->state, ino);

	return holder == 0 || holder == session;
}

static void answer_again(struct append_wait *wait)
{
	struct push push = {0};
	Catena__Reply reply = CATENA__REPLY__INIT;

	reply.id = wait->request;
	reply.error = EAGAIN;
	push_message(&push, CLIENT_PUSH_REPLIES, &reply.base);
	client_send(wait->stream, &push);
	push_free(&push);
}

static void answer_now(struct append_wait *wait, uint64_t now_ns)
{
	Catena__AppendReq append = CATENA__APPEND_REQ__INIT;
	Catena__Request request = CATENA__REQUEST__INIT;

	append.ino = wait->ino;
	request.id = wait->request;
	request.time = wait->time;
	request.sync = wait->sync;
	request.op_case = CATENA__REQUEST__OP_APPEND;
	request.append = &append;
	client_request_now(wait->stream, &request, now_ns);
}

/* Takes out those of @stream (and of @ino, if it is not 0). */
static void take_out(struct client_stream *stream, uint64_t ino, bool answer)
{
	struct append_wait **link = &stream->master->append_waits, *wait;

	while ((wait = *link) != NULL) {
		if (wait->stream != stream || (ino != 0 && wait->ino != ino)) {
			link = &wait->next;
			continue;
		}
		*link = wait->next;
		stream->master->append_wait_count--;
		if (answer)
			answer_again(wait);
		free(wait);
	}
}

bool client_append_waits(struct client_stream *stream, const Catena__Request *request,
			 uint64_t now_ns)
{
	struct master *master = stream->master;
	struct append_wait **end = &master->append_waits, *wait;
	bool others = false;
	uint64_t ino;

	if (request->op_case != CATENA__REQUEST__OP_APPEND)
		return false;
	ino = request->append->ino;
	if (request->append->release) {
		take_out(stream, ino, true);
		return false;
	}
	for (; *end != NULL; end = &(*end)->next)
		others |= (*end)->ino == ino;
	if ((!others && is_free_for(master, ino, stream->session->id)) ||
	    master->append_wait_count >= APPEND_WAITS_MAX)
		return false;
	wait = malloc(sizeof(*wait));
	if (wait == NULL)
		return false; /* the state machine says EAGAIN */
	*wait = (struct append_wait){.stream = stream,
				     .ino = ino,
				     .request = request->id,
				     .time = request->time,
				     .sync = request->sync,
				     .until_ns = now_ns + APPEND_PATIENCE_NS};
	*end = wait;
	master->append_wait_count++;
	return true;
}

void client_appends_forget(struct client_stream *stream)
{
	take_out(stream, 0, false);
}

void client_appends_go(struct master *master, uint64_t now_ns)
{
	struct append_wait **link = &master->append_waits, *wait;

	lock_held(&master->lock);
	while ((wait = *link) != NULL) {
		bool free_now = is_free_for(master, wait->ino, wait->stream->session->id);

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
			answer_again(wait);
		free(wait);
	}
}
