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
 * Failures:
 * - A rule refuses the request: the transaction is emptied, and only the reply is written.
 * - The request comes twice: the kept reply is the answer. If that is forgotten: -EALREADY.
 * - The session is fenced, or the lease has ended under which it was answered early: -ESTALE.
 * - A record is damaged: the request gets -EIO, and the log of the program says so.
 * - The store fails: memory is read anew, and the command log opens the store again. Whether the
 *   batch is in it is not known: the stream ends, and the client sends again what it has no answer
 *   to. While the store is down, commands get its error.
 * - A power cut takes the tail of the log: at resume the session hears that answered commands are
 *   lost (state_session_done()). Commands that were to be durable are not answered before. */
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

/* Effects, reply and index in one batch, or nothing. */
static int apply_new(struct txn *txn, uint64_t index, const Catena__Request *request,
		     uint8_t **reply, size_t *reply_size)
{
	struct session *session = txn->session;
	struct reply_room room;
	uint8_t key[16], *packed;
	size_t size;
	int rc;

	expects(session != NULL && !session->fenced);
	expects(request->id > session->answered);
	reply_begin(&room, request->id);
	rc = run_command(txn, request, &room);
	if (txn->store_error != 0) {
		free(room.owned);
		return txn->store_error;
	}
	if (rc != 0) {
		txn_reset(txn);
		room.reply.error = -rc;
	}
	rc = reply_pack(&room, &packed, &size);
	if (rc != 0)
		return rc;
	key_u64_u64(key, session->id, request->id);
	kv_batch_put(txn->batch, FAMILY_REPLIES, key, sizeof(key), packed, size);
	session_batch_prune(txn->batch, session);
	rc = txn_commit(txn, index);
	if (rc != 0) {
		free(packed);
		return rc;
	}
	session_pruned(session);
	if (session_keep_reply(session, request->id, packed, size) != 0)
		txn->state->stale = true;
	*reply = packed;
	*reply_size = size;
	return 0;
}

int state_apply_request(struct state *state, uint64_t index, uint64_t session_id, uint64_t answered,
			const Catena__Request *request, uint8_t **reply, size_t *reply_size)
{
	const struct kept_reply *kept;
	struct session *session;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, session_id);
	if (session == NULL || session->fenced)
		return reply_error(request->id, -ESTALE, reply, reply_size);
	if (answered > session->answered && answered != UINT64_MAX)
		session_answered(session, answered);
	kept = session_reply(session, request->id);
	if (kept != NULL) {
		uint8_t *copy = malloc(kept->size == 0 ? 1 : kept->size);

		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, kept->data, kept->size);
		*reply = copy;
		*reply_size = kept->size;
		return 0;
	}
	/* A copy of a request that came so late that its answer is forgotten: it must not be done
	 * again, and nobody waits for the answer. */
	if (request->id <= session->answered)
		return reply_error(request->id, -EALREADY, reply, reply_size);
	/* No lease comes again with its generation, so a repetition gets the same answer. */
	if (!tree_lease_allows(state, session, request->lease_generation))
		return reply_error(request->id, -ESTALE, reply, reply_size);
	if (session_reply_count(session) >= REPLIES_MAX)
		return reply_error(request->id, -ENOBUFS, reply, reply_size);
	return apply_new(txn_begin(state, session, request->time), index, request, reply,
			 reply_size);
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
