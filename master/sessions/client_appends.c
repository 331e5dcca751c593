/* client_appends.c - the queue for the right to append: in memory, first come, first served.
 *
 * A request for a right that is held or wanted by another session waits here, and goes into the log
 * when its turn comes. Later requests of its session overtake it. After APPEND_PATIENCE_NS it is
 * answered EAGAIN, so that its client can give up, and other answers are not kept behind it; a
 * client that still wants the right asks again. A stream that ends takes its waiting requests
 * along; the client repeats them on the next. */
#include "master/sessions/client_appends.h"
#include <errno.h>
#include <stdlib.h>
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "master/sessions/client.h"

#define APPEND_PATIENCE_NS NS_PER_SEC
#define APPEND_WAITS_MAX   65536u

bool client_append_is_free(struct master *master, uint64_t ino, uint64_t session)
{
	uint64_t holder = state_append_holder(master->state, ino);

	return holder == 0 || holder == session;
}

void client_append_answer_again(struct append_wait *wait)
{
	struct push push = {0};
	Catena__Reply reply = CATENA__REPLY__INIT;

	reply.id = wait->request;
	reply.error = EAGAIN;
	push_message(&push, CLIENT_PUSH_REPLIES, &reply.base);
	client_send(wait->stream, &push);
	push_free(&push);
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
			client_append_answer_again(wait);
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
	if ((!others && client_append_is_free(master, ino, stream->session->id)) ||
	    master->append_wait_count >= APPEND_WAITS_MAX)
		return false;
	wait = malloc(sizeof(*wait));
	if (wait == NULL)
		return false; /* the state machine says EAGAIN */
	*wait = (struct append_wait){.stream = stream,
				     .ino = ino,
				     .request = request->id,
				     .time = request->time,
				     .durable = request->durable,
				     .until_ns = now_ns + APPEND_PATIENCE_NS};
	*end = wait;
	master->append_wait_count++;
	return true;
}

void client_appends_forget(struct client_stream *stream)
{
	take_out(stream, 0, false);
}
