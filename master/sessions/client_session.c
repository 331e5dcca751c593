/* client_session.c - a client's session gets a stream, loses it, and is closed. */
#define LOG_MODULE "client"
#include "master/sessions/client_session.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/leases/fences.h"
#include "master/leases/leases.h"
#include "master/sessions/client.h"
#include "master/sessions/client_appends.h"

static struct log_rate noise;

/* ---- streams ---- */

void client_session_end_stream(struct master *master, struct client_session *session)
{
	if (session->stream == NULL)
		return;
	client_appends_forget(session->stream);
	session->stream->session = NULL;
	session->stream->ended = true;
	rpc_stream_close(session->stream->rpc);
	session->stream = NULL;
	leases_disconnect(master->leases, session->id, clock_boottime_ns());
}

static void send_opened(struct client_stream *stream, Catena__SessionOpened *opened, bool with_map)
{
	struct master *master = stream->master;
	struct push push = {0};

	opened->cluster = (char *)state_cluster(master->state);
	opened->instance = state_instance(master->state);
	push_message(&push, CLIENT_PUSH_OPENED, &opened->base);
	if (with_map && !master->published.hidden)
		push_bytes(&push, CLIENT_PUSH_MAPS, master->published.encoded,
			   master->published.encoded_size);
	client_send(stream, &push);
	push_free(&push);
}

void client_session_refuse(struct client_stream *stream, int error, const char *message)
{
	Catena__SessionOpened opened = CATENA__SESSION_OPENED__INIT;

	if (log_rate_ok(&noise, 5))
		log_warn("session refused name=%s reason=\"%s\"", stream->name, message);
	opened.error = error;
	opened.message = (char *)message;
	send_opened(stream, &opened, false);
}

void client_session_attach(struct client_session *session, struct client_stream *stream,
			   uint64_t secret, bool forgotten, uint64_t now_ns)
{
	struct master *master = stream->master;
	Catena__SessionOpened opened = CATENA__SESSION_OPENED__INIT;
	struct state_life life;

	if (session->stream != NULL) {
		client_appends_forget(session->stream);
		session->stream->session = NULL;
		session->stream->ended = true;
		rpc_stream_close(session->stream->rpc);
	}
	session->stream = stream;
	stream->session = session;
	opened.session_id = session->id;
	opened.session_secret = secret;
	opened.lease_ns = master->config.client_lease_ns;
	opened.default_pool = master->published.map->pools[0].id;
	opened.forgotten = forgotten;
	opened.lanes = true;
	state_life(master->state, &life);
	opened.life = life.chance;
	send_opened(stream, &opened, true);
}

/* ---- the end ---- */

static void on_abandoned(struct command_call *call, int status)
{
	free(call);
}

/* Closes a session that is in the state, and that no client will use. If it fails, the next start
 * gives it up. */
void client_session_abandon(struct master *master, uint64_t session)
{
	struct command_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
		return;
	call->done = on_abandoned;
	call->command = (struct log_command){.kind = COMMAND_SESSION_CLOSE, .session = session};
	command_log_propose(master->log, call);
}

struct closing {
	struct command_call call;
	struct command_flush flush;
	struct master *master;
	uint64_t session;
	const char *why;
};

/* On the log's thread. */
static void on_close_durable(struct command_flush *flush, int status)
{
	struct closing *closing =
		(struct closing *)((char *)flush - offsetof(struct closing, flush));
	struct master *master = closing->master;

	master_lock(master);
	/* Not durable: the lease core goes on counting it, so that nobody is told to be alone; the
	 * tick looks after it. */
	if (status == 0) {
		fences_end(master->fences, closing->session);
		leases_closed(master->leases, closing->session);
	} else {
		leases_close_failed(master->leases, closing->session);
	}
	if (status == 0 && !master->stopping)
		master->sessions->closed(master, clock_boottime_ns());
	master_unlock(master);
	free(closing);
}

static struct closing *closing_new(struct master *master, uint64_t session)
{
	struct closing *closing = calloc(1, sizeof(*closing));

	if (closing == NULL)
		return NULL;
	closing->flush.done = on_close_durable;
	closing->master = master;
	closing->session = session;
	return closing;
}

void client_session_flush_close(struct master *master, uint64_t session, uint64_t index)
{
	struct closing *closing = closing_new(master, session);

	if (closing == NULL) {
		leases_close_failed(master->leases, session);
		return;
	}
	closing->flush.index = index;
	command_log_flush(master->log, &closing->flush);
}

void client_session_gone(struct master *master, struct client_session *session)
{
	HASH_DEL(master->clients, session);
	client_session_free(session);
}

static void on_closed(struct command_call *call, int status)
{
	struct closing *closing = (struct closing *)call;
	struct master *master = closing->master;
	struct client_session *session = client_session_find(master, closing->session);

	expects(session != NULL && session->ending);
	session->ending = false;
	/* -ENOENT: it was closed in the store that has failed meanwhile, and is open again. */
	if (status != 0 && status != -ENOENT) {
		session->close_failed = true;
		free(closing);
		return;
	}
	log_info("session closed session=%llu name=%s mount=%s reason=\"%s\"",
		 (unsigned long long)session->id, session->name, session->mount, closing->why);
	client_session_gone(master, session);
	closing->flush.index = call->index;
	command_log_flush(master->log, &closing->flush);
}

void client_session_close(struct master *master, struct client_session *session, const char *why)
{
	struct closing *closing;

	client_session_end_stream(master, session);
	if (session->ending)
		return;
	closing = closing_new(master, session->id);
	if (closing == NULL) {
		session->close_failed = true;
		return;
	}
	session->ending = true;
	closing->why = why;
	closing->call.done = on_closed;
	closing->call.command =
		(struct log_command){.kind = COMMAND_SESSION_CLOSE, .session = session->id};
	command_log_propose(master->log, &closing->call);
}
