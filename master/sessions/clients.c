/* clients.c - streams of clients: sessions are opened and resumed, and messages come in.
 *
 * A session opens:
 * 1. SessionOpen without a session comes on a new stream; the client waits (leases_arrive()).
 * 2. The leases admit it when the tree lease is back, and the log gets the session
 *    (client_leases.c).
 * 3. When that is durable, the client gets SessionOpened with id and secret, and the map.
 *
 * A session resumes:
 * 1. SessionOpen names a session and its secret; both are checked against the state.
 * 2. The old stream, if there is one, ends; the new one is the session's, and its time is renewed.
 * 3. The client sends again all requests without an answer. The state machine answers repetitions
 *    with their kept replies.
 *
 * Failures:
 * - The master hears its targets first, or has no map to show: the SessionOpen waits.
 * - The store is behind: the stream is refused, and so are all others.
 * - The session is fenced or closed: ESTALE. The client drops what it had and opens a new one.
 * - Answered commands are lost in a power cut: SessionOpened says "forgotten".
 * - A client does not read its stream, or breaks the protocol: the stream ends; the session stays
 *   until its time is over (leases/leases.h), then it is fenced (client_fences.c). */
#define LOG_MODULE "client"
#include "master/sessions/clients.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/os/lock.h"
#include "common/base/list.h"
#include "common/os/clock.h"
#include "common/os/log.h"
#include "master/chains/manager.h"
#include "master/cluster/publisher.h"
#include "master/leases/leases.h"
#include "master/sessions/client.h"
#include "master/sessions/client_appends.h"
#include "master/sessions/client_leases.h"
#include "master/sessions/client_requests.h"
#include "master/sessions/client_session.h"

#define MOUNT_TEXT_MAX 1024u
/* The client has an answer to all it has sent, and nothing left to send. */
#define GOODBYE_CLEAN 1u
/* Servers that a client may complain of in one message. */
#define UNREACHABLE_MAX 64u

static struct log_rate noise;

/* ---- small things ---- */

/* ---- beginning ---- */

static void resume(struct client_stream *stream, const Catena__SessionOpen *open, uint64_t now_ns)
{
	struct master *master = stream->master;
	struct client_session *session = client_session_find(master, open->session_id);
	int rc = command_log_error(master->log);
	uint64_t done;

	if (rc != 0) {
		client_session_refuse(stream, -rc, "the master's store does not work");
		return;
	}
	rc = state_session_check(master->state, open->session_id, open->session_secret);
	if (session == NULL || session->ending || rc == -ENOENT) {
		client_session_refuse(stream, ESTALE, "the session is gone");
		return;
	}
	if (rc != 0 || strcmp(session->name, stream->name) != 0) {
		client_session_refuse(stream, EACCES, "this is another client's session");
		return;
	}
	done = state_session_done(master->state, session->id);
	if (open->answered > done)
		log_error("commands are lost that were answered and not flushed session=%llu "
			  "name=%s answered=%llu done=%llu: did this machine lose its power?",
			  (unsigned long long)session->id, session->name,
			  (unsigned long long)open->answered, (unsigned long long)done);
	client_session_attach(session, stream, open->session_secret, open->answered > done, now_ns);
	leases_resume(master->leases, session->id, now_ns);
	log_info("session resumed session=%llu name=%s mount=%s", (unsigned long long)session->id,
		 session->name, session->mount);
}

static void arrive(struct client_stream *stream, const Catena__SessionOpen *open)
{
	struct master *master = stream->master;
	int rc;

	stream->mount = strndup(open->mount, MOUNT_TEXT_MAX);
	if (stream->mount == NULL) {
		client_session_refuse(stream, ENOMEM, "out of memory");
		return;
	}
	stream->waiter = ++master->next_waiter;
	rc = leases_arrive(master->leases, stream->waiter);
	if (rc != 0) {
		stream->waiter = 0;
		client_session_refuse(stream, -rc,
				      rc == -EUSERS ? "too many clients" : strerror(-rc));
		return;
	}
	HASH_ADD(hh, master->waiting, waiter, sizeof(stream->waiter), stream);
}

/* Keeps a SessionOpen that is answered when the master may serve. */
static void wait_for_hearing(struct client_stream *stream, const Catena__SessionOpen *open)
{
	stream->early_size = catena__session_open__get_packed_size(open);
	stream->early = malloc(stream->early_size + 1);
	if (stream->early == NULL) {
		client_session_refuse(stream, ENOMEM, "out of memory");
		return;
	}
	catena__session_open__pack(open, stream->early);
	DL_APPEND(stream->master->early, stream);
}

static void forget_early(struct client_stream *stream)
{
	if (stream->early == NULL)
		return;
	DL_DELETE(stream->master->early, stream);
	free(stream->early);
	stream->early = NULL;
}

/* False: the client does what no client may do. */
static bool open_session(struct client_stream *stream, const Catena__SessionOpen *open,
			 uint64_t now_ns)
{
	struct master *master = stream->master;

	if (stream->session != NULL || stream->waiter != 0 || stream->early != NULL)
		return false;
	if (master->behind[0] != '\0') {
		client_session_refuse(stream, MASTER_ERROR_BEHIND, master->behind);
		return true;
	}
	/* A new mount needs a map: without one it could find no file. */
	if (!master_may_serve(master) || (open->session_id == 0 && master->published.hidden)) {
		wait_for_hearing(stream, open);
		return true;
	}
	if (open->protocol != MASTER_PROTOCOL) {
		client_session_refuse(stream, EPROTONOSUPPORT, "the master speaks protocol 1");
	} else if (open->cluster[0] != '\0' &&
		   strcmp(open->cluster, state_cluster(master->state)) != 0) {
		client_session_refuse(stream, EXDEV, "this is the master of another cluster");
	} else if (open->instance != 0 && open->instance != state_instance(master->state)) {
		client_session_refuse(
			stream, EXDEV,
			"the cluster was made anew (catena-master --init) since this was "
			"mounted: unmount and mount again");
	} else if (!id_is_ours(open->session_id)) {
		client_session_refuse(
			stream, EINVAL,
			"the session is one of another group of masters: this master knows "
			"of none");
	} else if (open->session_id != 0) {
		resume(stream, open, now_ns);
	} else {
		arrive(stream, open);
	}
	return true;
}

/* ---- messages ---- */

static void renew(struct client_stream *stream, const Catena__ClientBatch *batch, struct push *push,
		  uint64_t now_ns)
{
	for (size_t i = 0; i < batch->n_renews; i++)
		if (leases_renew(stream->master->leases, stream->session->id, now_ns))
			push_message(push, CLIENT_PUSH_RENEWED, &batch->renews[i]->base);
	/* A client that has sent nothing since hears by this that all is durable. */
	if (batch->n_renews != 0)
		client_requests_push_done(stream->master, 0, push);
}

static void give_back(struct client_stream *stream, const Catena__ClientBatch *batch)
{
	for (size_t i = 0; i < batch->n_returns; i++)
		if (batch->returns[i]->ino == 0 &&
		    batch->returns[i]->kind == CATENA__LEASE_KIND__LEASE_NONE)
			leases_return(stream->master->leases, stream->session->id,
				      batch->returns[i]->sequence);
}

/* The next command tells the state machine. */
static void note_answered(struct client_session *session, const Catena__ClientBatch *batch)
{
	for (size_t i = 0; i < batch->n_answered; i++)
		if (batch->answered[i] > session->answered)
			session->answered = batch->answered[i];
}

static void say_goodbye(struct client_stream *stream, uint32_t how)
{
	if (how == GOODBYE_CLEAN)
		client_session_close(stream->master, stream->session, "goodbye");
	else
		leases_fence(stream->master->leases, stream->session->id);
}

static bool only_requests(const Catena__ClientBatch *batch)
{
	return batch->n_open + batch->n_renews + batch->n_returns + batch->n_unreachable +
		       batch->n_goodbye ==
	       0;
}

/* False: the client does what no client may do. */
static bool handle(struct client_stream *stream, struct client_message *message, struct push *push)
{
	const Catena__ClientBatch *batch = message->batch;
	uint64_t now_ns = clock_boottime_ns();

	for (size_t i = 0; i < batch->n_open; i++)
		if (!open_session(stream, batch->open[i], now_ns))
			return false;
	if (stream->session == NULL)
		return batch->n_requests == 0 && batch->n_returns == 0 && batch->n_renews == 0;
	note_answered(stream->session, batch);
	client_requests(stream, message, now_ns);
	if (only_requests(batch))
		return true;
	/* What is sent below, a recall for example, comes behind the answers. */
	command_log_turn(stream->master->log);
	if (stream->session == NULL)
		return true;
	renew(stream, batch, push, now_ns);
	give_back(stream, batch);
	for (size_t i = 0; i < batch->n_unreachable && i < UNREACHABLE_MAX; i++)
		chain_manager_client_unreachable(stream->master->chain_manager, stream->session->id,
						 batch->unreachable[i], now_ns);
	if (batch->n_goodbye != 0)
		say_goodbye(stream, batch->goodbye[0]);
	return true;
}

static void on_message(void *stream_user, struct rpc_stream *rpc, const uint8_t *data, size_t size)
{
	struct client_stream *stream = stream_user;
	struct master *master = stream->master;
	struct client_message *message;
	struct push push = {0};
	bool orderly = false, within_turn = false, over;
	int rc = client_message_new(data, size, &message);

	if (rc != 0) {
		if (log_rate_ok(&noise, 5))
			log_warn("what a client sent cannot be decoded name=%s bytes=%zu "
				 "error=\"%s\"",
				 stream->name, size, strerror(-rc));
		rpc_stream_close(rpc);
		return;
	}
	master_lock(master);
	over = stream->over || stream->ended;
	if (stream->session != NULL && master->behind[0] != '\0') {
		rpc_stream_close(rpc);
		over = true;
	}
	if (!over) {
		const Catena__ClientBatch *batch = message->batch;

		orderly = handle(stream, message, &push);
		within_turn = only_requests(batch);
		if (batch->n_open + batch->n_renews + batch->n_returns + batch->n_goodbye != 0)
			client_leases_act(master, clock_boottime_ns());
	}
	client_message_unref(message);
	if (within_turn)
		master_unlock_within_turn(master);
	else
		master_unlock(master);
	/* On this thread the stream cannot be closed meanwhile. */
	client_send(stream, &push);
	push_free(&push);
	if (!orderly && !over) {
		if (log_rate_ok(&noise, 5))
			log_warn("a client breaks the protocol name=%s", stream->name);
		rpc_stream_close(rpc);
	}
}

/* ---- the stream's life ---- */

static int on_open(void *server_user, struct rpc_stream *rpc, const struct tls_identity *peer,
		   void **stream_user)
{
	struct master *master = server_user;
	struct client_stream *stream;

	if (peer->role != TLS_ROLE_CLIENT || strcmp(peer->cluster, master->self.cluster) != 0) {
		if (log_rate_ok(&noise, 5))
			log_warn("session refused name=%s role=%s cluster=%s reason=\"not a client "
				 "of "
				 "this cluster\"",
				 peer->name, tls_role_name(peer->role), peer->cluster);
		return -EACCES;
	}
	stream = calloc(1, sizeof(*stream));
	if (stream == NULL)
		return -ENOMEM;
	stream->master = master;
	stream->rpc = rpc;
	stream->refs = 1;
	snprintf(stream->name, sizeof(stream->name), "%s", peer->name);
	*stream_user = stream;
	return 0;
}

static void on_closed(void *stream_user, struct rpc_stream *rpc, int error)
{
	struct client_stream *stream = stream_user;
	struct master *master = stream->master;

	master_lock(master);
	stream->over = true;
	client_appends_forget(stream);
	forget_early(stream);
	if (stream->waiter != 0) {
		leases_depart(master->leases, stream->waiter);
		HASH_DEL(master->waiting, stream);
		stream->waiter = 0;
	}
	if (stream->session != NULL) {
		stream->session->stream = NULL;
		leases_disconnect(master->leases, stream->session->id, clock_boottime_ns());
		log_info("disconnected session=%llu name=%s error=\"%s\"",
			 (unsigned long long)stream->session->id, stream->name,
			 rpc_strerror(error));
		stream->session = NULL;
	}
	if (!master->stopping)
		client_leases_act(master, clock_boottime_ns());
	client_stream_unref(stream);
	master_unlock(master);
}

const struct rpc_stream_handler client_stream_handler = {
	.open = on_open,
	.message = on_message,
	.closed = on_closed,
};

void clients_heard(struct master *master, uint64_t now_ns)
{
	/* Some may have to wait on, behind the last. */
	struct client_stream *last = master->early == NULL ? NULL : master->early->prev, *next;

	for (struct client_stream *stream = master->early; stream != NULL; stream = next) {
		Catena__SessionOpen *open =
			catena__session_open__unpack(NULL, stream->early_size, stream->early);

		next = stream == last ? NULL : stream->next;
		forget_early(stream);
		if (open == NULL)
			client_session_refuse(stream, ENOMEM, "out of memory");
		else
			(void)open_session(stream, open, now_ns);
		catena__session_open__free_unpacked(open, NULL);
	}
	client_leases_act(master, now_ns);
}

void clients_turn_away(struct master *master)
{
	struct client_stream *stream, *next, *hashed;

	DL_FOREACH_SAFE(master->early, stream, next)
	{
		forget_early(stream);
		client_session_refuse(stream, MASTER_ERROR_BEHIND, master->behind);
	}
	HASH_ITER(hh, master->waiting, stream, hashed)
	{
		rpc_stream_close(stream->rpc);
	}
	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next)
		if (s->stream != NULL)
			rpc_stream_close(s->stream->rpc);
}

void clients_push_map(struct master *master)
{
	struct push push = {0};

	lock_held(&master->lock);
	push_bytes(&push, CLIENT_PUSH_MAPS, master->published.encoded,
		   master->published.encoded_size);
	for (struct client_session *s = master->clients; s != NULL; s = s->hh.next)
		if (s->stream != NULL)
			client_send(s->stream, &push);
	push_free(&push);
}

/* ---- at start and at the end ---- */

static int load_one(void *user, uint64_t id, const char *mount, const char *name)
{
	struct master *master = user;
	struct client_session *session = client_session_new(id, mount, name);
	int rc;

	if (session == NULL)
		return -ENOMEM;
	rc = leases_restore(master->leases, id, state_session_is_fenced(master->state, id),
			    clock_boottime_ns());
	if (rc != 0) {
		client_session_free(session);
		return rc;
	}
	HASH_ADD(hh, master->clients, id, sizeof(session->id), session);
	return 0;
}

int clients_load(struct master *master)
{
	uint64_t generation, holder = state_tree_lease(master->state, &generation);
	int rc = state_sessions(master->state, load_one, master);

	if (rc == 0 && holder != 0)
		leases_restore_lease(master->leases, holder, generation);
	return rc;
}

void clients_free(struct master *master)
{
	struct client_session *session, *next;

	HASH_ITER(hh, master->clients, session, next)
	{
		HASH_DEL(master->clients, session);
		client_session_free(session);
	}
}
