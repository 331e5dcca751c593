/* tree_lease.c - who has the tree lease.
 *
 * The lease is a record of its own, so that it holds over a restart of the master: a request that
 * was answered early counts only under the very lease of its answer. A fenced session keeps its
 * lease until it is closed. So no other can begin before. */
#include "master/state/tree_lease.h"
#include <errno.h>
#include <stdlib.h>
#include "master/state/state.h"

static void put_lease(struct kv_batch *batch, const struct tree_lease *lease)
{
	uint8_t key[META_KEY_MAX], value[META_LEASE_BYTES];

	meta_encode_lease(lease, value);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LEASE, 0), value, sizeof(value));
}

int tree_lease_load(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_LEASE, 0), &value, &size);

	state->lease = (struct tree_lease){0};
	if (rc == -ENOENT)
		return 0; /* never granted */
	if (rc != 0)
		return rc;
	if (!meta_decode_lease(value, size, &state->lease))
		rc = -EUCLEAN;
	free(value);
	if (rc == 0 && state->lease.session != 0 &&
	    session_find(state, state->lease.session) == NULL)
		rc = -EUCLEAN;
	return rc;
}

void tree_lease_unload(struct state *state)
{
	state->lease = (struct tree_lease){0};
}

void tree_lease_batch_close(const struct state *state, struct kv_batch *batch,
			    const struct session *session)
{
	if (state->lease.session == session->id)
		put_lease(batch, &(struct tree_lease){.generation = state->lease.generation});
}

void tree_lease_closed(struct state *state, uint64_t session)
{
	if (state->lease.session == session)
		state->lease.session = 0;
}

int state_apply_lease_grant(struct state *state, uint64_t index, uint64_t id, uint64_t *generation)
{
	const struct session *session;
	struct tree_lease lease;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL || session->fenced)
		return -ENOENT;
	if (HASH_COUNT(state->sessions) != 1)
		return -EBUSY;
	lease = state->lease;
	if (lease.session != id) {
		lease.session = id;
		lease.generation++;
	}
	txn = txn_begin(state, NULL, 0);
	put_lease(txn->batch, &lease);
	rc = txn_commit(txn, index);
	if (rc != 0)
		return rc;
	state->lease = lease;
	*generation = lease.generation;
	return 0;
}

int state_apply_lease_end(struct state *state, uint64_t index, uint64_t session,
			  uint64_t generation)
{
	struct tree_lease lease;
	struct txn *txn;
	int rc = core_ready(state);

	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	lease = state->lease;
	if (lease.session == session && lease.generation == generation) {
		lease.session = 0;
		put_lease(txn->batch, &lease);
	}
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->lease = lease;
	return rc;
}

uint64_t state_tree_lease(const struct state *state, uint64_t *generation)
{
	*generation = state->lease.generation;
	return state->lease.session;
}

bool tree_lease_allows(const struct state *state, const struct session *session,
		       uint64_t generation)
{
	return generation == 0 ||
	       (state->lease.session == session->id && state->lease.generation == generation);
}
