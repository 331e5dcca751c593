/* lease.c - who has the tree lease, and which sessions were ended by fence.
 *
 * Both are records of their own, so that they hold over a restart of the master: a request that was
 * answered early counts only under the very lease of its answer, and a fenced session does nothing
 * more, whatever of it is still on its way. Ids of sessions that were closed without a fence need
 * no record: nothing of them was under way.
 *
 * A fenced session keeps its lease until it is closed. So no other can begin before. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/bytes.h"
#include "master/state/internal.h"

#define LEASE_FORMAT      1
#define ENDED_FORMAT      1
#define OWED_FORMAT       1
#define LEASE_VALUE_BYTES (1 + 2 * 8)

/* ---- the table of ended sessions ---- */

/* Index of the first id not below @id. */
static size_t ended_at(const struct ended_sessions *ended, uint64_t id)
{
	size_t low = 0, high = ended->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ended->ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* -ENOMEM. */
static int ended_reserve(struct ended_sessions *ended)
{
	size_t capacity = ended->capacity == 0 ? 16 : ended->capacity * 2;
	uint64_t *bigger;

	if (ended->count < ended->capacity)
		return 0;
	bigger = realloc(ended->ids, capacity * sizeof(*bigger));
	if (bigger == NULL)
		return -ENOMEM;
	ended->ids = bigger;
	ended->capacity = capacity;
	return 0;
}

/* There is room for it. */
static void ended_add(struct ended_sessions *ended, uint64_t id)
{
	size_t at = ended_at(ended, id);

	if (at < ended->count && ended->ids[at] == id)
		return;
	memmove(&ended->ids[at + 1], &ended->ids[at], (ended->count - at) * sizeof(*ended->ids));
	ended->ids[at] = id;
	ended->count++;
}

static void ended_drop_below(struct ended_sessions *ended, uint64_t floor)
{
	size_t gone = ended_at(ended, floor);

	if (gone == 0)
		return;
	ended->count -= gone;
	memmove(ended->ids, &ended->ids[gone], ended->count * sizeof(*ended->ids));
}

const uint64_t *state_ended_sessions(const struct state *state, size_t *count)
{
	*count = state->ended.count;
	return state->ended.ids;
}

bool state_session_is_fenced(const struct state *state, uint64_t id)
{
	const struct session *session = session_find((struct state *)state, id);

	return session != NULL && session->fenced;
}

/* As it is without @except. */
static uint64_t floor_without(const struct state *state, uint64_t except)
{
	uint64_t floor = state->counters.next_session;

	for (const struct session *s = state->sessions; s != NULL; s = s->hh.next)
		if (s->id != except && s->id < floor)
			floor = s->id;
	return floor;
}

uint64_t state_session_floor(const struct state *state)
{
	return floor_without(state, 0);
}

/* ---- records ---- */

static void put_lease(struct kv_batch *batch, const struct tree_lease *lease)
{
	uint8_t key[META_KEY_MAX], value[LEASE_VALUE_BYTES];

	value[0] = LEASE_FORMAT;
	put_le64(value + 1, lease->generation);
	put_le64(value + 9, lease->session);
	kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_LEASE, 0), value, sizeof(value));
}

static int load_lease(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_LEASE, 0), &value, &size);

	state->lease = (struct tree_lease){0};
	if (rc == -ENOENT)
		return 0; /* never granted */
	if (rc != 0)
		return rc;
	if (size == LEASE_VALUE_BYTES && value[0] == LEASE_FORMAT) {
		state->lease.generation = get_le64(value + 1);
		state->lease.session = get_le64(value + 9);
	} else {
		rc = -EUCLEAN;
	}
	free(value);
	if (rc == 0 && state->lease.session != 0 &&
	    session_find(state, state->lease.session) == NULL)
		rc = -EUCLEAN;
	return rc;
}

static int load_owed(struct state *state)
{
	uint8_t key[META_KEY_MAX], *value;
	size_t size;
	int rc = kv_get(state->kv, FAMILY_META, key, key_meta(key, META_OWED, 0), &value, &size);

	state->fences_owed = rc == 0;
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	rc = size == 1 && value[0] == OWED_FORMAT ? 0 : -EUCLEAN;
	free(value);
	return rc;
}

int leases_load(struct state *state)
{
	static const uint8_t start = META_ENDED, end = META_ENDED + 1;
	const uint8_t *key, *value;
	size_t key_size, size;
	struct kv_iter *iter;
	int rc = load_lease(state);

	if (rc == 0)
		rc = load_owed(state);
	if (rc == 0)
		rc = kv_iter_open(state->kv, FAMILY_META, &start, 1, &end, 1, &iter);
	if (rc != 0)
		return rc;
	while ((rc = kv_iter_next(iter, &key, &key_size, &value, &size)) == 1) {
		struct session *session;

		rc = key_size == 9 && size == 1 && value[0] == ENDED_FORMAT
			     ? ended_reserve(&state->ended)
			     : -EUCLEAN;
		if (rc != 0)
			break;
		session = session_find(state, get_be64(key + 1));
		if (session != NULL)
			session->fenced = true;
		ended_add(&state->ended, get_be64(key + 1));
	}
	kv_iter_free(iter);
	return rc;
}

void leases_unload(struct state *state)
{
	free(state->ended.ids);
	state->ended = (struct ended_sessions){0};
	state->lease = (struct tree_lease){0};
}

/* ---- commands ---- */

int state_apply_session_fence(struct state *state, uint64_t index, uint64_t id)
{
	uint8_t key[META_KEY_MAX];
	struct session *session;
	struct txn *txn;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	session = session_find(state, id);
	if (session == NULL)
		return -ENOENT;
	rc = ended_reserve(&state->ended);
	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	if (!session->fenced) {
		kv_batch_put(txn->batch, FAMILY_META, key, key_meta(key, META_ENDED, id),
			     &(uint8_t){ENDED_FORMAT}, 1);
		txn->counters.map_version++;
	}
	rc = txn_commit(txn, index);
	if (rc != 0)
		return rc;
	session->fenced = true;
	ended_add(&state->ended, id);
	return 0;
}

void leases_put_owed(struct kv_batch *batch, bool owed)
{
	uint8_t key[META_KEY_MAX];

	if (owed)
		kv_batch_put(batch, FAMILY_META, key, key_meta(key, META_OWED, 0),
			     &(uint8_t){OWED_FORMAT}, 1);
	else
		kv_batch_delete(batch, FAMILY_META, key, key_meta(key, META_OWED, 0));
}

int state_apply_fences_owed(struct state *state, uint64_t index, bool owed)
{
	struct txn *txn;
	int rc = state_ready(state);

	if (rc != 0)
		return rc;
	txn = txn_begin(state, NULL, 0);
	leases_put_owed(txn->batch, owed);
	rc = txn_commit(txn, index);
	if (rc == 0)
		state->fences_owed = owed;
	return rc;
}

bool state_fences_owed(const struct state *state)
{
	return state->fences_owed;
}

void leases_batch_close(struct txn *txn, const struct session *session)
{
	const struct state *state = txn->state;
	uint64_t floor = floor_without(state, session->id);
	uint8_t key[META_KEY_MAX];

	for (size_t i = 0; i < state->ended.count && state->ended.ids[i] < floor; i++)
		kv_batch_delete(txn->batch, FAMILY_META, key,
				key_meta(key, META_ENDED, state->ended.ids[i]));
	if (state->lease.session == session->id)
		put_lease(txn->batch, &(struct tree_lease){.generation = state->lease.generation});
}

void leases_closed_session(struct state *state, uint64_t session)
{
	ended_drop_below(&state->ended, floor_without(state, 0));
	if (state->lease.session == session)
		state->lease.session = 0;
}

int state_apply_lease_grant(struct state *state, uint64_t index, uint64_t id, uint64_t *generation)
{
	const struct session *session;
	struct tree_lease lease;
	struct txn *txn;
	int rc = state_ready(state);

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
	int rc = state_ready(state);

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

bool leases_allow(const struct state *state, const struct session *session, uint64_t generation)
{
	return generation == 0 ||
	       (state->lease.session == session->id && state->lease.generation == generation);
}
