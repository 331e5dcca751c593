/* client_leases.c - carrying out what leases.h decides: admitting, granting, recalling, fencing.
 *
 * The tree lease comes and goes:
 * 1. Grant. One session exists, and no client waits: the log gets the grant, with a new generation.
 *    When it is durable the client is told. From then on it caches the tree and answers early.
 * 2. Renewal. The client renews by its stream, and is told of the grant again.
 * 3. Recall. Another client waits: the holder is sent a recall with a number. It sends all that it
 *    answered early, then returns the lease with that number.
 * 4. End. The log gets the end of the lease; the waiting client's admission comes behind it, so the
 *    end needs no flush of its own.
 *
 * Failures:
 * - The log refuses a grant, an end or an admission: it is tried again, or the client refused.
 * - The store fails before a session is durable: the session is abandoned, since no client knows
 *   its secret (client_leases_reconcile()).
 * - The holder does not return in time, or is gone: its session is fenced (client_fences.c), which
 *   ends the lease, too.
 * - A return crosses a grant: it has no number, or another, and does not count. */
#define LOG_MODULE "client"
#include "master/sessions/client_leases.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "common/os/lock.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/leases/leases.h"
#include "master/sessions/client.h"
#include "master/sessions/client_fences.h"
#include "master/sessions/client_session.h"

/* ---- admission ---- */

struct admission {
	struct command_call call;
	struct command_flush flush;
	struct master *master;
	struct client_stream *stream; /* referenced */
	struct client_session *session;
	uint64_t secret;
};

static void admission_free(struct admission *admission)
{
	if (admission->stream != NULL)
		client_stream_unref(admission->stream);
	client_session_free(admission->session);
	free(admission);
}

static void admitted(struct admission *admission)
{
	struct master *master = admission->master;
	struct client_session *session = admission->session;
	struct client_stream *stream = admission->stream;
	uint64_t now_ns = clock_boottime_ns();

	if (leases_admitted(master->leases, session->id, !stream->over, now_ns) != 0) {
		client_session_refuse(stream, ENOMEM, "out of memory");
		client_session_abandon(master, session->id);
		return;
	}
	admission->session = NULL;
	HASH_ADD(hh, master->clients, id, sizeof(session->id), session);
	/* A session without a client runs out like any other. */
	if (!stream->over)
		client_session_attach(session, stream, admission->secret, false, now_ns);
	log_info("session opened session=%llu name=%s mount=%s", (unsigned long long)session->id,
		 session->name, session->mount);
}

/* On the log's thread. */
static void on_admission_durable(struct command_flush *flush, int status)
{
	struct admission *admission =
		(struct admission *)((char *)flush - offsetof(struct admission, flush));
	struct master *master = admission->master;

	master_lock(master);
	if (status == 0) {
		admitted(admission);
	} else {
		client_session_refuse(admission->stream, -status,
				      "the master's store does not work");
		leases_admit_failed(master->leases);
		client_session_abandon(master, admission->session->id);
	}
	if (!master->stopping)
		client_leases_act(master, clock_boottime_ns());
	admission_free(admission);
	master_unlock(master);
}

static const char *why_not(int error)
{
	switch (error) {
	case -ENOMEM:
		return "out of memory";
	case -EBUSY:
		return "another client has got the whole tree for itself meanwhile";
	case -EUSERS:
		return "too many clients";
	case -EOVERFLOW:
		return "no session numbers are left";
	default:
		return "the master's store does not work";
	}
}

static void not_admitted(struct admission *admission, int error)
{
	client_session_refuse(admission->stream, -error, why_not(error));
	leases_admit_failed(admission->master->leases);
	admission_free(admission);
}

static void on_opened(struct command_call *call, int status)
{
	struct admission *admission = (struct admission *)call;

	if (status != 0) {
		/* It may be in the store: see client_leases_reconcile(). */
		not_admitted(admission, status == COMMAND_MAY_HAPPEN ? -EIO : status);
		return;
	}
	admission->session->id = call->result.session;
	admission->flush.index = call->index;
	command_log_flush(admission->master->log, &admission->flush);
}

static int propose_session(struct admission *admission)
{
	const char *mount = admission->stream->mount, *name = admission->stream->name;

	if (getrandom(&admission->secret, sizeof(admission->secret), 0) !=
	    sizeof(admission->secret))
		return -EIO;
	if (admission->secret == 0)
		admission->secret = 1; /* 0 means none in SessionOpen */
	admission->session = client_session_new(0, mount, name);
	if (admission->session == NULL)
		return -ENOMEM;
	admission->call.done = on_opened;
	admission->call.command = (struct log_command){
		.kind = COMMAND_SESSION_OPEN,
		.session_open = {.secret = admission->secret, .mount = mount, .name = name}};
	command_log_propose(admission->master->log, &admission->call);
	return 0;
}

static void admit(struct master *master, uint64_t waiter)
{
	struct admission *admission = calloc(1, sizeof(*admission));
	struct client_stream *stream;
	int rc;

	HASH_FIND(hh, master->waiting, &waiter, sizeof(waiter), stream);
	if (stream == NULL) {
		free(admission);
		leases_admit_failed(master->leases);
		return;
	}
	HASH_DEL(master->waiting, stream);
	stream->waiter = 0;
	if (admission == NULL) {
		client_session_refuse(stream, ENOMEM, "out of memory");
		leases_admit_failed(master->leases);
		return;
	}
	stream->refs++;
	*admission = (struct admission){
		.flush.done = on_admission_durable, .master = master, .stream = stream};
	rc = propose_session(admission);
	if (rc != 0)
		not_admitted(admission, rc);
}

/* ---- the end of a session ---- */

static void fence(struct master *master, uint64_t id)
{
	struct client_session *session = client_session_find(master, id);

	if (session != NULL)
		client_fences_begin(master, session);
	else /* closed already, but that was not durable */
		client_session_flush_close(master, id, command_log_applied(master->log));
}

/* ---- leases ---- */

struct granting {
	struct command_call call;
	struct command_flush flush;
	struct master *master;
	uint64_t session;
};

/* On the log's thread. */
static void on_grant_durable(struct command_flush *flush, int status)
{
	struct granting *granting =
		(struct granting *)((char *)flush - offsetof(struct granting, flush));
	struct master *master = granting->master;
	uint64_t now_ns = clock_boottime_ns();

	master_lock(master);
	if (status == 0)
		leases_granted(master->leases, granting->session, granting->call.result.generation);
	else
		leases_grant_failed(master->leases, granting->session, now_ns);
	if (!master->stopping)
		client_leases_act(master, now_ns);
	master_unlock(master);
	free(granting);
}

static void on_granted(struct command_call *call, int status)
{
	struct granting *granting = (struct granting *)call;

	if (status == 0) {
		granting->flush.index = call->index;
		command_log_flush(granting->master->log, &granting->flush);
		return;
	}
	leases_grant_failed(granting->master->leases, granting->session, clock_boottime_ns());
	free(granting);
}

static void grant(struct master *master, uint64_t session, uint64_t now_ns)
{
	struct granting *granting = calloc(1, sizeof(*granting));

	if (granting == NULL) {
		leases_grant_failed(master->leases, session, now_ns);
		return;
	}
	granting->call.done = on_granted;
	granting->call.command =
		(struct log_command){.kind = COMMAND_LEASE_GRANT, .session = session};
	granting->flush.done = on_grant_durable;
	granting->master = master;
	granting->session = session;
	command_log_propose(master->log, &granting->call);
}

struct lease_end {
	struct command_call call;
	struct master *master;
};

/* The next client is let in by a command behind this one, so this one needs no flush of its own. */
static void on_ended(struct command_call *call, int status)
{
	struct lease_end *lease_end = (struct lease_end *)call;
	struct master *master = lease_end->master;
	uint64_t now_ns = clock_boottime_ns();

	if (status == 0)
		leases_ended(master->leases, call->command.session, call->command.generation);
	else
		leases_end_failed(master->leases, call->command.session, now_ns);
	free(lease_end);
	if (status == 0 && !master->stopping)
		client_leases_act(master, now_ns);
}

static void end(struct master *master, const struct lease_action *action, uint64_t now_ns)
{
	struct lease_end *lease_end = calloc(1, sizeof(*lease_end));

	if (lease_end == NULL) {
		leases_end_failed(master->leases, action->id, now_ns);
		return;
	}
	lease_end->master = master;
	lease_end->call.done = on_ended;
	lease_end->call.command = (struct log_command){
		.kind = COMMAND_LEASE_END, .session = action->id, .generation = action->number};
	command_log_propose(master->log, &lease_end->call);
}

static void send_lease(struct master *master, unsigned field, const struct lease_action *action)
{
	struct client_session *session = client_session_find(master, action->id);
	Catena__Lease lease = CATENA__LEASE__INIT;
	struct push push = {0};

	if (session == NULL || session->stream == NULL)
		return;
	lease.kind = field == CLIENT_PUSH_GRANTS ? CATENA__LEASE_KIND__LEASE_EXCLUSIVE
						 : CATENA__LEASE_KIND__LEASE_NONE;
	lease.sequence = action->number;
	push_message(&push, field, &lease.base);
	client_send(session->stream, &push);
	push_free(&push);
	if (field == CLIENT_PUSH_RECALLS)
		log_info("sole lease recalled session=%llu", (unsigned long long)action->id);
}

/* ---- after a failure of the store ---- */

struct strangers {
	struct master *master;
	uint64_t ids[64];
	size_t count;
};

static int note_stranger(void *user, uint64_t id, const char *mount, const char *name)
{
	struct strangers *strangers = user;

	if (strangers->count < 64 && client_session_find(strangers->master, id) == NULL)
		strangers->ids[strangers->count++] = id;
	return 0;
}

void client_leases_reconcile(struct master *master)
{
	struct strangers strangers = {.master = master};
	uint64_t generation, holder = state_tree_lease(master->state, &generation);

	/* The end of a lease that was not durable: it has to be asked for once more. */
	if (holder != 0 && leases_holder(master->leases) != holder)
		leases_restore_lease(master->leases, holder, generation);
	/* Admissions that failed half-way: no client knows these sessions' secrets. Should there be
	 * more, the next start gives them up. */
	if (state_sessions(master->state, note_stranger, &strangers) != 0)
		return;
	for (size_t i = 0; i < strangers.count; i++)
		client_session_abandon(master, strangers.ids[i]);
}

void client_leases_retry(struct master *master)
{
	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next)
		if (s->close_failed) {
			s->close_failed = false;
			leases_close_failed(master->leases, s->id);
		}
}

void client_leases_act(struct master *master, uint64_t now_ns)
{
	lock_held(&master->lock);
	/* What leases do not look at meanwhile does not count as time. */
	if (!master_may_serve(master))
		return;
	struct lease_action action;

	while (leases_next(master->leases, now_ns, &action)) {
		switch (action.kind) {
		case LEASE_ACTION_ADMIT:
			admit(master, action.id);
			break;
		case LEASE_ACTION_GRANT:
			grant(master, action.id, now_ns);
			break;
		case LEASE_ACTION_TELL:
			send_lease(master, CLIENT_PUSH_GRANTS, &action);
			break;
		case LEASE_ACTION_END:
			end(master, &action, now_ns);
			break;
		case LEASE_ACTION_RECALL:
			send_lease(master, CLIENT_PUSH_RECALLS, &action);
			break;
		case LEASE_ACTION_FENCE:
			fence(master, action.id);
			break;
		}
	}
}
