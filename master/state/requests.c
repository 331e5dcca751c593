/* requests.c - requests of clients, each executed exactly once.
 *
 * A name command, from the stream to the store and its answer:
 * 1. sessions/clients.c decodes a batch of the client's stream, and takes the state lock.
 * 2. sessions/client_requests.c proposes each command to the log, in the order sent. Only requests
 *    for the right to append may wait beside it (sessions/client_appends.c).
 * 3. At the end of the turn the log gives each command the next index, and state_apply_request()
 *    applies it.
 * 4. Session, id and lease generation are checked, and the transaction begins.
 * 5. A function of namespace/ reads inodes and entries, checks the rules, and changes its copies.
 * 6. The reply is encoded. Changed records, reply and index go into the batch of the turn; caches and
 *    tables follow. The log writes the batch, unflushed.
 * 7. client_requests.c sends the reply, at once or, if the request wants that, when it is durable.
 * 8. The client says what it has received; the replies are forgotten with its next command.
 *
 * Most commands of a mount are of its lane: its programs have their answers already, so these
 * commands have consecutive numbers instead of replies. The reply of one that is refused is kept
 * like others; of the rest only how far the lane is done. The client keeps them until they are
 * durable, and sends them again in the next stream: a power cut leaves no gap.
 *
 * Failures:
 * - A rule refuses the request: the transaction is emptied, and only the reply is written.
 * - The request comes twice: the kept reply is the answer. If that is forgotten: -EALREADY. One of
 *   the lane is recognised by its number.
 * - The store has lost commands of the lane that came before: nothing is done, and the stream ends,
 *   so that the client sends them again.
 * - The session is fenced, or the lease has ended under which it was answered early: -ESTALE.
 * - A record is damaged: nothing is done, and the log refuses the command with EIO by an entry of its own,
 *   which holds for masters whose record is fine, too. The log of the program says so.
 * - The store fails: memory is read anew, and the command log opens the store again. Whether the
 *   batch is in it is not known: the stream ends, and the client sends again what it has no answer
 *   to. While the store is down, commands get its error.
 * - A power cut takes the tail of the log: the client sends again what it has kept. At resume the
 *   session hears if others are lost that were answered (state_session_done()). Commands that were
 *   to be durable are not answered before. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "common/cluster/request_kind.h"
#include "master/namespace/namespace.h"
#include "master/records/core.h"
#include "master/state/state.h"
#include "master/state/tree_lease.h"

bool state_request_is_command(const Catena__Request *request)
{
	return request_kind_is_command(request);
}

bool state_request_grows(const Catena__Request *request)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_CREATE:
		return request->create->ino == 0; /* else room was promised with the number */
	case CATENA__REQUEST__OP_LINK:
	case CATENA__REQUEST__OP_DELEGATE:
		return true;
	case CATENA__REQUEST__OP_XATTR:
		return request->xattr->op == XATTR_OP_SET;
	default:
		return false;
	}
}

static int run_command(struct txn *txn, const Catena__Request *request, struct reply_room *room)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_SETATTR:
		return namespace_setattr(txn, request->setattr, room);
	case CATENA__REQUEST__OP_CREATE:
		return namespace_create(txn, request->create, room);
	case CATENA__REQUEST__OP_LINK:
		return namespace_link(txn, request->link, room);
	case CATENA__REQUEST__OP_UNLINK:
		return namespace_unlink(txn, request->unlink, room);
	case CATENA__REQUEST__OP_RENAME:
		return namespace_rename(txn, request->rename, room);
	case CATENA__REQUEST__OP_OPEN:
		return namespace_open(txn, request->open, room);
	case CATENA__REQUEST__OP_CLOSE:
		return namespace_close(txn, request->close, room);
	case CATENA__REQUEST__OP_XATTR:
		return namespace_xattr(txn, request->xattr, room);
	case CATENA__REQUEST__OP_DELEGATE:
		return namespace_delegate(txn, request->delegate, room);
	case CATENA__REQUEST__OP_APPEND:
		return namespace_append(txn, request->append, room);
	default:
		return -EINVAL;
	}
}

static int run_query(struct txn *txn, const Catena__Request *request, struct reply_room *room)
{
	switch (request->op_case) {
	case CATENA__REQUEST__OP_LOOKUP:
		return namespace_lookup(txn, request->lookup, room);
	case CATENA__REQUEST__OP_GETATTR:
		return namespace_getattr(txn, request->getattr, room);
	case CATENA__REQUEST__OP_READLINK:
		return namespace_readlink(txn, request->readlink, room);
	case CATENA__REQUEST__OP_READDIR:
		return namespace_readdir(txn, request->readdir, room);
	case CATENA__REQUEST__OP_XATTR:
		return namespace_xattr(txn, request->xattr, room);
	case CATENA__REQUEST__OP_STATFS:
		return namespace_statfs(txn, room);
	case CATENA__REQUEST__OP_FLUSH_ALL:
		return 0; /* what it waits for is the log's business */
	default:
		return -EINVAL;
	}
}

/* What is kept of a request to answer its repetition: the reply, which is in answer->reply, or
 * NULL. @through: the session has all replies up to here. */
static void batch_outcome(struct txn *txn, const Catena__Request *request, uint64_t through,
			  const struct state_answer *answer)
{
	uint8_t key[16];

	if (answer->reply != NULL) {
		key_u64_u64(key, txn->session->id, request->id);
		kv_batch_put(txn->batch, FAMILY_REPLIES, key, sizeof(key), answer->reply,
			     answer->reply_size);
	}
	if (request->lane != 0)
		session_batch_lane(txn->batch, txn->session, request->lane);
	session_batch_prune(txn->batch, txn->session, through);
}

/* The same in memory. */
static void note_outcome(struct txn *txn, const Catena__Request *request,
			 const struct state_answer *answer)
{
	struct session *session = txn->session;

	session_pruned(session);
	if (request->lane != 0)
		session->lane_done = request->lane;
	if (answer->reply != NULL &&
	    session_keep_reply(session, request->id, answer->reply, answer->reply_size) != 0)
		txn->state->stale = true;
}

/* Effects, outcome and index in one batch, or nothing. @through: as at is_settled(). @refusal: it is
 * known before that the command is refused with this error. */
static int apply_new(struct txn *txn, uint64_t index, const Catena__Request *request,
		     uint64_t through, int refusal, struct state_answer *answer)
{
	struct reply_room room;
	int rc;

	expects(txn->session != NULL && !txn->session->fenced);
	expects(request->id > through);
	reply_begin(&room, request->id);
	rc = refusal != 0 ? refusal : run_command(txn, request, &room);
	if (txn->store_error != 0) {
		free(room.owned);
		return txn->store_error;
	}
	if (txn->damaged) {
		free(room.owned);
		return -EUCLEAN;
	}
	if (rc != 0) {
		txn_reset(txn);
		room.reply.error = -rc;
	}
	if (request->lane == 0 || rc != 0)
		rc = reply_pack(&room, &answer->reply, &answer->reply_size);
	else
		free(room.owned);
	if (rc != 0)
		return rc;
	batch_outcome(txn, request, through, answer);
	rc = txn_commit(txn, index);
	if (rc != 0) {
		free(answer->reply);
		*answer = (struct state_answer){0};
		return rc;
	}
	note_outcome(txn, request, answer);
	answer->lane = request->lane;
	return 0;
}

/* True when the request has been done before; then *answer is that of the first time, or there is
 * an error. */
static bool answered_before(const struct session *session, const Catena__Request *request,
			    uint64_t through, struct state_answer *answer, int *rc)
{
	const struct kept_reply *kept = session_reply(session, request->id);

	if (kept != NULL && request->id > through) {
		answer->reply = malloc(kept->size == 0 ? 1 : kept->size);
		if (answer->reply == NULL) {
			*rc = -ENOMEM;
			return true;
		}
		memcpy(answer->reply, kept->data, kept->size);
		answer->reply_size = kept->size;
		answer->lane = request->lane;
		return true;
	}
	if (request->lane != 0 && request->lane <= session->lane_done) {
		answer->lane = request->lane;
		return true;
	}
	/* A copy of a request that came so late that its answer is forgotten: it must not be done
	 * again, and nobody waits for the answer. */
	if (request->id <= through) {
		*rc = reply_error(request->id, -EALREADY, &answer->reply, &answer->reply_size);
		return true;
	}
	return false;
}

/* The error with which a new request is refused before it is looked at; 0: it is not. */
static int refusal_of(const struct state *state, const struct session *session,
		      const struct state_request *request, uint64_t through)
{
	/* No lease comes again with its generation, so a repetition gets the same answer. */
	if (!tree_lease_allows(state, session, request->message->lease_generation))
		return -ESTALE;
	if (session_replies_above(session, through) >= REPLIES_MAX)
		return -ENOBUFS;
	return request->no_space && state_request_grows(request->message) ? -ENOSPC : 0;
}

/* Looks whether the request must not be done: then *answer or an error says why. Else *session is its
 * session, it comes next, and the session has all replies up to *through: by the store or by the
 * request itself, not by what an earlier one said that has left nothing in the store. */
static bool is_settled(struct state *state, const struct state_request *request,
		       struct session **session, uint64_t *through, struct state_answer *answer,
		       int *rc)
{
	const Catena__Request *message = request->message;

	*answer = (struct state_answer){0};
	*rc = core_ready(state);
	if (*rc != 0)
		return true;
	*session = session_find(state, request->session);
	if (*session == NULL || (*session)->fenced) {
		*rc = reply_error(message->id, -ESTALE, &answer->reply, &answer->reply_size);
		return true;
	}
	*through = (*session)->answered;
	if (request->answered > *through && request->answered != UINT64_MAX)
		*through = request->answered;
	if (answered_before(*session, message, *through, answer, rc))
		return true;
	if (message->lane != 0 && message->lane != (*session)->lane_done + 1)
		*rc = -EPROTO;
	return *rc != 0;
}

int state_apply_request(struct state *state, uint64_t index, const struct state_request *request,
			struct state_answer *answer)
{
	const Catena__Request *message = request->message;
	struct session *session;
	uint64_t through;
	int rc, refusal;

	if (is_settled(state, request, &session, &through, answer, &rc))
		return rc;
	refusal = refusal_of(state, session, request, through);
	/* Others may be refused again, or done, when they are repeated; the lane goes on behind. */
	if (refusal != 0 && message->lane == 0)
		return reply_error(message->id, refusal, &answer->reply, &answer->reply_size);
	if (refusal == -ENOBUFS)
		return -EPROTO;
	return apply_new(txn_begin(state, session, message->time), index, message, through, refusal,
			 answer);
}

int state_apply_refused(struct state *state, uint64_t index, const struct state_refusal *refusal,
			struct state_answer *answer)
{
	Catena__Request message = CATENA__REQUEST__INIT;
	struct state_request request = {
		.session = refusal->session, .answered = refusal->answered, .message = &message};
	struct session *session;
	uint64_t through;
	int rc;

	if (refusal->error <= 0 || refusal->error > STATE_REFUSAL_MAX)
		return -EINVAL;
	message.id = refusal->request;
	message.lane = refusal->lane;
	if (is_settled(state, &request, &session, &through, answer, &rc))
		return rc;
	return apply_new(txn_begin(state, session, 0), index, &message, through, -refusal->error,
			 answer);
}

int state_query(struct state *state, uint64_t session_id, const Catena__Request *request,
		uint8_t **reply, size_t *reply_size)
{
	struct session *session;
	struct reply_room room;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, session_id);
	txn = txn_begin(state, session, request->time);
	reply_begin(&room, request->id);
	rc = session == NULL || session->fenced ? -ESTALE : run_query(txn, request, &room);
	if (txn->store_error != 0) {
		free(room.owned);
		return txn->store_error;
	}
	room.reply.error = -rc;
	return reply_pack(&room, reply, reply_size);
}

uint64_t state_append_holder(const struct state *state, uint64_t ino)
{
	return append_holder(state, ino);
}
