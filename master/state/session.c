/* session.c - sessions of clients begin, are answered, and end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/expects.h"
#include "master/namespace/entry.h"
#include "master/records/core.h"
#include "master/state/fenced.h"
#include "master/state/state.h"
#include "master/state/tree_lease.h"

uint64_t state_session_done(const struct state *state, uint64_t id)
{
	const struct session *session = session_find(state, id);
	uint64_t kept;

	if (session == NULL)
		return 0;
	/* A reply is forgotten only with a later one: the newest is always there. */
	kept = session_last_reply(session);
	return kept > session->answered ? kept : session->answered;
}

int state_apply_session_open(struct state *state, uint64_t index, uint64_t secret,
			     const char *mount, const char *name, uint64_t *id)
{
	struct session *session;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	if (strlen(mount) > SESSION_TEXT_MAX || strlen(name) > SESSION_TEXT_MAX)
		return -EINVAL;
	if (state->lease.session != 0)
		return -EBUSY;
	if (HASH_COUNT(state->sessions) >= STATE_SESSIONS_MAX)
		return -EUSERS;
	txn = txn_begin(state, NULL, 0);
	if (!id_has_room(txn->counters.next_session, 1))
		return -EOVERFLOW;
	*id = txn->counters.next_session++;
	expects(session_find(state, *id) == NULL);
	session = session_new(*id, secret, mount, name);
	if (session == NULL)
		return -ENOMEM;
	session_batch_put(txn->batch, session);
	rc = txn_commit(txn, index);
	if (rc != 0) {
		session_free(session);
		return rc;
	}
	session_add(state, session);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Gives the numbers of the inodes that only this session has open, ascending: the order in which it
 * opened them is not in the store, and a replica that was started since does not know it. */
static size_t opened_alone(const struct state *state, const struct session *session, uint64_t *out)
{
	const struct open_file *file;
	size_t count = 0;

	for (file = session->opens; file != NULL; file = file->hh.next)
		if (session_open_total(state, file->ino) <= file->count)
			out[count++] = file->ino;
	qsort(out, count, sizeof(*out), by_number);
	return count;
}

/* Frees those of the @count inodes that are orphans, but for @left; their numbers are left in @inos. */
static int free_orphans(struct txn *txn, uint64_t *inos, size_t count, const uint64_t *left,
			size_t left_count, size_t *freed_count)
{
	*freed_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct inode_record inode;
		int rc;

		if (left_count != 0 &&
		    bsearch(&inos[i], left, left_count, sizeof(*left), by_number) != NULL)
			continue;
		rc = txn_read_inode(txn, inos[i], &inode);
		if (txn->store_error != 0)
			return rc;
		if (txn->damaged)
			return -EUCLEAN;
		if (rc != 0 || inode.nlink != 0)
			continue;
		entry_orphan_gone(txn, inode.ino);
		txn_free_records(txn, &inode, inode.size);
		inos[(*freed_count)++] = inode.ino;
	}
	return 0;
}

int state_session_damaged(struct state *state, uint64_t id, uint64_t **out, size_t *count)
{
	struct session *session = session_find(state, id);
	struct txn *txn;
	uint64_t *inos;
	size_t opened;

	if (session == NULL)
		return -ENOENT;
	inos = malloc((HASH_COUNT(session->opens) + 1) * sizeof(*inos));
	if (inos == NULL)
		return -ENOMEM;
	opened = opened_alone(state, session, inos);
	txn = txn_begin(state, NULL, 0);
	*count = 0;
	for (size_t i = 0; i < opened; i++) {
		struct inode_record inode;
		int rc;

		txn->damaged = false;
		rc = txn_read_inode(txn, inos[i], &inode);
		if (txn->store_error != 0) {
			free(inos);
			return rc;
		}
		if (txn->damaged)
			inos[(*count)++] = inos[i];
	}
	*out = inos;
	return 0;
}

int state_apply_session_close(struct state *state, uint64_t index, uint64_t id,
			      const uint64_t *left, size_t left_count)
{
	struct session *session;
	size_t freed_count = 0;
	uint64_t *freed;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL)
		return -ENOENT;
	freed = malloc((HASH_COUNT(session->opens) + 1) * sizeof(*freed));
	if (freed == NULL)
		return -ENOMEM;
	txn = txn_begin(state, NULL, 0);
	rc = free_orphans(txn, freed, opened_alone(state, session, freed), left, left_count,
			  &freed_count);
	if (rc != 0)
		goto out;
	session_batch_delete(txn->batch, id);
	tree_lease_batch_close(state, txn->batch, session);
	fenced_batch_close(state, txn->batch, session);
	append_batch_close(state, txn->batch, session);
	rc = txn_commit(txn, index);
	if (rc != 0)
		goto out;
	while (freed_count > 0)
		cache_inode_drop(state->inodes, freed[--freed_count]);
	append_closed(state, session);
	session_remove(state, session);
	tree_lease_closed(state, id);
	fenced_closed(state);
out:
	free(freed);
	return rc;
}

int state_session_check(struct state *state, uint64_t id, uint64_t secret)
{
	const struct session *session;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL || session->fenced)
		return -ENOENT;
	return session->secret == secret ? 0 : -EACCES;
}

int state_sessions(struct state *state,
		   int (*each)(void *user, uint64_t session, const char *mount, const char *name),
		   void *user)
{
	struct session *session, *next;
	int rc = core_ready(state);

	HASH_ITER(hh, state->sessions, session, next)
	{
		if (rc != 0)
			break;
		rc = each(user, session->id, session->mount, session->name);
	}
	return rc;
}

uint64_t state_next_session_id(const struct state *state)
{
	return state->counters.next_session;
}
