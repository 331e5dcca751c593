/* append.c - the right to append: which session alone may write behind a file's end.
 *
 * A mount that appends gets the right, and with it the file's size; writes there; then tells the
 * new size and gives the right back, in one request. So two mounts never append at the same place.
 * The right is part of the state, since whoever has it must keep it over a restart of the master;
 * it ends with its session, which is when nothing of it can come to the chunkservers any more. Who
 * waits for it is not part of the state (client_appends.c). */
#include <errno.h>
#include <stdlib.h>
#include "common/base/bytes.h"
#include "master/state/internal.h"

#define APPEND_FORMAT 1
/* Of one session: a mount has one for each file that a program of its is appending to. */
#define APPENDS_MAX 65536u

static struct append_right *find(const struct state *state, uint64_t ino)
{
	struct append_right *right;

	HASH_FIND(hh, state->appends, &ino, sizeof(ino), right);
	return right;
}

uint64_t state_append_holder(const struct state *state, uint64_t ino)
{
	const struct append_right *right = find(state, ino);

	return right == NULL ? 0 : right->session->id;
}

static int put(struct state *state, uint64_t ino, struct session *session)
{
	struct append_right *right = malloc(sizeof(*right));

	if (right == NULL)
		return -ENOMEM;
	*right = (struct append_right){.ino = ino, .session = session};
	HASH_ADD(hh, state->appends, ino, sizeof(right->ino), right);
	session->appends++;
	return 0;
}

static void drop(struct state *state, struct append_right *right)
{
	right->session->appends--;
	HASH_DEL(state->appends, right);
	free(right);
}

/* ---- requests ---- */

int op_append(struct txn *txn, const Catena__AppendReq *req, struct reply_room *room)
{
	uint64_t holder = state_append_holder(txn->state, req->ino);
	struct inode *inode;
	int rc;

	if (req->release) {
		append_release(txn, req->ino);
		return 0;
	}
	rc = txn_inode(txn, req->ino, &inode);
	if (rc != 0)
		return rc;
	if (!inode_is(inode, S_IFREG))
		return -EINVAL;
	reply_attr(&room->attr, inode, &room->reply.attr);
	if (holder == txn->session->id)
		return 0;
	if (holder != 0)
		return -EAGAIN;
	if (txn->session->appends >= APPENDS_MAX)
		return -ENFILE;
	/* Who writes takes a program's capabilities away (capabilities(7)). The kernel of this
	 * mount leaves that to us: it passes its pages by. */
	rc = xattr_drop_capabilities(txn, inode);
	if (rc != 0)
		return rc;
	reply_attr(&room->attr, inode, &room->reply.attr);
	txn->append = (struct txn_append){.changed = true, .taken = true, .ino = req->ino};
	return 0;
}

void append_release(struct txn *txn, uint64_t ino)
{
	if (state_append_holder(txn->state, ino) == txn->session->id)
		txn->append = (struct txn_append){.changed = true, .ino = ino};
}

bool append_elsewhere(const struct txn *txn, uint64_t ino)
{
	uint64_t holder = state_append_holder(txn->state, ino);

	return holder != 0 && holder != txn->session->id;
}

/* ---- the batch, and then the memory ---- */

static void batch_put(struct kv_batch *batch, uint64_t ino, uint64_t session)
{
	uint8_t key[META_KEY_MAX], value[9] = {APPEND_FORMAT};

	put_le64(value + 1, session);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_APPEND, ino), value,
		     sizeof(value));
}

static void batch_delete(struct kv_batch *batch, uint64_t ino)
{
	uint8_t key[META_KEY_MAX];

	kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_APPEND, ino));
}

void append_batch(struct txn *txn)
{
	if (!txn->append.changed)
		return;
	if (txn->append.taken)
		batch_put(txn->batch, txn->append.ino, txn->session->id);
	else
		batch_delete(txn->batch, txn->append.ino);
}

void append_tell_memory(struct txn *txn)
{
	struct append_right *right;

	if (!txn->append.changed)
		return;
	right = find(txn->state, txn->append.ino);
	if (right != NULL)
		drop(txn->state, right);
	if (txn->append.taken && put(txn->state, txn->append.ino, txn->session) != 0)
		txn->state->stale = true;
}

void append_batch_close(struct txn *txn, const struct session *session)
{
	for (struct append_right *right = txn->state->appends; right != NULL;
	     right = right->hh.next)
		if (right->session == session)
			batch_delete(txn->batch, right->ino);
}

void append_closed(struct state *state, const struct session *session)
{
	struct append_right *right, *next;

	HASH_ITER(hh, state->appends, right, next)
	{
		if (right->session == session)
			drop(state, right);
	}
}

/* ---- at start ---- */

static int load(struct state *state, uint64_t ino, const uint8_t *value, size_t size)
{
	struct session *session;

	if (size != 9 || value[0] != APPEND_FORMAT)
		return -EUCLEAN;
	session = session_find(state, get_le64(value + 1));
	return session == NULL ? -EUCLEAN : put(state, ino, session);
}

int appends_load(struct state *state)
{
	static const uint8_t start = META_APPEND, end = META_APPEND + 1;
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = kv_iter_open(state->kv, FAMILY_META, &start, 1, &end, 1, &iter);

	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		rc = key_size == 9 ? load(state, get_be64(key + 1), value, size) : -EUCLEAN;
		if (rc != 0)
			break;
	}
	kv_iter_free(iter);
	return rc;
}

void appends_unload(struct state *state)
{
	struct append_right *right, *next;

	HASH_ITER(hh, state->appends, right, next)
	{
		drop(state, right);
	}
}
